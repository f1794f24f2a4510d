// What somebody else changes is repaired and told, at most five times within ten minutes for each path; then the path is left
// alone, and the Node says so, and until when. That it is taken up again is for convergence.ts.

import { nameOf, readCertificates } from '../certificates.ts';
import { anchorsFolder, bundlePath } from '../store-tool.ts';
import { anchorPathOf, bundledPrints, type Prints } from '../store-views.ts';
import type { Court, Suspect } from './court.ts';
import type { Proof } from './proof.ts';
import type { Wanted } from './wanted.ts';

export interface Repairs {
  /** It reads its Node. */
  passBegins(suspect: Suspect): void;
  /** It has made a bundle with these out of one with those. */
  rebuilt(suspect: Suspect, before: Prints, after: Prints): void;
  /** When it has put this file in its place, with what it is to hold. */
  writes(suspect: Suspect, path: string, print: string | undefined): void;
  recorded(suspect: Suspect, reason: string, message: string): void;
  failed(suspect: Suspect, reason: string, message: string): void;
  /** What it does in this pass may not come to its end, or not be told. */
  excuse(): void;
  clockIsSet(): void;
  forget(): void;
}

const windowMs = 10 * 60_000;
const maxRepairs = 5;
/** A pass takes less. */
const passMs = 5 * 60_000;
/** How often a pass reads its Node at most. */
const readsOfPass = 2;
/** Longer than a clock is set back by: until then repairs may be young again. */
const clockMs = 120 * 60_000;

export function createRepairs(court: Court, wanted: Wanted, proof: Proof): Repairs {
  const { disk, clock, breaks } = court;
  /** By path, when the pass had begun of which each was told. */
  const told = new Map<string, readonly number[]>();
  /** By path, when an agent wrote it. */
  const written = new Map<string, readonly number[]>();
  /** Repaired in this agent's pass. */
  let untold: { readonly by: Suspect; readonly paths: Set<string> } | undefined;
  let excusedAt = 0;
  let clockSetMs = Number.NEGATIVE_INFINITY;
  const begins = new WeakMap<Suspect, { readonly ms: number; readonly proven: number }>();
  const lastTold = new Map<string, number>();
  const wallMs = (): number => clock.wall().getTime();
  const add = (times: Map<string, readonly number[]>, path: string, at: number): readonly number[] => {
    const all = [...(times.get(path) ?? []), at];
    times.set(path, all);
    return all;
  };

  /** As far as it was proven: where anything else is missing, that is no drift. */
  function isGood(path: string): boolean {
    const kept = [...wanted.desired].filter(proof.isKept);
    if (path !== bundlePath) {
      const held = new Set(readCertificates(disk.read(path)).map(({ fingerprint }) => fingerprint));
      return kept.every((print) => anchorPathOf(print) !== path || held.has(print));
    }
    const bundle = bundledPrints(disk);
    return kept.every((print) => bundle.has(print)) && !proof.hasReturned();
  }

  function judgeFight(suspect: Suspect, message: string): void {
    if (suspect.beganAt < court.clockSetAt) return;
    const [, path = '', until = ''] = /^(\S+) is changed .* left alone until (\S+?);/.exec(message) ?? [];
    if (!(Date.parse(until) <= wallMs() + windowMs)) breaks('a fight is taken up again', message);
    if (clock.elapsedMs() - clockSetMs < clockMs) return;
    const since = clock.elapsedMs() - windowMs - passMs;
    const times = (written.get(path) ?? []).filter((at) => at > since).length;
    if ((path.startsWith(anchorsFolder) || path === bundlePath) && times < maxRepairs)
      breaks('a fight is one', `${path} was written ${times} times, and the Node says: ${message}`);
  }

  return {
    passBegins(suspect) {
      begins.set(suspect, { ms: wallMs(), proven: proof.last?.at ?? 0 });
      const [path] = untold?.by === suspect && !suspect.isEnding ? untold.paths : [];
      if (path !== undefined) breaks('a repair is told', `${path} was repaired, and no event says so`);
      untold = undefined;
    },
    rebuilt(suspect, before, after) {
      const isNeeded =
        suspect.changedAt > suspect.lookedAt ||
        court.meddledAt > suspect.lookedAt ||
        [...wanted.desired].some((print) => !before.has(print)) ||
        [...wanted.everGood].some((print) => before.has(print) && !wanted.desired.has(print));
      const lost = [...before].find((print) => proof.isKept(print) && !after.has(print));
      if (!isNeeded && lost !== undefined)
        breaks('what is left alone stays as it is', `a rebuild that changed nothing else has lost ${nameOf(lost)}`);
    },
    writes(suspect, path, print) {
      add(written, path, clock.elapsedMs());
      // Without a staged store it is a rollback, which tells of itself.
      const isRepair = print !== undefined && proof.isKept(print) && suspect.stagedAt > suspect.lookedAt;
      if (!isRepair || excusedAt > suspect.beganAt) return;
      if (untold?.by !== suspect) untold = { by: suspect, paths: new Set() };
      untold.paths.add(path);
    },
    recorded(suspect, reason, message) {
      if (reason !== 'DriftRepaired') return;
      const path = message.slice(0, message.indexOf(' was repaired'));
      untold?.paths.delete(path);
      const { ms = 0, proven = 0 } = begins.get(suspect) ?? {};
      if (suspect.readsSinceUnanswered <= readsOfPass) return; // perhaps of an earlier pass
      // Since then all was as it should be, or this was repaired already.
      const knownAt = Math.max(lastTold.get(path) ?? 0, proven);
      if (court.meddledAt <= knownAt) breaks('what is told as a repair is one', `${message}, and nobody was there`);
      lastTold.set(path, suspect.beganAt);
      if (suspect.beganAt < court.clockSetAt) return; // by which clock it was counted nobody knows
      const times = add(told, path, ms);
      const first = times.at(-maxRepairs - 1);
      if (first !== undefined && Math.abs(wallMs() - first) < windowMs)
        breaks('a path that is fought over is left alone', `${path} was repaired once more`);
    },
    failed(suspect, reason, message) {
      untold = undefined;
      if (reason === 'DriftFight') return judgeFight(suspect, message);
      const isFought = [...told].some(
        ([path, times]) => wallMs() - (times.at(-maxRepairs) ?? 0) < windowMs - passMs && !isGood(path),
      );
      if (reason === 'StoreIncomplete' && message.includes('this is left to do') && isFought)
        breaks('a fight is told', message);
    },
    excuse() {
      untold = undefined;
      excusedAt = court.moment();
    },
    clockIsSet() {
      told.clear();
      clockSetMs = clock.elapsedMs();
    },
    forget() {
      told.clear();
      untold = undefined;
    },
  };
}

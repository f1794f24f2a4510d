// What the host is to trust, by what an agent was told and has kept in mind: a set counts from the moment in which the agent
// acts upon it, and what was not synced to its records is forgotten with a power failure. It breaks no promise itself.

import { createHash } from 'node:crypto';
import type { BootEnd } from '../boot-script.ts';
import { certificate, readCertificates } from '../certificates.ts';
import { nodeName, type Served } from '../cluster.ts';
import { anchorNameOf, ownAnchors, type Prints } from '../store-views.ts';
import { type Court, readRecords, recordsPath, type Suspect, stateFolder } from './court.ts';

export const graceMs = 10 * 60_000;
/** Longer by a share that a hash of the node's name gives. */
const longestGraceMs = graceMs * (1 + (0.2 * createHash('sha256').update(nodeName).digest().readUInt32BE()) / 2 ** 32);
const leaveConfirmMs = 10_000;

export interface Wanted {
  readonly desired: Prints;
  /** The part of it that the machine's own file wants. */
  readonly ofFile: Prints;
  /** All that an admitted set has ever named. */
  readonly everGood: ReadonlySet<string>;
  /** Taken off the host, and named by no set since. */
  readonly withdrawn: Set<string>;
  readonly isLeaving: boolean;
  isDesired(prints: Prints | undefined): boolean;
  /** Or with what the boot unit took away after it had read the file: it goes by what it read to the end of its pass. */
  isDesiredBy(suspect: Suspect, prints: Prints): boolean;
  served(suspect: Suspect, served: Served): void;
  /** The machine's own file, as an agent has read it; undefined: it is not there. */
  fileServed(suspect: Suspect, text: string | undefined): void;
  nodeServed(suspect: Suspect, isEnabled: boolean | undefined): void;
  /** The boot unit has looked at the file: what it has taken away of it is not of its last good set any more. */
  bootRan(end: Omit<BootEnd, 'hasRecord'>): void;
  /** It keeps in mind what it was told before it acts upon it. */
  acts(suspect: Suspect): void;
  /** It takes away what came from the cluster, if it has left the pool. */
  leaves(suspect: Suspect): void;
  /** It says that it is done. */
  saysLeft(): void;
  /** Around its writing of its records. */
  notes(suspect: Suspect, write: () => void): void;
  syncs(path: string): void;
  powerFailed(): void;
}

/** What an agent was told and has kept in mind. */
interface Believed {
  readonly ofSecret: Prints;
  readonly ofFile: Prints;
  readonly fileGoneSinceMs: number | undefined;
  readonly onDelete: 'grace' | 'remove';
  readonly goneSinceMs: number | undefined;
  readonly isLeaving: boolean;
}

export function createWanted({ disk, clock, moment }: Court, onChange: () => void): Wanted {
  let believed: Believed = {
    ofSecret: new Set(),
    ofFile: new Set(),
    fileGoneSinceMs: undefined,
    onDelete: 'grace',
    goneSinceMs: undefined,
    isLeaving: false,
  };
  let desired: Prints = new Set();
  let leaver: Suspect | undefined;
  /** What is lost if the power fails now: what the agent keeps in mind is not synced yet. */
  let unsynced: { readonly before: Believed; readonly text: string | undefined } | undefined;
  /** Of which source the grace has ended by one clock and not by the other: what the agent keeps in mind next tells. */
  const unsure = new Set<'source' | 'local'>();
  const fileReadAt = new WeakMap<Suspect, number>();
  let bootTook: { readonly at: number; readonly names: readonly string[] } = { at: 0, names: [] };
  /** A boot has put something of the file onto its list and taken it off again: perhaps an agent takes it for removed. */
  let isRetracted = false;
  const everGood = new Set<string>();
  const withdrawn = new Set<string>();

  const isDesired = (prints: Prints | undefined): boolean =>
    prints?.size === desired.size && [...prints].every((print) => desired.has(print));
  const union = ({ ofSecret, ofFile }: Believed): Prints => new Set([...ofSecret, ...ofFile]);

  function believe(change: Partial<Believed>): void {
    believed = { ...believed, ...change };
    const next = union(believed);
    const isOther = !isDesired(next);
    desired = next;
    if (isOther) onChange();
  }

  function admit(prints: Prints): void {
    for (const print of prints) {
      everGood.add(print);
      withdrawn.delete(print);
    }
  }

  /** All of the cluster's; a file that is gone has no grace then. */
  function leave(): void {
    const { fileGoneSinceMs, ofFile } = believed;
    believe({ ofSecret: new Set(), ofFile: fileGoneSinceMs === undefined ? ofFile : new Set() });
  }

  /** The clock may be set between the read and the decision: at one of these two times. */
  function hasEnded(of: 'source' | 'local', since: number, at: number): boolean {
    const wall = clock.wall().getTime();
    const end = since + longestGraceMs - 1_000;
    const [isEnded, isPerhaps] = [Math.min(at, wall) >= end, Math.max(at, wall) >= end];
    if (isPerhaps && !isEnded) unsure.add(of);
    return isEnded;
  }

  function believeFile(text: string | undefined, at: number): void {
    const now = Math.min(at, clock.wall().getTime()); // perhaps the clock was set back before the agent looked at it
    const isGone = text === undefined;
    const prints = new Set(readCertificates(Buffer.from(text ?? '')).map(({ fingerprint }) => fingerprint));
    const since = isGone ? Math.min(believed.fileGoneSinceMs ?? now, now) : undefined;
    believe({ fileGoneSinceMs: since });
    if (since !== undefined && !hasEnded('local', since, at)) return;
    if (prints.size === 0 && !isGone) return; // broken: its last good set stays
    admit(prints);
    believe({ ofFile: prints });
  }

  function believeSecret(said: Served, isGone: boolean, at: number): void {
    const now = Math.min(at, clock.wall().getTime()); // perhaps the clock was set back before the agent looked at it
    if (said.kind !== 'failure' && said.kind !== 'absent' && said.kind !== 'empty') believe({ goneSinceMs: undefined });
    if ('onDelete' in said) believe({ onDelete: said.onDelete });
    if (said.kind === 'good') {
      const prints = new Set(said.names.map((name) => certificate(name).fingerprint));
      admit(prints);
      believe({ ofSecret: prints });
    }
    if (!isGone) return;
    const goneSinceMs = Math.min(believed.goneSinceMs ?? now, now);
    believe({ goneSinceMs });
    if (believed.onDelete === 'remove' || hasEnded('source', goneSinceMs, at)) believe({ ofSecret: new Set() });
  }

  function hasForgotten(of: 'source' | 'local'): boolean {
    return readRecords(disk)[of]?.certificates.length === 0;
  }

  function acts(suspect: Suspect): void {
    if (suspect.told.length > 0) unsure.clear();
    for (const believes of suspect.told.splice(0)) believes();
  }

  return {
    get desired() {
      return desired;
    },
    get ofFile() {
      return believed.ofFile;
    },
    get isLeaving() {
      return believed.isLeaving;
    },
    everGood,
    withdrawn,
    isDesired,
    acts,
    served(suspect, said) {
      const at = clock.wall().getTime();
      const isGone = said.kind === 'empty' || (said.kind === 'absent' && suspect.hasMissed);
      suspect.hasMissed ||= said.kind === 'absent';
      suspect.told.push(() => believeSecret(said, isGone, at));
    },
    isDesiredBy(suspect, prints) {
      const isBehind = (fileReadAt.get(suspect) ?? Number.POSITIVE_INFINITY) < bootTook.at;
      const more = [...prints].filter((print) => !desired.has(print));
      const isMore = isBehind && more.every((print) => bootTook.names.includes(anchorNameOf(print)));
      return isDesired(prints) || (isMore && prints.size === desired.size + more.length);
    },
    fileServed(suspect, text) {
      fileReadAt.set(suspect, moment());
      const at = clock.wall().getTime();
      suspect.told.push(() => believeFile(text, at));
    },
    bootRan({ removed, hasRetracted }) {
      isRetracted ||= hasRetracted;
      if (removed.length > 0) bootTook = { at: moment(), names: removed };
      const anchors = ownAnchors(disk);
      for (const print of anchors) everGood.add(print); // of a file that was good then, perhaps before any agent ran
      const stays = (print: string): boolean => anchors.has(print) || !removed.includes(anchorNameOf(print));
      // Before any agent remembers the file, what a boot has installed is its last good set.
      const known = readRecords(disk).local === undefined ? anchors : believed.ofFile;
      believe({ ofFile: new Set([...known].filter(stays)) });
    },
    nodeServed(suspect, isEnabled) {
      suspect.told = []; // what it has not kept in mind in its last pass it has not taken up
      suspect.hasMissed = false;
      if (isEnabled === true) {
        suspect.hasSeenLabel = true;
        suspect.hasLeft = false;
        // One that is kept out by the lock takes nothing back.
        if (leaver === undefined || leaver.isDead || leaver === suspect)
          suspect.told.push(() => believe({ isLeaving: false }));
      }
      if (isEnabled === false) {
        const now = clock.elapsedMs();
        suspect.unlabelledSinceMs ??= now;
        suspect.hasLeft ||= suspect.hasSeenLabel && now - suspect.unlabelledSinceMs >= leaveConfirmMs;
      } else {
        suspect.unlabelledSinceMs = undefined;
      }
      suspect.isMember = isEnabled ?? (suspect.hasSeenLabel && !suspect.hasLeft && !believed.isLeaving);
      if (!suspect.hasLeft) return;
      suspect.told.push(() => {
        believe({ isLeaving: true });
        leaver = suspect;
      });
    },
    leaves(suspect) {
      if (believed.isLeaving && !suspect.isMember) leave();
    },
    saysLeft() {
      if (believed.isLeaving) leave();
    },
    notes(suspect, write) {
      const before = believed;
      acts(suspect);
      write();
      // What it noted of leaving counts once it has let go of the last good set as well: until then it may be taken back.
      if (believed.isLeaving && !suspect.isMember && hasForgotten('source')) leave();
      if (unsure.has('source') && hasForgotten('source')) believe({ ofSecret: new Set() });
      if ((unsure.has('local') || isRetracted) && hasForgotten('local')) believe({ ofFile: new Set() });
      unsynced = { before, text: disk.read(recordsPath)?.toString() };
    },
    syncs(path) {
      if (path === stateFolder) unsynced = undefined;
    },
    powerFailed() {
      if (unsynced !== undefined && unsynced.text !== disk.read(recordsPath)?.toString()) {
        believed = unsynced.before;
        desired = union(believed);
      }
      unsynced = undefined;
    },
  };
}

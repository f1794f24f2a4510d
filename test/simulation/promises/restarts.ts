// The runtime is disturbed only when it must be: each restart by an agent has a cause that no restart has answered yet, spares a
// process that is known to have loaded all, and keeps its interval from the last one, but to undo or to leave the pool.

import { bootRecord } from '../../../agent/host/boot.ts';
import { bundledPrints, bundleVersion, digestOf } from '../store-views.ts';
import { type Court, readRecords, type Suspect } from './court.ts';
import type { Proof } from './proof.ts';
import type { Wanted } from './wanted.ts';

export const restartIntervalMs = 5 * 60_000;
/** It has more than one reason to wait, which come one after the other. */
const maxLater = 2;

export interface Restarts {
  restarting(suspect: Suspect): void;
  /** Another process of the runtime. */
  started(invocationId: string): void;
  /** A change of what is desired, or a boot. */
  isCaused(): void;
  /** What was added is tried again, and may cost a restart again. */
  isRetried(): void;
  /** Its records are others now. */
  noted(): void;
  /** The boot unit has written its record. */
  bootNoted(): void;
  /** The agent has taken it away, or a boot has. */
  bootForgotten(): void;
  clockIsSet(byMs: number): void;
  /** The Node says until when a restart is deferred. */
  deferred(suspect: Suspect, message: string, spreadMs: number): void;
  /** The records say nothing of restarts any more. */
  forget(): void;
}

/** A rebuild that is recorded with its end: whoever starts while the bundle is this one loads it. */
interface Ended {
  readonly at: number;
  readonly bundle: string;
  readonly version: string;
}

const promise = 'the runtime is disturbed only when it must be';

export function createRestarts(court: Court, wanted: Wanted, proof: Proof): Restarts {
  const { disk, clock, runtime, breaks } = court;
  let hasCause = true;
  /** Of all disturbances, which ones a restart has answered. */
  let answeredUntil = -1;
  let isRetryDue = false;
  /** Who asked for the last restart, and what ran then. */
  let last: { readonly by: Suspect; readonly invocationId: string } | undefined;
  /** On the simulation's clock, and earlier by as much as the wall clock was set forward since. */
  let lastMs: number | undefined;
  let setForwardAt = 0;
  /** Until when a restart was put off last, and how often until later while nothing has happened. */
  let put: { readonly until: string; readonly at: number; readonly by: Suspect; readonly times: number } | undefined;
  let wasUndo = false;
  let endedByAgent: Ended | undefined;
  let endedByBoot: Ended | undefined;
  let runs: { readonly invocationId: string; readonly at: number } | undefined;

  /** It has noted the time before it asked: where the clock was set forward between the two, nobody knows which. */
  function noteTime(suspect: Suspect): void {
    lastMs = suspect.lookedAt < setForwardAt ? undefined : clock.elapsedMs();
  }

  function judgeInterval(suspect: Suspect): void {
    const sinceMs = clock.elapsedMs() - (lastMs ?? Number.NEGATIVE_INFINITY);
    noteTime(suspect);
    const isLeaving = wanted.isLeaving && !suspect.isMember;
    if (isLeaving || suspect.lookedAt < setForwardAt || sinceMs >= restartIntervalMs) return;
    breaks('at most one restart in its interval', `a restart ${(sinceMs / 1000).toFixed(3)} s after the last one`);
  }

  function readEnded(): Omit<Ended, 'at'> | undefined {
    const { bundle = '', version, before, after } = readRecords(disk).runtime?.rebuild ?? {};
    const isKnown = after !== undefined && before !== 'unknown' && after !== 'unknown';
    return isKnown && version === bundleVersion(disk) ? { bundle, version } : undefined;
  }

  /** It has loaded what is desired, and the agent can know it. */
  function isFresh({ pool }: NonNullable<ReturnType<typeof runtime>['process']>, suspect: Suspect): boolean {
    const { at = 0 } = runs ?? {};
    const digest = digestOf(wanted.desired);
    // Of a store that it has recorded itself, in whatever words, it takes nobody else's.
    const isOwn = readRecords(disk).runtime?.rebuild?.version === bundleVersion(disk);
    const isKnown = [endedByAgent, isOwn ? undefined : endedByBoot].some(
      (ended) => ended?.bundle === digest && ended.version === bundleVersion(disk) && ended.at < at,
    );
    return (
      isKnown &&
      at < suspect.lookedAt &&
      pool !== undefined &&
      [...wanted.desired].every((print) => pool.bundle.has(print))
    );
  }

  /** It has loaded something of ours that is in nobody's file any more. */
  function holdsGone({ pool }: NonNullable<ReturnType<typeof runtime>['process']>): boolean {
    const loaded = new Set([...(pool?.bundle ?? []), ...(pool?.beside ?? [])]);
    const bundle = bundledPrints(disk);
    return [...wanted.everGood].some((print) => loaded.has(print) && !wanted.desired.has(print) && !bundle.has(print));
  }

  return {
    restarting(suspect) {
      put = undefined;
      wanted.acts(suspect);
      // Noted before it is asked for: back to a part of what is desired.
      const { runtime: { restarted } = {}, undoing } = readRecords(disk);
      const isUndo = restarted?.bundle !== undefined && restarted.bundle !== digestOf(wanted.desired);
      // Or, once, to what is desired by now, whoever may have started it while the rollback went on.
      const endsUndo = undoing !== undefined && !wasUndo;
      wasUndo = isUndo || endsUndo;
      const { process, isActive } = runtime();
      if (isUndo || endsUndo || !isActive) noteTime(suspect);
      else judgeInterval(suspect);
      if (isUndo || process === undefined) return; // what is down is not disturbed
      // One that comes after a rebuild which was begun and cut off cannot know that it did nothing.
      const { invocationId } = process;
      const isProven = proof.last?.by === suspect && invocationId === proof.last.invocationId;
      if (isProven && wanted.isDesired(proof.last?.named) && !proof.hasChangedSince && !holdsGone(process))
        breaks(promise, 'a restart of a process that has loaded all');
      if (isFresh(process, suspect)) breaks(promise, 'a restart of a process that was started with the store as it is');
      const hasHappened = last?.by.isDead !== true || last.invocationId !== invocationId;
      last = { by: suspect, invocationId };
      const isAnswered = !hasCause && court.disturbedAt <= answeredUntil;
      if (isAnswered && !isRetryDue && hasHappened)
        breaks(promise, 'a restart, and nothing has changed since the last');
      if (isAnswered) isRetryDue = false;
      hasCause = false;
      answeredUntil = suspect.lookedAt; // what came after that look may want another
    },
    started(invocationId) {
      runs = { invocationId, at: court.moment() };
    },
    isCaused() {
      put = undefined;
      hasCause = true;
    },
    isRetried() {
      isRetryDue = true;
    },
    noted() {
      const ended = readEnded();
      const isSame = ended?.version === endedByAgent?.version && ended?.bundle === endedByAgent?.bundle;
      if (isSame) return;
      put = undefined;
      endedByAgent = ended && { ...ended, at: court.moment() };
    },
    bootNoted() {
      const lines = disk.read(bootRecord)?.toString().split('\n') ?? [];
      const [bundle = '', ...marks] = ['bundle', 'before', 'after'].map((name) =>
        lines.find((line) => line.startsWith(`${name} `))?.slice(name.length + 1),
      );
      endedByBoot = marks.includes('unknown')
        ? undefined
        : { at: court.moment(), bundle, version: bundleVersion(disk) };
    },
    bootForgotten() {
      endedByBoot = undefined;
    },
    clockIsSet(byMs) {
      if (byMs > 0) setForwardAt = court.moment();
      if (lastMs !== undefined) lastMs -= Math.max(0, byMs);
    },
    deferred(suspect, message, spreadMs) {
      if (suspect.beganAt < court.clockSetAt) return;
      const [, until = ''] = / will be restarted at (\S+?),/.exec(message) ?? [];
      const waitMs = Date.parse(until) - clock.wall().getTime();
      const isOpen = put !== undefined && put.at > Math.max(court.clockSetAt, court.disturbedAt) && put.by === suspect;
      const isLater = put !== undefined && Date.parse(until) > Date.parse(put.until);
      const times = isOpen && put !== undefined ? put.times + (isLater ? 1 : 0) : 0;
      if (!(waitMs <= Math.max(spreadMs, restartIntervalMs)) || times > maxLater)
        breaks('a restart is not put off for longer than it must be', message);
      put = { until, at: court.moment(), by: suspect, times };
    },
    forget() {
      lastMs = undefined;
      endedByAgent = undefined;
    },
  };
}

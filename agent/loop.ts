// When a pass is made: at the start, at the poll interval, at a time a pass has asked for, after a back-off, and whenever
// somebody pokes. One pass at a time; pokes during a pass make one more. It decides nothing about trust.

import type { Next } from './trust/report.ts';

export interface Loop {
  /** Something may have changed: makes a pass, or one more if one is being made. */
  poke(reason: string): void;
  /** Resolves when the signal aborts, or when a pass answers `end`. */
  run(signal: AbortSignal): Promise<void>;
}

export interface LoopOptions {
  pass(reasons: readonly string[], signal: AbortSignal): Promise<Next>;
  readonly pollIntervalMs: number;
  readonly now: () => Date;
  /** From 0 to 1, as Math.random. */
  readonly random: () => number;
  /** Resolves after so many milliseconds, or as soon as the signal aborts. */
  readonly sleep: (milliseconds: number, signal: AbortSignal) => Promise<void>;
}

/** After the first, second, third and any further transient failure in a row. */
const backOffMinutes = [1, 2, 5, 15] as const;
/** By how much intervals vary to both sides, so that a fleet does not ask in step. */
const jitter = 0.1;

export function createLoop({ pass, pollIntervalMs, now, random, sleep }: LoopOptions): Loop {
  let reasons = new Set(['start']);
  let wake = new AbortController();
  let failures = 0;

  async function run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const taken = [...reasons];
      reasons = new Set();
      wake = new AbortController();
      const next = await pass(taken, signal);
      if (next.kind === 'end') return;
      failures = next.kind === 'back-off' ? failures + 1 : 0;
      const pauseMs = waitMs(next);
      // A peer that asked to be left alone is; everything else may cut the pause short.
      const leftAloneMs = next.kind === 'back-off' ? (next.retryAfterMs ?? 0) : 0;
      if (leftAloneMs > 0) await sleep(leftAloneMs, signal);
      if (reasons.size === 0) await sleep(pauseMs - leftAloneMs, AbortSignal.any([signal, wake.signal]));
      if (reasons.size === 0) reasons.add(next.kind === 'resync' ? 'poll' : 'due');
    }
  }

  function waitMs(next: Exclude<Next, { kind: 'end' }>): number {
    const varied = 1 + jitter * (2 * random() - 1);
    switch (next.kind) {
      case 'resync':
        return pollIntervalMs * varied;
      case 'at':
        return Math.min(untilMs(next.at), pollIntervalMs);
      case 'back-off': {
        const minutes = backOffMinutes[Math.min(failures, backOffMinutes.length) - 1] ?? backOffMinutes[0];
        const backOffMs = Math.min(minutes * 60_000 * varied, next.by === undefined ? Infinity : untilMs(next.by));
        return Math.max(backOffMs, next.retryAfterMs ?? 0);
      }
      default:
        return next satisfies never;
    }
  }

  function untilMs(at: Date): number {
    return Math.max(at.getTime() - now().getTime(), 0);
  }

  return {
    poke(reason) {
      reasons.add(reason);
      wake.abort();
    },
    run,
  };
}

// Follows a fleet until all that follow the Secret have arrived at its present content, or time is up. It looks at everything anew
// each time, by listing: a list says how things are, needs no history, and mends itself after every failure. The pause
// grows with what a look costs, so that thousands of Nodes are not read again and again; a fleet whose restarts are spread
// over a minute loses nothing by it. Watching Nodes, Pods and the Secret would send less, and bring breaks, lost places and
// bookmarks into a command that lives for minutes.

import { KubeError, type KubeFailureKind } from '../kube/kube-error.ts';
import { type FleetReport, hasArrived, isNobodyEnabled } from '../trust/fleet.ts';
import { type Content, follows, type NodeReport } from '../trust/node-report.ts';
import type { Terminal } from './command.ts';
import { describeProgress } from './fleet-text.ts';

export interface Look {
  readonly report: FleetReport;
  readonly content: Content;
}

export interface Watching {
  /** Throws KubeError. */
  look(signal: AbortSignal): Promise<Look>;
  /** Resolves early when the signal aborts. */
  pause(milliseconds: number, signal: AbortSignal): Promise<void>;
  /** Milliseconds of any clock that does not jump. */
  clock(): number;
  onLook(report: FleetReport): void;
  /** A look that failed; there will be another one. */
  onTrouble(error: KubeError): void;
}

/** `nobody`: there is none to wait for. `nothing`: no content, either. `late`: what was seen last, and what the last look failed with, if it did. */
export type WatchEnd =
  | { readonly kind: 'arrived' | 'nobody' | 'nothing'; readonly report: FleetReport }
  | { readonly kind: 'late'; readonly last: Look | undefined; readonly error: KubeError | undefined };

const leastPauseMs = 1_000;
const longestPauseMs = 30_000;
const costToPause = 9;
/** What may go by itself; to be refused does not. */
const passing: ReadonlySet<KubeFailureKind> = new Set([
  'conflict',
  'expired',
  'throttled',
  'server-error',
  'unreachable',
  'timed-out',
]);

/**
 * Ends when all have arrived, when there is nobody to wait for, or when the signal aborts. What could not be found out is accepted only when a second look could
 * not either. Throws the KubeError that will not go by itself.
 */
export async function watchFleet(watching: Watching, signal: AbortSignal): Promise<WatchEnd> {
  const { look, pause, clock, onLook, onTrouble } = watching;
  let first: FleetReport | undefined;
  let last: Look | undefined;
  let error: KubeError | undefined;
  for (let failures = 0; !signal.aborted; ) {
    const startedAt = clock();
    try {
      const { report, content } = await look(signal);
      onLook(report);
      first ??= report;
      const isConfirmed = report.unknown.length === 0 || report.unknown.join() === last?.report.unknown.join();
      if (isConfirmed && hasArrived(first, report, content)) return { kind: 'arrived', report };
      if (isConfirmed && isNobodyEnabled(report)) return { kind: 'nobody', report };
      if (isConfirmed && content.kind === 'unknown' && content.isAbsent) return { kind: 'nothing', report };
      [last, error, failures] = [{ report, content }, undefined, 0];
      const cost = clock() - startedAt;
      await pause(Math.min(Math.max(costToPause * cost, leastPauseMs), longestPauseMs), signal);
    } catch (thrown) {
      if (signal.aborted) break;
      if (!(thrown instanceof KubeError) || !passing.has(thrown.failure.kind)) throw thrown;
      error = thrown;
      failures += 1;
      onTrouble(error);
      const backoffMs = Math.min(leastPauseMs * 2 ** failures, longestPauseMs);
      await pause(Math.max(backoffMs, error.failure.retryAfterMs ?? 0), signal);
    }
  }
  return { kind: 'late', last, error };
}

/** A line that is drawn again on a terminal; elsewhere a line for each change. `end` leaves the terminal as it was. */
export function createProgress(terminal: Pick<Terminal, 'isTty' | 'columns'>, write: (text: string) => void) {
  let drawn = '';
  const told = new Set<string>();
  const end = (): void => {
    if (terminal.isTty && drawn !== '') write(`\r${eraseLine}`);
    drawn = '';
  };
  return {
    end,
    show(report: FleetReport): void {
      const followers = report.nodes.filter(follows);
      for (const why of listRejections(followers, report.present)) {
        if (told.has(why)) continue;
        told.add(why);
        end();
        write(`${why}\n`);
      }
      const text = describeProgress(followers, report.present);
      if (terminal.isTty) {
        const arrived = followers.filter(({ problem }) => problem === null).length;
        const filled = Math.floor((barWidth * arrived) / Math.max(followers.length, 1));
        const bar = `[${'#'.repeat(filled)}${'-'.repeat(barWidth - filled)}]`;
        write(`\r${eraseLine}${`${bar} ${text}`.slice(0, terminal.columns - 1)}`);
      } else if (text !== drawn) write(`${text}\n`);
      drawn = text;
    },
  };
}

/** Of the present content: it will not become better by waiting, but somebody may correct the Secret. */
function listRejections(followers: readonly NodeReport[], present: string | null): ReadonlySet<string> {
  const rejecting = followers.filter(({ state, observed }) => state === 'Rejected' && observed === present);
  return new Set(rejecting.map(({ reason, message }) => `${reason || 'Rejected'}: ${message}`));
}

const barWidth = 20;
const eraseLine = '\u001b[K';

// When the runtime may be restarted. The times are on disk, so neither a crash nor a clock that was set back shortens the wait.

import type { Host } from './host/host.ts';
import type { PassContext } from './reconcile.ts';
import type { Decision } from './trust/desired.ts';
import { type NotedTime, type RuntimeRecord, timeOf } from './trust/observation.ts';

/**
 * The node's moment in the spread after the rebuild, and not sooner than its interval after the last restart, as both are
 * recorded on disk. What lies ahead was recorded by a clock that was set back since: it counts from now on, which is noted.
 */
export async function restartTime(
  host: Host,
  { verdict }: Pick<Decision, 'verdict'>,
  { restartDelayMs, restartIntervalMs, now }: PassContext,
): Promise<Date> {
  if (verdict.kind === 'withdrawn') return now();
  const { runtime } = await host.facts.read();
  const rebuild = runtime.rebuild && countFrom(runtime.rebuild, now());
  const restarted = runtime.restarted && countFrom(runtime.restarted, now());
  await host.facts.update({ runtime: { ...runtime, ...(rebuild && { rebuild }), ...(restarted && { restarted }) } });
  return new Date(Math.max(after(rebuild, restartDelayMs), after(restarted, restartIntervalMs)));
}

/** What outlives the last of our trust, so that a label that comes and goes restarts the runtime no sooner than its interval. */
export function beyondTrust(
  { restarted }: RuntimeRecord,
  { restartIntervalMs, now }: Pick<PassContext, 'restartIntervalMs' | 'now'>,
): RuntimeRecord {
  const goesOn =
    restarted !== undefined && restartIntervalMs > 0 && after(restarted, restartIntervalMs) > now().getTime();
  return goesOn ? { restarted: timeOf(restarted) } : {};
}

function after(noted: NotedTime | undefined, ms: number): number {
  return noted === undefined ? 0 : Date.parse(noted.countsFrom ?? noted.at) + ms;
}

function countFrom<T extends NotedTime>(noted: T, now: Date): T {
  const isAhead = Date.parse(noted.countsFrom ?? noted.at) > now.getTime();
  return isAhead ? { ...noted, countsFrom: now.toISOString() } : noted;
}

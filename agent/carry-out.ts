// Carries out a plan against the host: in order, abortable between steps, stopping at the first failure. What failed because
// of the bundle or the host itself is held, so that no restart and no rebuild is tried again in a world that has not changed.

import { AgentError } from './errors.ts';
import type { Host } from './host/host.ts';
import type { PassContext } from './reconcile.ts';
import type { Decision } from './trust/desired.ts';
import { digestWorld, type Observation } from './trust/observation.ts';
import { planTrust, type Step } from './trust/plan.ts';
import type { Carried, HostFacts } from './trust/report.ts';
import { type HeldFailure, type Status, sentence } from './trust/status.ts';

export interface Work {
  readonly carried: Carried;
  readonly steps: readonly Step[];
  readonly warnings: readonly string[];
  /** The host as it was found at the end, and what it still lacks: nothing is the proof. */
  readonly after: Observation;
  readonly remaining: readonly Step[];
}

/**
 * Carries out the plan, and what it wants after that once more: somebody may have changed the host meanwhile, or a runtime
 * that was awaited has come up. The runtime is not restarted twice.
 */
export async function carryOut(
  { desired, ...decision }: Decision,
  before: Observation,
  host: Host,
  context: PassContext,
  signal: AbortSignal,
): Promise<Work> {
  const steps: Step[] = [];
  const warnings: string[] = [];
  let after = before;
  const end = (carried: Carried): Work => {
    return { carried, steps, warnings, after, remaining: planTrust(desired, after) };
  };
  if (decision.verdict.kind === 'kept') return { ...end({ kind: 'done' }), remaining: [] };
  for (let round = 1; round <= 2; round += 1) {
    const plan = planTrust(desired, after);
    if (plan.length === 0) await host.facts.update({ held: undefined });
    if (plan.length === 0 || (steps.some(restarts) && plan.some(restarts))) break;
    const held = await readHeld(host, context.retryMark);
    const isSame = held?.world === digestWorld(desired, after) && !isNewWish(context.retryMark, held.retryMark);
    if (isSame && !plan.every(isHarmless)) return end({ kind: 'held', held });
    const carried = await carryOutOnce(plan, { steps, warnings }, decision, host, context, signal);
    signal.throwIfAborted();
    after = await host.observe('ask', signal);
    await noteHeld(carried, digestWorld(desired, after), host, context.retryMark);
    if (carried.kind !== 'done') return end(carried);
  }
  return end({ kind: 'done' });
}

/** A wish that could not be read when it failed was perhaps there already: the first that can be read is taken for that. */
async function readHeld(host: Host, retryMark: string | undefined): Promise<HeldFailure | undefined> {
  const { held } = await host.facts.read();
  if (held === undefined || held.retryMark !== undefined || retryMark === undefined) return held;
  await host.facts.update({ held: { ...held, retryMark } });
  return { ...held, retryMark };
}

function isNewWish(now: string | undefined, then: string | undefined): boolean {
  return now !== undefined && now !== '' && now !== then;
}

function restarts({ kind }: Step): boolean {
  return kind === 'restart-runtime';
}

/** What disturbs nobody is done in a world, too, in which something else has failed. */
function isHarmless({ kind }: Step): boolean {
  return kind === 'note-loaded' || kind === 'unindex' || kind === 'reindex';
}

async function carryOutOnce(
  plan: readonly Step[],
  { steps, warnings }: { readonly steps: Step[]; readonly warnings: string[] },
  decision: Omit<Decision, 'desired'>,
  host: Host,
  context: PassContext,
  signal: AbortSignal,
): Promise<Carried> {
  try {
    for (const step of plan) {
      if (step.kind === 'restart-runtime') {
        const until = await restartTime(host, decision, context);
        if (until > context.now()) return { kind: 'waiting', unit: step.unit, until };
        await context.report(applying(step.unit, decision, host), signal);
      }
      warnings.push(...(await host.apply(step, signal)));
      steps.push(step);
      context.onStep(step);
    }
    return { kind: 'done' };
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    return { kind: 'failed', error };
  }
}

/** Counted from the rebuild as it is recorded on disk. One that lies ahead was recorded by a clock that was set back since. */
async function restartTime(
  host: Host,
  { verdict }: Pick<Decision, 'verdict'>,
  { restartDelayMs, now }: PassContext,
): Promise<Date> {
  if (verdict.kind === 'withdrawn') return now();
  const { rebuild } = (await host.facts.read()).runtime;
  const since = rebuild === undefined ? 0 : Date.parse(rebuild.at);
  return new Date(since > now().getTime() ? 0 : since + restartDelayMs);
}

function applying(
  unit: string,
  { observed, findings }: Pick<Decision, 'observed' | 'findings'>,
  { store, runtime }: HostFacts,
): Status {
  const message = `the store is up to date; ${unit} is being restarted, containers go on`;
  return {
    state: 'Applying',
    reason: '',
    message,
    trusted: undefined,
    observed,
    findings,
    store,
    runtime,
    warnings: [],
  };
}

async function noteHeld(carried: Carried, world: string, host: Host, retryMark: string | undefined): Promise<void> {
  const error = carried.kind === 'failed' && carried.error.retry === 'content' ? carried.error : undefined;
  const message = error && sentence(error.message, error.remedy);
  await host.facts.update({ held: error && message ? { world, retryMark, code: error.code, message } : undefined });
}

// One pass, top to bottom: observe the host, read the source, decide, plan, apply, prove, report.
// Start reading here. Everything that decides is pure and lives in trust/; this file is where host and source meet,
// through types alone. A pass never throws for a failing world: that is a `Failed` status and a time for the next try.

import { AgentError } from './errors.ts';
import type { FactsFile } from './host/facts.ts';
import type { Host } from './host/host.ts';
import type { AdmissionOptions } from './trust/admission.ts';
import { type Decision, decideTrust, keepTrust, withdrawTrust } from './trust/desired.ts';
import { digestWorld, type Observation, ownOnHost, trustedNow } from './trust/observation.ts';
import { planTrust, type Step } from './trust/plan.ts';
import { type Carried, type HostFacts, type Next, reportFailure, reportPass } from './trust/report.ts';
import type { Source } from './trust/source.ts';
import { type Status, sentence } from './trust/status.ts';

/** Follow the source, or leave what is there as it is, or take away all that is ours, at once. */
export type Aim = 'follow' | 'keep' | 'withdraw';

export interface PassContext {
  readonly source: Source;
  /** Throws what makes the host unusable for now: another agent's lock, an unknown distribution, no runtime. */
  openHost(signal: AbortSignal): Promise<Host>;
  /** Asked once a pass, with what the host remembers. */
  chooseAim(facts: FactsFile): Promise<Aim>;
  readonly now: () => Date;
  readonly graceMs: number;
  /** How long after the change of the store this node's runtime is disturbed. */
  readonly restartDelayMs: number;
  readonly admission: { readonly maxCertificates: number; readonly allowNonCa: boolean };
  /** Somebody's wish to try a held failure again: any value that was not there before. */
  readonly retryMark: string;
  /** Told before the step that disturbs the runtime, and at the end, on failure too. */
  report(status: Status, signal: AbortSignal): Promise<void>;
  onStep(step: Step): void;
}

export interface Outcome {
  readonly status: Status;
  readonly next: Next;
  /** What was carried out. */
  readonly steps: readonly Step[];
}

/** Throws only the signal's own reason: a pass that was aborted reports nothing. */
export async function reconcile(context: PassContext, signal: AbortSignal): Promise<Outcome> {
  const outcome = await pass(context, signal).catch((error: unknown): Outcome => {
    signal.throwIfAborted();
    if (!(error instanceof AgentError)) throw error;
    return { ...reportFailure(error), steps: [] };
  });
  await context.report(outcome.status, signal);
  return outcome;
}

async function pass(context: PassContext, signal: AbortSignal): Promise<Outcome> {
  const host = await context.openHost(signal);
  const observed = await host.observe(signal);
  const aim = await context.chooseAim(host.facts);
  const decision = await decide(aim, context, host, observed, signal);
  const { held } = await host.facts.update({ source: decision.memory });

  const plan = planTrust(decision.desired, observed);
  const isHeld = plan.length > 0 && held?.world === digestWorld(decision.desired, observed, context.retryMark);
  const carried: CarriedSteps = isHeld
    ? { kind: 'held', held, steps: [], warnings: [] }
    : await carryOut(plan, host, decision, context, signal);
  signal.throwIfAborted();

  const after = plan.length === 0 || isHeld ? observed : await host.observe(signal);
  const remaining = planTrust(decision.desired, after);
  await noteHeld(carried, digestWorld(decision.desired, after, context.retryMark), host);
  const { steps, warnings } = carried;
  const facts = { source: context.source.name, store: host.store, runtime: host.runtime, warnings };
  const trusted = trustedNow(after, decision.certificates);
  const report = reportPass({ ...facts, decision, carried, remaining, trusted });
  if (report.next.kind === 'end') await host.facts.forget();
  return { ...report, steps };
}

async function decide(
  aim: Aim,
  context: PassContext,
  host: Host,
  observed: Observation,
  signal: AbortSignal,
): Promise<Decision> {
  const { source, now, graceMs, admission } = context;
  if (aim === 'withdraw') return withdrawTrust(source.name);
  const { source: memory } = await host.facts.read();
  const onHost = ownOnHost(observed);
  const known = { source: source.name, memory, onHost, now: now(), graceMs, admission: admissionFor(host, admission) };
  if (aim === 'keep') return keepTrust(known);
  const snapshot = await source.read(signal);
  signal.throwIfAborted();
  return decideTrust(snapshot, known);
}

/** A store that drops certificates which are not CAs cannot be told to keep them. */
export function admissionFor(
  host: Host,
  { maxCertificates, allowNonCa }: PassContext['admission'],
): Omit<AdmissionOptions, 'now'> {
  return { maxCertificates, nonCa: allowNonCa && host.keepsNonCa ? 'warning' : 'error' };
}

type CarriedSteps = Carried & { readonly steps: readonly Step[]; readonly warnings: readonly string[] };

async function carryOut(
  plan: readonly Step[],
  host: Host,
  decision: Decision,
  context: PassContext,
  signal: AbortSignal,
): Promise<CarriedSteps> {
  const steps: Step[] = [];
  const warnings: string[] = [];
  try {
    for (const step of plan) {
      if (step.kind === 'restart-runtime') {
        const until = await restartTime(host, decision, context);
        if (until > context.now()) return { kind: 'waiting', unit: step.unit, until, steps, warnings };
        await context.report(applying(step.unit, decision, host), signal);
      }
      warnings.push(...(await host.apply(step, signal)));
      steps.push(step);
      context.onStep(step);
    }
    return { kind: 'done', steps, warnings };
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    return { kind: 'failed', error, steps, warnings };
  }
}

/** Counted from the rebuild as it is recorded on disk; a clock that was set back must not put it off for longer. */
async function restartTime(host: Host, { verdict }: Decision, { restartDelayMs, now }: PassContext): Promise<Date> {
  if (verdict.kind === 'withdrawn') return now();
  const { rebuild } = (await host.facts.read()).runtime;
  const since = rebuild === undefined ? 0 : Math.min(Date.parse(rebuild.at), now().getTime());
  return new Date(since + restartDelayMs);
}

function applying(unit: string, { observed, findings }: Decision, { store, runtime }: HostFacts): Status {
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

async function noteHeld(carried: Carried, world: string, host: Host): Promise<void> {
  if (carried.kind === 'held') return;
  const error = carried.kind === 'failed' && carried.error.retry === 'content' ? carried.error : undefined;
  const held = error && { world, code: error.code, message: sentence(error.message, error.remedy) };
  await host.facts.update({ held });
}

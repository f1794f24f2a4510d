// One pass, top to bottom: observe the host, read the source, decide, plan, apply, prove, report.
// Start reading here. Everything that decides is pure and lives in trust/; this file is where host and source meet,
// through types alone. A pass never throws for a failing world: that is a `Failed` status and a time for the next try.

import { carryOut } from './carry-out.ts';
import { AgentError } from './errors.ts';
import type { FactsFile } from './host/facts.ts';
import type { Host } from './host/host.ts';
import type { AdmissionOptions } from './trust/admission.ts';
import { type Decision, decideTrust, keepTrust, withdrawTrust } from './trust/desired.ts';
import type { Drift } from './trust/drift.ts';
import { type Observation, ownOnHost, trustedNow } from './trust/observation.ts';
import type { Step } from './trust/plan.ts';
import { explainOperational } from './trust/reasons.ts';
import { type Next, reportFailure, reportPass } from './trust/report.ts';
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
  /** Least time between two restarts of the runtime, but to undo one. */
  readonly restartIntervalMs: number;
  readonly admission: { readonly maxCertificates: number; readonly allowNonCa: boolean };
  /** Somebody's wish to try a held failure again: any value that was not there before. Undefined: could not be read. */
  readonly retryMark: string | undefined;
  /** Whether to report it would tell anybody what was not told before. */
  isNews(status: Status): boolean;
  /** Told before the step that disturbs the runtime, and at the end, on failure too. */
  report(status: Status, signal: AbortSignal): Promise<void>;
  onStep(step: Step): void;
}

export interface Outcome {
  readonly status: Status;
  readonly next: Next;
  /** What was carried out. */
  readonly steps: readonly Step[];
  /** What somebody else had changed and is as it was again. */
  readonly repaired: readonly Drift[];
}

/** Throws only the signal's own reason: a pass that was aborted reports nothing. */
export async function reconcile(context: PassContext, signal: AbortSignal): Promise<Outcome> {
  const outcome = await pass(context, signal).catch((error: unknown): Outcome => {
    signal.throwIfAborted();
    if (!(error instanceof AgentError)) throw error;
    return { ...reportFailure(error), steps: [], repaired: [] };
  });
  await context.report(outcome.status, signal);
  return outcome;
}

async function pass(context: PassContext, signal: AbortSignal): Promise<Outcome> {
  const host = await context.openHost(signal);
  const observed = await host.observe('glance', signal);
  const aim = await context.chooseAim(host.facts);
  const decision = await decide(aim, context, host, observed, signal);
  const loss = await host.facts.findLoss();
  await host.facts.update({ source: decision.memory });

  const prove = async (before: Observation): Promise<Outcome> => {
    const { steps, after, repaired, ...work } = await carryOut(decision, before, host, context, signal);
    const warnings = [
      ...(loss === undefined ? [] : [loss]),
      ...work.warnings,
      ...after.store.stillTrusted.map(describeStillTrusted),
    ];
    const facts = { source: context.source.name, store: host.store, runtime: host.runtime };
    const trusted = trustedNow(after, decision.certificates);
    return { ...reportPass({ ...facts, ...work, warnings, decision, trusted }), steps, repaired };
  };
  let outcome = await prove(observed);
  // What is told anew rests on more than a glance; what was carried out has been looked at already.
  const isGlance = outcome.steps.length === 0 && outcome.status.state === 'Synced';
  if (isGlance && context.isNews(outcome.status)) outcome = await prove(await host.observe('ask', signal));
  if (outcome.next.kind === 'end') await host.facts.forget();
  return outcome;
}

function describeStillTrusted(found: { readonly fingerprint: string; readonly path: string }): string {
  const { code, message, remedy } = explainOperational('StillTrusted', found);
  return `${code}: ${sentence(message, remedy)}`;
}

/** What the host shall trust, and why. Reads the source where that is the aim. */
export async function decide(
  aim: Aim,
  context: Pick<PassContext, 'source' | 'now' | 'graceMs' | 'admission'>,
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
function admissionFor(
  host: Host,
  { maxCertificates, allowNonCa }: PassContext['admission'],
): Omit<AdmissionOptions, 'now'> {
  return { maxCertificates, nonCa: allowNonCa && host.keepsNonCa ? 'warning' : 'error' };
}

// One pass, top to bottom: observe the host, read the source, decide, plan, apply, prove, report.
// Start reading here. Everything that decides is pure and lives in trust/; this file is where host and source meet,
// through types alone. A pass never throws for a failing world: that is a `Failed` status and a time for the next try.

import { carryOut } from './carry-out.ts';
import { AgentError } from './errors.ts';
import type { FactsFile } from './host/facts.ts';
import type { Host } from './host/host.ts';
import { beyondTrust } from './restart-time.ts';
import type { AdmissionOptions } from './trust/admission.ts';
import type { TrustBundle } from './trust/bundle.ts';
import { type Decision, decideTrust, keepTrust, type SourceMemory, withdrawTrust } from './trust/desired.ts';
import type { Drift } from './trust/drift.ts';
import { type Observation, ownOnHost, trustedNow } from './trust/observation.ts';
import type { Step } from './trust/plan.ts';
import { explainOperational } from './trust/reasons.ts';
import { type Next, reportFailure, reportPass } from './trust/report.ts';
import type { Source, SourceSnapshot } from './trust/source.ts';
import { decideBoth, type SourceDecision } from './trust/sources.ts';
import { type Status, sentence } from './trust/status.ts';

/** Follow the source, or leave what is there as it is, or take away all that is ours, at once. */
export type Aim = 'follow' | 'keep' | 'withdraw';

export interface PassContext {
  /** The one that is followed: the cluster's, or what a person named. */
  readonly source: Source;
  /** The machine's own, which stays when the other is withdrawn. */
  readonly local?: Source | undefined;
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
  const { source, decision, local } = await decide(aim, context, host, observed, signal);
  const loss = await host.facts.findLoss();
  const ours = new Set(decision.desired.certificates.map(({ fingerprint }) => fingerprint));
  const twice = (await host.readLeftovers()).filter(({ fingerprint }) => ours.has(fingerprint));
  // What is only kept was not asked for: whose it is may be found out later.
  if (aim !== 'keep') await host.facts.update({ source: decision.memory, ...(local !== undefined && { local }) });
  let untold: readonly string[] | undefined;
  const prove = async (before: Observation): Promise<Outcome> => {
    const { steps, after, repaired, ...work } = await carryOut(decision, before, host, context, signal);
    const warnings = [
      ...(loss === undefined ? [] : [loss]),
      ...work.warnings,
      ...(steps.some(({ kind }) => kind === 'rebuild-store') ? [] : (untold ??= await host.retell(signal))),
      ...after.store.stillTrusted.map((found) => describeForeign('StillTrusted', found)),
      ...twice.map((found) => describeForeign('TrustedTwice', found)),
    ];
    const facts = { source, store: host.store, runtime: host.runtime };
    const trusted = trustedNow(after, decision.certificates);
    return { ...reportPass({ ...facts, ...work, warnings, decision, trusted }), steps, repaired };
  };
  let outcome = await prove(observed);
  // What is told anew rests on more than a glance; what was carried out has been looked at already.
  const isGlance = outcome.steps.length === 0 && outcome.status.state === 'Synced';
  if (isGlance && context.isNews(outcome.status)) outcome = await prove(await host.observe('ask', signal));
  if (outcome.next.kind !== 'end') return outcome;
  // A hook that has not been told, a key store's say, holds what was taken away.
  const { untold: left, runtime } = await host.facts.read();
  if (left !== undefined) return { ...outcome, next: { kind: 'back-off' } };
  if (decision.desired.certificates.length === 0) await host.facts.forget(beyondTrust(runtime, context));
  return outcome;
}

function describeForeign(
  reason: 'StillTrusted' | 'TrustedTwice',
  found: { readonly fingerprint: string; readonly path: string },
): string {
  const { code, message, remedy } = explainOperational(reason, found);
  return `${code}: ${sentence(message, remedy)}`;
}

export interface Decided extends SourceDecision {
  /** Of the machine's own source, where it was looked at. */
  readonly local?: SourceMemory;
}

/** What the host shall trust, and why. Reads the sources where that is the aim. */
export async function decide(
  aim: Aim,
  context: Pick<PassContext, 'source' | 'local' | 'now' | 'graceMs' | 'admission'>,
  host: Host,
  observed: Observation,
  signal: AbortSignal,
): Promise<Decided> {
  const { source: main, local, now, graceMs } = context;
  const { source: memory, local: memoryOfFile } = await host.facts.read();
  const onHost = ownOnHost(observed);
  const read = async (source: Source): Promise<SourceSnapshot> => {
    const snapshot = await source.read(signal);
    signal.throwIfAborted();
    return snapshot;
  };
  const ofFile = aim === 'keep' || local === undefined ? undefined : await read(local);
  const atBoot = ofFile && (await host.readBootList());
  const ofMain = aim === 'follow' ? await read(main) : undefined;
  const terms = {
    now: now(),
    // Where the cluster is left nobody comes back for the end of a grace.
    graceMs: aim === 'withdraw' ? 0 : graceMs,
    admission: admissionFor(host, context.admission),
  };
  const decideMain = (unclaimed: TrustBundle): Decision => {
    const context = { ...terms, source: main.name, memory, onHost: unclaimed };
    if (aim === 'keep') return keepTrust(context);
    return ofMain === undefined ? withdrawTrust(main.name) : decideTrust(ofMain, context);
  };
  if (local === undefined || ofFile === undefined) return { source: main.name, decision: decideMain(onHost) };
  return decideBoth(
    { source: main.name, memory, decide: decideMain },
    { source: local.name, memory: memoryOfFile, snapshot: ofFile },
    { onHost, atBoot },
    terms,
  );
}

/** A store that drops certificates which are not CAs cannot be told to keep them. */
function admissionFor(
  host: Host,
  { maxCertificates, allowNonCa }: PassContext['admission'],
): Omit<AdmissionOptions, 'now'> {
  return { maxCertificates, nonCa: allowNonCa && host.keepsNonCa ? 'warning' : 'error' };
}

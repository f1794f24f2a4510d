// Carries out a plan against the host as a transaction: in order, abortable between steps, stopping at the first failure;
// what was added is then taken away again (roll-back.ts). What failed because of the bundle or the host itself is held, so
// that no restart and no rebuild is tried again in a world that has not changed.

import { AgentError } from './errors.ts';
import { type Facts, limitWithdrawn } from './host/facts.ts';
import type { Host } from './host/host.ts';
import type { PassContext } from './reconcile.ts';
import { restartTime } from './restart-time.ts';
import { type Aims, endRollBack, type Means, rollBack } from './roll-back.ts';
import type { TrustBundle } from './trust/bundle.ts';
import type { Certificate } from './trust/certificate.ts';
import type { Decision } from './trust/desired.ts';
import { type Drift, planAgainstDrift } from './trust/drift.ts';
import { type AnchorName, anchorName, digestWorld, type Observation, trustedNow } from './trust/observation.ts';
import { isHarmless, planTrust, type Step } from './trust/plan.ts';
import type { Carried, HostFacts } from './trust/report.ts';
import { type Status, sentence, type Undoing } from './trust/status.ts';

export interface Work {
  readonly carried: Carried;
  readonly steps: readonly Step[];
  readonly warnings: readonly string[];
  /** The host as it was found at the end, and what it still lacks: nothing is the proof. */
  readonly after: Observation;
  readonly remaining: readonly Step[];
  /** What somebody else had changed and is as it was again. */
  readonly repaired: readonly Drift[];
}

/**
 * Carries out the plan, and what it wants after that twice more: somebody may have changed the host meanwhile, or a runtime
 * that was awaited has come up. The runtime is not restarted twice, but to undo: a second restart waits for its own time.
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
  const drifts: Drift[] = [];
  let after = before;
  const end = (carried: Carried): Work => {
    return { carried, steps, warnings, after, remaining: planTrust(desired, after), repaired: drifts };
  };
  if (decision.verdict.kind === 'kept') return { ...end({ kind: 'done' }), remaining: [] };
  const { withdrawn: known = [] } = await host.facts.read();
  let facts = await remember(desired, before, host, context.retryMark);
  const { retryMark = '', undoing } = facts;
  // What is known to go only now may be in the bundle again, or still, without its anchor. And a glance takes a process on its
  // way down for one that runs: a restart of ours may still be under way.
  const isNewlyGoing = facts.withdrawn?.some((name) => !known.includes(name)) === true;
  if (isNewlyGoing || undoing !== undefined) after = await host.observe('ask', signal);
  const aims: Aims = { desired, proven: new Set(facts.proven), retryMark };
  const run = (plan: readonly Step[], restartAt: RestartAt): Promise<Carried> =>
    carryOutOnce(plan, { steps, warnings }, decision, restartAt, host, context, signal);
  const undo: Means = {
    note: (begun) => noteUndoing(begun, host),
    run: (plan) => run(plan, () => Promise.resolve(context.now())),
    observe: () => host.observe('ask', signal),
  };
  // A rollback that was cut off is ended; with another bundle or wish by now, only if the runtime may be down for it.
  const isSameTry = undoing?.bundle === desired.digest && undoing.retryMark === retryMark;
  if (undoing !== undefined && (isSameTry || after.runtime.kind !== 'running')) {
    const undone = await endRollBack(undoing, aims, after, undo);
    after = undone.after;
    if (isSameTry) {
      await noteHeld(undone.error, digestWorld(desired, after), host, retryMark);
      return end({ kind: 'failed', error: undone.error });
    }
  }
  if (undoing !== undefined) facts = await host.facts.update({ undoing: undefined });
  const undoingSteps = steps.length; // the restarts among them were to undo
  for (let round = 1; round <= 3; round += 1) {
    if (round > 1) facts = await host.facts.read();
    const { plan, repaired, fight, repairs } = planAgainstDrift(desired, after, facts, host.places, context.now());
    if (plan.length === 0 && fight !== undefined) {
      await host.facts.update({ repairs });
      return end(fight);
    }
    if (plan.length === 0) break;
    const isSecondRestart = steps.slice(undoingSteps).some(restarts) && plan.some(restarts);
    if (isSecondRestart && plan.some(({ kind }) => kind === 'rebuild-store')) break; // the store has not become what it should
    const { held } = facts;
    const isNewWish = retryMark !== '' && retryMark !== held?.retryMark;
    const isSame = held?.world === digestWorld(desired, after) && !isNewWish;
    if (isSame && !plan.every(isHarmless)) return end({ kind: 'held', held });
    const stepsBefore = steps.length;
    let carried = await run(plan, async () => {
      const soonestMs = isSecondRestart ? context.now().getTime() + settleMs : 0;
      return new Date(Math.max((await restartTime(host, decision, context)).getTime(), soonestMs));
    });
    // Whatever has failed after the store, what is of the store was repaired.
    const isStoreDone = plan.slice(steps.length - stepsBefore).every((step) => 'unit' in step);
    signal.throwIfAborted();
    after = await host.observe('ask', signal);
    if (carried.kind === 'failed') {
      const undone = await rollBack(carried.error, aims, after, undo);
      carried = { kind: 'failed', error: undone.error };
      after = undone.after;
    }
    const failure = carried.kind === 'failed' ? carried.error : undefined;
    await noteHeld(failure, digestWorld(desired, after), host, retryMark);
    if (failure === undefined || isStoreDone) {
      drifts.push(...repaired);
      await host.facts.update({ repairs });
    }
    if (carried.kind !== 'done') return end(carried);
    if (fight !== undefined) return end(fight);
  }
  const work = end({ kind: 'done' });
  if (work.remaining.length === 0) {
    await host.facts.update({ held: undefined, proven: namesOf(desired.certificates), added: undefined });
  }
  return work;
}

type RestartAt = () => Promise<Date>;

/** For whoever has written the store while the runtime started to come to an end. */
const settleMs = 15_000;

/**
 * The records, with what this pass knows: what is found at the first pass of all counts as proven, since others have lived with
 * it; what of that, of what was only being added, or of our links is to go, since somebody else, or the boot, may take the anchor
 * away before us; a wish to try again that cannot be read is the last that could be.
 */
async function remember(
  { certificates }: TrustBundle,
  { store }: Observation,
  host: Host,
  retryMark: string | undefined,
): Promise<Facts> {
  const { proven: last, added: begun = [], withdrawn: before = [] } = await host.facts.read();
  const proven = last ?? namesOf(trustedNow({ store }, []).certificates.map(({ certificate }) => certificate));
  const wanted = new Set(namesOf(certificates));
  const there = new Set(namesOf(store.anchors.flatMap(({ certificate }) => certificate ?? [])));
  const gone = before.filter((name) => !(wanted.has(name) && there.has(name)));
  const known = new Set([...proven, ...begun, ...store.derived]);
  const going = [...known].filter((name) => !wanted.has(name) && !gone.includes(name));
  const added = [...wanted].filter((name) => !proven.includes(name) && (there.has(name) || begun.includes(name)));
  const wish = retryMark !== undefined && { retryMark: retryMark === '' ? undefined : retryMark };
  return host.facts.update({
    proven,
    added: added.length === 0 ? undefined : added,
    withdrawn: limitWithdrawn([...gone, ...going]),
    ...wish,
  });
}

function namesOf(certificates: readonly Certificate[]): readonly AnchorName[] {
  return certificates.map(({ fingerprint }) => anchorName(fingerprint));
}

function restarts({ kind }: Step): boolean {
  return kind === 'restart-runtime';
}

async function carryOutOnce(
  plan: readonly Step[],
  { steps, warnings }: { readonly steps: Step[]; readonly warnings: string[] },
  decision: Omit<Decision, 'desired'>,
  restartAt: RestartAt,
  host: Host,
  context: PassContext,
  signal: AbortSignal,
): Promise<Carried> {
  try {
    for (const step of plan) {
      if (step.kind === 'restart-runtime') {
        const until = await restartAt();
        if (until > context.now()) return { kind: 'waiting', unit: step.unit, until };
        await context.report(applying(step.unit, decision, host), signal);
      }
      const told = await host.apply(step, signal);
      if (told === 'outdated') return { kind: 'done' }; // as far as the plan is good: what is left is planned anew
      warnings.push(...told);
      steps.push(step);
      context.onStep(step);
    }
    return { kind: 'done' };
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    return { kind: 'failed', error };
  }
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

/** What is not to be tried again; a rollback has ended with it. */
async function noteHeld(error: AgentError | undefined, world: string, host: Host, retryMark: string): Promise<void> {
  const isHeld = error?.retry === 'content';
  const held = isHeld
    ? { world, retryMark, code: error.code, message: sentence(error.message, error.remedy) }
    : undefined;
  await host.facts.update({ held, undoing: undefined });
}

/** A disk that takes no note is no reason to leave things as they are. */
async function noteUndoing(undoing: Undoing, host: Host): Promise<void> {
  try {
    await host.facts.update({ undoing });
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
  }
}

// Carries out a plan against the host as a transaction: in order, abortable between steps, stopping at the first failure;
// what was added is then taken away again (roll-back.ts). What failed because of the bundle or the host itself is held, so
// that no restart and no rebuild is tried again in a world that has not changed.

import { AgentError } from './errors.ts';
import type { Host } from './host/host.ts';
import type { PassContext } from './reconcile.ts';
import { restartTime } from './restart-time.ts';
import { type Aims, endRollBack, type Means, rollBack, type Undone } from './roll-back.ts';
import type { Certificate } from './trust/certificate.ts';
import type { Decision } from './trust/desired.ts';
import { type Drift, planAgainstDrift } from './trust/drift.ts';
import { anchorNames, digestWorld, type Observation } from './trust/observation.ts';
import { isHarmless, planTrust, type Step } from './trust/plan.ts';
import { provenBy, recollect, withdraw } from './trust/provenance.ts';
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

/** For whoever has written the store while the runtime started to come to an end. */
const settleMs = 15_000;

/** What the parts of a pass share. */
interface Pass extends Omit<Decision, 'desired'> {
  readonly host: Host;
  readonly context: PassContext;
  readonly signal: AbortSignal;
  readonly aims: Aims;
  /** What was done until now. */
  readonly done: { readonly steps: Step[]; readonly warnings: string[]; readonly repaired: Drift[] };
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
  const done: Pass['done'] = { steps: [], warnings: [], repaired: [] };
  const end = (carried: Carried, after: Observation): Work => {
    return { carried, ...done, after, remaining: planTrust(desired, after) };
  };
  if (decision.verdict.kind === 'kept') return { ...end({ kind: 'done' }, before), remaining: [] };
  const known = await host.facts.read();
  const wish = context.retryMark ?? known.retryMark; // one that cannot be read is the last that could be
  const { proven, withdrawn, undoing, retryMark } = await host.facts.update({
    ...recollect(known, desired, before.store),
    retryMark: wish === '' ? undefined : wish,
  });
  const pass: Pass = {
    ...decision,
    host,
    context,
    signal,
    aims: { desired, proven: new Set(proven), retryMark: retryMark ?? '' },
    done,
  };
  // What is known to go only now may be in the bundle again, or still, without its anchor. And a glance takes a process on its
  // way down for one that runs: a restart of ours may still be under way.
  const isNewlyGoing = withdrawn?.some((name) => known.withdrawn?.includes(name) !== true) === true;
  let after = isNewlyGoing || undoing !== undefined ? await host.observe('ask', signal) : before;
  if (undoing !== undefined) {
    const undone = await endCutOff(undoing, after, pass);
    after = undone.after;
    if (undone.error !== undefined) return end({ kind: 'failed', error: undone.error }, after);
  }
  const undoingSteps = done.steps.length; // the restarts among them were to undo
  for (let round = 1; round <= 3; round += 1) {
    const { carried, after: found } = await carryOutRound(after, undoingSteps, pass);
    after = found;
    if (carried === undefined) break;
    if (carried.kind !== 'done') return end(carried, after);
  }
  const work = end({ kind: 'done' }, after);
  if (work.remaining.length === 0) {
    await host.facts.update({ held: undefined, ...provenBy(desired.certificates) });
  }
  return work;
}

/**
 * A rollback that was cut off is ended; with another bundle or wish by now, only if the runtime may be down for it. Its failure is
 * told where it was the same try.
 */
async function endCutOff(
  undoing: Undoing,
  before: Observation,
  pass: Pass,
): Promise<{ readonly error: AgentError | undefined; readonly after: Observation }> {
  const { aims, host } = pass;
  const isSameTry = undoing.bundle === aims.desired.digest && undoing.retryMark === aims.retryMark;
  const isEnded = isSameTry || before.runtime.kind !== 'running';
  const undone = isEnded ? await endRollBack(undoing, aims, before, undoBy(pass)) : undefined;
  const after = undone?.after ?? before;
  if (!isSameTry) await host.facts.update({ undoing: undefined });
  else await noteEnd(undone, after, pass);
  return { error: isSameTry ? undone?.error : undefined, after };
}

/** One plan; nothing is carried out where there is nothing to do, or nothing that may be done now. */
async function carryOutRound(
  before: Observation,
  undoingSteps: number,
  pass: Pass,
): Promise<{ readonly carried: Carried | undefined; readonly after: Observation }> {
  const { aims, done, host, context, signal } = pass;
  const { desired, retryMark } = aims;
  const facts = await host.facts.read();
  const { plan, repaired, fight, repairs } = planAgainstDrift(desired, before, facts, host.places, context.now());
  if (plan.length === 0) {
    if (fight !== undefined) await host.facts.update({ repairs });
    return { carried: fight, after: before };
  }
  const isSecondRestart = done.steps.slice(undoingSteps).some(restarts) && plan.some(restarts);
  if (isSecondRestart && plan.some(({ kind }) => kind === 'rebuild-store')) {
    return { carried: undefined, after: before }; // the store has not become what it should
  }
  const { held } = facts;
  const isNewWish = retryMark !== '' && retryMark !== held?.retryMark;
  const isSame = held !== undefined && held.world === digestWorld(desired, before, held.code) && !isNewWish;
  if (isSame && !plan.every(isHarmless)) return { carried: { kind: 'held', held }, after: before };
  const stepsBefore = done.steps.length;
  const tried = await carryOutOnce(plan, pass, async () => {
    const soonestMs = isSecondRestart ? context.now().getTime() + settleMs : 0;
    return new Date(Math.max((await restartTime(host, pass, context)).getTime(), soonestMs));
  });
  // Whatever has failed after the store, what is of the store was repaired.
  const isStoreDone = plan.slice(done.steps.length - stepsBefore).every((step) => 'unit' in step);
  signal.throwIfAborted();
  const found = await host.observe('ask', signal);
  const undone = tried.kind === 'failed' ? await rollBack(tried.error, aims, found, undoBy(pass)) : undefined;
  const after = undone?.after ?? found;
  await noteEnd(undone, after, pass);
  if (undone === undefined || isStoreDone) {
    done.repaired.push(...repaired);
    await host.facts.update({ repairs });
  }
  if (undone !== undefined) return { carried: { kind: 'failed', error: undone.error }, after };
  return { carried: tried.kind === 'done' ? (fight ?? tried) : tried, after };
}

function undoBy(pass: Pass): Means {
  const { host, context, signal } = pass;
  return {
    note: (begun, going) => noteUndoing(begun, going, host),
    run: (plan) => carryOutOnce(plan, pass, () => Promise.resolve(context.now())),
    observe: () => host.observe('ask', signal),
  };
}

function restarts({ kind }: Step): boolean {
  return kind === 'restart-runtime';
}

async function carryOutOnce(
  plan: readonly Step[],
  { done: { steps, warnings }, host, context, signal, ...decision }: Pass,
  restartAt: () => Promise<Date>,
): Promise<Carried> {
  let begun: Step | undefined;
  try {
    for (const step of plan) {
      begun = step;
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
    // One after which the runtime is not well was made.
    if (begun !== undefined && restarts(begun) && runtimeFailures.has(error.code)) steps.push(begun);
    return { kind: 'failed', error };
  }
}

const runtimeFailures: ReadonlySet<string> = new Set(['RuntimeUnhealthy', 'RuntimeUnknown']);

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

/** What is not to be tried again in this world; a rollback has ended with it, and may have proven what it has left. */
async function noteEnd(
  undone: Undone | undefined,
  after: Observation,
  { aims: { desired, retryMark }, host }: Pass,
): Promise<void> {
  const error = undone?.error;
  const held =
    error?.retry === 'content'
      ? {
          world: digestWorld(desired, after, error.code),
          retryMark,
          code: error.code,
          message: sentence(error.message, error.remedy),
        }
      : undefined;
  await host.facts.update({ held, undoing: undefined, ...(undone?.proven && provenBy(undone.proven)) });
}

/**
 * What goes stays gone, even where somebody else has taken its anchor away before. A disk that takes no note is no reason to leave
 * things as they are.
 */
async function noteUndoing(undoing: Undoing, going: readonly Certificate[], host: Host): Promise<void> {
  try {
    await host.facts.update({ undoing, withdrawn: withdraw(await host.facts.read(), anchorNames(going)) });
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
  }
}

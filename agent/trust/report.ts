// What a pass says of itself: from what was decided, what was carried out and whether it is proven, one status and the
// time of the next try. Pure. `Synced` comes only from a plan that is empty over a fresh observation.

import type { AgentError } from '../errors.ts';
import type { Decision, Verdict } from './desired.ts';
import type { RuntimeFacts } from './observation.ts';
import { describeStep, type Step } from './plan.ts';
import { explainOperational, type OperationalCode, type ReasonArgs } from './reasons.ts';
import { describeFinding, type HeldFailure, type Status, sentence, type Trusted } from './status.ts';

/**
 * When to look again: at the usual interval, at a known time, after a back-off (of at least so many milliseconds, and by a known
 * time if there is one), or never, since all that is ours is gone and shall be.
 */
export type Next =
  | { readonly kind: 'resync' }
  | { readonly kind: 'at'; readonly at: Date }
  | { readonly kind: 'back-off'; readonly retryAfterMs?: number | undefined; readonly by?: Date }
  | { readonly kind: 'end' };

/** How far a plan got. */
export type Carried =
  | { readonly kind: 'done' }
  | { readonly kind: 'waiting'; readonly unit: string; readonly until: Date }
  | { readonly kind: 'held'; readonly held: HeldFailure }
  | { readonly kind: 'fought'; readonly path: string; readonly seen: string; readonly until: Date }
  | { readonly kind: 'failed'; readonly error: AgentError };

export interface HostFacts {
  readonly store: string;
  readonly runtime: RuntimeFacts;
}

export interface PassFacts extends HostFacts {
  readonly source: string;
  readonly decision: Decision;
  readonly carried: Carried;
  /** What the plan still wants after it was carried out; empty is the proof. */
  readonly remaining: readonly Step[];
  readonly trusted: Trusted;
  readonly warnings: readonly string[];
}

export interface Report {
  readonly status: Status;
  readonly next: Next;
}

type Judgement = Pick<Status, 'state' | 'reason' | 'message'> & { readonly next: Next };

export function reportPass(facts: PassFacts): Report {
  const { next, ...judged } = judgeHost(facts) ?? judgeSource(facts);
  const { decision, trusted, store, runtime, warnings } = facts;
  return {
    next: decision.graceEnds === undefined ? next : noLaterThan(decision.graceEnds, next),
    status: { ...judged, trusted, observed: decision.observed, findings: decision.findings, store, runtime, warnings },
  };
}

function noLaterThan(at: Date, next: Next): Next {
  switch (next.kind) {
    case 'resync':
      return { kind: 'at', at };
    case 'at':
      return next.at < at ? next : { kind: 'at', at };
    case 'back-off':
      return { ...next, by: at };
    case 'end':
      return next;
    default:
      return next satisfies never;
  }
}

/** A pass that could not even observe. */
export function reportFailure(error: AgentError): Report {
  const { next, ...judged } = judgeError(error);
  return {
    next,
    status: {
      ...judged,
      trusted: undefined,
      observed: '',
      findings: [],
      store: undefined,
      runtime: undefined,
      warnings: [],
    },
  };
}

/** What stands between the host and the desired bundle, if anything does. */
function judgeHost({ carried, remaining, store }: PassFacts): Judgement | undefined {
  switch (carried.kind) {
    case 'failed':
      return judgeError(carried.error);
    case 'held':
      return { state: 'Failed', reason: carried.held.code, message: carried.held.message, next: { kind: 'resync' } };
    case 'fought': {
      const { path, seen, until } = carried;
      return {
        ...judge('Failed', 'DriftFight', { path, seen, until: until.toISOString() }),
        next: { kind: 'at', at: until },
      };
    }
    case 'waiting': {
      const { unit, until } = carried;
      return {
        ...judge('Waiting', 'RestartDeferred', { unit, until: until.toISOString() }),
        next: { kind: 'at', at: until },
      };
    }
    case 'done': {
      const [step] = remaining;
      if (step === undefined) return undefined;
      const evidence = `after the pass this is left to do: ${describeStep(step)}`;
      const judged =
        'unit' in step
          ? judge('Failed', 'RuntimeUnknown', { unit: step.unit, evidence })
          : judge('Failed', 'StoreIncomplete', { path: store, evidence });
      return { ...judged, next: { kind: 'back-off' } };
    }
    default:
      return carried satisfies never;
  }
}

/** The host is as it was decided; what remains to be told is what the source said. */
function judgeSource({ decision, source, trusted, runtime }: PassFacts): Judgement {
  const { verdict } = decision;
  const resync: Next = { kind: 'resync' };
  switch (verdict.kind) {
    case 'admitted':
      return { state: 'Synced', reason: '', message: syncedMessage(decision, source, runtime), next: resync };
    case 'rejected':
      return { ...judgeFindings(decision, source, trusted), next: resync };
    case 'wrong-type':
      return { ...judge('Rejected', 'SourceWrongType', { source, type: verdict.type }), next: resync };
    case 'unavailable': {
      const { code, evidence, retryAfterMs } = verdict;
      return { ...judge('Failed', code, { source, evidence }), next: { kind: 'back-off', retryAfterMs } };
    }
    case 'leaving':
      return { ...judgeLeaving(verdict, source), next: { kind: 'at', at: verdict.until } };
    case 'gone':
      if (verdict.code === 'SourceEmpty') return { ...judge('Rejected', 'SourceEmpty', { source }), next: resync };
      return {
        state: 'Synced',
        reason: '',
        message: `${source} does not exist; nothing of it is trusted here`,
        next: resync,
      };
    case 'kept':
      return { ...judgeKept(decision), next: resync };
    case 'withdrawn':
      return { state: 'Disabled', reason: '', message: withdrawnMessage(trusted), next: { kind: 'end' } };
    default:
      return verdict satisfies never;
  }
}

function judgeError(error: AgentError): Judgement {
  const next: Next =
    error.retry === 'content' ? { kind: 'resync' } : { kind: 'back-off', retryAfterMs: error.retryAfterMs };
  return { state: 'Failed', reason: error.code, message: sentence(error.message, error.remedy), next };
}

function judgeLeaving({ code, until }: Extract<Verdict, { kind: 'leaving' }>, source: string): Omit<Judgement, 'next'> {
  if (code === 'SourceDeleted') return judge('Waiting', code, { source, until: until.toISOString() });
  const { message, remedy } = explainOperational(code, { source });
  const leaving = `${message}, so its certificates leave this host at ${until.toISOString()}`;
  return { state: 'Waiting', reason: code, message: sentence(leaving, remedy) };
}

function withdrawnMessage({ certificates: { length } }: Trusted): string {
  if (length === 0) return 'nothing of ours is on this host';
  return `nothing of the cluster is on this host; ${certificates(length)} of the machine's own file ${length === 1 ? 'stays' : 'stay'}`;
}

/** By what lies on the host, whether it is in the bundle or not. */
function judgeKept({
  desired: {
    certificates: { length },
  },
}: Decision): Omit<Judgement, 'next'> {
  if (length === 0)
    return { state: 'Disabled', reason: '', message: 'this Node is not known to be enabled; nothing of ours is on it' };
  return judge('Waiting', 'NodeNotEnabled', { certificates: certificates(length) });
}

function judgeFindings({ findings }: Decision, source: string, trusted: Trusted): Omit<Judgement, 'next'> {
  const errors = findings.filter(({ severity }) => severity === 'error');
  const [first] = errors;
  if (first === undefined) throw new TypeError('a rejected source has a finding of severity error');
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more, see details)` : '';
  const message = sentence(`${source}, ${describeFinding(first)}${more}`, first.remedy);
  return {
    state: 'Rejected',
    reason: first.code,
    message: `${message}; ${certificates(trusted.certificates.length)} trusted before ${trusted.certificates.length === 1 ? 'stays' : 'stay'}`,
  };
}

function syncedMessage({ desired, findings }: Decision, source: string, runtime: RuntimeFacts): string {
  const warnings = findings.filter(({ severity }) => severity === 'warning');
  const [first] = warnings;
  const are = desired.certificates.length === 1 ? 'is' : 'are';
  const taken =
    runtime.kind === 'unit'
      ? `${runtime.unit} runs with ${desired.certificates.length === 1 ? 'it' : 'them'}`
      : `no container runtime was restarted: ${runtime.reason}`;
  const trusts = `${certificates(desired.certificates.length)} of ${source} ${are} trusted by the host; ${taken}`;
  if (first === undefined) return trusts;
  const more = warnings.length > 1 ? ` (and ${warnings.length - 1} more)` : '';
  return `${trusts}; warning: ${sentence(describeFinding(first), first.remedy)}${more}`;
}

function judge<C extends OperationalCode>(
  state: Status['state'],
  code: C,
  args: ReasonArgs<C>,
): Omit<Judgement, 'next'> {
  const { message, remedy } = explainOperational(code, args);
  return { state, reason: code, message: sentence(message, remedy) };
}

function certificates(count: number): string {
  return `${count} certificate${count === 1 ? '' : 's'}`;
}

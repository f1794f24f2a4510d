// The daemon's pass: is this Node still in the pool, and so what is aimed at; then the pass itself; then logs and metrics.
// Leaving a pool is the one decision here, and it is noted on the host's disk before it begins, so that the next agent or
// `node-trust remove` can end what this one could not.

import type { FactsFile } from './host/facts.ts';
import { KubeError } from './kube/kube-error.ts';
import type { NodeSnapshot, OwnNode } from './kube/own-node.ts';
import type { StatusWriter } from './kube/status-writer.ts';
import type { Log } from './log.ts';
import type { Metrics } from './metrics.ts';
import type { Membership, Pool } from './pool.ts';
import { type Aim, type Outcome, type PassContext, reconcile } from './reconcile.ts';
import { describeStep } from './trust/plan.ts';
import { explainOperational } from './trust/reasons.ts';
import type { Next } from './trust/report.ts';
import { annotationPrefix, sentence } from './trust/status.ts';

export interface NodePassOptions extends Omit<PassContext, 'chooseAim' | 'retryMark' | 'isNews' | 'report' | 'onStep'> {
  /** Everything goes, whatever the pool and the sources say. */
  readonly uninstalls: boolean;
  readonly node: OwnNode;
  readonly pool: Pool;
  readonly writer: StatusWriter;
  readonly metrics: Metrics;
  readonly log: Log;
}

/** What the loop calls. */
export type NodePass = (reasons: readonly string[], signal: AbortSignal) => Promise<Next>;

export function createNodePass(options: NodePassOptions): NodePass {
  const { uninstalls, node, pool, writer, metrics, log } = options;
  let lastSaid = '';
  let lastNode = 'present';

  async function passOnce(reasons: readonly string[], signal: AbortSignal): Promise<Next> {
    log.debug({ reasons }, 'pass begins');
    const snapshot = await node.read(signal);
    writer.see(snapshot);
    tellNode(snapshot);
    const membership = uninstalls ? 'left' : await pool.judge(snapshot, signal);
    const retryMark =
      snapshot.kind === 'present' ? (snapshot.annotations.get(`${annotationPrefix}retry`) ?? '') : undefined;

    let unwritten: KubeError | undefined;
    const startedAt = performance.now();
    const outcome = await reconcile(
      {
        ...options,
        chooseAim: (facts) => chooseAim(membership, facts),
        retryMark,
        isNews: writer.isNews,
        report: async (status, reportSignal) => {
          metrics.tell(status);
          unwritten = await writer.write(status, reportSignal).then(() => undefined, toKubeError);
        },
        onStep: (step) => log.info({ step: describeStep(step) }, 'step done'),
      },
      signal,
    );
    await tellRepairs(outcome.repaired, signal);
    const durationMs = Math.round(performance.now() - startedAt);
    metrics.count(outcome, durationMs);
    tell(outcome, durationMs);
    // On a distribution that no agent works on there is nothing of ours.
    const isOver = outcome.next.kind === 'end' || outcome.status.reason === 'UnsupportedDistribution';
    const isGone = uninstalls && isOver;
    if (isGone) unwritten = await writer.clear(signal).then(() => undefined, toKubeError);
    if (unwritten !== undefined) log.warn({ evidence: unwritten.message }, 'status not written');
    const untold = unwritten?.failure ?? (snapshot.kind === 'unavailable' ? snapshot : undefined);
    if (untold === undefined) return isGone ? { kind: 'end' } : outcome.next;
    const { retryAfterMs } = untold;
    const isDone = isGone || outcome.next.kind === 'resync' || outcome.next.kind === 'end';
    return isDone ? { kind: 'back-off', retryAfterMs } : outcome.next;
  }

  /** Whoever looks for what changes the host finds each repair as an event, a later one where nobody can be told now, and in the log. */
  async function tellRepairs(repaired: Outcome['repaired'], signal: AbortSignal): Promise<void> {
    for (const drift of repaired) {
      const { code, message, remedy } = explainOperational('DriftRepaired', drift);
      log.warn({ path: drift.path, seen: drift.seen }, 'drift repaired');
      const event = { type: 'Warning', reason: code, message: sentence(message, remedy) } as const;
      await writer.record(event, signal).catch(toKubeError);
    }
  }

  /** Without its Node an agent works on and cannot tell: that is worth a line, once. */
  function tellNode(snapshot: NodeSnapshot): void {
    const evidence = snapshot.kind === 'unavailable' ? snapshot.evidence : snapshot.kind;
    if (evidence !== lastNode && snapshot.kind !== 'present') log.warn({ node: node.name, evidence }, 'node not read');
    lastNode = evidence;
  }

  /** What changed is info; a pass that found all as it was is debug. */
  function tell({ status, steps }: Outcome, durationMs: number): void {
    const { state, reason, message, warnings } = status;
    const said = `${state} ${message}`;
    const isNews = steps.length > 0 || said !== lastSaid;
    lastSaid = said;
    const level = !isNews ? 'debug' : state === 'Failed' ? 'error' : 'info';
    log[level]({ state, reason, message, durationMs, ...(warnings.length > 0 && { warnings }) }, 'pass ended');
  }

  return passOnce;
}

async function chooseAim(membership: Membership, facts: FactsFile): Promise<Aim> {
  if (membership === 'left') {
    await facts.update({ leaving: true });
    return 'withdraw';
  }
  const { leaving } = await facts.read();
  if (membership === 'unknown') return 'keep';
  if (membership === 'outside') return leaving === true ? 'withdraw' : 'keep';
  if (leaving === true) await facts.update({ leaving: undefined });
  return 'follow';
}

function toKubeError(error: unknown): KubeError {
  if (error instanceof KubeError) return error;
  throw error;
}

// What one Node says, judged by what the cluster knows of it: whether its agent still stands for it, whether it speaks of the
// Secret's present content, and if it is not well, what stands in the way and what is to be done. Pure. A Node is well only
// on facts that are known; null and a third kind are what could not be found out, and never pass for good.

import { explainFleet, fillRemedy } from './fleet-reasons.ts';
import { printable } from './printable.ts';

export type Known<T> =
  | { readonly kind: 'known'; readonly value: T }
  | { readonly kind: 'unknown'; readonly why: string };

export interface NodeFacts {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  /** What Kubernetes says of it; undefined where it says nothing. */
  readonly isReady: boolean | undefined;
  /** The annotations of ours, without their prefix. */
  readonly told: ReadonlyMap<string, string>;
  /** What its agent saw and did not count as a failure, and what the source was warned of: a code, a colon, a sentence. */
  readonly warnings: readonly string[];
}

/** As the DaemonSet has it. */
export interface Enabling {
  /** The labels that a Node must carry to be enabled; the one that people set comes first. */
  readonly labels: ReadonlyMap<string, string>;
  /** The DaemonSet demands more of a Node, which is not evaluated here. */
  readonly isNarrower: boolean;
}

export interface AgentPod {
  readonly name: string;
  readonly isReady: boolean;
  /** Kubernetes' own word for what it does: `Running`, `ImagePullBackOff`. */
  readonly phase: string;
}

export type Content =
  /** Empty where the Secret does not exist. */
  | { readonly kind: 'known'; readonly observed: string; readonly changedAt: Date | undefined }
  /** No agent takes it. */
  | { readonly kind: 'unusable' }
  /** `isFinal`: to ask again is of no use. `isAbsent`: no Secret has the name, which may be another one than the agents'. */
  | { readonly kind: 'unknown'; readonly why: string; readonly isFinal: boolean; readonly isAbsent?: true };

export interface FleetFacts {
  readonly nodes: readonly NodeFacts[];
  readonly enabling: Known<Enabling>;
  /** By the name of their Node. */
  readonly pods: Known<ReadonlyMap<string, AgentPod>>;
  /** For people: `secret kube-system/custom-ca-trust-secret`. */
  readonly secret: string;
  readonly content: Content;
}

export interface Problem {
  /** Of the catalogue, or the state where the agent gave no reason. */
  readonly code: string;
  readonly message: string;
  /** Empty where the message holds it: an agent's does. */
  readonly remedy: string;
  /** It goes by itself, if all goes well. */
  readonly passing: boolean;
}

/** Texts are empty where nothing was told; null is what could not be found out. */
export interface NodeReport {
  readonly node: string;
  /** By the label of whoever made the pool; empty without one. */
  readonly pool: string;
  readonly enabled: boolean | null;
  readonly ready: boolean | null;
  readonly agent: 'ready' | 'not ready' | 'none' | null;
  readonly state: string;
  readonly reason: string;
  readonly certificates: number | null;
  readonly bundle: string;
  readonly observed: string;
  readonly expiresAt: string;
  readonly updatedAt: string;
  /** Nobody stands for what it says any more, or it speaks of content that was replaced long ago. */
  readonly stale: boolean | null;
  readonly message: string;
  readonly problem: Problem | null;
  /** Each begins with its code and a colon. */
  readonly warnings: readonly string[];
}

/** The labels by which clouds and autoscalers name their pools. */
const poolLabels = [
  'kubernetes.azure.com/agentpool',
  'cloud.google.com/gke-nodepool',
  'eks.amazonaws.com/nodegroup',
  'karpenter.sh/nodepool',
];
/** Two polls of an agent that has missed the event. */
const longMs = 10 * 60_000;

/** Whether it shall follow the Secret: what is known to be in no pool does not, nor what is Disabled and may be in none. */
export function follows({ enabled, state }: NodeReport): boolean {
  return enabled ?? state !== 'Disabled';
}

export function reportNode(node: NodeFacts, facts: FleetFacts, now: Date): NodeReport {
  // Whoever may write to a Node, its kubelet for one, has a say here.
  const own = (name: string): string => printable(node.told.get(name) ?? '');
  const pod = facts.pods.kind === 'known' ? facts.pods.value.get(node.name) : undefined;
  const said = {
    node: node.name,
    pool: poolLabels.map((label) => node.labels.get(label)).find((pool) => pool !== undefined) ?? '',
    enabled: isEnabled(node, facts.enabling),
    ready: node.isReady ?? null,
    agent: facts.pods.kind === 'unknown' ? null : pod === undefined ? 'none' : pod.isReady ? 'ready' : 'not ready',
    state: own('state'),
    reason: own('reason'),
    certificates: /^\d+$/.test(own('certificates')) ? Number(own('certificates')) : null,
    bundle: own('bundle'),
    observed: own('observed'),
    expiresAt: own('expires-at'),
    updatedAt: own('updated-at'),
    message: own('message'),
  } as const;
  return {
    ...said,
    stale: isStale(said, facts, now),
    problem: findProblem(node, said, pod, facts, now),
    warnings: node.warnings.map((text) => printable(text)),
  };
}

type Said = Omit<NodeReport, 'stale' | 'problem' | 'warnings'>;

function isEnabled(node: NodeFacts, enabling: Known<Enabling>): boolean | null {
  if (enabling.kind === 'unknown') return null;
  const carries = lackedLabels(node, enabling).length === 0;
  return carries && enabling.value.isNarrower ? null : carries;
}

/** `key=value` of each label that it does not carry. */
function lackedLabels({ labels }: NodeFacts, enabling: Known<Enabling>): readonly string[] {
  if (enabling.kind === 'unknown') return [];
  return [...enabling.value.labels].flatMap(([key, value]) => (labels.get(key) === value ? [] : [`${key}=${value}`]));
}

/** What stands first between this Node and the Secret's present content. */
function findProblem(
  node: NodeFacts,
  said: Said,
  pod: AgentPod | undefined,
  facts: FleetFacts,
  now: Date,
): Problem | null {
  const { state, reason, enabled, ready, agent, certificates, updatedAt: since, message } = said;
  const lacking = lackedLabels(node, facts.enabling);
  const isOther = lacking.some((label) => node.labels.has(label.split('=', 1)[0] ?? ''));
  const labelArguments = [...lacking, ...(isOther ? ['--overwrite'] : [])].join(' ');
  const explain = ({ remedy, ...told }: Omit<Problem, 'passing'>, passing = false): Problem => {
    return { ...told, remedy: fillRemedy(remedy, node.name, pod?.name, labelArguments), passing };
  };
  const own = (passing = false): Problem => ({ code: reason || state, message, remedy: '', passing });
  if (enabled === false) {
    if (state === '') return explain(explainFleet('NotInPool', { labels: lacking.join(',') }), agent === 'ready');
    // It cannot take them away, or has, and not made the runtime forget them.
    if (state === 'Failed' && agent === 'ready' && reason !== 'NodeNotEnabled') return own();
    const isLeaving = agent === 'ready' && reason !== 'NodeNotEnabled';
    // Nothing of ours is in its store any more, but its runtime may have read the store before.
    if (certificates === 0 && unfinished.has(state) && reason !== 'NodeNotEnabled')
      return isLeaving ? own(true) : explain(describeUnfinished(message, lacking));
    if (state === 'Disabled' || certificates === 0) return null;
    return explain(describeLeft(certificates, lacking, isLeaving), isLeaving);
  }
  if (agent === 'none' && isAgentExpected(said, facts)) return explain(explainFleet('AgentMissing', { since }));
  if (state === 'Failed' || state === 'Rejected') return own();
  if (ready === false) return explain(explainFleet('NodeNotReady', { since }));
  if (pod?.isReady === false) {
    return explain(
      explainFleet('AgentNotReady', { pod: pod.name, phase: pod.phase }),
      pod.phase === 'ContainerCreating',
    );
  }
  if (state === '' || (state === 'Disabled' && enabled === true)) return explain(explainFleet('NotReported', {}));
  if (state === 'Disabled') return null;
  if (state !== 'Synced') return own(state === 'Applying' || reason === 'RestartDeferred');
  if (!isBehind(said, facts.content)) return null;
  const { content, secret } = facts;
  if (isAbsent(content)) return explain(explainFleet('NoSuchSecret', { secret }));
  const changedAt = (content.kind === 'known' && content.changedAt?.toISOString()) || '';
  return explain(explainFleet('ContentNotSeen', { secret, changedAt }), !isOld(content, now));
}

const unfinished: ReadonlySet<string> = new Set(['Applying', 'Waiting', 'Failed']);

function describeUnfinished(message: string, lacking: readonly string[]): Omit<Problem, 'passing'> {
  return {
    code: 'NodeNotEnabled',
    message: `this Node does not carry ${lacking.join(',')}, and its agent went before it was done: ${message}`,
    remedy: 'To go on: `kubectl label node NODE LABELS`. To end it: run `node-trust remove` on it.',
  };
}

/** The agent's own reason, which it gives where it did not see the Node leave the pool; of here are the labels. */
function describeLeft(
  certificates: number | null,
  lacking: readonly string[],
  isLeaving: boolean,
): Omit<Problem, 'passing'> {
  const count = certificates === null ? 'certificates' : `${certificates} certificate${certificates === 1 ? '' : 's'}`;
  const code = 'NodeNotEnabled';
  if (isLeaving) {
    return {
      code,
      message: `this Node is not enabled any more: its agent takes ${count} away now`,
      remedy: 'Wait. If it does not end, look at the log of its agent: `kubectl -n kube-system logs POD`.',
    };
  }
  return {
    code,
    message: `this Node does not carry ${lacking.join(',')}, so ${count} of ours on it can be neither added to nor taken away`,
    remedy: 'To go on: `kubectl label node NODE LABELS`. To take the certificates away: run `node-trust remove` on it.',
  };
}

/** An agent may run without a pod, so where it is not known who is enabled, pods on other Nodes are what tells. */
function isAgentExpected({ enabled, state }: Said, { pods }: FleetFacts): boolean {
  if (enabled !== null) return enabled;
  return pods.kind === 'known' && pods.value.size > 0 && state !== '' && state !== 'Disabled';
}

function isStale(said: Said, facts: FleetFacts, now: Date): boolean | null {
  const { state, agent, ready, enabled } = said;
  if (state === '' || state === 'Disabled') return false;
  if (ready === false || agent === 'not ready') return true;
  if (agent === 'none' && (enabled === false || isAgentExpected(said, facts))) return true;
  if (isBehind(said, facts.content) && isOld(facts.content, now)) return true;
  const isKnown = agent === 'ready' && ready !== null && facts.content.kind !== 'unknown';
  return isKnown ? false : null;
}

function isBehind({ observed }: Said, content: Content): boolean {
  return content.kind === 'unusable' || (content.kind === 'known' && content.observed !== observed);
}

function isAbsent(content: Content): boolean {
  return content.kind === 'known' && content.observed === '';
}

function isOld(content: Content, now: Date): boolean {
  const changedAt = content.kind === 'known' ? content.changedAt : undefined;
  return changedAt !== undefined && now.getTime() - changedAt.getTime() > longMs;
}

// A fleet at one moment, made of what its Nodes say: is every one that follows the Secret proven to trust its present content;
// the pools, the bundles, and what could not be found out. Pure. Its form is that of `status --json`.

import { type Content, type FleetFacts, follows, type NodeReport, reportNode } from './node-report.ts';
import { printable } from './printable.ts';

export interface PoolReport {
  readonly pool: string;
  readonly nodes: number;
  readonly enabled: number | null;
  readonly synced: number;
  readonly problems: number;
}

export interface FleetReport {
  /** There is a Node, and none has a problem. */
  readonly synced: boolean;
  readonly secret: string;
  /** Digest of its present content, empty without the Secret; null: unknown, or none that an agent takes. */
  readonly present: string | null;
  /** The labels that enable a Node, as kubectl takes them; null: unknown. */
  readonly selector: string | null;
  /** What could not be found out. */
  readonly unknown: readonly string[];
  readonly pools: readonly PoolReport[];
  /** The most frequent first. */
  readonly bundles: readonly { readonly bundle: string; readonly nodes: number }[];
  readonly nodes: readonly NodeReport[];
}

/** Of the named Nodes, or without names of all that are enabled or that an agent has to do or had to do with. */
export function reportFleet(facts: FleetFacts, names: readonly string[], now: Date): FleetReport {
  const wanted = new Set(names);
  const all = facts.nodes.filter(({ name }) => names.length === 0 || wanted.has(name));
  const reports = all
    .map((node) => reportNode(node, facts, now))
    .sort((one, other) => (one.node < other.node ? -1 : 1));
  const nodes = reports.filter(
    ({ state, enabled, agent }) =>
      names.length > 0 || state !== '' || enabled === true || agent === 'ready' || agent === 'not ready',
  );
  return {
    synced: nodes.length > 0 && nodes.every(({ problem }) => problem === null),
    secret: facts.secret,
    present: digestOf(facts.content),
    selector: facts.enabling.kind === 'known' ? formatLabels(facts.enabling.value.labels) : null,
    unknown: [...listUnknown(facts)],
    pools: countPools(reports, nodes),
    bundles: countBundles(nodes),
    nodes,
  };
}

function digestOf(content: Content): string | null {
  if (content.kind === 'unknown' && content.isAbsent === true) return '';
  return content.kind === 'known' ? content.observed : null;
}

function formatLabels(labels: ReadonlyMap<string, string>): string {
  return [...labels].map(([key, value]) => `${key}=${value}`).join(',');
}

function* listUnknown({ enabling, pods, content }: FleetFacts): Generator<string> {
  if (enabling.kind === 'unknown') yield `which Nodes are enabled: ${printable(enabling.why)}`;
  else if (enabling.value.isNarrower) {
    yield 'which Nodes are enabled: the DaemonSet has a node affinity, which is not evaluated here';
  }
  if (pods.kind === 'unknown') yield `on which Nodes an agent runs: ${printable(pods.why)}`;
  else if (enabling.kind === 'unknown' && pods.value.size === 0) {
    yield 'whether an agent still stands for what the Nodes say: none has a pod';
  }
  if (content.kind === 'unknown') yield `whether the Secret's present content was seen: ${printable(content.why)}`;
}

function countPools(all: readonly NodeReport[], nodes: readonly NodeReport[]): readonly PoolReport[] {
  const members = Map.groupBy(nodes, ({ pool }) => pool);
  return [...Map.groupBy(all, ({ pool }) => pool)]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([pool, known]) => {
      const told = members.get(pool) ?? [];
      return {
        pool,
        nodes: known.length,
        enabled: known.some(({ enabled }) => enabled === null) ? null : known.filter(follows).length,
        synced: told.filter(({ state, problem }) => state === 'Synced' && problem === null).length,
        problems: told.filter(({ problem }) => problem !== null).length,
      };
    });
}

function countBundles(reports: readonly NodeReport[]): FleetReport['bundles'] {
  const counts = new Map<string, number>();
  for (const { bundle, state } of reports) {
    if (bundle !== '' && state !== 'Disabled') counts.set(bundle, (counts.get(bundle) ?? 0) + 1);
  }
  return [...counts]
    .map(([bundle, nodes]) => ({ bundle, nodes }))
    .sort((one, other) => other.nodes - one.nodes || (one.bundle < other.bundle ? -1 : 1));
}

/** Nobody shall follow the Secret. Not known where nothing says who is enabled: an agent may yet come. */
export function isNobodyEnabled({ selector, nodes }: FleetReport): boolean {
  return !nodes.some(follows) && (selector !== null || nodes.length > 0);
}

/**
 * Whether every Node that follows the Secret has arrived at its present content. Where that content may not be read, they have
 * when they agree on one to which one of them came since the first look. That may be the one before, if it was under way then.
 */
export function hasArrived(first: FleetReport, last: FleetReport, content: Content): boolean {
  const followers = last.nodes.filter(follows);
  const areWell = followers.length > 0 && followers.every(({ problem }) => problem === null);
  if (!areWell || content.kind !== 'unknown') return areWell;
  if (!content.isFinal) return false;
  const before = new Map(first.nodes.map(({ node, observed }) => [node, observed]));
  const [one] = followers;
  return (
    followers.every(({ observed }) => observed === one?.observed) &&
    followers.some(({ node, observed }) => before.has(node) && before.get(node) !== observed)
  );
}

// What is known of a fleet, for tests of what is made of it: Nodes that are enabled, have an agent and are well, but for what is given.

import type { AgentPod, FleetFacts, NodeFacts } from '../../agent/trust/node-report.ts';

export interface Told {
  /** Empty: no agent has said anything. */
  readonly state?: string;
  readonly reason?: string;
  readonly message?: string;
  readonly observed?: string;
  readonly certificates?: string;
  readonly bundle?: string;
  readonly expiresAt?: string;
  readonly updatedAt?: string;
  readonly pool?: string;
  readonly enabled?: boolean;
  readonly warnings?: readonly string[];
}

export const pod: AgentPod = { name: 'agent', isReady: true, phase: 'Running' };

export function fleet(nodes: Readonly<Record<string, Told>>, facts: Partial<FleetFacts> = {}): FleetFacts {
  const known = Object.entries(nodes).map(([name, told]) => makeNode(name, told));
  return {
    nodes: known,
    enabling: { kind: 'known', value: { labels: new Map([['on', 'yes']]), isNarrower: false } },
    pods: { kind: 'known', value: new Map(known.map(({ name }) => [name, pod])) },
    secret: 'secret ns/cas',
    content: { kind: 'known', observed: 'sha256:now', changedAt: undefined },
    ...facts,
  };
}

function makeNode(
  name: string,
  { pool, enabled = true, expiresAt = '', updatedAt = '', warnings = [], ...own }: Told,
): NodeFacts {
  const told = {
    state: 'Synced',
    observed: 'sha256:now',
    bundle: 'sha256:b',
    certificates: '1',
    'expires-at': expiresAt,
    'updated-at': updatedAt,
    ...own,
  };
  const labels = { ...(enabled && { on: 'yes' }), ...(pool !== undefined && { 'karpenter.sh/nodepool': pool }) };
  return {
    name,
    labels: new Map(Object.entries(labels)),
    isReady: true,
    warnings,
    told: new Map(own.state === '' ? [] : Object.entries(told)),
  };
}

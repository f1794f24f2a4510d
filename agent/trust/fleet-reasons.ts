// The reasons of a fleet: what cannot be told by the agent of a Node, because it is about that agent, or about its Node as the
// rest of the cluster sees it. `status` alone says them.

import type { Reason } from './admission-reasons.ts';
import { printable } from './printable.ts';

/** Shows where the agents are. */
export const findPods = 'kubectl -n kube-system get pods -o wide -l app.kubernetes.io/name=node-trust-agent';
const readLog = 'kubectl -n kube-system logs POD';

const fleet = <Args>(reason: Reason<Args>): Reason<Args> => reason;

export const fleetReasons = {
  AgentMissing: fleet({
    severity: 'error',
    meaning: 'No pod of the agent is on a Node that should have one: nobody tends to it, and what it says is old.',
    remedy:
      'Find out why none is scheduled: `kubectl -n kube-system describe daemonset node-trust-agent`, `kubectl describe node NODE`.',
    message: ({ since }: { readonly since: string }) =>
      `no pod of the agent is on this Node${since === '' ? '' : `, and what it says dates from ${since}`}`,
  }),
  AgentNotReady: fleet({
    severity: 'error',
    meaning: "The agent's pod on the Node is not ready: it does not start, or its first pass has not ended.",
    remedy: 'Look at it: `kubectl -n kube-system describe pod POD`, `kubectl -n kube-system logs POD`.',
    message: ({ pod, phase }: { readonly pod: string; readonly phase: string }) => `pod ${pod} is not ready (${phase})`,
  }),
  NodeNotReady: fleet({
    severity: 'error',
    meaning: 'Kubernetes calls the Node not ready, so what it says may be old.',
    remedy: 'Mend the Node first: `kubectl describe node NODE`.',
    message: ({ since }: { readonly since: string }) =>
      `Kubernetes calls this Node not ready${since === '' ? '' : `; what it says dates from ${since}`}`,
  }),
  NotInPool: fleet({
    severity: 'error',
    meaning: 'A Node that was asked for is not enabled, and no agent has ever told anything on it.',
    remedy: 'If it shall trust what the Secret holds: `kubectl label node NODE LABELS`.',
    message: ({ labels }: { readonly labels: string }) =>
      `no agent has ever told anything on this Node, and it does not carry ${labels}: it trusts nothing of the Secret`,
  }),
  NotReported: fleet({
    severity: 'warning',
    meaning: 'The agent has told nothing on the Node since it was enabled.',
    remedy: 'Wait a minute, then look at the log of its agent: `kubectl -n kube-system logs POD`.',
    message: () => 'its agent has told nothing yet',
  }),
  NoSuchSecret: fleet({
    severity: 'error',
    meaning: 'The Secret does not exist, and the Node speaks of the content of one: a wrong name, or deleted just now.',
    remedy:
      'Correct --secret, or apply the Secret: `kubectl get secrets -A`. Where it was deleted on purpose, look again in five minutes.',
    message: ({ secret }: { readonly secret: string }) =>
      `${secret} does not exist, and this Node speaks of the content of one`,
  }),
  ContentNotSeen: fleet({
    severity: 'warning',
    meaning: 'The Node speaks of other content than the Secret has now.',
    remedy:
      'Wait for the next look of its agent, five minutes at most, then look at its log: `kubectl -n kube-system logs POD`.',
    message: ({ secret, changedAt }: { readonly secret: string; readonly changedAt: string }) =>
      `it has not seen the present content of ${secret}${changedAt === '' ? '' : `, which dates from ${changedAt}`}`,
  }),
} as const;

export type FleetCode = keyof typeof fleetReasons;
type FleetArgs<C extends FleetCode> = Parameters<(typeof fleetReasons)[C]['message']>[0];

const told: { readonly [C in FleetCode]: Reason<FleetArgs<C>> } = fleetReasons;

/** A remedy with NODE, POD and LABELS filled in. Where no pod is known, its log is looked for and not read. */
export function fillRemedy(remedy: string, node: string, pod: string | undefined, labels: string): string {
  const found = pod === undefined ? remedy.replaceAll(readLog, findPods) : remedy.replaceAll('POD', pod);
  return found.replaceAll('NODE', node).replaceAll('LABELS', labels);
}

/** A case of a fleet's reason, told. */
export function explainFleet<C extends FleetCode>(code: C, args: FleetArgs<C>) {
  const { message, remedy } = told[code];
  return { code, message: printable(message(args)), remedy } as const;
}

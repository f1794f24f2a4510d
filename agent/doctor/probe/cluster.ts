// What the cluster says of the Secret and of this Node, where there are credentials: in the agent's pod its ServiceAccount, else
// what kubectl would use. Without them it says why, and the doctor goes on without; a kubeconfig that was named has to be one.

import { createKubeClient } from '../../kube/client.ts';
import { loadClusterAccess } from '../../kube/cluster-access.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { createOwnNode } from '../../kube/own-node.ts';
import { createSecretSource } from '../../kube/secret-source.ts';
import type { Facts } from '../facts.ts';

export interface ClusterQuestion {
  readonly kubeconfig: string | undefined;
  readonly secret: { readonly namespace: string; readonly name: string };
  readonly nodeName: string | undefined;
  readonly timeoutMs?: number;
}

/** Throws KubeError where `kubeconfig` is given and is none. */
export async function readCluster(
  question: ClusterQuestion,
  signal: AbortSignal,
): Promise<Pick<Facts, 'secret' | 'node'>> {
  const { kubeconfig, secret: place, nodeName, timeoutMs = 5_000 } = question;
  const within = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  try {
    const client = createKubeClient(await loadClusterAccess(kubeconfig));
    const [secret, node] = await Promise.all([
      createSecretSource({ client, ...place }).read(within),
      nodeName === undefined ? undefined : createOwnNode({ client, name: nodeName }).read(within),
    ]);
    return {
      secret: secret.kind === 'unavailable' ? unknown(secret.evidence) : { kind: 'known', value: secret },
      node: tellNode(node),
    };
  } catch (error) {
    signal.throwIfAborted();
    if (within.aborted) return both(`the API server did not answer within ${timeoutMs / 1000} s`);
    if (!(error instanceof KubeError)) throw error;
    if (kubeconfig === undefined || error.failure.kind !== 'misconfigured') return both(error.message);
    throw error;
  }
}

type NodeAnswer = Awaited<ReturnType<ReturnType<typeof createOwnNode>['read']>>;

function tellNode(node: NodeAnswer | undefined): Facts['node'] {
  if (node === undefined) return unknown('which Node this is is not known: NODE_NAME is not set');
  if (node.kind === 'present') return { kind: 'known', value: node.annotations };
  return unknown(node.kind === 'absent' ? 'there is no such Node' : node.evidence);
}

const unknown = (why: string) => ({ kind: 'unknown', why }) as const;
const both = (why: string) => ({ secret: unknown(why), node: unknown(why) });

// Where the API server is, and as whom we ask it. A pod is told by two variables and two files, which are read here; a
// kubeconfig can hold much more, and client-node, which knows it all, is loaded for one alone: a daemon in its pod does
// without what would be a fifth of its memory.

import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { OutgoingHttpHeaders } from 'node:http';
import type { RequestOptions } from 'node:https';
import { join } from 'node:path';
import { KubeError } from './kube-error.ts';

/** Where the kubelet puts what a pod needs to speak with its API server; the token and the root may rotate. */
const serviceAccount = '/var/run/secrets/kubernetes.io/serviceaccount';

/** What a request needs to be let in. */
export interface Credentials extends Omit<RequestOptions, 'headers'> {
  readonly headers: OutgoingHttpHeaders;
}

export interface ClusterAccess {
  /** Base URL of the API server without a slash at its end; it may have a path. */
  readonly url: string;
  /** For people: where the roots are from that its certificate is judged by. */
  readonly authority: string;
  /** Anew for each request: tokens and roots rotate. */
  authorize(): Promise<Credentials>;
}

/** An explicit kubeconfig wins; then the pod's ServiceAccount; then KUBECONFIG or ~/.kube/config. Throws KubeError (`misconfigured`). */
export async function loadClusterAccess(kubeconfigPath?: string): Promise<ClusterAccess> {
  // oxlint-disable-next-line node/no-process-env -- in it the kubelet tells a pod where its API server is
  if (kubeconfigPath === undefined && existsSync(join(serviceAccount, 'token'))) return accessFromPod(process.env);
  const { accessFromKubeconfig } = await import('./kubeconfig.ts');
  return accessFromKubeconfig(kubeconfigPath);
}

/** https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/#directly-accessing-the-rest-api */
export function accessFromPod(env: NodeJS.ProcessEnv, folder = serviceAccount): ClusterAccess {
  const { KUBERNETES_SERVICE_HOST: host = '', KUBERNETES_SERVICE_PORT: port = '443' } = env;
  const url = `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
  if (host === '' || !URL.canParse(url)) {
    const evidence = `the pod is not told where its API server is: KUBERNETES_SERVICE_HOST is "${host}", KUBERNETES_SERVICE_PORT "${port}"`;
    throw new KubeError({ kind: 'misconfigured', evidence });
  }
  const authority = join(folder, 'ca.crt');
  return {
    url,
    authority: `the ServiceAccount's CA (${authority})`,
    async authorize() {
      const [token, ca] = await Promise.all([join(folder, 'token'), authority].map((path) => readFile(path, 'utf8')));
      // Without a root of its own Node.js would take its built-in ones.
      if (!ca?.includes('-----BEGIN')) throw new Error(`${authority} holds no certificate`);
      return { ca, agent: false, headers: { Authorization: `Bearer ${token?.trim()}` } };
    },
  };
}

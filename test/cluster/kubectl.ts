// kubectl as the user's shell finds it, and as somebody else whose token is known.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ExecaError, execa } from 'execa';

export interface Kubectl {
  /** Its standard output. Throws with what kubectl said. */
  run(args: readonly string[], input?: string): Promise<string>;
  /** What `get` finds of one kind. */
  list<Item>(...args: readonly string[]): Promise<readonly Item[]>;
  /** What kubectl says when it is refused, or undefined when it is not. */
  refusal(args: readonly string[]): Promise<string | undefined>;
}

export function createKubectl(...options: readonly string[]): Kubectl {
  const ask = async (args: readonly string[], input = ''): Promise<string> => {
    const { stdout } = await execa('kubectl', [...options, ...args], { input });
    return stdout;
  };
  return {
    run: ask,
    async list<Item>(...args: readonly string[]) {
      return (JSON.parse(await ask(['get', '--output=json', ...args])) as { readonly items: readonly Item[] }).items;
    },
    refusal: (args) =>
      ask(args).then(
        () => undefined,
        (error: ExecaError) => String(error.stderr),
      ),
  };
}

interface Config {
  readonly clusters: readonly { readonly cluster: { readonly server: string } }[];
}

/** The cluster of the current context, whatever becomes of that context meanwhile. */
export async function pinCluster(
  cleanup: AsyncDisposableStack,
): Promise<{ readonly kubectl: Kubectl; readonly server: string }> {
  const config = JSON.parse(await createKubectl().run(readConfig)) as Config;
  return { kubectl: await withConfig(config, cleanup), server: config.clusters[0]?.cluster.server ?? '' };
}

/** The same cluster with this token alone: `--token` would leave a client certificate of the kubeconfig in force. */
export async function withToken(kubectl: Kubectl, token: string, cleanup: AsyncDisposableStack): Promise<Kubectl> {
  const { clusters } = JSON.parse(await kubectl.run(readConfig)) as Config;
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'cluster', cluster: clusters[0]?.cluster }],
    users: [{ name: 'agent', user: { token } }],
    contexts: [{ name: 'agent', context: { cluster: 'cluster', user: 'agent' } }],
    'current-context': 'agent',
  };
  return withConfig(config, cleanup);
}

const readConfig = ['config', 'view', '--raw', '--minify', '--flatten', '--output=json'] as const;

async function withConfig(config: object, cleanup: AsyncDisposableStack): Promise<Kubectl> {
  const folder = await mkdtemp(join(tmpdir(), 'node-trust-cluster-'));
  cleanup.defer(() => rm(folder, { recursive: true }));
  const file = join(folder, 'kubeconfig');
  await writeFile(file, JSON.stringify(config), { mode: 0o600 });
  return createKubectl(`--kubeconfig=${file}`, '--request-timeout=30s');
}

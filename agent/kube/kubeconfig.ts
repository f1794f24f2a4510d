// Cluster and credentials out of a kubeconfig, by client-node, and what client-node does not know about them mended. A machine
// without any is told so, instead of being sent to the library's last resort, http://localhost:8080.

import { existsSync, readFileSync } from 'node:fs';
import type { RequestOptions } from 'node:https';
import { delimiter, dirname, resolve } from 'node:path';
import { KubeConfig, loadYaml, type User } from '@kubernetes/client-node';
import { errorText } from '../errors.ts';
import { isRecord } from './answer-object.ts';
import type { ClusterAccess } from './cluster-access.ts';
import { KubeError } from './kube-error.ts';

const lastResort = 'http://localhost:8080';

/** The file, or what kubectl would use. Throws KubeError (`misconfigured`). Nothing is connected. */
export function accessFromKubeconfig(path?: string): ClusterAccess {
  const config = new KubeConfig();
  try {
    if (path !== undefined) loadFile(config, path);
    else loadDefault(config);
  } catch (error) {
    // Only the first line: a YAML error goes on with a piece of the file, which may be a token.
    const why = errorText(error).split('\n', 1)[0] ?? '';
    throw misconfigured(`the kubeconfig ${path ?? 'of this machine'} cannot be read: ${why}`, error);
  }
  const url = config.getCurrentCluster()?.server.replace(/\/+$/, '');
  if (path === undefined && url === lastResort) {
    throw misconfigured('no kubeconfig was given, and neither a ServiceAccount nor a kubeconfig was found here');
  }
  if (url === undefined || !/^https?:\/\//.test(url) || !URL.canParse(url)) {
    throw misconfigured(`the kubeconfig ${path ?? 'of this machine'} names no API server in its current context`);
  }
  return {
    url,
    authority: "the kubeconfig's certificate-authority",
    async authorize() {
      const options: RequestOptions = {};
      await config.applyToHTTPSOptions(options).catch((error: unknown) => {
        throw new Error(describeAuthFailure(error, config.getCurrentUser()), { cause: error });
      });
      // A token out of a file comes with the file's last line end, which no header may have.
      const headers = Object.entries(options.headers ?? {}).map(([name, value]) => [name, String(value).trim()]);
      const trimmed = { ...options, headers: Object.fromEntries(headers) };
      // The library keeps its connection pools, with the credentials of their first use; only a proxy needs one.
      return config.getCurrentCluster()?.proxyUrl === undefined ? { ...trimmed, agent: false } : trimmed;
    },
  };
}

/** Of the files in KUBECONFIG, as kubectl does: those that are there, merged; in a conflict the first one wins. */
function loadDefault(config: KubeConfig): void {
  // oxlint-disable-next-line node/no-process-env -- kubectl's own variable; the library fails at a file that is not there
  const listed = (process.env['KUBECONFIG'] ?? '').split(delimiter).filter((path) => path !== '');
  const [first, ...others] = listed.filter((path) => existsSync(path));
  if (first === undefined) {
    if (listed.length > 0) throw new Error(`none of the files in KUBECONFIG is there (${listed.join(delimiter)})`);
    config.loadFromDefault();
    return;
  }
  loadFile(config, first);
  for (const path of others) {
    const next = new KubeConfig();
    loadFile(next, path);
    const lacks = (known: readonly { readonly name: string }[]) => (one: { readonly name: string }) =>
      known.every(({ name }) => name !== one.name);
    config.clusters = [...config.clusters, ...next.clusters.filter(lacks(config.clusters))];
    config.users = [...config.users, ...next.users.filter(lacks(config.users))];
    config.contexts = [...config.contexts, ...next.contexts.filter(lacks(config.contexts))];
    // A file may name none; the library's type does not say so.
    if (!config.currentContext) config.setCurrentContext(next.currentContext);
  }
}

/** What a plugin prints is a token, and the words of a parser repeat it; what it says on standard error is for people. */
function describeAuthFailure(error: unknown, user: User | null): string {
  const exec: unknown = user?.exec ?? user?.authProvider?.config?.['exec'];
  const plugin = isRecord(exec) && typeof exec['command'] === 'string' ? exec['command'] : 'the plugin for credentials';
  if (error instanceof SyntaxError || error instanceof TypeError) return `${plugin} printed no ExecCredential`;
  const said = errorText(error).trim();
  return said === '' ? `${plugin} failed and did not say why; run it by hand` : said;
}

// A pod's projected token rotates on disk. client-node reads it again when its copy is older than 60 s (FileAuth), which
// is soon enough: the kubelet rotates at 80 % of the token's life. But it does so for `auth-provider` alone; kubectl's
// own word `tokenFile` it does not know, and `token-file`, a word of its own, it reads once. So `tokenFile` becomes
// the former. As in kubectl the file wins over a `token` beside it, which client-node would prefer.
function loadFile(config: KubeConfig, path: string): void {
  config.loadFromFile(path);
  const tokenFiles = readTokenFiles(path);
  config.users = config.users.map((user): User => {
    const tokenFile = tokenFiles.get(user.name);
    if (tokenFile === undefined) return user;
    const { token: _, ...rest } = user;
    return { ...rest, authProvider: { name: 'tokenFile', config: { tokenFile } } };
  });
}

function readTokenFiles(path: string): ReadonlyMap<string, string> {
  const content: unknown = loadYaml(readFileSync(path, 'utf8'));
  const users: unknown = isRecord(content) ? content['users'] : undefined;
  const files = new Map<string, string>();
  for (const entry of Array.isArray(users) ? users : []) {
    if (!isRecord(entry) || typeof entry['name'] !== 'string' || !isRecord(entry['user'])) continue;
    const tokenFile = entry['user']['tokenFile'];
    if (typeof tokenFile === 'string') files.set(entry['name'], resolve(dirname(path), tokenFile));
  }
  return files;
}

function misconfigured(evidence: string, cause?: unknown): KubeError {
  return new KubeError({ kind: 'misconfigured', evidence }, cause);
}

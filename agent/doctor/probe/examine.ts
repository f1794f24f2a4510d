// Gathers all facts of one examination. The host comes first: the proxy of its runtime decides how the servers are asked.

import { rootCertificates } from 'node:tls';
import type { HostRoot } from '../../host/root.ts';
import type { EndpointFacts, Facts } from '../facts.ts';
import { type Environment, proxyFor } from '../proxy.ts';
import type { Target } from '../target.ts';
import { parseChallenge } from '../token-check.ts';
import { type ClusterQuestion, readCluster } from './cluster.ts';
import { type Lookup, probeEndpoint } from './endpoint.ts';
import { readHost, readShellEnvironment, shellsFile } from './host.ts';
import type { ParseYaml } from './registry.ts';

export interface Examination extends ClusterQuestion, Pick<Facts, 'target' | 'now' | 'admission'> {
  readonly root: HostRoot;
  /** Of the shell on the node; undefined in a pod. */
  readonly shell: Environment | undefined;
  readonly parseYaml: ParseYaml;
  /** Those of Node.js where missing. */
  readonly publicRoots?: readonly string[];
  /** The system's own where missing. */
  readonly lookup?: Lookup;
}

export async function examine(examination: Examination, signal: AbortSignal): Promise<Facts> {
  const { target, root, parseYaml, lookup, nodeName, secret: place, now, shell, admission } = examination;
  const { publicRoots = rootCertificates } = examination;
  const cluster = readCluster(examination, signal);
  cluster.catch(() => {}); // heard of below
  const host = await readHost(root, target.registry, parseYaml, signal);
  const environment = unitEnvironment(host);
  const probe = (server: Target['server'], path: string, isDirect = false): Promise<EndpointFacts> => {
    const proxy = isDirect ? undefined : proxyFor(environment, server);
    return probeEndpoint(server, { proxy, path, lookup }, signal);
  };
  const isProxied = proxyFor(environment, target.server) !== undefined;
  const [endpoint, direct] = await Promise.all([
    probe(target.server, '/v2/'),
    isProxied ? probe(target.server, '/v2/', true) : undefined,
  ]);
  return {
    target,
    now,
    endpoint,
    direct,
    token: await followChallenge(endpoint, target, probe),
    shell:
      shell === undefined
        ? { name: shellsFile, variables: await readShellEnvironment(root) }
        : { name: 'this shell', variables: shell },
    host,
    ...(await cluster),
    nodeName,
    publicRoots,
    secretName: `secret ${place.namespace}/${place.name}`,
    admission,
  };
}

/** Without a host to look at, the shell's environment is all there is. */
function unitEnvironment(host: Facts['host']): Environment {
  const variables =
    host.kind === 'known' && host.value.unit.kind === 'known' ? host.value.unit.value.variables : new Map();
  return new Map([...variables].map(([name, { value }]) => [name, value]));
}

async function followChallenge(
  { http }: EndpointFacts,
  { repository }: Target,
  probe: (server: Target['server'], path: string) => Promise<EndpointFacts>,
): Promise<Facts['token']> {
  if (http.kind !== 'answer' || http.status !== 401) return undefined;
  const challenge = http.challenges.flatMap((text) => parseChallenge(text, repository) ?? [])[0];
  return challenge && { realm: challenge.realm, endpoint: await probe(challenge.server, challenge.path) };
}

// The server that gives tokens: a 401 names it in `realm` (RFC 6750, RFC 7235; the distribution's token specification), and
// containerd goes there before it pulls anything. Its connection and its chain are judged as the registry's are.

import { rootName, tellFault, withoutChain } from './chain-checks.ts';
import { broken, type Check, notKnown, pass, skipped } from './check.ts';
import type { EndpointFacts } from './facts.ts';
import { checkDns, checkTcp, checkTls, isUntried, urlOf } from './network-checks.ts';
import { formatServer, parseTarget, type Server } from './target.ts';
import { judgeEndpoint, knownRoots, type View } from './view.ts';

export function checkToken(view: View): Check {
  const { facts, sources, at } = view;
  const { token, endpoint } = facts;
  if (token === undefined) return withoutToken(endpoint);
  const { server } = token.endpoint;
  const name = formatServer(server);
  const other = server.scheme === 'https' && server.port === 443 ? server.host : `${server.scheme}://${name}`;
  const broke = (inner: Check): Check =>
    broken(
      'TokenServerBroken',
      `${name}: ${inner.summary}`,
      [`the registry sends to ${token.realm}`, ...inner.evidence],
      { other },
    );
  const ofToken = { ...facts, endpoint: token.endpoint };
  const first = [checkDns(ofToken), checkTcp(ofToken), checkTls(ofToken)].find(({ status }) => status === 'fail');
  if (first !== undefined) return broke(first);
  if (server.scheme === 'http')
    return broken('TokenOverHttp', `tokens are asked for at ${token.realm}`, [], { url: urlOf(server) });
  const chain = judgeEndpoint(token.endpoint, knownRoots(sources, facts), at);
  if (chain === undefined) return withoutChain('token', token.endpoint);
  const [fault] = chain.faults;
  const sameRoot = chain.root !== undefined && chain.root.fingerprint256 === view.chain?.root?.fingerprint256;
  const isTrusted = sameRoot || isInRoots(view, chain.root?.fingerprint256);
  if (fault !== undefined) return broke(tellFault(fault, server, [], view));
  // The registry's own fault is told already, and this would be the same one. Of a root that is known, the name alone says nothing.
  const areUnknown = chain.root === undefined && view.chain !== undefined && view.chain.root === undefined;
  const isSame = areUnknown && rootName(chain) === rootName(view.chain);
  if (isTrusted || isSame) return pass('token', `${name}, below ${rootName(chain)}`);
  const summary = `${name} has a certificate below ${rootName(chain)}, which the host does not trust`;
  return broken('TokenServerUntrusted', summary, [`the registry sends to ${token.realm}`], { other });
}

/** Folders of containerd for the registry do not count for its token server; without a host nobody can tell. */
function isInRoots({ host }: View, print: string | undefined): boolean {
  return host === undefined || host.roots.some(({ certificate }) => certificate.fingerprint256 === print);
}

function withoutToken(endpoint: EndpointFacts): Check {
  const { http, tls } = endpoint;
  if (tls.kind === 'tls-wanted') return skipped('token', 'an earlier link is broken');
  if (http.kind === 'answer') return skipped('token', `the registry sends nowhere for a token (${http.status})`);
  if (http.kind === 'failed' || http.kind === 'client-wanted')
    return notKnown('token', `the registry did not answer: ${http.evidence}`);
  return (isUntried(endpoint) ? notKnown : skipped)('token', 'no answer of the registry was seen');
}

/** `Bearer realm="…",service="…"`: the realm's URL, where it has one, with the service that is asked for. */
export function parseChallenge(challenge: string, repository: string): Challenge | undefined {
  if (!/^bearer\s/i.test(challenge)) return undefined;
  const parameters = new Map(
    [...challenge.matchAll(/([\w-]+)\s*=\s*(?:"((?:\\.|[^"\\])*)"|([^\s,"]+))/g)].map(
      ([, name = '', quoted, bare = '']) => [name.toLowerCase(), quoted?.replaceAll(/\\(.)/g, '$1') ?? bare],
    ),
  );
  const realm = parameters.get('realm') ?? '';
  if (!/^https?:\/\//i.test(realm) || !URL.canParse(realm)) return undefined;
  const url = new URL(realm);
  const service = parameters.get('service');
  if (service !== undefined) url.searchParams.set('service', service);
  if (repository !== '') url.searchParams.set('scope', `repository:${repository}:pull`);
  const { server } = parseTarget(url.origin);
  return { server, realm: `${url.origin}${url.pathname}`, path: `${url.pathname}${url.search}` };
}

interface Challenge {
  readonly server: Server;
  /** For people. */
  readonly realm: string;
  readonly path: string;
}

// The way to the server, and what it answers there: name, connection, proxy, TLS, time.

import { broken, type Check, notKnown, pass, skipped } from './check.ts';
import type { EndpointFacts, Facts } from './facts.ts';
import { hasClient } from './hosts-folder.ts';
import { maskProxy, proxyFor } from './proxy.ts';
import { formatServer, type Server } from './target.ts';
import { maxSkewMs, type View } from './view.ts';

/** Where the doctor asks a registry whether it is one. */
export const urlOf = (server: Server): string => `${server.scheme}://${formatServer(server)}/v2/`;

export function checkDns({ endpoint: { dns } }: Facts): Check {
  if (dns.kind === 'needless') return skipped('dns', dns.why);
  if (dns.kind === 'resolved') return pass('dns', `${dns.name} is ${dns.addresses.join(', ')}`);
  return broken('NameNotFound', `${dns.name} has no address: ${dns.evidence}`, [], { name: dns.name });
}

export function checkTcp({ endpoint }: Facts): Check {
  const { tcp, proxy, server } = endpoint;
  if (isUntried(endpoint)) return notKnown('tcp', whyUntried);
  if (tcp.kind === 'not-reached') return skipped('tcp', 'no address to connect to');
  const through = proxy === undefined ? '' : ` through ${proxy}`;
  if (tcp.kind === 'connected') return pass('tcp', `${tcp.address} takes a connection${through}`);
  const summary = `${formatServer(server)}${through}: ${tcp.evidence}`;
  const url = urlOf(server);
  if (tcp.kind === 'proxy-refused') return broken('ProxyRefused', summary, [], { url, proxy: proxy ?? '' });
  return broken(tcp.kind === 'refused' ? 'ConnectionRefused' : 'ConnectionFailed', summary, [`tried ${tcp.address}`], {
    url,
  });
}

export function checkProxy({ target, shell, host }: Facts): Check {
  if (host.kind === 'unknown') return notKnown('proxy', host.why);
  const { unit: found } = host.value;
  if (found.kind === 'unknown') return notKnown('proxy', found.why);
  const { unit, variables } = found.value;
  const environment = new Map([...variables].map(([name, { value }]) => [name, value]));
  const [ofUnit, ofShell] = [environment, shell.variables].map((one) => proxyFor(one, target.server));
  const tell = (proxy: string | undefined): string => (proxy === undefined ? 'no proxy' : maskProxy(proxy));
  if (ofUnit === ofShell) return pass('proxy', `${unit} and ${shell.name} go through ${tell(ofUnit)}`);
  const setting = [...variables].filter(([name]) => /^(https?|no)_proxy$/i.test(name));
  const evidence = setting.map(([name, { path }]) => `${name} is set by ${path}`);
  const summary = `${unit} goes through ${tell(ofUnit)}, ${shell.name} through ${tell(ofShell)}`;
  return broken('ProxyDiffers', summary, evidence, { unit });
}

export function checkTls({ endpoint, host, target }: Facts): Check {
  const { tls, server, http } = endpoint;
  if (tls.kind === 'tls-wanted') {
    const summary = 'plain HTTP was asked for, and the server does not speak it';
    const evidence = [`${formatServer(server)}: ${tls.evidence}`];
    return broken('TlsWanted', summary, evidence, { server: formatServer({ ...server, scheme: 'https' }) });
  }
  if (server.scheme === 'http') return skipped('tls', 'plain HTTP was asked for');
  if (isUntried(endpoint)) return notKnown('tls', whyUntried);
  if (tls.kind === 'not-reached') return skipped('tls', 'no connection to speak it over');
  if (tls.kind === 'chain' && http.kind === 'client-wanted') {
    const wanted = `${formatServer(server)} wants a client certificate`;
    if (host.kind === 'unknown') return notKnown('tls', `${wanted}; ${host.why}`);
    if (hasClient(host.value.registry, target)) return pass('tls', `${wanted}, and containerd has been given one`);
    const summary = `${wanted}, and containerd has been given none for it`;
    return broken('HandshakeFailed', summary, [`it answers: ${http.evidence}`], handshakeOf(server));
  }
  if (tls.kind === 'chain') return pass('tls', `${tls.protocol}, ${count(tls.sent.length, 'certificate')} sent`);
  if (tls.kind === 'plain-http')
    return broken('PlainHttp', `${formatServer(server)}: ${tls.evidence}`, [], {
      server: formatServer({ ...server, scheme: 'http' }),
    });
  return broken('HandshakeFailed', `${formatServer(server)}: ${tls.evidence}`, [], handshakeOf(server));
}

const handshakeOf = ({ host, port }: Server) => ({ server: `${host}:${port}`, host });

export function checkClock({ skewMs, clockIsWrong, facts }: View): Check {
  if (skewMs === undefined) return withoutTime(facts.endpoint);
  const side = skewMs < 0 ? 'behind' : 'ahead of';
  const here = `${facts.now.toISOString()} here`;
  if (Math.abs(skewMs) <= maxSkewMs) return pass('clock', `${here}, within five minutes of the server's`);
  const summary = `the clock is ${describeTime(Math.abs(skewMs))} ${side} the server's`;
  const server = `${new Date(facts.now.getTime() - skewMs).toISOString()} at ${formatServer(facts.endpoint.server)} (its Date header)`;
  return broken(clockIsWrong ? 'ClockWrong' : 'ClockDiffers', summary, [here, server], {});
}

function withoutTime(endpoint: EndpointFacts): Check {
  const { http, tls } = endpoint;
  if (tls.kind === 'tls-wanted') return skipped('clock', 'an earlier link is broken');
  if (http.kind === 'answer') return notKnown('clock', 'the server tells no time');
  if (http.kind === 'failed' || http.kind === 'client-wanted')
    return notKnown('clock', `the server tells no time: ${http.evidence}`);
  return (isUntried(endpoint) ? notKnown : skipped)('clock', 'no answer that could tell the time');
}

/** The proxy is one that the doctor cannot speak to: what lies behind was not looked at, and nothing is known to be broken. */
export function isUntried({ dns, tcp }: EndpointFacts): boolean {
  return dns.kind === 'needless' && tcp.kind === 'not-reached';
}

const whyUntried = 'it was not asked';

export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

function describeTime(milliseconds: number): string {
  const minutes = Math.round(milliseconds / 60_000);
  if (minutes < 120) return `${minutes} minutes`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} hours` : `${Math.round(hours / 24)} days`;
}

// Goes to a server as the runtime would, stage by stage, and keeps what each has shown: name, connection, through the runtime's
// proxy where there is one, TLS, and the answer to one GET. Sends no credentials, to nobody. Each stage has its time.
// The chain is kept as it was sent: getPeerX509Certificate() hands the certificates on in that order, whatever issued what, while
// getPeerCertificate() sorts them by issuer and loses those that fit nowhere. test/doctor/probe/endpoint.test.ts pins it.

import type { X509Certificate } from 'node:crypto';
import { lookup as systemLookup } from 'node:dns/promises';
import http, { type ClientRequest, type IncomingMessage } from 'node:http';
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { EndpointFacts } from '../facts.ts';
import { maskProxy } from '../proxy.ts';
import { formatServer, type Server } from '../target.ts';
import { codeOf, tellFailure, wantsClient } from './failure.ts';
import { isLate, orAbort, settle } from './in-time.ts';

export interface ProbeOptions {
  readonly proxy: string | undefined;
  /** Of the GET. */
  readonly path: string;
  readonly lookup?: Lookup | undefined;
  readonly timeoutMs?: number;
}

/** All addresses of a name; throws as dns.lookup() does. */
export type Lookup = (name: string) => Promise<readonly string[]>;

const notReached = { kind: 'not-reached' } as const;
/** More addresses than these are not tried. */
const maxAddresses = 4;
/** Before the next address is tried beside this one. */
const attemptMs = 1_000;
const maxChain = 32;

export async function probeEndpoint(
  server: Server,
  options: ProbeOptions,
  signal: AbortSignal,
): Promise<EndpointFacts> {
  const { proxy, path, lookup = lookUp, timeoutMs = 5_000 } = options;
  const hop = proxy === undefined ? server : proxyServer(proxy);
  const shown = proxy === undefined ? undefined : maskProxy(proxy);
  const nothing = { server, proxy: shown, tcp: notReached, tls: notReached, http: notReached } as const;
  if (hop === undefined)
    return { ...nothing, dns: { kind: 'needless', why: `${shown} is no HTTP proxy, and the doctor speaks no other` } };
  const within = (): AbortSignal => AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  const dns = await resolve(hop.host, lookup, within());
  if (dns.kind === 'failed') return { ...nothing, dns };
  const addresses = dns.kind === 'resolved' ? dns.addresses.slice(0, maxAddresses) : [hop.host];
  const reach = (): Promise<Dialed> => dial(hop, addresses, proxy === undefined ? undefined : server, within);
  const dialed = await reach();
  if (!('socket' in dialed)) return { ...nothing, dns, tcp: dialed };
  const { socket } = dialed;
  const tcp = { kind: 'connected', address: dialed.address } as const;
  try {
    if (server.scheme === 'http') {
      const http = await ask(socket, server, path, within());
      return { ...nothing, dns, tcp, tls: isPlain(http) ? notReached : await findTls(reach, server, within), http };
    }
    const shaken = await shakeHands(socket, server, within());
    if (!('tlsSocket' in shaken))
      return { ...nothing, dns, tcp, tls: (await findPlainHttp(reach, server, path, within)) ?? shaken };
    const { tlsSocket, tls } = shaken;
    return { ...nothing, dns, tcp, tls, http: await ask(tlsSocket, server, path, within()) };
  } finally {
    socket.destroy();
  }
}

async function resolve(name: string, lookup: Lookup, signal: AbortSignal): Promise<EndpointFacts['dns']> {
  if (isIP(name) !== 0) return { kind: 'needless', why: `${name} is an address` };
  try {
    const addresses = await orAbort(lookup(name), signal);
    if (addresses.length === 0) throw new Error('no address');
    return { kind: 'resolved', name, addresses };
  } catch (error) {
    return {
      kind: 'failed',
      name,
      evidence: isLate(error) ? 'the resolver did not answer in time' : tellFailure(error),
    };
  }
}

type Dialed =
  | { readonly socket: Socket; readonly address: string }
  | Exclude<EndpointFacts['tcp'], { kind: 'connected' | 'not-reached' }>;

/** To one of the addresses, as RFC 8305 has it; and through a proxy on to the server. */
async function dial(
  hop: Server,
  addresses: readonly string[],
  beyond: Server | undefined,
  within: () => AbortSignal,
): Promise<Dialed> {
  const found = addresses.map((address) => ({ address, family: isIP(address) }));
  const socket = connect({
    host: hop.host,
    port: hop.port,
    lookup: (_name, _options, answer) => answer(null, found),
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: attemptMs,
  });
  try {
    await settle(socket, 'connect', within());
    const address = formatServer({ ...hop, host: socket.remoteAddress ?? hop.host });
    const refusal = beyond === undefined ? undefined : await tunnel(socket, beyond, within());
    if (refusal === undefined) return { socket, address };
    socket.destroy();
    return { kind: 'proxy-refused', address, evidence: refusal };
  } catch (error) {
    socket.destroy();
    return tellDialing(error, addresses.map((host) => formatServer({ ...hop, host })).join(', '));
  }
}

/** Of several addresses, that one refused says more than that another was not to be reached. */
function tellDialing(error: unknown, address: string): Exclude<Dialed, { readonly socket: Socket }> {
  if (isLate(error)) return { kind: 'failed', address, evidence: 'no answer in time' };
  const errors: readonly unknown[] = error instanceof AggregateError ? error.errors : [error];
  const refused = errors.find((one) => codeOf(one) === 'ECONNREFUSED');
  if (refused !== undefined) return { kind: 'refused', address, evidence: tellFailure(refused) };
  return { kind: 'failed', address, evidence: tellFailure(errors[0]) };
}

/** CONNECT (RFC 9110, 9.3.6), without credentials. Answers with why not. */
async function tunnel(socket: Socket, { host, port }: Server, signal: AbortSignal): Promise<string | undefined> {
  const authority = `${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
  const headers = { Host: authority };
  const request = http.request({ method: 'CONNECT', path: authority, headers, createConnection: () => socket, signal });
  request.end();
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    for (const event of ['connect', 'response'] as const) request.once(event, resolve);
    endAnyhow(request, resolve, reject);
  });
  try {
    const { statusCode = 0, statusMessage = '' } = await answered;
    return statusCode === 200 ? undefined : `the proxy answers ${statusCode} ${statusMessage}`.trimEnd();
  } catch (error) {
    return isLate(error) ? 'the proxy does not answer in time' : `the proxy does not answer: ${tellFailure(error)}`;
  }
}

type Shaken =
  | { readonly tlsSocket: TLSSocket; readonly tls: Extract<EndpointFacts['tls'], { kind: 'chain' }> }
  | { readonly kind: 'failed'; readonly evidence: string };

/** Whoever answers is looked at, not believed: nothing but the question of a stranger is sent over it. */
async function shakeHands(socket: Socket, { host }: Server, signal: AbortSignal): Promise<Shaken> {
  const name = isIP(host) === 0 ? { servername: host } : {};
  const tlsSocket = connectTls({
    socket,
    ...name,
    rejectUnauthorized: false,
    ALPNProtocols: ['http/1.1'],
    minVersion: 'TLSv1.2',
  });
  try {
    await settle(tlsSocket, 'secureConnect', signal);
    const protocol = tlsSocket.getProtocol() ?? 'TLS';
    return { tlsSocket, tls: { kind: 'chain', protocol, sent: readChain(tlsSocket) } };
  } catch (error) {
    tlsSocket.destroy();
    return { kind: 'failed', evidence: isLate(error) ? 'no answer to its first words in time' : tellFailure(error) };
  }
}

function readChain(socket: TLSSocket): readonly X509Certificate[] {
  const sent: X509Certificate[] = [];
  let next: X509Certificate | undefined = socket.getPeerX509Certificate();
  for (; next !== undefined && sent.length < maxChain; next = next.issuerCertificate) sent.push(next);
  return sent;
}

/** After a handshake that failed: whether the server speaks plain HTTP at that port. */
async function findPlainHttp(
  reach: () => Promise<Dialed>,
  server: Server,
  path: string,
  within: () => AbortSignal,
): Promise<EndpointFacts['tls'] | undefined> {
  const dialed = await reach();
  if (!('socket' in dialed)) return undefined;
  const answer = await ask(dialed.socket, { ...server, scheme: 'http' }, path, within());
  dialed.socket.destroy();
  return isPlain(answer) ? { kind: 'plain-http', evidence: `it answers ${answer.status} in plain HTTP` } : undefined;
}

/** After a question in plain HTTP that was not answered: whether the server speaks TLS at that port. */
async function findTls(
  reach: () => Promise<Dialed>,
  server: Server,
  within: () => AbortSignal,
): Promise<EndpointFacts['tls']> {
  const dialed = await reach();
  if (!('socket' in dialed)) return notReached;
  const shaken = await shakeHands(dialed.socket, server, within());
  dialed.socket.destroy();
  return 'tlsSocket' in shaken ? { kind: 'tls-wanted', evidence: `it speaks ${shaken.tls.protocol}` } : notReached;
}

/** A server of TLS that is spoken to in plain HTTP may say so in plain HTTP. */
function isPlain(answer: EndpointFacts['http']): answer is Extract<EndpointFacts['http'], { kind: 'answer' }> {
  return answer.kind === 'answer' && answer.status !== 400;
}

async function ask(socket: Socket, server: Server, path: string, signal: AbortSignal): Promise<EndpointFacts['http']> {
  const headers = { Host: formatServer(server), Accept: '*/*', 'User-Agent': 'node-trust doctor' };
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = http.request({ path, headers, createConnection: () => socket, signal }, resolve);
      endAnyhow(request, resolve, reject);
      request.end();
    });
    response.destroy(); // the head says all
    const { statusCode: status = 0, headers: answered, headersDistinct } = response;
    const date = new Date(answered.date ?? Number.NaN);
    const challenges = headersDistinct['www-authenticate'] ?? [];
    return { kind: 'answer', status, date: Number.isNaN(date.getTime()) ? undefined : date, challenges };
  } catch (error) {
    const kind = wantsClient(error) ? 'client-wanted' : 'failed';
    return { kind, evidence: isLate(error) ? 'no answer in time' : tellFailure(error) };
  }
}

/** An answer that changes the protocol, which nobody has asked for, is an answer; an end without one is an end. */
function endAnyhow(
  request: ClientRequest,
  resolve: (response: IncomingMessage) => void,
  reject: (error: Error) => void,
): void {
  request.once('upgrade', (response, socket) => {
    socket.destroy();
    resolve(response);
  });
  request.on('error', reject);
  request.once('close', () => reject(new Error('the connection was closed without an answer')));
}

async function lookUp(name: string): Promise<readonly string[]> {
  return (await systemLookup(name, { all: true })).map(({ address }) => address);
}

/** Undefined for one that wants to be spoken to in another way than plain HTTP: SOCKS, or TLS. */
function proxyServer(proxy: string): Server | undefined {
  if (!URL.canParse(proxy) || new URL(proxy).protocol !== 'http:') return undefined;
  const { hostname, port } = new URL(proxy);
  return { scheme: 'http', host: hostname.replaceAll(/^\[|\]$/g, ''), port: Number(port) || 80 };
}

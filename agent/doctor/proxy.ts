// Through which proxy a program written in Go goes to a server, by the environment of its unit, and how a proxy's URL is shown:
// never with its password. https://pkg.go.dev/golang.org/x/net/http/httpproxy

import { BlockList, isIP } from 'node:net';
import { printable } from '../trust/printable.ts';
import type { Server } from './target.ts';

export type Environment = ReadonlyMap<string, string>;

/** The proxy's URL, as it is set; undefined for a direct connection. */
export function proxyFor(environment: Environment, server: Server): string | undefined {
  const read = (name: string): string => environment.get(name) || environment.get(name.toLowerCase()) || '';
  const proxy = read(server.scheme === 'https' ? 'HTTPS_PROXY' : 'HTTP_PROXY').trim();
  if (proxy === '' || isLoopback(server.host)) return undefined;
  const exceptions = read('NO_PROXY').split(',');
  if (exceptions.some((exception) => isExcepted(exception.trim().toLowerCase(), server))) return undefined;
  return /^[a-z0-9+.-]+:\/\//i.test(proxy) ? proxy : `http://${proxy}`;
}

/** Fit to be shown: without credentials, path and query. */
export function maskProxy(proxy: string): string {
  const url = URL.parse(proxy);
  // Behind the host, an `@` is a password's with a slash: half of it would be taken for the host.
  if (url === null || `${url.pathname}${url.search}${url.hash}`.includes('@')) return 'a URL that cannot be read';
  const { protocol, host, username, password } = url;
  return printable(`${protocol}//${username === '' && password === '' ? '' : '***@'}${host}`);
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** `*`, an address, a network, or a name, which stands for all below it; `.name` stands for those below it alone. */
function isExcepted(exception: string, { host, port }: Server): boolean {
  if (exception === '') return false;
  if (exception === '*') return true;
  const [, name = '', only] = /^(.*?)(?::(\d+))?$/.exec(isIP(exception) === 6 ? `[${exception}]` : exception) ?? [];
  if (only !== undefined && Number(only) !== port) return false;
  const bare = name.replaceAll(/^\[|\]$|^\*(?=\.)/g, '');
  const family = isIP(host);
  if (family !== 0) return bare === host || isInNetwork(bare, host, family);
  const asked = host.toLowerCase();
  return bare.startsWith('.') ? asked.endsWith(bare) : asked === bare || asked.endsWith(`.${bare}`);
}

function isInNetwork(network: string, address: string, family: number): boolean {
  const [, prefix = '', bits] = /^([0-9a-f.:]+)\/(\d{1,3})$/.exec(network) ?? [];
  if (bits === undefined || isIP(prefix) !== family || Number(bits) > (family === 4 ? 32 : 128)) return false;
  const list = new BlockList();
  const type = family === 4 ? 'ipv4' : 'ipv6';
  list.addSubnet(prefix, Number(bits), type);
  return list.check(address, type);
}

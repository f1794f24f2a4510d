// What a person names to the doctor: an image, a host with its port, or a URL, and which server containerd would ask for it.
// Docker's rules: a first part without a dot, colon or `localhost` is no host, and images without a host are docker.io's.

import { isIP } from 'node:net';
import { maskCredentials } from './mask.ts';

export interface Server {
  readonly scheme: 'https' | 'http';
  /** A name or an address, without brackets. */
  readonly host: string;
  readonly port: number;
}

export interface Target {
  /** As it was typed, without credentials. */
  readonly asked: string;
  readonly readAs: 'image' | 'host' | 'url';
  /** As containerd calls it, in `certs.d` too: `docker.io`, `registry.corp:5000`. */
  readonly registry: string;
  readonly server: Server;
  /** Of the image; empty where none was named. */
  readonly repository: string;
}

const dockerHub = { registry: 'docker.io', host: 'registry-1.docker.io' } as const;
const port = String.raw`\d{1,5}`;
const hostForm = new RegExp(String.raw`^(?:\[([0-9a-fA-F:.]+)\]|([\w.-]+))(?::(${port}))?$`);
const imageForm = new RegExp(
  String.raw`^(?:([\w.-]+(?::${port})?|\[[0-9a-fA-F:.]+\](?::${port})?)/)?([a-z0-9]+(?:[._/-]+[a-z0-9]+)*)(?::[\w.-]{1,128})?(?:@[\w+.-]+:[0-9a-fA-F]{32,})?$`,
);

/** Throws an Error that says what was expected. */
export function parseTarget(text: string): Target {
  const target = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? parseUrl(text) : (parseHost(text) ?? parseImage(text));
  if (target === undefined || target.server.port < 1 || target.server.port > 65_535)
    throw new Error(`expected an image, HOST:PORT or a URL, got ${JSON.stringify(maskCredentials(text, '***@'))}`);
  return target;
}

/** For people and for Host: without the port that goes without saying; IPv6 in brackets. */
export function formatServer({ scheme, host, port }: Server): string {
  const name = isIP(host) === 6 ? `[${host}]` : host;
  return port === (scheme === 'https' ? 443 : 80) ? name : `${name}:${port}`;
}

function parseUrl(text: string): Target | undefined {
  if (!URL.canParse(text)) return undefined;
  const { protocol, hostname, port: written, host, pathname, search, hash } = new URL(text);
  if (`${pathname}${search}${hash}`.includes('@')) return undefined; // a password with a slash, half of it taken for the host
  if ((protocol !== 'https:' && protocol !== 'http:') || hostname === '') return undefined;
  const scheme = protocol === 'https:' ? 'https' : 'http';
  const server = { scheme, host: bare(hostname), port: Number(written) || (scheme === 'https' ? 443 : 80) } as const;
  return { asked: `${scheme}://${host}${pathname}`, readAs: 'url', registry: host, server, repository: '' };
}

/** `redis:7` is an image, `localhost:5000` a host: without a dot, what follows the colon must look like a port of a server. */
function parseHost(text: string): Target | undefined {
  const [, six, name = '', digits] = hostForm.exec(text) ?? [];
  const host = six ?? name;
  const isServers = digits === '443' || digits === '80' || Number(digits) >= 1024;
  const isHost = six !== undefined || name.includes('.') || name === 'localhost' || (digits !== undefined && isServers);
  if (host === '' || !isHost) return undefined;
  if (digits === undefined && isImageName(name)) return undefined;
  return ofRegistry(text, 'host', text, '');
}

/** Without a dot nothing but an image of Docker Hub is meant. */
function isImageName(name: string): boolean {
  return !name.includes('.') && name !== 'localhost' && name !== '';
}

function parseImage(text: string): Target | undefined {
  const [whole, first, path = ''] = imageForm.exec(text) ?? [];
  if (whole === undefined) return undefined;
  const isHost = first !== undefined && (/[.:]/.test(first) || first === 'localhost');
  if (isHost) return ofRegistry(text, 'image', first, path);
  if (first !== undefined && first !== first.toLowerCase()) return undefined; // no name of a repository
  const full = first === undefined ? path : `${first}/${path}`;
  return ofRegistry(text, 'image', dockerHub.registry, full.includes('/') ? full : `library/${full}`);
}

function ofRegistry(asked: string, readAs: Target['readAs'], registry: string, repository: string): Target | undefined {
  if (registry === dockerHub.registry || registry === 'index.docker.io') {
    const server = { scheme: 'https', host: dockerHub.host, port: 443 } as const;
    return { asked, readAs, registry: dockerHub.registry, server, repository };
  }
  const [, six, name = '', digits = '443'] = hostForm.exec(registry) ?? [];
  const server = { scheme: 'https', host: six ?? name, port: Number(digits) } as const;
  return { asked, readAs, registry, server, repository };
}

const bare = (hostname: string): string => hostname.replaceAll(/^\[|\]$/g, '');

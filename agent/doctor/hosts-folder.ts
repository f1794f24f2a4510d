// For whom a folder of containerd speaks. In hosts.toml each `[host."X"]` has its own CAs and its own client certificate, which count
// for X alone; what stands at the top is for the `server`, and for the registry itself where none is named. Without a hosts.toml all
// of the folder is for the registry. https://github.com/containerd/containerd/blob/main/docs/hosts.md

import type { X509Certificate } from 'node:crypto';
import type { CaFile, HostEntry, Hosts, HostsFolder, RegistrySettings } from './registry-settings.ts';
import type { Target } from './target.ts';

/** Those that count for the registry itself. */
export function certificatesFor(folder: HostsFolder | undefined, target: Target): readonly X509Certificate[] {
  if (folder?.hosts === undefined) return certificatesOf(folder);
  const paths = new Set(entriesFor(folder.hosts, target).flatMap(({ ca }) => ca));
  return load(folder.cas.filter(({ path }) => paths.has(path)));
}

/** Whether containerd is told to send the registry itself a client certificate. */
export function hasClient({ own, byDefault, tls }: RegistrySettings, target: Target): boolean {
  const folder = own ?? byDefault;
  const inFolder = folder?.hosts === undefined ? folder?.hasClient : entriesFor(folder.hosts, target).some(isGiven);
  return inFolder === true || tls.some(({ value }) => isGiven(value));
}

const isGiven = (settings: { readonly hasClient: boolean }): boolean => settings.hasClient;

function entriesFor({ entries }: Hosts, target: Target): readonly HostEntry[] {
  return entries.filter(({ server }) => server === '' || isServer(server, target));
}

/** Those for mirrors, too. */
export function certificatesOf(folder: HostsFolder | undefined): readonly X509Certificate[] {
  return load(folder?.cas ?? []);
}

/** A URL, or a host with a port, of hosts.toml or registries.yaml that means the server itself. */
export function isServer(text: string, { server, registry }: Target): boolean {
  const url = URL.parse(/^https?:\/\//.test(text) ? text : `https://${text}`);
  if (url === null) return false;
  const { hostname, port, protocol, host } = url;
  const number = Number(port) || (protocol === 'http:' ? 80 : 443);
  return host === registry || (hostname.replaceAll(/^\[|\]$/g, '') === server.host && number === server.port);
}

const load = (cas: readonly CaFile[]): readonly X509Certificate[] =>
  cas.flatMap(({ certificates }) => certificates ?? []);

// What containerd is told about one registry: its folder below `config_path`, its config.toml, and the registries.yaml of k3s and
// rke2. Parses texts that somebody else has written and may have broken; what has not the documented shape counts as not there.
// https://github.com/containerd/containerd/blob/main/docs/hosts.md

import type { X509Certificate } from 'node:crypto';
import { parse as parseToml } from 'smol-toml';
import { maskCredentials } from './mask.ts';

export interface RegistrySettings {
  /** `config_path` of config.toml; or the folder that is there without it, where containerd looks by itself since 2.2; or none. */
  readonly configPath: readonly string[];
  readonly isConfigPathSet: boolean;
  /** Files that were read for it. */
  readonly configFiles: readonly string[];
  /** Registries with `mirrors` in config.toml, with the file. */
  readonly mirrors: readonly Placed<string>[];
  /** The folder that containerd reads for this registry, and the `_default` that it would read without it. */
  readonly own: HostsFolder | undefined;
  readonly byDefault: HostsFolder | undefined;
  /** TLS of this registry in config.toml or registries.yaml. */
  readonly tls: readonly Placed<Pick<TlsSettings, 'skipVerify' | 'hasClient'> & { readonly ca: CaFile | undefined }>[];
  /** Where registries.yaml sends the pulls of this registry. */
  readonly endpoints: readonly Placed<string>[];
  /** The registries.yaml that there is. */
  readonly registriesFile: string | undefined;
  readonly faults: readonly Placed<string>[];
}

export interface TlsSettings {
  readonly skipVerify: boolean;
  /** A client certificate is sent to whoever wants one. */
  readonly hasClient: boolean;
  readonly ca: string | undefined;
}

export interface Placed<T> {
  readonly path: string;
  readonly value: T;
}

export interface CaFile {
  readonly path: string;
  /** Undefined for a file that is not there, empty for one without a certificate. */
  readonly certificates: readonly X509Certificate[] | undefined;
}

export interface HostsFolder {
  readonly path: string;
  /** Where there is none, `*.crt` of the folder are its CAs. */
  readonly hosts: Hosts | undefined;
  readonly cas: readonly CaFile[];
  /** A client certificate lies in it, `*.cert` with its `*.key`: for a folder without hosts.toml. */
  readonly hasClient: boolean;
}

/** Of hosts.toml. What it says at its top counts before containerd 2 only if there is a `[host]` table, be it an empty one. */
export interface Hosts {
  readonly entries: readonly HostEntry[];
  readonly hasTable: boolean;
}

export interface HostEntry {
  readonly server: string;
  readonly skipVerify: boolean;
  readonly hasClient: boolean;
  /** As they are written; in a {@link HostsFolder} absolute. */
  readonly ca: readonly string[];
}

type Table = Readonly<Record<string, unknown>>;

/** Each host that hosts.toml names, the `server` last, as containerd asks them. Throws for what is no TOML. */
export function parseHosts(text: string): Hosts {
  const top: Table = parseToml(text);
  const named = Object.entries(tableAt(top, 'host')).map(([server, value]) =>
    readHost(server, isTable(value) ? value : {}),
  );
  return { entries: [...named, readHost(textOf(top['server']) ?? '', top)], hasTable: isTable(top['host']) };
}

export interface ContainerdConfig {
  readonly configPath: readonly string[];
  readonly imports: readonly string[];
  readonly mirrors: readonly string[];
  readonly tls: ReadonlyMap<string, TlsSettings>;
}

/** Where versions 2 and 3 of config.toml have the registries. Throws for what is no TOML. */
export function parseContainerdConfig(text: string): ContainerdConfig {
  const top: Table = parseToml(text);
  const plugins = tableAt(top, 'plugins');
  const registries = ['io.containerd.grpc.v1.cri', 'io.containerd.cri.v1.images', 'cri'].map((plugin) =>
    tableAt(tableAt(plugins, plugin), 'registry'),
  );
  return {
    configPath: registries.flatMap((registry) => (textOf(registry['config_path']) ?? '').split(':').filter(Boolean)),
    imports: textsOf(top['imports']),
    mirrors: registries
      .flatMap((registry) => Object.keys(tableAt(registry, 'mirrors')))
      .map((name) => maskCredentials(name)),
    tls: new Map(registries.flatMap((registry) => [...readTls(tableAt(registry, 'configs'))])),
  };
}

/** What registries.yaml says, already parsed, of one registry; `*` stands for all that have no entry. */
export function readRegistries(document: unknown, registry: string) {
  const top = isTable(document) ? document : {};
  const mirrors = tableAt(top, 'mirrors');
  const mirror = isTable(mirrors[registry]) ? mirrors[registry] : tableAt(mirrors, '*');
  const tls = readTls(tableAt(top, 'configs'));
  return {
    endpoints: textsOf(mirror['endpoint']).map((url) => maskCredentials(url)),
    tls: tls.get(registry) ?? tls.get('*'),
  };
}

/** The names of the folder of a registry, the first that exists is read: with its port, as it is, and for all. */
export function folderNames(registry: string): readonly string[] {
  const [, host, port] = /^(.+):(\d+)$/.exec(registry) ?? [];
  return host === undefined ? [registry] : [`${host}_${port}_`, registry];
}

function readHost(server: string, table: Table): HostEntry {
  const skipVerify = table['skip_verify'] === true;
  const hasClient = [table['client']].flat(2).some((one) => textOf(one) !== undefined); // a file, files, or pairs of files
  return { server: maskCredentials(server), skipVerify, hasClient, ca: textsOf(table['ca']) };
}

function readTls(configs: Table): ContainerdConfig['tls'] {
  return new Map(
    Object.entries(configs).flatMap(([registry, config]) => {
      const tls = isTable(config) ? tableAt(config, 'tls') : {};
      if (Object.keys(tls).length === 0) return [];
      const skipVerify = tls['insecure_skip_verify'] === true;
      const hasClient = textOf(tls['cert_file']) !== undefined;
      return [[registry, { skipVerify, hasClient, ca: textOf(tls['ca_file']) }] as const];
    }),
  );
}

function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function tableAt(table: Table, name: string): Table {
  const value = table[name];
  return isTable(value) ? value : {};
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** One text or a list of them: `ca` may be either. */
function textsOf(value: unknown): readonly string[] {
  const values: readonly unknown[] = Array.isArray(value) ? value : [value];
  return values.flatMap((one) => textOf(one) ?? []);
}

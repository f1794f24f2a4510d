// Reads what the runtime is told about one registry: config.toml with its imports, the folder below config_path, registries.yaml.
// Below the host's root alone, and without changing anything.

import { X509Certificate } from 'node:crypto';
import { posix } from 'node:path';
import { AgentError, errorText } from '../../errors.ts';
import type { HostRoot } from '../../host/root.ts';
import { findBlocks } from '../pem-blocks.ts';
import {
  type CaFile,
  folderNames,
  type HostsFolder,
  type Placed,
  parseContainerdConfig,
  parseHosts,
  type RegistrySettings,
  readRegistries,
} from '../registry-settings.ts';

/** Where config.toml is, for each of those who bring a containerd. */
const configFiles = [
  '/etc/containerd/config.toml',
  '/var/lib/rancher/k3s/agent/etc/containerd/config.toml',
  '/var/lib/rancher/rke2/agent/etc/containerd/config.toml',
] as const;
/** Where everybody has it. */
const defaultConfigPath = '/etc/containerd/certs.d';
const registriesFiles = ['/etc/rancher/k3s/registries.yaml', '/etc/rancher/rke2/registries.yaml'] as const;

export type ParseYaml = (text: string) => Promise<unknown>;

export async function readRegistrySettings(
  root: HostRoot,
  registry: string,
  parseYaml: ParseYaml,
): Promise<RegistrySettings> {
  const faults: Placed<string>[] = [];
  const configs = await readConfigs(root, faults);
  const named = configs.flatMap(({ value }) => value.configPath);
  const hasDefault = named.length > 0 || (await root.readFolder(defaultConfigPath)) !== 'absent';
  const configPath = named.length > 0 ? named : hasDefault ? [defaultConfigPath] : [];
  const find = async (names: readonly string[]): Promise<HostsFolder | undefined> => {
    for (const base of configPath)
      for (const name of names) {
        const folder = await readHostsFolder(root, posix.join(base, name), faults);
        if (folder !== undefined) return folder;
      }
    return undefined;
  };
  const ofConfigs = configs.flatMap(({ path, value }) => {
    const tls = value.tls.get(registry);
    return tls === undefined ? [] : [{ path, value: tls }];
  });
  const registries = await readRegistriesFile(root, registry, parseYaml, faults);
  const ofRegistries = registries?.tls === undefined ? [] : [{ path: registries.path, value: registries.tls }];
  const tls = [...ofConfigs, ...ofRegistries].map(async ({ path, value: { skipVerify, hasClient, ca } }) => {
    return { path, value: { skipVerify, hasClient, ca: ca === undefined ? undefined : await readCa(root, ca) } };
  });
  return {
    configPath,
    isConfigPathSet: named.length > 0,
    configFiles: configs.map(({ path }) => path),
    mirrors: configs.flatMap(({ path, value }) => value.mirrors.map((mirror) => ({ path, value: mirror }))),
    own: await find(folderNames(registry)),
    byDefault: await find(['_default']),
    tls: await Promise.all(tls),
    endpoints: (registries?.endpoints ?? []).map((value) => ({ path: registries?.path ?? '', value })),
    registriesFile: registries?.path,
    faults,
  };
}

async function readConfigs(root: HostRoot, faults: Placed<string>[]) {
  const found: Placed<ReturnType<typeof parseContainerdConfig>>[] = [];
  const read = async (path: string, imports: boolean): Promise<void> => {
    const value = await parseFile(root, path, parseContainerdConfig, faults);
    if (value === undefined) return;
    found.push({ path, value });
    if (imports)
      for (const pattern of value.imports) for (const file of await expand(root, pattern)) await read(file, false);
  };
  for (const path of configFiles) await read(path, true);
  return found;
}

/** `imports` takes paths, and patterns for the last part of one. */
async function expand(root: HostRoot, pattern: string): Promise<readonly string[]> {
  const [folder, name] = [posix.dirname(pattern), posix.basename(pattern)];
  if (!name.includes('*')) return [pattern];
  const entries = await root.readFolder(folder).catch(() => 'absent' as const);
  const names = entries === 'absent' ? [] : entries.map((entry) => entry.name).sort();
  return names.filter((one) => posix.matchesGlob(one, name)).map((one) => posix.join(folder, one));
}

/** Without hosts.toml, `*.crt` of the folder are CAs, and so they are counted with it. */
async function readHostsFolder(
  root: HostRoot,
  path: string,
  faults: Placed<string>[],
): Promise<HostsFolder | undefined> {
  const files = await root.readFolder(path).catch(() => 'absent' as const);
  if (files === 'absent') return undefined;
  const toml = posix.join(path, 'hosts.toml');
  const written = await parseFile(root, toml, parseHosts, faults);
  const entries = written?.entries.map((entry) => ({
    ...entry,
    ca: entry.ca.map((file) => posix.resolve(path, file)),
  }));
  const hosts = written && { ...written, entries: entries ?? [] };
  const loose = files.filter(({ name }) => name.endsWith('.crt')).map(({ name }) => posix.join(path, name));
  const named = (entries ?? []).flatMap(({ ca }) => ca);
  const cas = hosts === undefined ? loose : named;
  const hasClient = files.some(({ name }) => name.endsWith('.cert'));
  return { path, hosts, hasClient, cas: await Promise.all([...new Set(cas)].map((file) => readCa(root, file))) };
}

async function readRegistriesFile(root: HostRoot, registry: string, parseYaml: ParseYaml, faults: Placed<string>[]) {
  for (const path of registriesFiles) {
    const found = await parseFile(root, path, async (text) => readRegistries(await parseYaml(text), registry), faults);
    if (found !== undefined) return { path, ...found };
  }
  return undefined;
}

async function readCa(root: HostRoot, path: string): Promise<CaFile> {
  const bytes = await root.readFile(path).catch(() => 'absent' as const);
  return { path, certificates: bytes === 'absent' ? undefined : loadCertificates(bytes) };
}

/** What does not load is passed over, as by Go; what Go alone does not load is told of where it matters. */
export function loadCertificates(bytes: Uint8Array): readonly X509Certificate[] {
  return findBlocks(Buffer.from(bytes).toString('latin1')).flatMap((block) => {
    try {
      return [new X509Certificate(block)];
    } catch {
      return [];
    }
  });
}

/** Undefined for a file that is not there or not what it should be, which is noted. */
async function parseFile<T>(
  root: HostRoot,
  path: string,
  parse: (text: string) => T | Promise<T>,
  faults: Placed<string>[],
): Promise<T | undefined> {
  try {
    const bytes = await root.readFile(path);
    return bytes === 'absent' ? undefined : await parse(Buffer.from(bytes).toString('utf8'));
  } catch (error) {
    faults.push({ path, value: describeFault(error) });
    return undefined;
  }
}

/** A parser's own words may repeat the file, and a file of registries may hold passwords: the line is enough. */
function describeFault(error: unknown): string {
  if (error instanceof AgentError) return error.message;
  const line =
    error instanceof Error && 'line' in error ? String(error.line) : /\bline (\d+)/.exec(errorText(error))?.[1];
  return `it cannot be parsed${line === undefined ? '' : `, line ${line}`}`;
}

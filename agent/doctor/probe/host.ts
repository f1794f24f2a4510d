// Looks at a host below its root: its store as Go's programs load it and as a pass sees it, the unit of its runtime, and what
// the runtime is told about a registry. Reads alone; asks systemctl for nothing but the state of the unit.

import type { X509Certificate } from 'node:crypto';
import { uptime } from 'node:os';
import { posix } from 'node:path';
import { AgentError } from '../../errors.ts';
import { bootFile, createFileSource } from '../../host/boot.ts';
import { type Commands, createHostCommands } from '../../host/commands.ts';
import { readInputs } from '../../host/debian-inputs.ts';
import { type Host, openHost } from '../../host/host.ts';
import type { HostRoot } from '../../host/root.ts';
import { readBundleFile } from '../../host/trust-store.ts';
import { fingerprintOf } from '../../trust/certificate.ts';
import type { HostFacts, HostRootCertificate, Known, UnitFacts } from '../facts.ts';
import { addEnvironmentFile, parseUnit, type UnitFile, type Variable } from '../unit-environment.ts';
import { loadCertificates, type ParseYaml, readRegistrySettings } from './registry.ts';

/** Of crypto/x509 of Go on Linux: the first of these that is there, and every file of these folders. */
const bundleFiles = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/pki/tls/cacert.pem',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/cert.pem',
] as const;
const bundleFolders = ['/etc/ssl/certs', '/etc/pki/tls/certs'] as const;

const units = [
  'containerd.service',
  'k3s.service',
  'k3s-agent.service',
  'rke2-server.service',
  'rke2-agent.service',
  'crio.service',
  'docker.service',
] as const;
/** In the order in which systemd prefers them (systemd.unit(5)). */
const unitFolders = [
  '/etc/systemd/system',
  '/run/systemd/system',
  '/usr/local/lib/systemd/system',
  '/usr/lib/systemd/system',
  '/lib/systemd/system',
] as const;
export const shellsFile = '/etc/environment';
const askTimeoutMs = 5_000;

/** What the node's shells get of variables (environment(5)): for whoever asks from a pod, whose own are no node's. */
export async function readShellEnvironment(root: HostRoot): Promise<ReadonlyMap<string, string>> {
  const bytes = await root.readFile(shellsFile).catch(() => 'absent' as const);
  const text = bytes === 'absent' ? '' : Buffer.from(bytes).toString('utf8');
  const variables = addEnvironmentFile(new Map(), { path: shellsFile, text });
  return new Map([...variables].map(([name, { value }]) => [name, value]));
}

export async function readHost(
  root: HostRoot,
  registry: string,
  parseYaml: ParseYaml,
  signal: AbortSignal,
): Promise<Known<HostFacts>> {
  if ((await root.readFolder('/').catch(() => 'absent' as const)) === 'absent')
    return { kind: 'unknown', why: `there is no folder ${root.path}` };
  const commands = await createHostCommands(root.path);
  const { roots, bundle } = await loadRoots(root, bundleFiles, bundleFolders);
  const opened = await open(root);
  const broken = bundle === undefined ? undefined : await findBroken(root, bundle);
  const observed = await observe(opened, signal);
  return {
    kind: 'known',
    value: {
      store: opened.kind === 'known' ? opened.value.store : `${bundle ?? 'no bundle'} (${opened.why})`,
      roots,
      broken,
      observed,
      holders: await readHolders(root),
      withdrawn: opened.kind === 'known' ? await readWithdrawn(opened.value) : [],
      local: { name: `file ${bootFile}`, snapshot: await createFileSource(root, bootFile).read(signal) },
      runtime: opened.kind === 'known' ? opened.value.runtime : { kind: 'none', reason: opened.why },
      unit: await readUnit(root, commands, bundle, signal),
      registry: await readRegistrySettings(root, registry, parseYaml),
    },
  };
}

async function open(root: HostRoot): Promise<Known<Host>> {
  const options = { root, runtime: 'optional', now: () => new Date(), healthTimeoutMs: 0 } as const;
  return known(() => openHost(options));
}

async function observe(opened: Known<Host>, signal: AbortSignal): Promise<HostFacts['observed']> {
  return opened.kind === 'unknown' ? opened : known(() => opened.value.observe('ask', signal));
}

/** A file that cannot be read, or a state that is too new: told, and not taken for anything else. */
async function known<T>(find: () => Promise<T>): Promise<Known<T>> {
  try {
    return { kind: 'known', value: await find() };
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    return { kind: 'unknown', why: `${error.code}: ${error.message}` };
  }
}

async function readWithdrawn({ facts }: Host): Promise<readonly string[]> {
  const found = await known(() => facts.read());
  return found.kind === 'known' ? (found.value.withdrawn ?? []) : [];
}

async function findBroken(root: HostRoot, path: string): Promise<string | undefined> {
  const reading = await known(() => readBundleFile(root, path));
  if (reading.kind === 'unknown') return reading.why;
  const { broken } = reading.value;
  return broken === undefined ? undefined : `${path}, line ${broken.line}: ${broken.evidence}`;
}

/** The files that bring certificates into the bundle, by what they hold. */
async function readHolders(root: HostRoot): Promise<ReadonlyMap<string, string>> {
  const inputs = await known(() => readInputs(root));
  if (inputs.kind === 'unknown') return new Map();
  return new Map(
    inputs.value
      .flatMap(({ path, fingerprints }) => [...fingerprints].map((print): [string, string] => [print, path]))
      .reverse(),
  );
}

/** What a program of Go loads, each certificate once, with the file where it was met first. */
async function loadRoots(root: HostRoot, files: readonly string[], folders: readonly string[]) {
  const found = new Map<string, HostRootCertificate>();
  const load = async (path: string): Promise<boolean> => {
    const bytes = await root.readFile(path).catch(() => 'absent' as const);
    if (bytes === 'absent') return false;
    for (const certificate of loadCertificates(bytes)) add(found, certificate, path);
    return true;
  };
  let bundle: string | undefined;
  for (const path of files) if (bundle === undefined && (await load(path))) bundle = path;
  for (const folder of folders) {
    const entries = await root.readFolder(folder).catch(() => 'absent' as const);
    if (entries !== 'absent') for (const { name } of entries) await load(posix.join(folder, name));
  }
  return { roots: [...found.values()], bundle };
}

function add(found: Map<string, HostRootCertificate>, certificate: X509Certificate, path: string): void {
  const print = fingerprintOf(certificate.raw);
  if (!found.has(print)) found.set(print, { certificate, path });
}

async function readUnit(
  root: HostRoot,
  commands: Commands,
  bundle: string | undefined,
  signal: AbortSignal,
): Promise<Known<UnitFacts>> {
  for (const unit of units) {
    const files = await readUnitFiles(root, unit);
    if (files.length === 0) continue;
    const variables = await readVariables(root, files);
    return {
      kind: 'known',
      value: {
        unit,
        variables,
        startedAt: await askStart(commands, unit, signal),
        storeWrittenAt: bundle === undefined ? undefined : await writtenAt(root, bundle),
        ownRoots: await loadOwnRoots(root, variables),
      },
    };
  }
  return { kind: 'unknown', why: `no container runtime is a unit here: none of ${units.join(', ')}` };
}

/** The unit's own file and its drop-ins; of two with one name, the one in the folder that systemd prefers. */
async function readUnitFiles(root: HostRoot, unit: string): Promise<readonly UnitFile[]> {
  const read = async (path: string): Promise<readonly UnitFile[]> => {
    const bytes = await root.readFile(path).catch(() => 'absent' as const);
    return bytes === 'absent' ? [] : [{ path, text: Buffer.from(bytes).toString('utf8') }];
  };
  const own = (await Promise.all(unitFolders.map((folder) => read(posix.join(folder, unit))))).flat().slice(0, 1);
  if (own.length === 0) return [];
  const dropIns = new Map<string, string>();
  for (const folder of unitFolders.map((one) => posix.join(one, `${unit}.d`)).reverse()) {
    const entries = await root.readFolder(folder).catch(() => 'absent' as const);
    const names = entries === 'absent' ? [] : entries.map(({ name }) => name).filter((name) => name.endsWith('.conf'));
    for (const name of names) dropIns.set(name, posix.join(folder, name));
  }
  const paths = [...dropIns].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, path]) => path);
  return [...own, ...(await Promise.all(paths.map(read))).flat()];
}

async function readVariables(root: HostRoot, files: readonly UnitFile[]): Promise<ReadonlyMap<string, Variable>> {
  const settings = parseUnit(files);
  let { variables } = settings;
  for (const path of settings.environmentFiles) {
    const bytes = await root.readFile(path).catch(() => 'absent' as const);
    if (bytes !== 'absent')
      variables = addEnvironmentFile(variables, { path, text: Buffer.from(bytes).toString('utf8') });
  }
  return variables;
}

/** SSL_CERT_FILE takes the place of the files, SSL_CERT_DIR, a list with colons, that of the folders. */
async function loadOwnRoots(root: HostRoot, variables: ReadonlyMap<string, Variable>): Promise<UnitFacts['ownRoots']> {
  const [file, folders] = ['SSL_CERT_FILE', 'SSL_CERT_DIR'].map((name) => variables.get(name)?.value);
  if (!file && !folders) return undefined;
  const { roots } = await loadRoots(root, file ? [file] : bundleFiles, folders ? folders.split(':') : bundleFolders);
  return roots;
}

/** Told as the time since boot, which no time zone and no change of the clock touches; undefined where it is not told. */
async function askStart(commands: Commands, unit: string, signal: AbortSignal): Promise<Date | undefined> {
  const args = ['show', '-p', 'ActiveEnterTimestampMonotonic', unit];
  const asked = await known(() => commands.run('systemctl', args, { timeoutMs: askTimeoutMs }, signal));
  const output = asked.kind === 'known' ? asked.value.stdout : '';
  const [, microseconds = '0'] = /^ActiveEnterTimestampMonotonic=(\d+)$/m.exec(output) ?? [];
  return microseconds === '0' ? undefined : new Date(Date.now() - uptime() * 1000 + Number(microseconds) / 1000);
}

/** Of the version of a file its time of change is the third part, in nanoseconds (host/root.ts). */
async function writtenAt(root: HostRoot, path: string): Promise<Date | undefined> {
  const [, , changed] = (await root.versionOf(path).catch(() => 'absent')).split('.');
  return changed === undefined ? undefined : new Date(Number(BigInt(changed) / 1_000_000n));
}

// Fakes of update-ca-certificates(8) of Debian 12 and of openssl-rehash(1), line by line after the script and the C source.
// Faithful: inputs and their order, `add` with its links, one temporary name without a lock that a later run appends to, the
// bundle renamed and not synced, orphans and the index touched only when a link was added or removed, gaps that rehash
// leaves, the trap that removes the temporary file on a failure but not on a kill. Not there: hooks, --fresh, nested folders.

import { posix } from 'node:path';
import { certificates, readCertificates } from './certificates.ts';
import type { Disk } from './disk.ts';

export interface ToolRun {
  readonly disk: Disk;
  /** Never resolves for a run that was killed. */
  pause(milliseconds: number): Promise<void>;
  readonly trouble: ToolTrouble | undefined;
}

/** At its beginning or its end, with an exit code; for ever; or somebody kills it, all in the middle. */
export type ToolTrouble = 'fails' | 'hangs' | 'is killed';
export type ToolEnd = 'done' | 'failed' | 'killed';

export const anchorsFolder = '/usr/local/share/ca-certificates';
export const storeFolder = '/etc/ssl/certs';
export const bundlePath = `${storeFolder}/ca-certificates.crt`;
/** The tool's own defaults. */
export const defaultPlaces: Places = {
  store: storeFolder,
  local: anchorsFolder,
  distribution: '/usr/share/ca-certificates',
  selection: '/etc/ca-certificates.conf',
};

interface Places {
  readonly store: string;
  readonly local: string;
  readonly distribution: string;
  readonly selection: string;
}

export async function updateStore(args: readonly string[], run: ToolRun): Promise<ToolEnd> {
  const { disk, trouble } = run;
  const option = (name: string, fallback: string): string => args[args.indexOf(name) + 1 || args.length] ?? fallback;
  const places = {
    store: option('--etccertsdir', defaultPlaces.store),
    local: option('--localcertsdir', defaultPlaces.local),
    distribution: option('--certsdir', defaultPlaces.distribution),
    selection: option('--certsconf', defaultPlaces.selection),
  };
  const made = posix.join(places.store, option('--certbundle', 'ca-certificates.crt'));
  const temporary = `${made}.new`;
  const inputs = listInputs(disk, places);
  const middle = Math.ceil(inputs.length / 2);
  let touched = 0;
  await run.pause(200);
  try {
    for (const [index, input] of inputs.entries()) {
      if (index === middle && trouble === 'hangs') await run.pause(Number.MAX_SAFE_INTEGER);
      if (index === middle && trouble === 'is killed') return 'killed';
      if (index === middle && trouble === 'fails') throw new Error('it fails');
      touched += add(disk, places, input, temporary);
      if (index % 2 === 1) await run.pause(200);
    }
    if (touched > 0) {
      removeOrphans(disk, places.store);
      await rehash(places.store, run);
    }
    await run.pause(100);
    if (disk.find(temporary) !== undefined) disk.rename(temporary, made);
    await run.pause(10);
    return 'done';
  } catch {
    if (disk.find(temporary) !== undefined) disk.unlink(temporary);
    return 'failed';
  }
}

export function listInputs(disk: Disk, { local, distribution, selection }: Omit<Places, 'store'>): readonly string[] {
  const lines = disk.read(selection)?.toString('utf8').split('\n') ?? [];
  const selected = lines.filter((line) => line !== '' && !/^[#!]/.test(line)).map((line) => `${distribution}/${line}`);
  const own = disk
    .names(local)
    .filter((name) => name.endsWith('.crt'))
    .map((name) => `${local}/${name}`);
  return [...selected, ...own].filter((path) => disk.read(path) !== undefined);
}

/** Answers how many links it made. */
function add(disk: Disk, { store }: Places, input: string, temporary: string): number {
  const pem = `${store}/${posix.basename(input, '.crt')}.pem`;
  const link = disk.find(pem);
  const isRight = disk.read(pem) !== undefined && link?.kind === 'link' && link.target === input;
  if (!isRight) {
    if (link !== undefined) disk.unlink(pem);
    disk.symlink(input, pem);
  }
  const content = disk.read(input) ?? Buffer.alloc(0);
  const ended = content.length === 0 || content.at(-1) === 10 ? content : Buffer.concat([content, Buffer.from('\n')]);
  const found = disk.find(temporary);
  const file = found?.kind === 'file' ? found : disk.create(temporary);
  disk.write(file, Buffer.concat([file.content, ended]));
  return isRight ? 0 : 1;
}

function removeOrphans(disk: Disk, folder: string): void {
  for (const name of disk.names(folder)) {
    const path = `${folder}/${name}`;
    if (disk.find(path)?.kind === 'link' && disk.read(path) === undefined) disk.unlink(path);
  }
}

interface Entry {
  readonly file: string;
  fingerprint: string | undefined;
  oldNumber: number;
}

export async function rehash(folder: string, { disk, pause }: Pick<ToolRun, 'disk' | 'pause'>): Promise<ToolEnd> {
  const buckets = new Map<string, Entry[]>();
  let end: ToolEnd = 'done';
  for (const name of disk.names(folder)) {
    const path = `${folder}/${name}`;
    const node = disk.find(path);
    const [, hash, number] = /^([0-9a-f]{8})\.(\d+)$/.exec(name) ?? [];
    if (node?.kind === 'link' && hash !== undefined) {
      note(buckets, hash, node.target, undefined, Number(number));
      continue;
    }
    if (!/\.(pem|crt|cer)$/.test(name)) continue;
    if (disk.read(path) === undefined) end = 'failed';
    const [certificate, ...others] = readCertificates(disk.read(path));
    if (certificate === undefined || others.length > 0) continue;
    note(buckets, certificate.subjectHash, name, certificate.fingerprint, Number.POSITIVE_INFINITY);
  }
  await pause(5);
  for (const [hash, entries] of buckets) relink(disk, `${folder}/${hash}`, entries);
  return end;
}

function note(
  buckets: Map<string, Entry[]>,
  hash: string,
  file: string,
  fingerprint: string | undefined,
  oldNumber: number,
): void {
  const entries = buckets.get(hash) ?? [];
  buckets.set(hash, entries);
  if (fingerprint !== undefined && entries.some((entry) => entry.fingerprint === fingerprint)) return;
  let entry = entries.find((other) => other.file === file);
  if (entry === undefined)
    entries.push((entry = { file, fingerprint: undefined, oldNumber: Number.POSITIVE_INFINITY }));
  entry.oldNumber = Math.min(entry.oldNumber, oldNumber);
  entry.fingerprint ??= fingerprint;
}

/** A link whose number is below the number of those needed stays as it is, wherever it leads. */
function relink(disk: Disk, path: string, entries: readonly Entry[]): void {
  const needed = entries.filter(({ fingerprint }) => fingerprint !== undefined).length;
  const taken = new Set(entries.filter(({ oldNumber }) => oldNumber < needed).map(({ oldNumber }) => oldNumber));
  let next = 0;
  for (const { file, fingerprint, oldNumber } of entries) {
    if (oldNumber < needed) continue;
    if (Number.isFinite(oldNumber) && disk.find(`${path}.${oldNumber}`) !== undefined)
      disk.unlink(`${path}.${oldNumber}`);
    if (fingerprint === undefined) continue;
    while (taken.has(next)) next += 1;
    taken.add(next);
    if (disk.find(`${path}.${next}`) !== undefined) disk.unlink(`${path}.${next}`);
    disk.symlink(file, `${path}.${next}`);
  }
}

/**
 * The certificates that a look-up in the folder finds, HASH.0, HASH.1 and so on until one is missing or leads nowhere; without
 * those through links to `ignored`.
 */
export function lookUp(disk: Disk, folder: string, ignored?: string): ReadonlySet<string> {
  const found = new Set<string>();
  for (const hash of hashes) {
    for (let number = 0; ; number += 1) {
      const path = `${folder}/${hash}.${number}`;
      const [certificate] = readCertificates(disk.read(path));
      if (certificate === undefined) break;
      const link = disk.find(path);
      if (link?.kind !== 'link' || link.target !== ignored) found.add(certificate.fingerprint);
    }
  }
  return found;
}

const hashes: ReadonlySet<string> = new Set([...certificates.values()].map(({ subjectHash }) => subjectHash));

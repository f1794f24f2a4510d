// Reads what a person names on the command line as a source: a PEM file, a folder, a Secret manifest, standard input.
// A manifest is told from PEM by what it is, not by its file name.

import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { printable } from '../trust/printable.ts';
import { maxInputBytes, type Terminal, UnreadableError } from './command.ts';
import { readPath } from './input.ts';
import { findManifest, type Manifest, type ManifestContent, readManifest } from './manifest.ts';
import { describeSystemError } from './system-error.ts';

export interface NamedSource extends ManifestContent {
  /** Printable: `file cas.pem`, `folder cas`, `secret kube-system/custom-ca-trust-secret in secret.yaml`. */
  readonly name: string;
  /** The object itself, where the source is one. */
  readonly manifest?: Manifest;
  /** Where an entry is, as a compiler would say it; printable. */
  locate(entry: string): string;
}

/** Throws {@link UnreadableError}. */
export async function readSource(path: string, terminal: Terminal, signal: AbortSignal): Promise<NamedSource> {
  const source = await readNamed(path, terminal, signal);
  return { ...source, name: printable(source.name), locate: (entry) => printable(source.locate(entry)) };
}

async function readNamed(path: string, terminal: Terminal, signal: AbortSignal): Promise<NamedSource> {
  try {
    if (path === '-') return await parseContent('standard input', '-', '-', await terminal.readInput());
    if ((await stat(path)).isDirectory()) return await readFolder(path, terminal, signal);
    return await parseContent(`file ${path}`, path, basename(path), await readPath(path, signal));
  } catch (error) {
    if (error instanceof UnreadableError) throw error;
    const why = signal.aborted ? 'interrupted' : describeSystemError(error);
    throw new UnreadableError(`${path} could not be read: ${why}`, { cause: error });
  }
}

/** An entry a file. A mounted Secret keeps its own book-keeping in names that begin with two dots. */
async function readFolder(path: string, terminal: Terminal, signal: AbortSignal): Promise<NamedSource> {
  const entries = new Map<string, Uint8Array>();
  for (const name of (await readdir(path)).filter((entry) => !entry.startsWith('..')).sort()) {
    const file = join(path, name);
    if ((await stat(file)).isFile()) entries.set(name, await readPath(file, signal));
    else terminal.err(`note: ${printable(file)} is not a file and was not read\n`);
  }
  const snapshot = { kind: 'present', entries, onDelete: 'grace' } as const;
  return { name: `folder ${path}`, snapshot, findings: [], locate: (entry) => join(path, entry) };
}

async function parseContent(name: string, path: string, entry: string, bytes: Uint8Array): Promise<NamedSource> {
  if (bytes.length > maxInputBytes)
    throw new UnreadableError(`${name} is larger than 4 MiB; a Secret holds at most 1 MiB`);
  const manifest = await findManifest(name, Buffer.from(bytes).toString('utf8'));
  if (manifest !== undefined) {
    const content = readManifest(manifest, name);
    return { ...content, name: `secret ${content.name} in ${name}`, manifest, locate: (key) => `${path}: ${key}` };
  }
  const entries = new Map(bytes.length === 0 ? [] : [[entry, bytes]]);
  return { name, snapshot: { kind: 'present', entries, onDelete: 'grace' }, findings: [], locate: () => path };
}

/** Whether these can be read together: standard input ends with the first who reads it. */
export function findPathProblem(paths: readonly string[]): string | undefined {
  return paths.filter((path) => path === '-').length > 1 ? 'standard input can be read once: give - once' : undefined;
}

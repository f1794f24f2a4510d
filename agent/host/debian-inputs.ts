// Which files update-ca-certificates(8) puts into the bundle of Debian and Ubuntu as things stand now, everybody's and ours:
// the distribution's own that /etc/ca-certificates.conf selects, and all *.crt below the folder of local ones.

import { posix } from 'node:path';
import { AgentError } from '../errors.ts';
import { type AnchorName, parseAnchorName } from '../trust/observation.ts';
import type { HostRoot } from './root.ts';
import { type BundleReading, readBundleFile } from './trust-store.ts';

export const anchorsFolder = '/usr/local/share/ca-certificates';
export const distributionFolder = '/usr/share/ca-certificates';
export const selectionFile = '/etc/ca-certificates.conf';

/** Where an anchor of ours lies. */
export function anchorPath(name: AnchorName): string {
  return posix.join(anchorsFolder, `${name}.crt`);
}

/** The tool's temporary file: of a run that goes on, or that was killed. */
export function unfinishedPath(bundlePath: string): string {
  return `${bundlePath}.new`;
}

/** A file that goes into the bundle, and what it holds. */
export interface Input extends BundleReading {
  readonly path: string;
}

export async function readInputs(root: HostRoot): Promise<readonly Input[]> {
  const paths = await listInputs(root);
  return Promise.all(paths.map(async (path) => ({ path, ...(await readBundleFile(root, path)) })));
}

/** The files in the store's folder beside the bundle: the tool makes links, and leaves a file only where it was killed. */
export async function readLoose(root: HostRoot, folder: string, bundlePath: string): Promise<readonly Input[]> {
  const entries = await root.readFolder(folder);
  const files = entries === 'absent' ? [] : entries.filter(({ kind }) => kind === 'file');
  const paths = files.map(({ name }) => posix.join(folder, name)).filter((path) => path !== bundlePath);
  return Promise.all(paths.map(async (path) => ({ path, ...(await readBundleFile(root, path)) })));
}

export async function listInputs(root: HostRoot): Promise<readonly string[]> {
  const selection = await root.readFile(selectionFile);
  const text = selection === 'absent' ? '' : Buffer.from(selection).toString('utf8');
  const selected = parseSelection(text).map((name) => posix.join(distributionFolder, name));
  return [...selected, ...(await listLocal(root, anchorsFolder))];
}

/** As the tool's `sed` and `read` see it: `!` deselects, `#` comments, blanks around a name do not count. */
function parseSelection(text: string): readonly string[] {
  const lines = text.split('\n').filter((line) => !/^[#!]/.test(line));
  return lines.map((line) => line.replaceAll(/^[ \t]+|[ \t]+$/g, '')).filter((name) => name !== '');
}

/** A link to /dev/null, the usual way to mask a file, leads to no regular one, and one to itself leads nowhere. */
async function isThere(reading: Promise<unknown>): Promise<boolean> {
  try {
    return (await reading) !== 'absent';
  } catch (error) {
    if (error instanceof AgentError && error.code === 'StoreUnreadable') return false;
    throw error;
  }
}

/** As `find -L -type f -name '*.crt'` sees the folder; one that links to a folder above it ends there. */
async function listLocal(root: HostRoot, folder: string, above: readonly string[] = []): Promise<readonly string[]> {
  const real = await root.resolve(folder);
  const entries = above.includes(real) ? 'absent' : await root.readFolder(real);
  if (entries === 'absent') return [];
  const found = entries.map(async ({ name, kind }) => {
    const path = posix.join(folder, name);
    const isFolder = kind === 'folder' || (kind === 'link' && (await isThere(root.readFolder(path))));
    if (isFolder) return listLocal(root, path, [...above, real]);
    if (kind === 'other' || !name.endsWith('.crt')) return [];
    return (await isThere(root.readFile(path))) ? [path] : [];
  });
  return (await Promise.all(found)).flat();
}

/** One block that does not load makes the whole bundle unloadable, so the tool is not even started. */
export function refuseBroken(inputs: readonly Input[]): void {
  for (const { path, broken } of inputs) {
    if (broken === undefined) continue;
    throw new AgentError('StoreBrokenBefore', { path, evidence: `line ${broken.line}: ${broken.evidence}` });
  }
}

export function isOurs(path: string): boolean {
  return posix.dirname(path) === anchorsFolder && parseAnchorName(posix.basename(path), '.crt') !== undefined;
}

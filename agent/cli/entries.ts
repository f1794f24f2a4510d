// Reads what a person names on the command line as a source: a PEM file, a folder, a Secret manifest, standard input.
// A manifest is told from PEM by what it is, not by its file name. Writes such a manifest, too.

import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { parseAllDocuments, stringify, YAMLParseError } from 'yaml';
import { errorText } from '../errors.ts';
import type { Finding } from '../trust/admission.ts';
import { explain } from '../trust/admission-reasons.ts';
import type { Entries, SourceSnapshot } from '../trust/source.ts';
import { maxInputBytes, type Terminal } from './command.ts';

export interface SecretName {
  readonly name: string;
  readonly namespace: string;
}

export interface NamedSource {
  /** `file cas.pem`, `folder cas`, `secret kube-system/custom-ca-trust-secret in secret.yaml`. */
  readonly name: string;
  readonly snapshot: Extract<SourceSnapshot, { kind: 'present' | 'wrong-type' }>;
  /** What was wrong with the form of it already; errors here reject it. */
  readonly findings: readonly Finding[];
}

/** What could not be read, for people, with the remedy. */
export class UnreadableError extends Error {}

/** Throws {@link UnreadableError}. */
export async function readSource(path: string, terminal: Terminal): Promise<NamedSource> {
  try {
    if (path === '-') return parseContent('standard input', '-', await terminal.readInput());
    if ((await stat(path)).isDirectory()) return await readFolder(path, terminal);
    return parseContent(`file ${path}`, basename(path), await readWhole(path));
  } catch (error) {
    if (error instanceof UnreadableError) throw error;
    throw new UnreadableError(`${path} could not be read: ${errorText(error)}`, { cause: error });
  }
}

/** A Secret as `kubectl apply -f` takes it, in YAML, which is JSON with `asJson`. */
export function formatManifest(entries: Entries, place: SecretName, asJson: boolean): string {
  const data = [...entries].map(([entry, bytes]) => [keyOf(entry), Buffer.from(bytes).toString('base64')]);
  const manifest = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: place,
    type: 'Opaque',
    data: Object.fromEntries(data),
  };
  return asJson ? `${JSON.stringify(manifest, null, 2)}\n` : formatYaml(manifest);
}

/** Without folded lines: a block of text stays as it is. */
export function formatYaml(value: object): string {
  return stringify(value, { lineWidth: 0 });
}

/** What the API server takes for a key; standard input has no name of its own. */
function keyOf(entry: string): string {
  if (entry === '-') return 'ca.pem';
  if (/^[-._a-zA-Z0-9]{1,253}$/.test(entry)) return entry;
  throw new UnreadableError(
    `${JSON.stringify(entry)} cannot be a key of a Secret; rename it to letters, digits, - _ and .`,
  );
}

/** An entry a file. A mounted Secret keeps its own book-keeping in names that begin with two dots. */
async function readFolder(path: string, terminal: Terminal): Promise<NamedSource> {
  const entries = new Map<string, Uint8Array>();
  for (const name of (await readdir(path)).filter((entry) => !entry.startsWith('..')).sort()) {
    const file = join(path, name);
    if ((await stat(file)).isFile()) entries.set(name, await readWhole(file));
    else terminal.err(`note: ${file} is not a file and was not read\n`);
  }
  return { name: `folder ${path}`, snapshot: { kind: 'present', entries, onDelete: 'grace' }, findings: [] };
}

async function readWhole(path: string): Promise<Uint8Array> {
  const { size } = await stat(path);
  return size > maxInputBytes ? new Uint8Array(maxInputBytes + 1) : readFile(path);
}

function parseContent(name: string, entry: string, bytes: Uint8Array): NamedSource {
  if (bytes.length > maxInputBytes)
    throw new UnreadableError(`${name} is larger than 4 MiB; a Secret holds at most 1 MiB`);
  const manifest = findManifest(name, Buffer.from(bytes).toString('utf8'));
  if (manifest !== undefined) return readManifest(manifest, name);
  const entries = new Map(bytes.length === 0 ? [] : [[entry, bytes]]);
  return { name, snapshot: { kind: 'present', entries, onDelete: 'grace' }, findings: [] };
}

type Manifest = Readonly<Record<string, unknown>>;

function findManifest(name: string, text: string): Manifest | undefined {
  if (!/^\s*\{|^(apiVersion|kind):/m.test(text)) return undefined;
  let documents: unknown[];
  try {
    documents = parseAllDocuments(text, { logLevel: 'silent' }).flatMap((document) => {
      const [error] = document.errors;
      if (error !== undefined) throw error;
      return [document.toJS() as unknown];
    });
  } catch (error) {
    if (/^-----BEGIN /m.test(text)) return undefined; // PEM with talkative text around it
    // The parser's own words repeat the text, of which a part may be a key.
    const [line] = error instanceof YAMLParseError ? (error.linePos?.map(({ line: at }) => at) ?? []) : [];
    throw new UnreadableError(`${name} is neither PEM nor YAML${line === undefined ? '' : `: look at line ${line}`}`);
  }
  const objects = documents
    .filter(isRecord)
    .flatMap((document) => (Array.isArray(document['items']) ? document['items'] : [document]));
  const manifests = objects.filter(isRecord).filter(({ kind }) => typeof kind === 'string');
  if (manifests.length === 0) return undefined;
  const secrets = manifests.filter(({ kind }) => kind === 'Secret');
  if (secrets.length !== 1)
    throw new UnreadableError(`${name} holds ${secrets.length} Secrets; give one Secret at a time`);
  return secrets[0];
}

function readManifest(manifest: Manifest, place: string): NamedSource {
  const metadata = isRecord(manifest['metadata']) ? manifest['metadata'] : {};
  const name = `secret ${textOf(metadata['namespace'], 'default')}/${textOf(metadata['name'], '')} in ${place}`;
  const type = textOf(manifest['type'], 'Opaque');
  if (type !== 'Opaque') return { name, snapshot: { kind: 'wrong-type', type }, findings: [] };
  const annotations = isRecord(metadata['annotations']) ? metadata['annotations'] : {};
  const onDelete = annotations['node-trust-agent/on-delete'] === 'remove' ? 'remove' : 'grace';
  const entries = new Map<string, Uint8Array>();
  const findings: Finding[] = [];
  for (const [entry, value] of readStrings(manifest['data'], place)) {
    const text = value.replaceAll(/\s/g, '');
    if (isBase64(text)) entries.set(entry, Buffer.from(text, 'base64'));
    else findings.push({ ...explain('InvalidBase64', { fault: 'value' }), entry });
  }
  for (const [entry, value] of readStrings(manifest['stringData'], place)) entries.set(entry, Buffer.from(value));
  return { name, snapshot: { kind: 'present', entries, onDelete }, findings };
}

function readStrings(values: unknown, place: string): readonly (readonly [string, string])[] {
  if (values === undefined || values === null) return [];
  if (!isRecord(values)) throw new UnreadableError(`${place}: data and stringData must map names to text`);
  return Object.entries(values).map(([entry, value]) => {
    if (typeof value !== 'string')
      throw new UnreadableError(`${place}: the value of ${JSON.stringify(entry)} must be text`);
    return [entry, value];
  });
}

function textOf(value: unknown, fallback: string): string {
  return typeof value === 'string' ? value : fallback;
}

function isBase64(text: string): boolean {
  return text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
}

function isRecord(value: unknown): value is Manifest {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

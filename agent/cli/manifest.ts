// The manifest of a Secret, in YAML or JSON: found in a text, read, and written. YAML is loaded where there is some.

import type { Finding } from '../trust/admission.ts';
import { explain } from '../trust/admission-reasons.ts';
import type { Entries, SourceSnapshot } from '../trust/source.ts';
import { UnreadableError } from './command.ts';
import { escapeControls } from './json.ts';

export interface SecretName {
  readonly name: string;
  readonly namespace: string;
}

export type Manifest = Readonly<Record<string, unknown>>;

export interface ManifestContent {
  /** `kube-system/custom-ca-trust-secret`. */
  readonly name: string;
  readonly snapshot: Extract<SourceSnapshot, { kind: 'present' | 'wrong-type' }>;
  /** Of values that are none; errors reject the whole. */
  readonly findings: readonly Finding[];
}

/** The Secret that a text holds, alone or among other objects; undefined where it holds no manifests. Throws {@link UnreadableError}. */
export async function findManifest(place: string, text: string): Promise<Manifest | undefined> {
  if (!/^[ \t]*\{|^(apiVersion|kind):/m.test(text)) return undefined;
  const { parseAllDocuments, visit, YAMLParseError } = await import('yaml');
  let documents: unknown[];
  try {
    // The library compares each key with all before it: a minute for what is read in a second.
    documents = parseAllDocuments(text, { logLevel: 'silent', uniqueKeys: false }).flatMap((document) => {
      const [error] = document.errors;
      if (error !== undefined) throw error;
      visit(document, { Map: (_, { items }) => refuseTwins(items, text, place) });
      return [document.toJS() as unknown];
    });
  } catch (error) {
    if (/^-----BEGIN /m.test(text)) return undefined; // PEM with talkative text around it
    if (error instanceof UnreadableError) throw error;
    // The parser's own words repeat the text, of which a part may be a key.
    const [line] = error instanceof YAMLParseError ? (error.linePos?.map(({ line: at }) => at) ?? []) : [];
    throw new UnreadableError(`${place} is neither PEM nor YAML${line === undefined ? '' : `: look at line ${line}`}`);
  }
  const objects = documents
    .filter(isRecord)
    .flatMap((document) => (Array.isArray(document['items']) ? document['items'] : [document]));
  const manifests = objects.filter(isRecord).filter(({ kind }) => typeof kind === 'string');
  if (manifests.length === 0) return undefined;
  const secrets = manifests.filter(({ kind }) => kind === 'Secret');
  if (secrets.length !== 1)
    throw new UnreadableError(`${place} holds ${secrets.length} Secrets; give one Secret at a time`);
  return secrets[0];
}

/** Of two values under one key, kubectl and a reader may take different ones. */
function refuseTwins(items: readonly { readonly key: unknown }[], text: string, place: string): void {
  const known = new Set<unknown>();
  for (const { key } of items) {
    const { value, range } = key as { readonly value?: unknown; readonly range?: readonly number[] };
    if (known.has(value)) {
      const line = text.slice(0, range?.[0]).split('\n').length;
      throw new UnreadableError(`${place} holds a key twice: look at line ${line}`);
    }
    if (value !== undefined) known.add(value);
  }
}

/** Throws {@link UnreadableError}. */
export function readManifest(manifest: Manifest, place: string): ManifestContent {
  const metadata = isRecord(manifest['metadata']) ? manifest['metadata'] : {};
  const name = `${textOf(metadata['namespace'], 'default')}/${textOf(metadata['name'], '')}`;
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

/** A new Secret, as `kubectl apply -f` takes it. */
export function createManifest({ namespace, name }: SecretName, entries: Entries): Manifest {
  const manifest = { apiVersion: 'v1', kind: 'Secret', metadata: { namespace, name }, type: 'Opaque' };
  return { ...manifest, data: encode(entries) };
}

/** The same Secret with other entries, without what the API server or kubectl write into it themselves. */
export function replaceEntries(manifest: Manifest, entries: Entries): Manifest {
  const { stringData: _, status: __, ...kept } = manifest;
  const metadata = isRecord(manifest['metadata']) ? manifest['metadata'] : {};
  const own = Object.entries(metadata).filter(([field]) => !serverFields.has(field));
  const annotations = isRecord(metadata['annotations'])
    ? {
        annotations: Object.fromEntries(Object.entries(metadata['annotations']).filter(([key]) => key !== lastApplied)),
      }
    : {};
  return { ...kept, metadata: { ...Object.fromEntries(own), ...annotations }, data: encode(entries) };
}

const serverFields = new Set([
  'creationTimestamp',
  'generation',
  'managedFields',
  'resourceVersion',
  'selfLink',
  'uid',
]);
/** A copy of what was applied once, with all of its data. */
const lastApplied = 'kubectl.kubernetes.io/last-applied-configuration';

/** As YAML, a line for each value. Written by hand, for loading a library takes longer than all else that is done. */
export function formatManifest(manifest: Manifest, indent = ''): string {
  const lines = Object.entries(manifest).map(([key, value]) => {
    if (!isRecord(value) || Object.keys(value).length === 0)
      return `${indent}${formatScalar(key)}: ${formatScalar(value)}\n`;
    return `${indent}${formatScalar(key)}:\n${formatManifest(value, `${indent}  `)}`;
  });
  return lines.join('');
}

/** JSON is YAML. Bare stands only what nobody takes for anything but text, old readers of YAML 1.1 included. */
function formatScalar(value: unknown): string {
  const isBare = typeof value === 'string' && /^[A-Za-z][-A-Za-z0-9+/=._]{2,}$/.test(value);
  return isBare && !/^(true|false|null|yes|off)$/i.test(value) ? value : escapeControls(JSON.stringify(value));
}

/** Throws for what is no YAML. */
export async function parseYaml(text: string): Promise<unknown> {
  const { parse } = await import('yaml');
  return parse(text, { logLevel: 'error' }); // silent, it would not throw
}

/** Without folded lines: a block of text stays as it is. */
export async function formatYaml(value: object): Promise<string> {
  const { stringify } = await import('yaml');
  return stringify(value, { lineWidth: 0 });
}

function encode(entries: Entries): Readonly<Record<string, string>> {
  return Object.fromEntries([...entries].map(([entry, bytes]) => [entry, Buffer.from(bytes).toString('base64')]));
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

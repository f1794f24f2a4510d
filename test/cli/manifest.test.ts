import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parse } from 'yaml';
import {
  createManifest,
  findManifest,
  formatManifest,
  formatYaml,
  readManifest,
  replaceEntries,
} from '../../agent/cli/manifest.ts';

const place = { namespace: 'n', name: 's' };
const entries = new Map([['a.pem', Buffer.from('one')]]);

test('what is written is found and read again, in YAML and in JSON', async () => {
  const manifest = createManifest(place, entries);
  for (const text of [formatManifest(manifest), await formatYaml(manifest), JSON.stringify(manifest)]) {
    const found = await findManifest('here', text);
    assert.deepEqual(found, manifest);
    const read = readManifest(manifest, 'here');
    assert.equal(read.name, 'n/s');
    assert.deepEqual(read.snapshot, { kind: 'present', entries, onDelete: 'grace' });
  }
});

test('other entries take the place of data and of stringData, and what the server writes goes', () => {
  const server = {
    uid: 'u',
    resourceVersion: '1',
    creationTimestamp: null,
    generation: 1,
    managedFields: [],
    selfLink: '',
  };
  const annotations = { a: 'b', 'kubectl.kubernetes.io/last-applied-configuration': '{"data":{"old":"…"}}' };
  const manifest = {
    ...createManifest(place, new Map([['old', Buffer.from('old')]])),
    metadata: { ...place, ...server, annotations, labels: { c: 'd' } },
    stringData: { text: 'text' },
    immutable: false,
  };
  assert.deepEqual(replaceEntries(manifest, entries), {
    ...createManifest(place, entries),
    metadata: { ...place, annotations: { a: 'b' }, labels: { c: 'd' } },
    immutable: false,
  });
});

test('one Secret among other objects is found, in a list and in documents', async () => {
  const manifest = createManifest(place, entries);
  const list = { apiVersion: 'v1', kind: 'List', items: [{ kind: 'Node' }, manifest] };
  for (const text of [JSON.stringify(list), `kind: Node\n---\n${await formatYaml(manifest)}`])
    assert.deepEqual(await findManifest('here', text), manifest);
});

test('PEM is no manifest, and is told from one at once', { timeout: 20_000 }, async () => {
  for (const text of ['-----BEGIN CERTIFICATE-----\n', '\n'.repeat(2 ** 20), ' '.repeat(2 ** 20)])
    assert.equal(await findManifest('here', text), undefined);
});

test('a manifest with as many keys as fit is read in a few seconds', { timeout: 20_000 }, async () => {
  const data = Array.from({ length: 100_000 }, (_, index) => `  k${index}: YQ==\n`).join('');
  assert.equal(Object.keys((await findManifest('-', `kind: Secret\ndata:\n${data}`))?.['data'] ?? {}).length, 100_000);
});

test('whatever a manifest holds is the same after it was written and parsed', () => {
  const odd = [
    'null',
    'Yes',
    'y',
    'NO',
    '1e3',
    'true',
    '0x1f',
    '__proto__',
    '~',
    '- a',
    'a: b',
    '#',
    '"',
    '\n',
    '\u0000',
    ' a ',
  ];
  const text = fc.oneof(fc.constantFrom(...odd), fc.string({ unit: 'grapheme' }));
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 3 },
      text,
      fc.constantFrom(null, true, 1),
      fc.array(tie('value')),
      fc.dictionary(text, tie('value')),
    ),
  }));
  fc.assert(
    fc.property(fc.dictionary(text, value, { minKeys: 1 }), (manifest) => {
      const written = formatManifest(manifest);
      for (const version of ['1.1', '1.2'] as const)
        assert.deepEqual(plainOf(parse(written, { version })), plainOf(manifest));
    }),
  );
});

/** Without prototypes, of which generated objects have none. */
const plainOf = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createKubeClient } from '../../agent/kube/client.ts';
import { accessFromKubeconfig } from '../../agent/kube/kubeconfig.ts';
import { createSecretSource } from '../../agent/kube/secret-source.ts';
import type { Source } from '../../agent/trust/source.ts';
import { startTestServer, writeKubeconfig } from '../support/api-fixture.ts';
import type { Rule } from '../support/api-requests.ts';
import type { ApiServer } from '../support/api-server.ts';

const place = { namespace: 'kube-system', name: 'custom-ca-trust-secret' };
const base = { kind: 'Secret', metadata: place };
const mayGet: readonly Rule[] = [
  { verbs: ['get'], resources: ['secrets'], resourceNames: [place.name], namespace: place.namespace },
];

async function setUp(t: TestContext, rules = mayGet, confirmDelayMs = 1): Promise<[ApiServer, Source]> {
  const server = await startTestServer(t, { tokens: { agent: { name: 'agent', rules } } });
  const client = createKubeClient(accessFromKubeconfig(writeKubeconfig(t, server.kubeconfig('agent'))));
  return [server, createSecretSource({ client, ...place, confirmDelayMs })];
}

test('the values of a Secret are decoded from base64 once', async (t) => {
  const [server, source] = await setUp(t);
  const twice = Buffer.from('-----BEGIN').toString('base64');
  server.put({ ...base, data: { 'a.pem': twice, empty: '' }, stringData: { 'b.pem': twice } });
  const snapshot = await source.read(t.signal);
  assert.deepEqual(snapshot, {
    kind: 'present',
    onDelete: 'grace',
    entries: new Map([
      ['a.pem', new TextEncoder().encode('-----BEGIN')],
      ['empty', new Uint8Array()],
      ['b.pem', new TextEncoder().encode(twice)],
    ]),
  });
  assert.equal(source.name, 'secret kube-system/custom-ca-trust-secret');
});

test('a Secret without data is present and holds nothing', async (t) => {
  const [server, source] = await setUp(t);
  server.put(base);
  assert.deepEqual(await source.read(t.signal), { kind: 'present', onDelete: 'grace', entries: new Map() });
});

test('the annotation on-delete: remove asks for removal at once, any other value for the grace', async (t) => {
  const [server, source] = await setUp(t);
  for (const [value, onDelete] of [
    ['remove', 'remove'],
    ['keep', 'grace'],
  ] as const) {
    server.put({ ...base, metadata: { ...place, annotations: { 'node-trust-agent/on-delete': value } } });
    assert.deepEqual(await source.read(t.signal), { kind: 'present', onDelete, entries: new Map() });
  }
});

test('a Secret of another type is told without a look at its data', async (t) => {
  const [server, source] = await setUp(t);
  server.put({ ...base, type: 'kubernetes.io/tls', stringData: { 'tls.key': 'KEY' } });
  assert.deepEqual(await source.read(t.signal), { kind: 'wrong-type', type: 'kubernetes.io/tls' });
});

test('a Secret that is not there is absent after a second read', async (t) => {
  const [server, source] = await setUp(t);
  assert.deepEqual(await source.read(t.signal), { kind: 'absent' });
  assert.deepEqual(
    server.journal.map(({ verb, code }) => `${verb} ${code}`),
    ['get 404', 'get 404'],
  );
});

test('a single NotFound is no deletion: the second read has the word', async (t) => {
  const [server, source] = await setUp(t);
  server.put(base);
  server.fail({ verb: 'get' }, { kind: 'status', code: 404 }, 1);
  assert.equal((await source.read(t.signal)).kind, 'present');
  server.fail({ verb: 'get' }, { kind: 'status', code: 404 }, 1);
  server.fail({ verb: 'get' }, { kind: 'status', code: 500 }, 1);
  assert.equal((await source.read(t.signal)).kind, 'unavailable');
});

test("a proxy's 404 is unavailable, never absent", async (t) => {
  const [server, source] = await setUp(t);
  server.fail({ verb: 'get' }, { kind: 'body', code: 404, body: '404 page not found' });
  const snapshot = await source.read(t.signal);
  assert.equal(snapshot.kind === 'unavailable' && snapshot.code, 'SourceUnavailable');
});

test('a forbidden read names the verb, the Secret and who was refused', async (t) => {
  const [, source] = await setUp(t, []);
  const snapshot = await source.read(t.signal);
  assert.ok(snapshot.kind === 'unavailable' && snapshot.code === 'SourceForbidden');
  assert.match(
    snapshot.evidence,
    /to get secret kube-system\/custom-ca-trust-secret; the agent is not allowed to get it/,
  );
  assert.match(snapshot.evidence, /User "agent" cannot get resource "secrets"/);
});

test('every other failure is unavailable, with the wish of the server', async (t) => {
  const [server, source] = await setUp(t);
  server.fail({}, { kind: 'status', code: 429, headers: { 'retry-after': '3' } }, 1);
  const throttled = await source.read(t.signal);
  assert.ok(throttled.kind === 'unavailable' && throttled.code === 'SourceUnavailable');
  assert.equal(throttled.retryAfterMs, 3000);
  server.expireToken('agent');
  assert.equal((await source.read(t.signal)).kind, 'unavailable');
  await server.refuse();
  assert.equal((await source.read(t.signal)).kind, 'unavailable');
});

test('an abort ends the pause between the two reads', async (t) => {
  const [server, source] = await setUp(t, mayGet, 60_000);
  const abort = new AbortController();
  const reading = source.read(abort.signal);
  await server.seen(({ code }) => code === 404);
  // The first request is over, so what the abort meets is the pause.
  await server.disconnected();
  abort.abort();
  await assert.rejects(reading, { name: 'AbortError' });
});

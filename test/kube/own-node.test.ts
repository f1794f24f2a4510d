import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createKubeClient } from '../../agent/kube/client.ts';
import { KubeError } from '../../agent/kube/kube-error.ts';
import { accessFromKubeconfig } from '../../agent/kube/kubeconfig.ts';
import { createOwnNode, type OwnNode } from '../../agent/kube/own-node.ts';
import { startTestServer, writeKubeconfig } from '../support/api-fixture.ts';
import type { ApiServer } from '../support/api-server.ts';

const ownRules = [
  { verbs: ['get', 'patch'], resources: ['nodes'], resourceNames: ['node-1'] },
  { verbs: ['create'], resources: ['events'], namespace: 'default' },
];

async function setUp(t: TestContext, name = 'node-1'): Promise<[ApiServer, OwnNode]> {
  const server = await startTestServer(t, { tokens: { agent: { name: 'agent', rules: ownRules } } });
  const annotations = { foreign: 'stays', 'node-trust-agent/state': 'Failed' };
  server.put({
    kind: 'Node',
    metadata: { name: 'node-1', labels: { pool: 'a' }, annotations },
    spec: { podCIDR: '10.0.0.0/24' },
  });
  const client = createKubeClient(accessFromKubeconfig(writeKubeconfig(t, server.kubeconfig('agent'))));
  return [server, createOwnNode({ client, name })];
}

test('a Node is read with its uid, labels and annotations', async (t) => {
  const [server, node] = await setUp(t);
  assert.deepEqual(await node.read(t.signal), {
    kind: 'present',
    uid: server.get({ kind: 'Node', name: 'node-1' })?.metadata.uid,
    labels: new Map([['pool', 'a']]),
    annotations: new Map([
      ['foreign', 'stays'],
      ['node-trust-agent/state', 'Failed'],
    ]),
  });
});

test('a Node is absent only on the word of the API server', async (t) => {
  const [server, node] = await setUp(t);
  server.fail({}, { kind: 'body', code: 404, body: 'no such page' }, 1);
  assert.equal((await node.read(t.signal)).kind, 'unavailable');
  server.delete({ kind: 'Node', name: 'node-1' });
  assert.deepEqual(await node.read(t.signal), { kind: 'absent' });
});

test('what could not be found out about a Node is unavailable, with evidence and the wish of the server', async (t) => {
  const [server, node] = await setUp(t);
  server.fail({}, { kind: 'status', code: 503, headers: { 'retry-after': '4' } }, 1);
  const snapshot = await node.read(t.signal);
  assert.ok(snapshot.kind === 'unavailable');
  assert.equal(snapshot.retryAfterMs, 4000);
  assert.match(snapshot.evidence, /503 ServiceUnavailable to get node node-1/);
  const [, other] = await setUp(t, 'node-2');
  assert.equal((await other.read(t.signal)).kind, 'unavailable');
});

test('annotations are merged and removed, and nothing else of the Node changes', async (t) => {
  const [server, node] = await setUp(t);
  const before = server.get({ kind: 'Node', name: 'node-1' });
  await node.annotate({ 'node-trust-agent/state': null, 'node-trust-agent/message': 'all is well' }, t.signal);
  const after = server.get({ kind: 'Node', name: 'node-1' });
  assert.deepEqual(after?.metadata.annotations, { foreign: 'stays', 'node-trust-agent/message': 'all is well' });
  assert.deepEqual({ ...after, metadata: 0 }, { ...before, metadata: 0 });
  assert.deepEqual(after.metadata.labels, before?.metadata.labels);
  assert.deepEqual(server.writes(), [
    { verb: 'patch', resource: 'nodes', namespace: undefined, name: 'node-1', user: 'agent', code: 200 },
  ]);
});

test('a conflict is tried once more, a second one is told', async (t) => {
  const [server, node] = await setUp(t);
  server.fail({ verb: 'patch' }, { kind: 'status', code: 409 }, 1);
  await node.annotate({ 'node-trust-agent/state': 'Synced' }, t.signal);
  assert.deepEqual(
    server.writes().map(({ code }) => code),
    [409, 200],
  );
  server.fail({ verb: 'patch' }, { kind: 'status', code: 409 }, 2);
  await assert.rejects(node.annotate({ 'node-trust-agent/state': 'Failed' }, t.signal), isFailure('conflict'));
  assert.equal(server.writes().length, 4);
});

test('no other failure of a patch is tried again', async (t) => {
  const [server, node] = await setUp(t);
  server.fail(
    { verb: 'patch' },
    { kind: 'status', code: 403, message: "ValidatingAdmissionPolicy 'own' denied request" },
  );
  await assert.rejects(
    node.annotate({ a: 'b' }, t.signal),
    /the agent is not allowed to patch it: .*'own' denied request/,
  );
  assert.equal(server.writes().length, 1);
});

test('an event about the Node lands in the namespace default with what kubectl describe looks for', async (t) => {
  const [server, node] = await setUp(t);
  await node.recordEvent({ type: 'Warning', reason: 'NotCa', message: 'x'.repeat(2000) }, 'uid-1', t.signal);
  const [event] = server.list('Event', 'default');
  assert.deepEqual(event?.['involvedObject'], { apiVersion: 'v1', kind: 'Node', name: 'node-1', uid: 'uid-1' });
  assert.equal(event['type'], 'Warning');
  assert.equal(event['reason'], 'NotCa');
  assert.equal(event['message'], 'x'.repeat(1024));
  assert.equal(event['reportingComponent'], 'node-trust-agent');
  assert.match(String(event['lastTimestamp']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
});

test('an event that is refused is told, and two events never share a name', async (t) => {
  const [server, node] = await setUp(t);
  const event = { type: 'Normal', reason: 'Synced', message: 'done' } as const;
  await Promise.all([node.recordEvent(event, 'u', t.signal), node.recordEvent(event, 'u', t.signal)]);
  assert.equal(server.list('Event').length, 2);
  server.fail({ resource: 'events' }, { kind: 'status', code: 429 });
  await assert.rejects(node.recordEvent(event, 'u', t.signal), isFailure('throttled'));
});

function isFailure(kind: string): (error: unknown) => boolean {
  return (error) => error instanceof KubeError && error.failure.kind === kind;
}

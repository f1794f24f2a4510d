import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createKubeClient } from '../../agent/kube/client.ts';
import { readFleet, type SecretPlace } from '../../agent/kube/fleet.ts';
import { accessFromKubeconfig } from '../../agent/kube/kubeconfig.ts';
import type { FleetFacts } from '../../agent/trust/node-report.ts';
import { contentDigest } from '../../agent/trust/source.ts';
import { startTestServer, writeKubeconfig } from '../support/api-fixture.ts';
import type { ApiServer, ApiServerOptions } from '../support/api-server.ts';

const namespace = 'kube-system';
const app = 'node-trust-agent';
const secret = {
  kind: 'Secret',
  metadata: { name: 'custom-ca-trust-secret', namespace },
  stringData: { 'a.pem': 'x' },
};
const digest = contentDigest(new Map([['a.pem', Buffer.from('x')]]));

interface Setup {
  readonly server: ApiServer;
  read(place?: SecretPlace, token?: string): Promise<FleetFacts>;
}

async function setUp(t: TestContext, options: ApiServerOptions = {}): Promise<Setup> {
  const server = await startTestServer(t, options);
  const read = (place?: SecretPlace, token?: string): Promise<FleetFacts> => {
    const access = accessFromKubeconfig(writeKubeconfig(t, server.kubeconfig(token)));
    return readFleet(createKubeClient(access), place, t.signal);
  };
  return { server, read };
}

function putDaemonSet(server: ApiServer, pod: object): void {
  server.put({ kind: 'DaemonSet', metadata: { name: app, namespace }, spec: { template: { spec: pod } } });
}

function putPod(server: ApiServer, name: string, nodeName: string, status: object, metadata: object = {}): void {
  const labels = { 'app.kubernetes.io/name': app };
  server.put({ kind: 'Pod', metadata: { name, namespace, labels, ...metadata }, spec: { nodeName }, status });
}

const ready = (status: string) => ({ phase: 'Running', conditions: [{ type: 'Ready', status }] });

test('a Node comes with its labels, what our annotations say, and whether Kubernetes calls it ready', async (t) => {
  const { server, read } = await setUp(t);
  const annotations = { foreign: 'x', 'node-trust-agent/state': 'Synced', 'node-trust-agent/details': '{}' };
  const metadata = { name: 'a', labels: { pool: 'x' }, annotations };
  server.put({ kind: 'Node', metadata, status: { conditions: [{ type: 'DiskPressure', status: 'True' }] } });
  for (const [name, status] of [
    ['b', 'True'],
    ['c', 'Unknown'],
  ] as const)
    server.put({ kind: 'Node', metadata: { name }, status: ready(status) });
  const { nodes } = await read();
  assert.deepEqual(nodes[0], {
    name: 'a',
    labels: new Map([['pool', 'x']]),
    isReady: undefined,
    told: new Map([['state', 'Synced']]),
    warnings: [],
  });
  assert.deepEqual(
    nodes.map(({ isReady }) => isReady),
    [undefined, true, false],
  );
});

test('of the details only what warns is kept, and nothing of what is no JSON', async (t) => {
  const { server, read } = await setUp(t);
  const expiring = {
    code: 'ExpiresSoon',
    severity: 'warning',
    entry: 'a.pem',
    message: 'it expires',
    remedy: 'Renew it.',
  };
  const wrong = { ...expiring, code: 'NotPem', severity: 'error' };
  const details = {
    full: JSON.stringify({ certificates: [{}], findings: [wrong, expiring], warnings: ['TrustedTwice: it is', 7] }),
    strange: JSON.stringify({ findings: 'none', warnings: { 0: 'x' } }),
    torn: '{"warnings":["x"',
  };
  for (const [name, text] of Object.entries(details))
    server.put({ kind: 'Node', metadata: { name, annotations: { 'node-trust-agent/details': text } } });
  const { nodes } = await read();
  const warnings = Object.fromEntries(nodes.map(({ name, warnings }) => [name, warnings]));
  const both = ['TrustedTwice: it is', 'ExpiresSoon: entry "a.pem": it expires; renew it'];
  assert.deepEqual(warnings, { full: both, strange: [], torn: [] });
});

test('who is enabled is told by the node selector of the DaemonSet and by its flags', async (t) => {
  const { server, read } = await setUp(t);
  putDaemonSet(server, {
    nodeSelector: { 'kubernetes.io/os': 'linux' },
    containers: [{ args: ['run', '--enabled-by=pool=a', '--secret', 'trust/cas'] }],
  });
  server.put({ ...secret, metadata: { name: 'cas', namespace: 'trust' } });
  const { enabling, secret: name, content } = await read();
  assert(enabling.kind === 'known');
  assert.deepEqual(
    [...enabling.value.labels],
    [
      ['pool', 'a'],
      ['kubernetes.io/os', 'linux'],
    ],
  );
  assert.equal(enabling.value.isNarrower, false);
  assert.deepEqual([name, content], ['secret trust/cas', { kind: 'known', observed: digest, changedAt: undefined }]);
});

test('a DaemonSet with a node affinity is narrower than its selector', async (t) => {
  const { server, read } = await setUp(t);
  const nodeAffinity = { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [] } };
  putDaemonSet(server, { affinity: { nodeAffinity }, containers: [{ args: ['run'] }] });
  const { enabling } = await read();
  assert(enabling.kind === 'known');
  assert.deepEqual([enabling.value.isNarrower, enabling.value.labels.size], [true, 0]);
});

test('a pod of the agent is found by its Node, with the word for what it does; one that is ready counts first', async (t) => {
  const { server, read } = await setUp(t);
  const waiting = { phase: 'Pending', containerStatuses: [{ state: { waiting: { reason: 'ImagePullBackOff' } } }] };
  putPod(server, 'p1', 'a', ready('True'));
  putPod(server, 'p2', 'a', ready('False'), { deletionTimestamp: '2026-06-01T00:00:00Z' });
  putPod(server, 'p3', 'b', waiting);
  putPod(server, 'p4', 'c', ready('False'), { deletionTimestamp: '2026-06-01T00:00:00Z' });
  putPod(server, 'other', 'd', ready('True'), { labels: {} });
  const { pods } = await read();
  assert(pods.kind === 'known');
  assert.deepEqual(Object.fromEntries(pods.value), {
    a: { name: 'p1', isReady: true, phase: 'Running' },
    b: { name: 'p3', isReady: false, phase: 'ImagePullBackOff' },
    c: { name: 'p4', isReady: false, phase: 'Terminating' },
  });
});

test('the content of the Secret is digested as the agent does it, and comes with the time of its last change', async (t) => {
  const { server, read } = await setUp(t);
  const managedFields = ['2026-06-01T10:00:00Z', '2026-06-01T12:00:00Z', 'never'].map((time) => ({ time }));
  const body = JSON.stringify({
    kind: 'Secret',
    metadata: { ...secret.metadata, managedFields },
    data: { 'a.pem': 'eA==' },
  });
  server.fail({ resource: 'secrets' }, { kind: 'body', code: 200, body });
  const { content } = await read();
  assert.deepEqual(content, { kind: 'known', observed: digest, changedAt: new Date('2026-06-01T12:00:00Z') });
});

test('a Secret that is not there has no content, where it is known that the agents follow it', async (t) => {
  const { server, read } = await setUp(t);
  const guessed = (await read()).content;
  assert(guessed.kind === 'unknown' && guessed.isFinal, 'they may follow another one');
  const absent = { kind: 'known', observed: '', changedAt: undefined };
  assert.deepEqual((await read({ namespace, name: 'cas' })).content, absent);
  putDaemonSet(server, { containers: [{ args: ['run'] }] });
  assert.deepEqual((await read()).content, absent);
});

test('a Secret of another type has content that no agent takes', async (t) => {
  const { server, read } = await setUp(t);
  server.put({ ...secret, type: 'kubernetes.io/tls' });
  const { content } = await read();
  assert.deepEqual(content, { kind: 'unusable' });
});

test('whoever may list Nodes alone is told what he may not read, and asking again is of no use', async (t) => {
  const viewer = { name: 'viewer', rules: [{ verbs: ['list'], resources: ['nodes'] }] };
  const { read } = await setUp(t, { tokens: { viewer } });
  const { enabling, pods, content } = await read(undefined, 'viewer');
  assert.deepEqual(
    [enabling, pods, content],
    [
      { kind: 'unknown', why: 'you may not read daemonset kube-system/node-trust-agent' },
      { kind: 'unknown', why: 'you may not read pods of node-trust-agent in kube-system' },
      { kind: 'unknown', why: 'you may not read secret kube-system/custom-ca-trust-secret', isFinal: true },
    ],
  );
});

test('what fails is unknown with its evidence; a Secret that fails may be asked for again', async (t) => {
  const { server, read } = await setUp(t);
  for (const resource of ['daemonsets', 'pods', 'secrets']) server.fail({ resource }, { kind: 'status', code: 503 });
  const { enabling, pods, content } = await read();
  for (const part of [enabling, pods, content]) {
    assert(part.kind === 'unknown');
    assert.match(part.why, /answered 503/);
  }
  assert(content.kind === 'unknown' && !content.isFinal);
  server.fail({ resource: 'nodes' }, { kind: 'status', code: 503 });
  await assert.rejects(read(), /answered 503 .* to list nodes/);
});

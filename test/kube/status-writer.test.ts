import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createKubeClient } from '../../agent/kube/client.ts';
import { KubeError } from '../../agent/kube/kube-error.ts';
import { accessFromKubeconfig } from '../../agent/kube/kubeconfig.ts';
import { createOwnNode } from '../../agent/kube/own-node.ts';
import { createStatusWriter } from '../../agent/kube/status-writer.ts';
import type { Status } from '../../agent/trust/status.ts';
import { startTestServer, writeKubeconfig } from '../support/api-fixture.ts';
import { makeBundle, makeCertificate } from '../support/bundles.ts';
import { fixedNow } from '../support/certificates.ts';

const certificate = makeCertificate('Corp Root');
const synced: Status = {
  state: 'Synced',
  reason: '',
  message: 'all is well',
  trusted: { bundle: makeBundle(certificate).digest, certificates: [{ entry: 'a', certificate }] },
  observed: 'sha256:00',
  findings: [],
  store: 'the store',
  runtime: { kind: 'unit', unit: 'containerd.service' },
  warnings: [],
};

async function setUp(t: TestContext) {
  const api = await startTestServer(t);
  api.put({ kind: 'Node', metadata: { name: 'node-1', annotations: { foreign: 'stays' } } });
  const client = createKubeClient(accessFromKubeconfig(writeKubeconfig(t, api.kubeconfig())));
  const node = createOwnNode({ client, name: 'node-1' });
  const writer = createStatusWriter(node, () => fixedNow);
  writer.see(await node.read(t.signal));
  return {
    api,
    node,
    writer,
    writes: () => api.writes().map(({ verb, resource }) => `${verb} ${resource}`),
    annotations: () => api.get({ kind: 'Node', name: 'node-1' })?.metadata.annotations ?? {},
    events: () => api.list('Event', 'default').map(({ type, reason }) => `${String(type)} ${String(reason)}`),
  };
}

test('a status is annotations of the own prefix with the time of writing, and an event', async (t) => {
  const { writer, annotations, events } = await setUp(t);
  await writer.write(synced, t.signal);
  const written = annotations();
  assert.equal(written['node-trust-agent/state'], 'Synced');
  assert.equal(written['node-trust-agent/updated-at'], fixedNow.toISOString());
  assert.equal(written['foreign'], 'stays');
  assert.deepEqual(events(), ['Normal Synced']);
});

test('a status that says the same is not written again, by this process or by the next', async (t) => {
  const { api, node, writer, writes } = await setUp(t);
  await writer.write(synced, t.signal);
  const before = writes();
  await writer.write(synced, t.signal);
  const next = createStatusWriter(node, () => new Date());
  next.see(await node.read(t.signal));
  await next.write(synced, t.signal);
  assert.deepEqual(writes(), before);
  api.put({ kind: 'Node', metadata: { name: 'node-1' } });
  writer.see(await node.read(t.signal));
  await writer.write(synced, t.signal);
  assert.notDeepEqual(writes(), before, 'what somebody took away is written again');
});

test('only a change of state, reason or bundle is an event, and Applying is none', async (t) => {
  const { writer, writes, events } = await setUp(t);
  await writer.write(synced, t.signal);
  await writer.write({ ...synced, message: 'all is still well' }, t.signal);
  await writer.write({ ...synced, state: 'Applying', message: 'a restart' }, t.signal);
  assert.deepEqual(events(), ['Normal Synced']);
  assert.equal(writes().filter((write) => write === 'patch nodes').length, 3);
  await writer.write({ ...synced, state: 'Failed', reason: 'ToolFailed' }, t.signal);
  await writer.write({ ...synced, state: 'Failed', reason: 'DiskFull' }, t.signal);
  await writer.write({ ...synced, state: 'Rejected', reason: 'CrlfLineEndings' }, t.signal);
  await writer.write(synced, t.signal);
  await writer.write({ ...synced, trusted: { bundle: makeBundle().digest, certificates: [] } }, t.signal);
  assert.deepEqual(
    events().sort(),
    [
      'Normal Synced',
      'Warning ToolFailed',
      'Warning DiskFull',
      'Warning CrlfLineEndings',
      'Normal Synced',
      'Normal Synced',
    ].sort(),
  );
});

test('without certificates there is no soonest expiry, and what could not be found out stays as it was last known', async (t) => {
  const { writer, annotations } = await setUp(t);
  await writer.write(synced, t.signal);
  await writer.write({ ...synced, state: 'Failed', reason: 'HostLocked', trusted: undefined }, t.signal);
  assert.equal(annotations()['node-trust-agent/certificates'], '1');
  await writer.write({ ...synced, trusted: { bundle: makeBundle().digest, certificates: [] } }, t.signal);
  assert.equal(annotations()['node-trust-agent/certificates'], '0');
  assert(!('node-trust-agent/expires-at' in annotations()));
});

test('without a Node nothing is written, and a write that failed is tried again', async (t) => {
  const { api, writer, node, writes, annotations } = await setUp(t);
  writer.see({ kind: 'absent' });
  await writer.write(synced, t.signal);
  writer.see({ kind: 'unavailable', evidence: '500' });
  await writer.write(synced, t.signal);
  assert.deepEqual(writes(), []);
  writer.see(await node.read(t.signal));
  api.fail({ verb: 'patch' }, { kind: 'status', code: 500 }, 1);
  await assert.rejects(writer.write(synced, t.signal), { name: 'KubeError' });
  await writer.write(synced, t.signal);
  assert.equal(annotations()['node-trust-agent/state'], 'Synced');
});

test('a write that was made and whose answer was lost has its event, and is no news any more', async (t) => {
  const { node, events, annotations } = await setUp(t);
  let isLost = true;
  const writer = createStatusWriter(
    {
      ...node,
      async annotate(...asked) {
        await node.annotate(...asked);
        if (isLost) throw new KubeError({ kind: 'unreachable', evidence: 'the connection was closed' });
      },
    },
    () => fixedNow,
  );
  writer.see(await node.read(t.signal));
  const failed = { ...synced, state: 'Failed', reason: 'RolledBack' } as const;
  await assert.rejects(writer.write(failed, t.signal), { name: 'KubeError' });
  isLost = false;
  writer.see(await node.read(t.signal));
  await writer.write(failed, t.signal);
  await writer.write(failed, t.signal);
  assert.deepEqual(events(), ['Warning RolledBack']);
  await writer.write(synced, t.signal);
  isLost = true;
  await assert.rejects(writer.write({ ...synced, state: 'Applying' }, t.signal));
  isLost = false;
  assert.equal(annotations()['node-trust-agent/state'], 'Applying');
  await writer.write(synced, t.signal);
  assert.equal(annotations()['node-trust-agent/state'], 'Synced', 'nobody knows what was written');
  assert.deepEqual(events(), ['Warning RolledBack', 'Normal Synced', 'Normal Synced']);
});

test('an event that could not be told is told with what is written next, in order, and one that was refused is not', async (t) => {
  const { api, writer, node, events } = await setUp(t);
  const repaired = { type: 'Warning', reason: 'DriftRepaired', message: 'a file was repaired' } as const;
  writer.see({ kind: 'unavailable', evidence: '500' });
  await writer.record(repaired, t.signal);
  writer.see(await node.read(t.signal));
  api.fail({ verb: 'create' }, { kind: 'status', code: 500 }, 1);
  await assert.rejects(writer.write(synced, t.signal), { name: 'KubeError' });
  assert.deepEqual(events(), []);
  await writer.write(synced, t.signal);
  assert.deepEqual(events().sort(), ['Normal Synced', 'Warning DriftRepaired']);
  api.fail({ verb: 'create' }, { kind: 'status', code: 403 }, 1);
  await assert.rejects(writer.record(repaired, t.signal), { name: 'KubeError' });
  await writer.write(synced, t.signal);
  assert.equal(events().length, 2);
});

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { openHost } from '../agent/host/host.ts';
import { createHostRoot } from '../agent/host/root.ts';
import { createKubeClient } from '../agent/kube/client.ts';
import { accessFromKubeconfig } from '../agent/kube/kubeconfig.ts';
import { createOwnNode } from '../agent/kube/own-node.ts';
import { createSecretSource } from '../agent/kube/secret-source.ts';
import { createStatusWriter } from '../agent/kube/status-writer.ts';
import { createMetrics } from '../agent/metrics.ts';
import { createNodePass, type NodePass } from '../agent/node-pass.ts';
import { createPool } from '../agent/pool.ts';
import { writeKubeconfig } from './support/api-fixture.ts';
import { createCertificate, fixedNow } from './support/certificates.ts';
import { secret } from './support/cluster.ts';
import { nameOf } from './support/debian.ts';
import { parse } from './support/host-steps.ts';
import { recordLog, type Stage, setStage } from './support/stage.ts';

const corp = createCertificate({ subject: 'Corp Root' });
const label = { key: 'node-trust-agent/enabled', value: 'true' };
const enabled = { [label.key]: label.value };
const state = '/var/lib/node-trust-agent/state.json';
const nodes = { resource: 'nodes' } as const;

/** The passes of the daemon, made by hand. */
interface Daemon extends Stage {
  readonly pass: NodePass;
  /** The passes of another process, which has seen nothing yet. */
  readonly restart: () => NodePass;
  readonly log: readonly { readonly level: string; readonly msg: string }[];
  metrics(): Promise<string>;
}

async function setUp(t: TestContext, onDisk?: object): Promise<Daemon> {
  const stage = await setStage(t, { roots: 1 });
  stage.apply({ a: corp.pem });
  if (onDisk !== undefined) await stage.sandbox.write(state, JSON.stringify({ version: 1, runtime: {}, ...onDisk }));
  const client = createKubeClient(accessFromKubeconfig(writeKubeconfig(t, stage.api.kubeconfig())));
  const node = createOwnNode({ client, name: 'node-1' });
  const now = (): Date => fixedNow;
  const metrics = createMetrics();
  const log: { level: string; msg: string }[] = [];
  const restart = (): NodePass =>
    createNodePass({
      uninstalls: false,
      source: createSecretSource({ client, ...secret, confirmDelayMs: 0 }),
      openHost: () =>
        openHost({ root: createHostRoot(stage.sandbox.root), runtime: 'required', now, healthTimeoutMs: 2_000 }),
      node,
      pool: createPool({ node, label, confirmMs: 0 }),
      writer: createStatusWriter(node, now),
      metrics,
      log: recordLog(log),
      now,
      graceMs: 0,
      restartDelayMs: 0,
      restartIntervalMs: 0,
      admission: { maxCertificates: 10, allowNonCa: false },
    });
  return { ...stage, pass: restart(), restart, log, metrics: () => metrics.render() };
}

test('a status that could not be written makes the next pass come sooner, when the API server wishes', async (t) => {
  const { api, labelNode, pass, read, log } = await setUp(t);
  labelNode(enabled);
  api.fail({ verb: 'patch', ...nodes }, { kind: 'status', code: 503, headers: { 'retry-after': '7' } }, 2);
  assert.deepEqual(await pass([], t.signal), { kind: 'back-off', retryAfterMs: 7000 });
  assert.deepEqual(read(), {});
  assert(log.some(({ level, msg }) => level === 'warn' && msg === 'status not written'));
  assert.deepEqual(await pass([], t.signal), { kind: 'resync' });
  assert.equal(read()['state'], 'Synced');
});

test('a failure keeps its own next try, whether it could be told or not', async (t) => {
  const { api, labelNode, pass, sandbox } = await setUp(t);
  labelNode(enabled);
  await sandbox.write('/etc/os-release', 'ID=plan9\n');
  api.fail({ verb: 'patch', ...nodes }, { kind: 'status', code: 503, headers: { 'retry-after': '7' } }, 1);
  assert.deepEqual(await pass([], t.signal), { kind: 'back-off', retryAfterMs: undefined });
});

test('a Node that cannot be read is told in the log once, and once this process knows its label the work goes on', async (t) => {
  const { api, labelNode, pass, log, apply, sandbox } = await setUp(t);
  labelNode(enabled);
  await pass([], t.signal);
  const next = createCertificate({ subject: 'Next Root' });
  apply({ a: corp.pem, b: next.pem });
  api.fail({ verb: 'get', ...nodes }, { kind: 'status', code: 500 }, 2);
  assert.equal((await pass([], t.signal)).kind, 'back-off');
  assert((await sandbox.read('/etc/ssl/certs/ca-certificates.crt')).includes(next.pem));
  await pass([], t.signal);
  assert.equal(log.filter(({ msg }) => msg === 'node not read').length, 1);
});

test('a Node that was never read, and one that does not exist, are neither added to nor taken from', async (t) => {
  const { api, labelNode, pass, sandbox } = await setUp(t, { leaving: true });
  labelNode(enabled);
  api.fail({ verb: 'get', ...nodes }, { kind: 'status', code: 500 }, 1);
  assert.equal((await pass([], t.signal)).kind, 'back-off');
  assert.deepEqual(await sandbox.list('/usr/local/share/ca-certificates'), []);
  assert.match(await sandbox.read(state), /"leaving": ?true/, 'what was begun is not forgotten for it');
});

test('leaving that another process began is ended without the label, and given up with it', async (t) => {
  const { labelNode, pass, restart, read, sandbox, assertTrusts } = await setUp(t);
  const begin = async (): Promise<void> =>
    sandbox.write(state, JSON.stringify({ ...(JSON.parse(await sandbox.read(state)) as object), leaving: true }));
  labelNode(enabled);
  await pass([], t.signal);
  await begin();
  assert.deepEqual(await restart()([], t.signal), { kind: 'resync' });
  assert.equal(read()['state'], 'Synced');
  assert.doesNotMatch(await sandbox.read(state), /leaving/);

  await begin();
  labelNode({});
  assert.deepEqual(await restart()([], t.signal), { kind: 'end' });
  assert.equal(read()['state'], 'Disabled');
  await assertTrusts([], [corp]);
  assert.deepEqual(await sandbox.list('/var/lib/node-trust-agent'), []);
});

test('leaving that is done and could not be told on the Node is no end', async (t) => {
  const { api, labelNode, pass, read, assertTrusts } = await setUp(t);
  labelNode(enabled);
  await pass([], t.signal);
  labelNode({});
  api.fail({ verb: 'patch', ...nodes }, { kind: 'status', code: 503, headers: { 'retry-after': '7' } }, 2);
  assert.deepEqual(await pass([], t.signal), { kind: 'back-off', retryAfterMs: 7000 });
  await assertTrusts([], [corp]);
  assert.equal(read()['state'], 'Synced');
  assert.deepEqual(await pass([], t.signal), { kind: 'end' });
  assert.equal(read()['state'], 'Disabled');
});

test('leaving is on the disk before the first certificate goes', async (t) => {
  const { labelNode, pass, sandbox, log, assertTrusts } = await setUp(t);
  labelNode(enabled);
  await pass([], t.signal);
  labelNode({});
  await sandbox.write('/usr/sbin/update-ca-certificates', '#!/bin/sh\nexit 1\n', 0o755);
  assert.equal((await pass([], t.signal)).kind, 'back-off');
  assert.match(await sandbox.read(state), /"leaving": ?true/);
  await sandbox.remove('/usr/sbin/update-ca-certificates');
  assert.deepEqual(await pass([], t.signal), { kind: 'end' });
  await assertTrusts([], [corp]);
  assert(log.some(({ level }) => level === 'error'));
});

test('a Node whose label this process never saw keeps what it has, and says so with a code', async (t) => {
  const { labelNode, pass, restart, read, apply, assertTrusts, api } = await setUp(t);
  labelNode(enabled);
  await pass([], t.signal);
  labelNode({});
  api.delete(secret);
  assert.deepEqual(await restart()([], t.signal), { kind: 'resync' });
  assert.deepEqual([read()['state'], read()['reason'], read()['certificates']], ['Waiting', 'NodeNotEnabled', '1']);
  apply({ b: createCertificate({ subject: 'Next Root' }).pem });
  await restart()([], t.signal);
  await assertTrusts([corp], []);
});

test('what changed is told as info, a pass that found all as it was as debug, and metrics count both', async (t) => {
  const { labelNode, pass, log, metrics, sandbox } = await setUp(t);
  labelNode(enabled);
  await pass([], t.signal);
  await pass([], t.signal);
  const levels = log.filter(({ msg }) => msg === 'pass ended').map(({ level }) => level);
  assert.deepEqual(levels, ['info', 'debug']);
  await sandbox.remove(`/usr/local/share/ca-certificates/${nameOf(corp)}.crt`);
  await pass([], t.signal);
  const text = await metrics();
  for (const sample of [
    'node_trust_passes_total{result="Synced",reason=""} 3',
    'node_trust_drift_repairs_total{kind="anchor"} 1',
    'node_trust_runtime_restarts_total 1',
    'node_trust_certificates 1',
    'node_trust_state{state="Synced"} 1',
    'node_trust_state{state="Applying"} 0',
    `node_trust_soonest_expiry_timestamp_seconds ${parse(corp).notAfter.getTime() / 1000}`,
  ]) {
    assert(text.includes(`\n${sample}\n`), `${sample} in\n${text}`);
  }
});

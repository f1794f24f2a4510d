// The daemon against the embedded API server and a sandbox node: what its users see, end to end.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { farewellMs } from '../agent/agent.ts';
import { createCertificate } from './support/certificates.ts';
import { type Annotations, secret } from './support/cluster.ts';
import { nodeTrust } from './support/command-line.ts';
import { type Stage, setStage } from './support/stage.ts';
import { until } from './support/until.ts';

const corp = createCertificate({ subject: 'Corp Root' });
/** The usual rotation: another key, the same name. */
const next = createCertificate({ subject: 'Corp Root' });

const isSynced = ({ state }: Annotations): boolean => state === 'Synced';
const isSyncedWith =
  (count: number) =>
  ({ state, certificates }: Annotations): boolean =>
    state === 'Synced' && certificates === String(count);

test('a Secret becomes trust of the host and its runtime, with one restart, and the Node tells it', async (t) => {
  const stage = await setStage(t);
  stage.apply({ 'corp.pem': corp.pem });
  stage.run();
  const annotations = await stage.says(isSynced);
  await stage.assertTrusts([corp], [next]);
  assert.equal(await stage.restarts(), 1);
  assert.equal(annotations['certificates'], '1');
  assert.equal(annotations['reason'], '');
  assert.match(annotations['message'] ?? '', /^1 certificate of secret kube-system\/custom-ca-trust-secret is trusted/);
  const fingerprint = createHash('sha256').update(corp.der).digest('hex');
  const bundle = createHash('sha256').update(`${fingerprint}\n`).digest('hex');
  assert.equal(annotations['bundle'], `sha256:${bundle}`);
  assert.match(annotations['observed'] ?? '', /^sha256:[0-9a-f]{64}$/);
  assert.equal(annotations['expires-at'], '2036-06-01T00:00:00.000Z');
  assert.match(annotations['updated-at'] ?? '', /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  const details = JSON.parse(annotations['details'] ?? '') as { readonly certificates: readonly object[] };
  assert.deepEqual(details.certificates, [
    { subject: 'CN=Corp Root', fingerprint, notAfter: '2036-06-01T00:00:00.000Z', entry: 'corp.pem' },
  ]);
  const files = await stage.sandbox.list('/usr/local/share/ca-certificates');
  assert.deepEqual(files, [`node-trust-${fingerprint.slice(0, 16)}.crt`]);
});

test('a Secret that is applied while the agent watches is taken up without waiting for the poll', async (t) => {
  const stage = await setStage(t);
  stage.run();
  await stage.says(isSyncedWith(0));
  stage.apply({ 'corp.pem': corp.pem });
  await stage.says(isSyncedWith(1));
  await stage.assertTrusts([corp], []);
});

test('a rotation through both roots of one name never takes away what stays, and costs one restart a change', async (t) => {
  const stage = await setStage(t);
  stage.apply({ old: corp.pem });
  stage.run();
  await stage.says(isSyncedWith(1));
  stage.apply({ old: corp.pem, new: next.pem });
  await stage.says(isSyncedWith(2));
  await stage.assertTrusts([corp, next], []);
  stage.apply({ new: next.pem });
  await stage.says(isSyncedWith(1));
  await stage.assertTrusts([next], [corp]);
  assert.equal(await stage.restarts(), 3);
});

test('one bad entry among good ones changes nothing on the host', async (t) => {
  const stage = await setStage(t);
  stage.apply({ old: corp.pem });
  stage.run();
  await stage.says(isSynced);
  const before = await stage.digestStore();
  const body = next.pem.split('\n').slice(2, -2).join('\n');
  stage.apply({
    old: corp.pem,
    new: next.pem,
    bad: `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----\n`,
  });
  const { reason, message } = await stage.says(({ state }) => state === 'Rejected');
  assert.equal(reason, 'MalformedCertificate');
  assert.match(message ?? '', /entry "bad", certificate 1, line 1: .*; 1 certificate trusted before stays?$/);
  assert.equal(await stage.digestStore(), before);
  assert.equal(await stage.restarts(), 1);
});

for (const [title, apply, reason] of [
  [
    'of another type',
    { type: 'kubernetes.io/tls', stringData: { 'tls.crt': '', 'tls.key': 'secret-key-bytes' } },
    'SourceWrongType',
  ],
  ['with 11 certificates', { stringData: elevenCertificates() }, 'TooManyCertificates'],
  [
    'with a value that is not UTF-8',
    { data: { a: Buffer.from([0x80, 0xff, 0xfe, 0x00, 0xc3]).toString('base64') } },
    'NoCertificate',
  ],
  ['with a private key', { stringData: { a: corp.pem + corp.keyPem } }, 'PrivateKey'],
  ['with CRLF', { stringData: { a: corp.pem.replaceAll('\n', '\r\n') } }, 'CrlfLineEndings'],
] as const) {
  test(`a Secret ${title} is rejected with ${reason}, and the trust from before is still there`, async (t) => {
    const stage = await setStage(t);
    stage.apply({ old: corp.pem });
    const agent = stage.run();
    await stage.says(isSynced);
    const before = await stage.digestStore();
    if ('type' in apply) stage.api.delete(secret);
    stage.apply({}, { stringData: undefined, ...apply });
    const annotations = await stage.says(({ state }) => state === 'Rejected');
    assert.equal(annotations['reason'], reason);
    assert.equal(annotations['certificates'], '1');
    assert.equal(await stage.digestStore(), before);
    const told = JSON.stringify([agent.log, stage.read(), stage.api.list('Event', 'default')]);
    for (const line of [...corp.keyPem.split('\n').slice(1, -2), 'secret-key-bytes']) assert(!told.includes(line));
  });
}

test('the same content again and an edit of labels cause no restart and no write', async (t) => {
  const stage = await setStage(t);
  stage.apply({ a: corp.pem });
  stage.run();
  await stage.says(isSynced);
  await stage.api.seen(({ resource }) => resource === 'events');
  const [writes, restarts] = [stage.api.writes().length, await stage.restarts()];
  const first = stage.passes(1);
  stage.apply({ a: corp.pem }, { metadata: { labels: { edited: 'once' } } });
  await first;
  const second = stage.passes(1);
  stage.apply({ a: corp.pem }, { metadata: { labels: { edited: 'twice' } } });
  await second;
  stage.apply({ b: corp.pem });
  await stage.says(({ details }) => details?.includes('"entry":"b"') === true);
  assert.equal(stage.api.writes().length, writes + 1, 'only that the entry has another name now');
  assert.equal(await stage.restarts(), restarts);
});

test('a pass with nothing to do runs no host command and writes nothing to the API', async (t) => {
  const stage = await setStage(t);
  stage.apply({ a: corp.pem });
  stage.run({ pollIntervalMs: 50 });
  await stage.says(isSynced);
  await stage.passes(2); // a pass or two more, woken by the agent's own changes
  const [writes, calls] = [stage.api.writes().length, (await stage.sandbox.runtime.calls()).length];
  await stage.passes(4);
  assert.equal(stage.api.writes().length, writes);
  assert.equal((await stage.sandbox.runtime.calls()).length, calls);
});

test('a deleted Secret keeps its trust for the grace, across a restart of the agent, and loses it then', async (t) => {
  const stage = await setStage(t);
  stage.apply({ a: corp.pem });
  const first = stage.run();
  await stage.says(isSynced);
  stage.api.delete(secret);
  const waiting = await stage.says(({ state }) => state === 'Waiting');
  assert.equal(waiting['reason'], 'SourceDeleted');
  await first.stop();
  const state = await stage.sandbox.read('/var/lib/node-trust-agent/state.json');
  const graceMs = timeIn(waiting['message']) - Date.parse(/"goneSince": "([^"]+)"/.exec(state)?.[1] ?? '');
  assert(graceMs > 600_000 && graceMs < 720_000, `${graceMs} ms: the grace and this node's share of a fifth of it`);
  const long = state.replace(/"goneSince": "[^"]+"/, '"goneSince": "2026-01-01T00:00:00.000Z"');
  assert.notEqual(long, state);
  await stage.sandbox.write('/var/lib/node-trust-agent/state.json', long);
  stage.run();
  await stage.says(isSyncedWith(0));
  await stage.assertTrusts([], [corp]);
});

test('a Secret that is deleted and recreated within the grace disturbs nothing', async (t) => {
  const stage = await setStage(t);
  stage.apply({ a: corp.pem });
  stage.run();
  await stage.says(isSynced);
  stage.api.delete(secret);
  await stage.says(({ state }) => state === 'Waiting');
  stage.apply({ a: corp.pem });
  await stage.says(isSynced);
  await stage.assertTrusts([corp], []);
  assert.equal(await stage.restarts(), 1);
});

test('on-delete: remove takes the trust with the Secret at once', async (t) => {
  const stage = await setStage(t);
  stage.apply({ a: corp.pem }, { metadata: { annotations: { 'node-trust-agent/on-delete': 'remove' } } });
  stage.run();
  await stage.says(isSynced);
  stage.api.delete(secret);
  await stage.says(isSyncedWith(0));
  await stage.assertTrusts([], [corp]);
});

test('an API server that is gone takes nothing with it, and the agent goes on when it is back', async (t) => {
  const stage = await setStage(t);
  stage.apply({ a: corp.pem });
  const agent = stage.run({ pollIntervalMs: 50, deletionGraceMs: 0 });
  await stage.says(isSynced);
  const before = await stage.digestStore();
  await stage.api.refuse();
  await waitFor(() => agent.log.some(({ msg, reason }) => msg === 'pass ended' && reason === 'SourceUnavailable'));
  assert.equal(await stage.digestStore(), before);
  await stage.api.resume();
  stage.apply({ a: corp.pem, b: next.pem });
  await stage.says(isSyncedWith(2));
});

for (const [title, failure, reason] of [
  ['is forbidden', { kind: 'status', code: 403 }, 'SourceForbidden'],
  ['fails with 500', { kind: 'status', code: 500 }, 'SourceUnavailable'],
  ['is answered by a proxy with 404', { kind: 'body', code: 404, body: '<html>not found</html>' }, 'SourceUnavailable'],
] as const) {
  test(`a read of the Secret that ${title} changes nothing and is told as ${reason}`, async (t) => {
    const stage = await setStage(t);
    stage.apply({ a: corp.pem });
    const first = stage.run();
    await stage.says(isSynced);
    await first.stop();
    const before = await stage.digestStore();
    stage.api.fail({ verb: 'get', resource: 'secrets' }, failure);
    stage.run({ deletionGraceMs: 0 });
    const annotations = await stage.says(({ state }) => state === 'Failed');
    assert.equal(annotations['reason'], reason);
    assert.equal(annotations['certificates'], '1');
    assert.equal(await stage.digestStore(), before);
  });
}

test('a single 404 is not a deletion', async (t) => {
  const stage = await setStage(t);
  stage.apply({ a: corp.pem });
  const first = stage.run();
  await stage.says(isSynced);
  await first.stop();
  stage.api.fail({ verb: 'get', resource: 'secrets' }, { kind: 'status', code: 404 }, 1);
  stage.run({ deletionGraceMs: 0 });
  await stage.passes(2);
  await stage.assertTrusts([corp], []);
});

test('the restart is spread: the store is updated at once, the runtime is left alone until its time', async (t) => {
  const stage = await setStage(t);
  stage.apply({ a: corp.pem });
  stage.run({ spreadMs: 3_600_000 });
  const annotations = await stage.says(({ state }) => state === 'Waiting');
  assert.equal(annotations['reason'], 'RestartDeferred');
  assert.match(annotations['message'] ?? '', /^containerd\.service will be restarted at \d{4}-/);
  const state = await stage.sandbox.read('/var/lib/node-trust-agent/state.json');
  const delayMs = timeIn(annotations['message']) - Date.parse(/"at": "([^"]+)"/.exec(state)?.[1] ?? '');
  assert(delayMs > 0 && delayMs < 3_600_000, `${delayMs} ms: this node's share of the spread`);
  assert((await stage.sandbox.read('/etc/ssl/certs/ca-certificates.crt')).includes(corp.pem));
  assert.equal(await stage.restarts(), 0);
  await stage.sandbox.runtime.systemctl('restart', 'containerd.service');
  stage.labelNode({}, { retry: 'look' });
  stage.apply({ a: corp.pem }, { metadata: { labels: { look: 'now' } } });
  await stage.says(isSynced);
  assert.equal(await stage.restarts(), 1, "somebody's, not the agent's");
});

for (const how of ['fails', 'keeps-process'] as const) {
  test(`a restart that ${how} is undone and told, and not tried again until somebody asks for it`, async (t) => {
    const stage = await setStage(t);
    await stage.sandbox.runtime.failNextRestart(how);
    stage.apply({ a: corp.pem });
    stage.run({ pollIntervalMs: 50 });
    const failed = await stage.says(({ state }) => state === 'Failed');
    assert.equal(failed['reason'], 'RolledBack');
    assert.equal(failed['certificates'], '0');
    await stage.assertTrusts([], [corp]);
    await stage.passes(3);
    assert.equal(await stage.restarts(), 2);
    assert.equal(stage.read()['reason'], 'RolledBack');
    stage.labelNode({}, { retry: 'please' });
    await stage.says(isSynced);
    await stage.assertTrusts([corp], []);
    assert.equal(await stage.restarts(), 3);
  });
}

for (const [title, script, reason] of [
  ['exits non-zero', 'echo "something is locked" >&2; exit 3', 'ToolFailed'],
  ['prints a gigabyte', 'yes | head -c 1073741824', 'ToolFailed'],
  ['drops our certificate', 'exit 0', 'StoreIncomplete'],
] as const) {
  test(`a tool that ${title} is told as ${reason}, counted, and what was trusted before still is`, async (t) => {
    const stage = await setStage(t);
    stage.apply({ a: corp.pem });
    const agent = stage.run({ pollIntervalMs: 50 });
    await stage.says(isSynced);
    await stage.sandbox.write('/usr/sbin/update-ca-certificates', `#!/bin/sh\n${script}\n`, 0o755);
    stage.apply({ a: corp.pem, b: next.pem });
    const failed = await stage.says(({ state }) => state === 'Failed');
    assert.equal(failed['reason'], reason);
    assert.equal(failed['certificates'], '1');
    await stage.assertTrusts([corp], [next]);
    await waitFor(() => agent.log.some(({ msg, state }) => msg === 'pass ended' && state === 'Failed'));
    const [started] = agent.log;
    const metrics = await (await fetch(`${String(started?.['listen'])}/metrics`)).text();
    assert.match(metrics, new RegExp(`node_trust_passes_total\\{result="Failed",reason="${reason}"\\} [1-9]`));
    assert.match(metrics, /node_trust_state\{state="Failed"\} 1/);
  });
}

test('a certificate that somebody takes out of the anchors comes back', async (t) => {
  const stage = await setStage(t);
  stage.apply({ a: corp.pem });
  const agent = stage.run();
  await stage.says(isSynced);
  const passes = agent.log.filter(({ msg }) => msg === 'pass ended').length;
  const [anchor = ''] = await stage.sandbox.list('/usr/local/share/ca-certificates');
  await stage.sandbox.remove(`/usr/local/share/ca-certificates/${anchor}`);
  await waitFor(() => existsSync(stage.sandbox.at(`/usr/local/share/ca-certificates/${anchor}`)));
  await waitFor(() => agent.log.filter(({ msg }) => msg === 'pass ended').length > passes);
  await stage.assertTrusts([corp], []);
});

test('an agent whose lock somebody has removed with all of its records takes it again before it works on', async (t) => {
  const stage = await setStage(t);
  stage.apply({ a: corp.pem });
  stage.run();
  await stage.says(isSynced);
  await stage.sandbox.remove('/var/lib/node-trust-agent');
  stage.apply({ a: corp.pem }, { metadata: { labels: { look: 'again' } } });
  await waitFor(() => existsSync(stage.sandbox.at('/var/lib/node-trust-agent/lock')));
  await stage.assertTrusts([corp], []);
});

test('what the agent itself writes is no drift; what others write is, once', async (t) => {
  const stage = await setStage(t);
  const tool = '/usr/sbin/update-ca-certificates';
  // Longer than the watch waits for a package's script to settle: it would notice in the middle of the pass.
  await stage.sandbox.write(tool, `#!/bin/sh\n${tool} "$@" && sleep 0.6\n`, 0o755);
  stage.apply({ a: corp.pem });
  const agent = stage.run();
  await stage.says(isSynced);
  const drifts = (): number => agent.log.filter(({ reasons }) => String(reasons).includes('drift')).length;
  stage.apply({ a: corp.pem }, { metadata: { labels: { look: 'again' } } });
  await waitFor(() => agent.log.filter(({ msg }) => msg === 'pass ended').length === 2);
  assert.equal(drifts(), 0);
  const theirs = stage.sandbox.at('/usr/local/share/ca-certificates/theirs.txt');
  await waitFor(() => {
    writeFileSync(theirs, String(drifts())); // until it is no part of what the pass has left
    return drifts() > 0;
  });
});

test('an unsupported distribution is told, with its evidence', async (t) => {
  const stage = await setStage(t);
  await stage.sandbox.write('/etc/os-release', 'ID=plan9\n');
  stage.run();
  const { reason, message } = await stage.says(({ state }) => state === 'Failed');
  assert.equal(reason, 'UnsupportedDistribution');
  assert.match(message ?? '', /\/etc\/os-release: ID=plan9/);
});

test('a host without a service manager is told', async (t) => {
  const stage = await setStage(t, { runtime: false });
  stage.apply({ a: corp.pem });
  stage.run();
  assert.equal((await stage.says(({ state }) => state === 'Failed'))['reason'], 'NoServiceManager');
});

test('state of a newer agent is refused and left alone', async (t) => {
  const stage = await setStage(t);
  await stage.sandbox.write('/var/lib/node-trust-agent/state.json', '{"version":2,"future":true}');
  stage.apply({ a: corp.pem });
  stage.run();
  assert.equal((await stage.says(({ state }) => state === 'Failed'))['reason'], 'StateTooNew');
  assert.equal(await stage.sandbox.read('/var/lib/node-trust-agent/state.json'), '{"version":2,"future":true}');
});

test('changes of state are events of the Node, Rejected and Failed as warnings', async (t) => {
  const stage = await setStage(t);
  stage.apply({ a: corp.pem });
  stage.run();
  await stage.says(isSynced);
  stage.apply({ a: 'nothing' });
  await stage.says(({ state }) => state === 'Rejected');
  await stage.api.seen(({ verb, resource }) => verb === 'create' && resource === 'events', 2);
  const events = stage.api.list('Event', 'default').map(({ type, reason }) => `${String(type)} ${String(reason)}`);
  assert.deepEqual(events.sort(), ['Normal Synced', 'Warning NoCertificate']);
});

/** A node with the label of its pool, on which an agent has done its work. */
async function joinPool(t: TestContext, options: Parameters<Stage['run']>[0] = {}) {
  const label = { key: 'node-trust-agent/enabled', value: 'true' };
  const stage = await setStage(t);
  stage.labelNode({ [label.key]: label.value });
  stage.apply({ a: corp.pem });
  const agent = stage.run({ ...options, enabledBy: label });
  await stage.says(isSynced);
  return { stage, agent };
}

test('a label that goes away takes the trust with it and ends the agent; a Node of another UID does not', async (t) => {
  const { stage, agent } = await joinPool(t, { pollIntervalMs: 50 });
  stage.labelNode({});
  await stage.says(({ state }) => state === 'Disabled');
  await agent.ended;
  await stage.assertTrusts([], [corp]);
  assert.deepEqual(await stage.sandbox.list('/var/lib/node-trust-agent'), []);
});

test('an agent that is told to end because its label went away takes the trust away first', async (t) => {
  const { stage, agent } = await joinPool(t);
  stage.labelNode({});
  await agent.stop();
  await stage.assertTrusts([], [corp]);
  assert.equal(stage.read()['state'], 'Disabled');
});

test('a farewell goes on until the Node says so', async (t) => {
  const { stage, agent } = await joinPool(t);
  stage.api.fail({ verb: 'patch', resource: 'nodes' }, { kind: 'status', code: 503 }, 2);
  stage.labelNode({});
  await agent.stop();
  await stage.assertTrusts([], [corp]);
  assert.equal(stage.read()['state'], 'Disabled');
});

test('a farewell that hangs is given up within the time of its pod, and node-trust remove ends what it has begun', async (t) => {
  const patience = new AbortController(); // ends when this test says so
  const timeout = AbortSignal.timeout.bind(AbortSignal);
  t.mock.method(AbortSignal, 'timeout', (ms: number) => (ms === farewellMs ? patience.signal : timeout(ms)));
  const { stage, agent } = await joinPool(t);
  const { sandbox } = stage;
  const tool = '/usr/sbin/update-ca-certificates';
  const hangs = `case "$2" in */stage/*) exec ${tool} "$@" ;; esac\ntouch '${sandbox.at('/run/hangs')}'\nexec sleep 600`;
  await sandbox.write(tool, `#!/bin/sh\n${hangs}\n`, 0o755);
  stage.labelNode({});
  const ended = agent.stop();
  await until(async () => (await sandbox.list('/run')).includes('hangs'));
  patience.abort();
  await ended;
  assert(agent.log.some(({ msg }) => msg === 'leaving the pool was not finished'));
  assert.match(await sandbox.read('/var/lib/node-trust-agent/state.json'), /"leaving": true/);
  await stage.assertTrusts([corp], []);
  await sandbox.remove(tool);
  const { code, out, err } = await nodeTrust(['remove', '--host-root', sandbox.root]);
  assert.equal(code, 0, out + err);
  await stage.assertTrusts([], [corp]);
  assert.deepEqual(await sandbox.list('/var/lib/node-trust-agent'), []);
});

test('an agent that is told to end otherwise takes nothing away', async (t) => {
  const { stage, agent } = await joinPool(t);
  await agent.stop();
  await stage.assertTrusts([corp], []);
});

test('a node that was never enabled gets nothing and says so', async (t) => {
  const stage = await setStage(t);
  stage.apply({ a: corp.pem });
  stage.run({ enabledBy: { key: 'node-trust-agent/enabled', value: 'true' } });
  const { message } = await stage.says(({ state }) => state === 'Disabled');
  assert.match(message ?? '', /not known to be enabled/);
  await stage.assertTrusts([], [corp]);
});

test('while watching is forbidden, polling alone goes on', async (t) => {
  const rules = [
    { verbs: ['get', 'patch'], resources: ['nodes'] },
    { verbs: ['create', 'patch'], resources: ['events'] },
    { verbs: ['get'], resources: ['secrets'], resourceNames: [secret.name], namespace: secret.namespace },
  ] as const;
  const stage = await setStage(t, {
    tokens: { agent: { name: 'system:serviceaccount:kube-system:node-trust-agent', rules } },
  });
  const agent = stage.run({ pollIntervalMs: 50 });
  await stage.says(isSyncedWith(0));
  stage.apply({ a: corp.pem });
  await stage.says(isSyncedWith(1));
  assert(agent.log.some(({ msg, evidence }) => msg === 'watch interrupted' && String(evidence).includes('watch')));
});

function timeIn(message = ''): number {
  return Date.parse(/\d{4}-\d\d-\d\dT[\d:.]+Z/.exec(message)?.[0] ?? '');
}

/** For what is told by nothing but the log or the file system. */
async function waitFor(isSo: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 30_000; !isSo(); await delay(5)) assert(Date.now() < deadline, String(isSo));
}

function elevenCertificates(): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Array.from({ length: 11 }, (_, index) => [`ca-${index}`, createCertificate({ subject: `CA ${index}` }).pem]),
  );
}

test('drift is repaired as soon as it is noticed, and told as an event and a metric; our own writes are none', async (t) => {
  const stage = await setStage(t);
  stage.apply({ a: corp.pem });
  const agent = stage.run();
  await stage.says(isSynced);
  const [name = ''] = await stage.sandbox.list('/usr/local/share/ca-certificates');
  await stage.sandbox.remove(`/usr/local/share/ca-certificates/${name}`);
  const isRepair = (event: Readonly<Record<string, unknown>>): boolean => event['reason'] === 'DriftRepaired';
  await until(() => Promise.resolve(stage.api.list('Event').some(isRepair)));
  const told = stage.api.list('Event').find(isRepair);
  assert.match(String(told?.['message']), new RegExp(`${name} was repaired: it was gone; find out who did it`));
  await stage.assertTrusts([corp], []);
  assert.equal(await stage.restarts(), 1);
  assert(agent.log.some(({ msg, path }) => msg === 'drift repaired' && String(path).endsWith(name)));
});

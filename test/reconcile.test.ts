import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentError } from '../agent/errors.ts';
import type { Host } from '../agent/host/host.ts';
import type { Aim } from '../agent/reconcile.ts';
import type { Step } from '../agent/trust/plan.ts';
import { createCertificate } from './support/certificates.ts';
import { openSandbox } from './support/host-steps.ts';
import { pass, present } from './support/passes.ts';
import { createSandbox } from './support/sandbox.ts';
import { hurry } from './support/until.ts';

const corp = createCertificate({ subject: 'Corp Root' });
const leaf = createCertificate({ subject: 'Server', ca: false });
const state = '/var/lib/node-trust-agent/state.json';

/** A host on which steps of this kind claim to have been done. */
function pretending(kind: Step['kind']): (host: Host) => Host {
  return (host) => ({
    ...host,
    apply: (step, signal) => (step.kind === kind ? Promise.resolve([]) : host.apply(step, signal)),
  });
}

test('a pass ends with one report, which is its outcome', async () => {
  await using node = await createSandbox({ roots: 1 });
  const { reports, status, next } = await pass(node, present(corp));
  assert.deepEqual(
    reports.map((report) => report.state),
    ['Applying', 'Synced'],
  );
  assert.equal(reports.at(-1), status);
  assert.deepEqual(next, { kind: 'resync' });
});

for (const [kind, reason] of [
  ['rebuild-store', 'StoreIncomplete'],
  ['write-anchor', 'StoreIncomplete'],
  ['note-loaded', 'RuntimeUnknown'],
] as const) {
  test(`a step that only claims to have been done, ${kind}, never ends in Synced`, async () => {
    await using node = await createSandbox({ roots: 1 });
    const { status, next } = await pass(node, present(corp), { wrap: pretending(kind) });
    assert.deepEqual([status.state, status.reason], ['Failed', reason]);
    assert.equal(next.kind, 'back-off');
  });
}

test('certificates that are not CAs are taken only where the store keeps them', async () => {
  await using node = await createSandbox({ roots: 1 });
  const admission = { maxCertificates: 10, allowNonCa: true };
  const dropping = (host: Host): Host => ({ ...host, keepsNonCa: false });
  const refused = await pass(node, present(leaf), { admission, wrap: dropping });
  assert.deepEqual([refused.status.state, refused.status.reason], ['Rejected', 'NotCa']);
  assert.equal((await pass(node, present(leaf), { admission })).status.state, 'Synced');
  assert.equal((await pass(node, present(leaf))).status.reason, 'NotCa', 'unless somebody asks for it');
});

test('a host that cannot be opened is reported with its code, and nothing is claimed of its trust', async () => {
  await using node = await createSandbox({ roots: 1 });
  const fail = (): never => {
    throw new AgentError('HostLocked', { evidence: 'PID 1' });
  };
  const { status, next, reports } = await pass(node, present(corp), { wrap: fail });
  assert.deepEqual([status.state, status.reason, status.trusted], ['Failed', 'HostLocked', undefined]);
  assert.equal(next.kind, 'back-off');
  assert.deepEqual(reports, [status]);
});

test('what is no failure of the world is thrown and not reported as one', async () => {
  await using node = await createSandbox({ roots: 1 });
  const fail = (): never => {
    throw new TypeError('a mistake in the code');
  };
  const report = (): Promise<void> => Promise.reject(new Error('reported'));
  await assert.rejects(pass(node, present(corp), { wrap: fail, report }), TypeError);
});

test('a pass that is aborted throws the reason of that, reports nothing and leaves the rest of the plan', async () => {
  await using node = await createSandbox({ roots: 1 });
  const aborting = new AbortController();
  const done: Step['kind'][] = [];
  const onStep = ({ kind }: Step): void => {
    done.push(kind);
    if (kind === 'write-anchor') aborting.abort(new Error('told to end'));
  };
  const report = (): Promise<void> => Promise.reject(new Error('reported'));
  await assert.rejects(pass(node, present(corp), { signal: aborting.signal, onStep, report }), /told to end/);
  assert.deepEqual(done, ['stage-store', 'note-before', 'write-anchor']);
  assert.equal((await pass(node, present(corp))).status.state, 'Synced');
});

test('the last good set is remembered before the host is touched', async () => {
  await using node = await createSandbox({ roots: 1 });
  const wrap = (host: Host): Host => ({
    ...host,
    async apply() {
      assert.match(await node.read(state), /Corp|BEGIN CERTIFICATE/);
      throw new AgentError('DiskFull', { path: '/etc/ssl/certs' });
    },
  });
  assert.equal((await pass(node, present(corp), { wrap })).status.reason, 'DiskFull');
});

test('a withdrawal that is done ends the agent’s work and forgets; one that is not remembers', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(corp));
  const chooseAim = (): Promise<'withdraw'> => Promise.resolve('withdraw');
  const stuck = await pass(node, present(corp), { chooseAim, wrap: pretending('rebuild-store') });
  assert.equal(stuck.status.state, 'Failed');
  assert.match(await node.read(state), /"rebuild"/);
  const done = await pass(node, present(corp), { chooseAim });
  assert.deepEqual([done.status.state, done.next.kind], ['Disabled', 'end']);
  await assert.rejects(node.read(state), { code: 'ENOENT' });
});

test('a pool that is left and joined again keeps the interval between two restarts, and is forgotten after it', async () => {
  await using node = await createSandbox({ roots: 1 });
  const at = (seconds: number, aim: Aim = 'follow', restartIntervalMs = 300_000): Promise<string> =>
    pass(node, present(corp), {
      at: seconds,
      restartIntervalMs,
      chooseAim: () => Promise.resolve(aim),
    }).then(({ status }) => `${status.state} ${status.reason}`);
  assert.equal(await at(0), 'Synced ');
  assert.equal(await at(60, 'withdraw'), 'Disabled ');
  assert.doesNotMatch(await node.read(state), /BEGIN CERTIFICATE|sha256|invocation/i);
  assert.equal(await at(70), 'Waiting RestartDeferred');
  assert.equal(await at(359), 'Waiting RestartDeferred');
  assert.equal(await at(360), 'Synced ');
  assert.equal(await at(370, 'withdraw'), 'Disabled ');
  const kept = await node.read(state);
  assert.equal(await at(670, 'withdraw'), 'Disabled ');
  await assert.rejects(node.read(state), { code: 'ENOENT' });
  await node.write(state, kept);
  assert.equal(await at(-3_600, 'withdraw', 0), 'Disabled ');
  await assert.rejects(
    node.read(state),
    { code: 'ENOENT' },
    'whoever keeps no interval leaves nothing, whatever the clock',
  );
});

test('a withdrawal ends only when each hook has been told of it', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(corp));
  const hook = '/etc/ca-certificates/update.d/key-store';
  await node.write(hook, '#!/bin/sh\nexit 3\n', 0o755);
  const withdraw = (): ReturnType<typeof pass> =>
    pass(node, present(corp), { chooseAim: () => Promise.resolve('withdraw') });
  for (const _ of ['first', 'second']) {
    const { status, next } = await withdraw();
    assert.deepEqual([status.state, next.kind], ['Disabled', 'back-off']);
    assert.match(status.warnings.join(), /a hook of update-ca-certificates failed/);
  }
  await node.write(hook, '#!/bin/sh\n', 0o755);
  assert.equal((await withdraw()).next.kind, 'end');
  assert.deepEqual(await node.list('/var/lib/node-trust-agent'), []);
});

test('a node of which it is not known whether it is in the pool keeps what it has', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(corp));
  const { status, steps } = await pass(node, { kind: 'absent' }, { chooseAim: () => Promise.resolve('keep') });
  assert.deepEqual([status.state, status.reason, steps], ['Waiting', 'NodeNotEnabled', []]);
  assert.match(status.message, /1 certificate of ours .*node-trust remove/);
  const anchors = '/usr/local/share/ca-certificates';
  for (const name of await node.list(anchors)) await node.remove(`${anchors}/${name}`);
  const kept = await pass(node, present(corp), { chooseAim: () => Promise.resolve('keep') });
  assert.deepEqual([kept.steps, await node.list(anchors)], [[], []], 'nor is anything put back');
  assert.deepEqual(await (await openSandbox(node)).facts.read().then(({ source }) => source?.certificates.length), 1);
});

test('records that cannot be read are told once, and the trust that lies there stays', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(corp));
  await node.write(state, 'garbage');
  const { status } = await pass(node, present(leaf));
  assert.deepEqual([status.state, status.reason], ['Rejected', 'NotCa']);
  assert.match(status.warnings.join(), /state\.json could not be read and was begun anew/);
  assert.equal(status.trusted?.certificates.length, 1);
  assert.deepEqual((await pass(node, present(corp))).status.warnings, []);
});

test('where records are lost of a withdrawal that the runtime has not followed, it is restarted all the same', async () => {
  for (const damage of [() => 'garbage', (text: string) => text.replace(/"at": "[^"]*"/, '"at": "once"')]) {
    await using node = await createSandbox({ roots: 1 });
    await pass(node, present(corp));
    const gone = { kind: 'present', entries: new Map(), onDelete: 'remove' } as const;
    const waits = await pass(node, gone, { restartDelayMs: 60_000 });
    assert.equal(waits.status.reason, 'RestartDeferred');
    await node.write(state, damage(await node.read(state)));
    const { status, steps } = await pass(node, gone);
    assert.deepEqual([status.state, status.reason], ['Rejected', 'SourceEmpty']);
    assert.match(status.warnings.join(), /state\.json could not be read/);
    assert(steps.some(({ kind }) => kind === 'restart-runtime'));
    assert(!(await node.runtime.trustPool()).includes(corp.pem));
    assert.deepEqual((await pass(node, gone)).steps, []);
  }
});

test('a unit that is on its way down is not called good anew, and told already it costs no program', async (t) => {
  hurry(t);
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(corp));
  await node.write('/run/sandbox/state', 'deactivating');
  const calls = (await node.runtime.calls()).length;
  assert.equal((await pass(node, present(corp), { isNews: () => false })).status.state, 'Synced');
  assert.equal((await node.runtime.calls()).length, calls);
  const told = await pass(node, present(corp), { isNews: () => true });
  assert.deepEqual([told.status.state, told.status.reason], ['Failed', 'RuntimeUnhealthy']);
});

test("what AKS's retired preview has left of ours is told as trusted twice, and nothing of it is touched", async () => {
  await using node = await createSandbox({ roots: 1 });
  const anchor = '/usr/local/share/ca-certificates/aks-custom-20260101000000-corp.crt';
  const source = '/opt/certs/20260101000000corp.pem';
  const others = { '/opt/certs/notes': 'by hand', [`${anchor.slice(0, -4)}-other.crt`]: leaf.pem };
  for (const [path, text] of Object.entries({ [anchor]: corp.pem, [source]: corp.pem, ...others }))
    await node.write(path, text);
  const { status } = await pass(node, present(corp));
  assert.equal(status.state, 'Synced');
  assert.deepEqual(
    status.warnings.map((warning) => /^TrustedTwice: .* trusted through ([^,]+), too; follow docs/.exec(warning)?.[1]),
    [anchor, source],
  );
  assert.deepEqual(
    (await pass(node, present(createCertificate()))).status.warnings.filter((text) => text.startsWith('TrustedTwice')),
    [],
  );
  for (const [path, text] of Object.entries({ [anchor]: corp.pem, [source]: corp.pem, ...others }))
    assert.equal(await node.read(path), text);
});

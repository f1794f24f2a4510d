import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentError } from '../agent/errors.ts';
import type { Host } from '../agent/host/host.ts';
import { createCertificate, fixedNow } from './support/certificates.ts';
import { bundle, nameOf, tool } from './support/debian.ts';
import { type Passed, pass, present } from './support/passes.ts';
import { createSandbox, type Sandbox, updateStore } from './support/sandbox.ts';
import { hurry } from './support/until.ts';

const [corp, next] = [createCertificate({ subject: 'Corp Root' }), createCertificate({ subject: 'Next Root' })];
const unit = 'containerd.service';
const withdraw = { chooseAim: () => Promise.resolve('withdraw' as const) };

async function restarts(node: Sandbox): Promise<number> {
  return (await node.runtime.calls()).filter((call) => call.startsWith('restart')).length - 1;
}

const outcome = ({ status: { state, reason } }: Passed): readonly string[] => [state, reason];
const kinds = ({ steps }: Passed): readonly string[] => steps.map(({ kind }) => kind);

test('the runtime is restarted so long after the rebuild as the node’s share of the spread is, whoever asks before', async () => {
  await using node = await createSandbox({ roots: 1 });
  const waiting = await pass(node, present(corp), { restartDelayMs: 60_000 });
  assert.deepEqual(outcome(waiting), ['Waiting', 'RestartDeferred']);
  assert.deepEqual(waiting.next, { kind: 'at', at: new Date(fixedNow.getTime() + 60_000) });
  const still = await pass(node, present(corp), { restartDelayMs: 60_000, at: 59 });
  assert.deepEqual([outcome(still), still.next], [outcome(waiting), waiting.next]);
  assert.equal(await restarts(node), 0);
  assert.deepEqual(outcome(await pass(node, present(corp), { restartDelayMs: 60_000, at: 60 })), ['Synced', '']);
  assert.equal(await restarts(node), 1);
});

test('a rebuild that lies in the future, since the clock was set back, is of now', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(corp), { restartDelayMs: 60_000 });
  const back = await pass(node, present(corp), { restartDelayMs: 60_000, at: -86_400 });
  assert.deepEqual(back.next, { kind: 'at', at: new Date(fixedNow.getTime() + (-86_400 + 60) * 1000) });
  const still = await pass(node, present(corp), { restartDelayMs: 60_000, at: -86_400 + 59 });
  assert.deepEqual(still.next, back.next, 'and stays so');
  assert.deepEqual(outcome(await pass(node, present(corp), { restartDelayMs: 60_000, at: -86_400 + 60 })), [
    'Synced',
    '',
  ]);
});

test('a withdrawal of everything waits for no spread', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(corp));
  const done = await pass(node, present(corp), { ...withdraw, restartDelayMs: 60_000 });
  assert.equal(done.status.state, 'Disabled');
  assert(!(await node.runtime.trustPool()).includes(corp.pem));
});

test('Applying is told right before the restart, with what it is about, and never otherwise', async () => {
  await using node = await createSandbox({ roots: 1 });
  const told: string[] = [];
  const wrap = (host: Host): Host => ({
    ...host,
    apply: (step, signal) => {
      told.push(step.kind);
      return host.apply(step, signal);
    },
  });
  const report = ({ state }: { readonly state: string }): Promise<void> => Promise.resolve(void told.push(state));
  await pass(node, present(corp), { wrap, report });
  assert.deepEqual(told.slice(-5), ['Applying', 'restart-runtime', 'await-healthy', 'note-loaded', 'Synced']);
  assert.equal(told.filter((word) => word === 'Applying').length, 1);
  await node.runtime.systemctl('restart', unit);
  const { reports } = await pass(node, present(corp));
  assert.deepEqual(
    reports.map(({ state }) => state),
    ['Synced'],
  );
});

test('what failed for the bundle’s or the host’s own sake is held until bundle, host or wish change', async () => {
  await using node = await createSandbox({ roots: 1 });
  await node.runtime.failNextRestart('keeps-process');
  const failed = await pass(node, present(corp));
  assert.deepEqual(outcome(failed), ['Failed', 'RolledBack']);
  assert.match(failed.status.message, /CN=Corp Root.* taken away again, since RuntimeUnhealthy: .*the same process/);
  assert.deepEqual(failed.next, { kind: 'resync' });

  const held = await pass(node, present(corp));
  assert.deepEqual([outcome(held), kinds(held)], [outcome(failed), []]);
  assert.equal(held.status.message, failed.status.message);
  const unread = await pass(node, present(corp), { retryMark: undefined });
  assert.deepEqual(kinds(unread), [], 'a wish that could not be read is none');
  assert.equal(await restarts(node), 2, 'once, and once more to undo it');

  await node.runtime.failNextRestart('keeps-process');
  const wished = await pass(node, present(corp), { retryMark: '1' });
  assert.deepEqual([outcome(wished), await restarts(node)], [outcome(failed), 4]);
  assert.deepEqual(kinds(await pass(node, present(corp), { retryMark: '1' })), [], 'a wish is good for one try');
  assert.deepEqual(kinds(await pass(node, present(corp), { retryMark: undefined })), []);
  assert.deepEqual(kinds(await pass(node, present(corp), { retryMark: '' })), [], 'a wish that is taken back is none');

  assert.deepEqual(outcome(await pass(node, present(corp, next), { retryMark: '1' })), ['Synced', '']);
  assert.equal(await restarts(node), 5);
});

test('a wish that could not be read when it failed is the last that could be, and any other is a new one', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(corp), { retryMark: 'old' });
  await node.runtime.failNextRestart('keeps-process');
  await pass(node, present(corp, next), { retryMark: undefined });
  assert.deepEqual(kinds(await pass(node, present(corp, next), { retryMark: 'old' })), []);
  assert.deepEqual(outcome(await pass(node, present(corp, next), { retryMark: 'new' })), ['Synced', '']);
});

test('a held failure is tried again when the host has changed, and forgotten when nothing is left to do', async () => {
  await using node = await createSandbox({ roots: 1 });
  await node.runtime.failNextRestart('fails');
  assert.deepEqual(outcome(await pass(node, present(corp))), ['Failed', 'RolledBack']);
  await node.write('/usr/local/share/ca-certificates/theirs.crt', next.pem);
  await updateStore(node.root);
  assert.deepEqual(outcome(await pass(node, present(corp))), ['Synced', '']);
  assert.equal(await restarts(node), 3, 'ours, the one that undid it, and ours again');
  assert.doesNotMatch(await node.read('/var/lib/node-trust-agent/state.json'), /"held"/);
});

test('a failure that is held for one bundle is forgotten once another one is reached, and when the tool is mended', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(corp));
  await node.write(tool, `#!/bin/sh\necho run >> ${node.at('/run/tool')}\n`, 0o755);
  const runs = async (): Promise<number> => (await node.read('/run/tool')).split('\n').length - 1;
  assert.deepEqual(outcome(await pass(node, present(corp, next))), ['Failed', 'StoreIncomplete']);
  await pass(node, present(corp, next));
  assert.equal(await runs(), 1, 'the same world');
  assert.deepEqual(outcome(await pass(node, present(corp))), ['Synced', '']);
  await pass(node, present(corp, next));
  assert.equal(await runs(), 2);
  await node.remove(tool);
  assert.deepEqual(outcome(await pass(node, present(corp, next))), ['Synced', '']);
});

test('a runtime that goes down again at the end of a pass is no proof, though its process is still there', async (t) => {
  hurry(t);
  await using node = await createSandbox({ roots: 1 });
  const wrap = (host: Host): Host => ({
    ...host,
    async apply(step, signal) {
      const warnings = await host.apply(step, signal);
      if (step.kind === 'note-loaded') await node.write('/run/sandbox/state', 'deactivating');
      return warnings;
    },
  });
  assert.deepEqual(outcome(await pass(node, present(corp), { wrap })), ['Failed', 'RolledBack']);
});

test('what disturbs nobody is done in a world in which something else is held', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(corp));
  const index = (host: Host): Host => ({
    ...host,
    observe: async (look, signal) => {
      const observed = await host.observe(look, signal);
      return { ...observed, store: { ...observed.store, indexed: new Set() } };
    },
    apply: () => Promise.reject(new AgentError('RuntimeUnhealthy', { unit, evidence: 'as an example' })),
  });
  assert.deepEqual(outcome(await pass(node, present(corp), { wrap: index })), ['Failed', 'RuntimeUnhealthy']);
  const again = await pass(node, present(corp), { wrap: (host) => ({ ...index(host), apply: host.apply }) });
  assert.deepEqual(kinds(again), ['reindex', 'reindex', 'reindex']);
});

test('a failure of the moment is not held: the next pass tries again', async () => {
  await using node = await createSandbox({ roots: 1 });
  await node.write(tool, '#!/bin/sh\nexit 1\n', 0o755);
  const failed = await pass(node, present(corp));
  assert.deepEqual([outcome(failed), failed.next.kind], [['Failed', 'ToolFailed'], 'back-off']);
  await node.remove(tool);
  assert.deepEqual(outcome(await pass(node, present(corp))), ['Synced', '']);
});

test('a runtime that somebody restarts while ours is due is not restarted again', async () => {
  await using node = await createSandbox({ roots: 1 });
  const meddled = (host: Host): Host => ({
    ...host,
    async apply(step, signal) {
      if (step.kind === 'restart-runtime') await node.runtime.systemctl('restart', unit);
      return host.apply(step, signal);
    },
  });
  const passed = await pass(node, present(corp), { wrap: meddled });
  assert.deepEqual(outcome(passed), ['Synced', '']);
  assert(!kinds(passed).includes('restart-runtime'));
  assert.equal(await restarts(node), 1, 'somebody’s');
});

test('what somebody installs of ours after the plan was made never gets into the runtime', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(corp));
  const other = createCertificate({ subject: 'Other Root' });
  const wrap = (host: Host): Host => ({
    ...host,
    async apply(step, signal) {
      const told = await host.apply(step, signal);
      if (step.kind === 'stage-store')
        await node.write(`/usr/local/share/ca-certificates/${nameOf(other)}.crt`, other.pem);
      return told;
    },
  });
  await pass(node, present(corp, next), { wrap });
  const passed = await pass(node, present(corp, next), { at: 600 });
  assert.deepEqual(outcome(passed), ['Synced', '']);
  const pool = await node.runtime.trustPool();
  assert.deepEqual([pool.includes(next.pem), pool.includes(other.pem)], [true, false]);
});

test('what somebody changes during a pass is carried out in the same pass, without a second restart', async () => {
  await using node = await createSandbox({ roots: 1 });
  const meddled = (host: Host): Host => ({
    ...host,
    async apply(step, signal) {
      const warnings = await host.apply(step, signal);
      if (step.kind === 'note-loaded') await updateStore(node.root);
      return warnings;
    },
  });
  const passed = await pass(node, present(corp), { wrap: meddled });
  const again = kinds(passed).slice(kinds(passed).indexOf('restart-runtime'));
  assert.deepEqual(again, ['restart-runtime', 'await-healthy', 'note-loaded', 'note-loaded', 'note-loaded']);

  const torn = (host: Host): Host => ({
    ...host,
    async apply(step, signal) {
      if (step.kind === 'note-loaded') await updateStore(node.root); // before the note: what was loaded is not known
      return host.apply(step, signal);
    },
  });
  const unproven = await pass(node, present(corp, next), { wrap: torn });
  assert.deepEqual(outcome(unproven), ['Waiting', 'RestartDeferred']);
  assert.deepEqual(unproven.next, { kind: 'at', at: new Date(fixedNow.getTime() + 15_000) });
  assert.equal(kinds(unproven).filter((kind) => kind === 'restart-runtime').length, 1);
  assert.deepEqual(outcome(await pass(node, present(corp, next))), ['Synced', '']);
});

/** Somebody rebuilds the store, and our certificate is not in it. */
async function loseBundle(node: Sandbox): Promise<void> {
  await node.write(bundle, (await node.read(bundle)).replace(corp.pem, ''));
}

test('what somebody else has changed is repaired and told, and costs no restart', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(corp, next));
  const path = `/usr/local/share/ca-certificates/${nameOf(corp)}.crt`;
  await node.remove(path);
  await loseBundle(node);
  const passed = await pass(node, present(corp, next));
  assert.deepEqual(outcome(passed), ['Synced', '']);
  assert.deepEqual(
    passed.repaired.map(({ path: repaired, seen }) => [repaired, seen]),
    [
      [path, 'it was gone'],
      [bundle, '1 of our certificates were not in it'],
    ],
  );
  assert((await node.read(bundle)).includes(corp.pem));
  assert.equal(await restarts(node), 1);
  assert.deepEqual((await pass(node, present(corp, next))).repaired, []);
  assert.deepEqual((await pass(node, present(corp))).repaired, [], 'a withdrawal is no drift');
});

test('what somebody takes away just before it is withdrawn does not come back with an old bundle either', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(corp, next));
  const old = await node.read(bundle);
  await node.remove(`/usr/local/share/ca-certificates/${nameOf(corp)}.crt`);
  await node.remove(`/etc/ssl/certs/${nameOf(corp)}.pem`);
  assert.deepEqual(outcome(await pass(node, present(next))), ['Synced', '']);
  await node.write(bundle, old);
  assert.deepEqual(outcome(await pass(node, present(next))), ['Synced', '']);
  assert(!(await node.read(bundle)).includes(corp.pem));
});

test('nor does what was only being added then', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(next));
  const interval = { restartIntervalMs: 300_000, at: 1 };
  await pass(node, present(next, corp), interval);
  const old = await node.read(bundle);
  await node.remove(`/usr/local/share/ca-certificates/${nameOf(corp)}.crt`);
  await node.remove(`/etc/ssl/certs/${nameOf(corp)}.pem`);
  await pass(node, present(next), interval);
  await node.write(bundle, old);
  await pass(node, present(next), interval);
  assert(!(await node.read(bundle)).includes(corp.pem));
});

test('a certificate that is taken out and put back before anything was proven is an addition, and no drift', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(corp, next));
  const interval = { restartIntervalMs: 300_000, at: 1 };
  assert.deepEqual(outcome(await pass(node, present(corp), interval)), ['Waiting', 'RestartDeferred']);
  const back = await pass(node, present(corp, next), { at: 2 });
  assert.deepEqual([back.repaired, outcome(back)], [[], ['Synced', '']]);
  assert.equal(await restarts(node), 2, 'the process that runs may have loaded the store without it');
});

test('a path that was repaired five times within ten minutes is left alone, and everything else is not', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(corp, next));
  const path = `/usr/local/share/ca-certificates/${nameOf(corp)}.crt`;
  for (let repair = 1; repair <= 5; repair += 1) {
    await node.remove(path);
    assert.deepEqual(outcome(await pass(node, present(corp, next), { at: repair * 60 })), ['Synced', '']);
  }
  await node.remove(path);
  await node.remove(`/usr/local/share/ca-certificates/${nameOf(next)}.crt`);
  const fight = await pass(node, present(corp, next), { at: 400 });
  assert.deepEqual(outcome(fight), ['Failed', 'DriftFight']);
  assert.match(
    fight.status.message,
    new RegExp(`${path} is changed by somebody else again and again \\(it was gone\\)`),
  );
  assert.deepEqual(fight.next, { kind: 'at', at: new Date(fixedNow.getTime() + 660_000) });
  assert.deepEqual(
    fight.repaired.map(({ path: repaired }) => repaired),
    [`/usr/local/share/ca-certificates/${nameOf(next)}.crt`],
    'what was repaired beside it is told',
  );
  const there = await node.list('/usr/local/share/ca-certificates');
  assert.deepEqual(there, [`${nameOf(next)}.crt`]);
  assert.equal(await restarts(node), 1);
  assert.deepEqual(kinds(await pass(node, present(corp, next), { at: 401 })), []);
  assert.deepEqual(outcome(await pass(node, present(corp, next), { at: 660 })), ['Synced', '']);
  assert.deepEqual(
    await node.list('/usr/local/share/ca-certificates'),
    [nameOf(corp), nameOf(next)].map((name) => `${name}.crt`).sort(),
  );
  assert.equal(await restarts(node), 2, 'it may have loaded the store without what was left alone');
});

test('what a killed run left behind goes with the next rebuild, whichever has taken the certificate in it away', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(corp, next));
  await pass(node, present(corp));
  await node.write(`${bundle}.new`, next.pem);
  await node.remove(`/usr/local/share/ca-certificates/${nameOf(corp)}.crt`);
  assert.deepEqual(outcome(await pass(node, present(corp))), ['Synced', '']);
  await assert.rejects(node.read(`${bundle}.new`), { code: 'ENOENT' });
});

test('what was withdrawn and is then taken out of somebody else’s file leaves the runtime, too, with one restart', async () => {
  await using node = await createSandbox({ roots: 1 });
  const foreign = '/usr/local/share/ca-certificates/foreign.crt';
  await pass(node, present(corp, next));
  await node.write(foreign, next.pem);
  await updateStore(node.root);
  const withdrawn = await pass(node, present(corp));
  assert.match(String(withdrawn.status.warnings), /StillTrusted/);
  assert((await node.runtime.trustPool()).includes(next.pem));
  assert.deepEqual([kinds(await pass(node, present(corp))), await restarts(node)], [[], 2]);
  await node.remove(foreign);
  await updateStore(node.root);
  const gone = await pass(node, present(corp));
  assert.deepEqual([outcome(gone), gone.status.warnings], [['Synced', ''], []]);
  assert(!(await node.runtime.trustPool()).includes(next.pem));
  assert.deepEqual([kinds(await pass(node, present(corp))), await restarts(node)], [[], 3]);
});

test('what a killed run left behind goes by itself if it holds what was withdrawn', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(corp, next));
  await pass(node, present(corp));
  await node.write(`${bundle}.new`, next.pem);
  const passed = await pass(node, present(corp));
  assert.deepEqual([outcome(passed), passed.status.warnings], [['Synced', ''], []]);
  await assert.rejects(node.read(`${bundle}.new`), { code: 'ENOENT' });
});

test('what never got to the host counts as nothing that was taken away', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(corp));
  await node.write('/usr/local/share/ca-certificates/admin.crt', next.pem);
  await updateStore(node.root);
  const stuck = (host: Host): Host => ({
    ...host,
    apply(step, signal) {
      if (step.kind === 'stage-store')
        return Promise.reject(new AgentError('ToolTimedOut', { tool: 'it', evidence: 'slow' }));
      return host.apply(step, signal);
    },
  });
  assert.equal((await pass(node, present(corp, next), { wrap: stuck })).status.reason, 'ToolTimedOut');
  const { status } = await pass(node, present(corp));
  assert.deepEqual([status.state, status.warnings], ['Synced', []]);
});

test('what only a link of ours tells of stays gone, too: the records may be those of an older agent', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(corp, next));
  const path = '/var/lib/node-trust-agent/state.json';
  const { proven: _, ...older } = JSON.parse(await node.read(path)) as { readonly proven: unknown };
  await node.write(path, JSON.stringify(older));
  await node.remove(`/usr/local/share/ca-certificates/${nameOf(next)}.crt`);
  await node.write(`${bundle}.new`, next.pem);
  assert.deepEqual(outcome(await pass(node, present(corp))), ['Synced', '']);
  await assert.rejects(node.read(`${bundle}.new`), { code: 'ENOENT' });
});

test('an anchor that is left alone stays in the bundle as long as nothing else is to be done', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(corp, next));
  const path = `/usr/local/share/ca-certificates/${nameOf(corp)}.crt`;
  for (let repair = 1; repair <= 6; repair += 1) {
    await node.remove(path);
    const passed = await pass(node, present(corp, next), { at: repair });
    assert.deepEqual(outcome(passed), repair <= 5 ? ['Synced', ''] : ['Failed', 'DriftFight']);
    if (repair === 6) assert.deepEqual(kinds(passed), []);
  }
  assert((await node.read(bundle)).includes(corp.pem));
  assert.deepEqual(outcome(await pass(node, present(corp, next), { at: 601 })), ['Synced', '']);
  assert.equal(await restarts(node), 1, 'the store was never without it');
});

test('what is left alone is not told as repaired, in the bundle neither', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(corp, next));
  for (let repair = 1; repair <= 6; repair += 1) {
    await node.remove(`/usr/local/share/ca-certificates/${nameOf(corp)}.crt`);
    await pass(node, present(corp, next), { at: repair });
  }
  await updateStore(node.root);
  const passed = await pass(node, present(corp, next), { at: 7 });
  assert.deepEqual([outcome(passed), passed.repaired], [['Failed', 'DriftFight'], []]);
});

test('a repair that fails is none: it is told as the failure that it is, and tried again', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(corp));
  await node.remove(`/usr/local/share/ca-certificates/${nameOf(corp)}.crt`);
  const wrap = (host: Host): Host => ({
    ...host,
    apply: (step, signal) =>
      step.kind === 'stage-store'
        ? Promise.reject(new AgentError('ToolTimedOut', { tool, evidence: 'as an example' }))
        : host.apply(step, signal),
  });
  for (let failure = 1; failure <= 6; failure += 1)
    assert.deepEqual(outcome(await pass(node, present(corp), { at: failure, wrap })), ['Failed', 'ToolTimedOut']);
  const passed = await pass(node, present(corp), { at: 7 });
  assert.deepEqual([outcome(passed), passed.repaired.length], [['Synced', ''], 1]);
});

test('a repair of the store is told and counted, too, where the runtime is down', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(corp));
  await node.runtime.systemctl('stop', unit);
  const passes: Passed[] = [];
  for (let at = 1; at <= 6; at += 1) {
    await node.remove(`/usr/local/share/ca-certificates/${nameOf(corp)}.crt`);
    passes.push(await pass(node, present(corp), { at, healthTimeoutMs: 1 }));
  }
  const repaired = passes.map((passed) => [outcome(passed)[1], passed.repaired.length]);
  const down = ['RuntimeUnhealthy', 1];
  assert.deepEqual(repaired, [down, down, down, down, down, ['DriftFight', 0]]);
});

test('a bundle that somebody rebuilds again and again without us is left alone, too', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(corp));
  for (let repair = 1; repair <= 5; repair += 1) {
    await loseBundle(node);
    assert.deepEqual(outcome(await pass(node, present(corp), { at: repair })), ['Synced', '']);
  }
  await loseBundle(node);
  const fight = await pass(node, present(corp), { at: 6 });
  assert.deepEqual([outcome(fight), kinds(fight)], [['Failed', 'DriftFight'], []]);
  assert.equal(fight.status.trusted?.certificates.length, 0, 'it is not told as trusted');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentError } from '../agent/errors.ts';
import type { Host } from '../agent/host/host.ts';
import type { AnchorName } from '../agent/trust/observation.ts';
import type { Step } from '../agent/trust/plan.ts';
import { createCertificate, fixedNow, type TestCertificate } from './support/certificates.ts';
import { startCriServer } from './support/cri-server.ts';
import { bundle, nameOf, tool } from './support/debian.ts';
import { openSandbox } from './support/host-steps.ts';
import { startKubelet } from './support/kubelet.ts';
import { type Passed, pass, present } from './support/passes.ts';
import { createSandbox, type Sandbox } from './support/sandbox.ts';
import { hurry } from './support/until.ts';

const [old, kept, added] = ['Old Root', 'Kept Root', 'Added Root'].map((subject) => createCertificate({ subject })) as [
  TestCertificate,
  TestCertificate,
  TestCertificate,
];
const unit = 'containerd.service';
const outcome = ({ status: { state, reason } }: Passed): readonly string[] => [state, reason];
const kinds = ({ steps }: Passed): readonly string[] => steps.map(({ kind }) => kind);

async function restarts(node: Sandbox): Promise<number> {
  return (await node.runtime.calls()).filter((call) => call.startsWith('restart')).length - 1;
}

/** As anchors, in the bundle, and by the process that runs: these and none of the others. */
async function assertTrusts(node: Sandbox, wanted: readonly TestCertificate[]): Promise<void> {
  const places = { bundle: await node.read(bundle), runtime: await node.runtime.trustPool() };
  const anchors = (await node.list('/usr/local/share/ca-certificates')).filter((name) =>
    name.startsWith('node-trust-'),
  );
  assert.deepEqual(anchors, wanted.map((certificate) => `${nameOf(certificate)}.crt`).sort());
  for (const certificate of [old, kept, added]) {
    for (const [place, text] of Object.entries(places)) {
      assert.equal(text.includes(certificate.pem), wanted.includes(certificate), `${certificate.subject}: ${place}`);
    }
  }
}

/** The store's tool works where a store is staged, and for real only if this shell command succeeds. */
async function breakToolUnless(node: Sandbox, condition: string): Promise<void> {
  const script = `#!/bin/sh
case "$2" in *stage*) exec ${tool} "$@" ;; esac
echo run >> ${node.at('/run/tool')}
${condition} || { echo 'it is broken' >&2; exit 1; }
exec ${tool} "$@"
`;
  await node.write(tool, script, 0o755);
}

/** Not the first so many times. */
async function breakTool(node: Sandbox, times: number): Promise<void> {
  await breakToolUnless(node, `[ "$(wc -l < ${node.at('/run/tool')})" -gt ${times} ]`);
}

test('an addition that the tool does not get into the store is taken away again, and the runtime is left alone', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(kept));
  await breakTool(node, 1);
  const failed = await pass(node, present(kept, added));
  assert.deepEqual([outcome(failed), failed.next.kind], [['Failed', 'RolledBack'], 'back-off']);
  assert.match(failed.status.message, /\(CN=Added Root\) was taken away again, since ToolFailed: .*it is broken/);
  assert.match(failed.status.message, /; it is tried again by itself; mend/);
  assert.deepEqual(
    failed.status.trusted?.certificates.map(({ certificate }) => certificate.subject),
    ['CN=Kept Root'],
  );
  await assertTrusts(node, [kept]);
  assert.equal(await restarts(node), 1);
  assert.deepEqual(outcome(await pass(node, present(kept, added))), ['Synced', '']);
  await assertTrusts(node, [kept, added]);
});

test('the very first certificate is taken away without disturbing a runtime that never saw it', async () => {
  await using node = await createSandbox({ roots: 1 });
  await breakTool(node, 1);
  assert.deepEqual(outcome(await pass(node, present(added))), ['Failed', 'RolledBack']);
  await assertTrusts(node, []);
  assert.equal(await restarts(node), 0);
});

test('a runtime that does not come back is restarted once more without what was added, and not again', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(kept));
  await node.runtime.failNextRestart('fails');
  const failed = await pass(node, present(kept, added));
  assert.deepEqual(outcome(failed), ['Failed', 'RolledBack']);
  await assertTrusts(node, [kept]);
  assert.equal(await restarts(node), 3);
  assert.equal(kinds(failed).filter((kind) => kind === 'restart-runtime').length, 2, 'one that failed counts');
  assert.deepEqual(kinds(await pass(node, present(kept, added))), []);
  assert.equal(await restarts(node), 3);
});

test('what goes with a rollback does not come back with an old bundle, even if somebody has taken its anchor before', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(kept, added));
  const before = await node.read(bundle);
  await (await openSandbox(node)).facts.update({ proven: [nameOf(kept)] as AnchorName[] }); // or else it is no addition
  await node.remove(`/usr/local/share/ca-certificates/${nameOf(added)}.crt`);
  const stuck = (host: Host): Host => ({
    ...host,
    apply: (step, signal) =>
      step.kind === 'stage-store'
        ? Promise.reject(new AgentError('ToolTimedOut', { tool: 'it', evidence: 'is slow' }))
        : host.apply(step, signal),
  });
  assert.deepEqual(outcome(await pass(node, present(kept, added), { wrap: stuck })), ['Failed', 'RolledBack']);
  await node.write(bundle, before);
  assert.deepEqual(outcome(await pass(node, present(kept))), ['Synced', '']);
  await assertTrusts(node, [kept]);
});

test('what was withdrawn in the same pass stays withdrawn', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(old, kept));
  await node.runtime.failNextRestart('keeps-process');
  assert.deepEqual(outcome(await pass(node, present(kept, added))), ['Failed', 'RolledBack']);
  await assertTrusts(node, [kept]);
});

test('what was to be withdrawn goes with the rollback, if the pass did not get that far', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(old, kept));
  let failures = 0;
  const full = (host: Host): Host => ({
    ...host,
    apply: (step, signal) => {
      if (step.kind !== 'remove-anchor' || failures > 0) return host.apply(step, signal);
      failures += 1;
      return Promise.reject(new AgentError('DiskFull', { path: '/usr' }));
    },
  });
  assert.deepEqual(outcome(await pass(node, present(kept, added), { wrap: full })), ['Failed', 'RolledBack']);
  await assertTrusts(node, [kept]);
});

test('a runtime that is down comes up again even if the store cannot be rebuilt any more', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(kept));
  // Staged and built for real once; then nothing works any more.
  const script = `#!/bin/sh
echo run >> ${node.at('/run/tool')}
[ "$(wc -l < ${node.at('/run/tool')})" -le 2 ] || { echo 'it is broken' >&2; exit 1; }
exec ${tool} "$@"
`;
  await node.write(tool, script, 0o755);
  await node.runtime.failNextRestart('fails');
  const failed = await pass(node, present(kept, added));
  assert.deepEqual(outcome(failed), ['Failed', 'RollbackFailed']);
  assert.match(failed.status.message, /RuntimeUnhealthy: .*could not be taken away again: ToolFailed/);
  assert.equal((await node.read('/run/sandbox/state')).trim(), 'active');
  assert.deepEqual(await node.list('/usr/local/share/ca-certificates'), [`${nameOf(kept)}.crt`]);
});

test('a withdrawal alone that fails is not undone', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(old, kept));
  await node.runtime.failNextRestart('keeps-process');
  assert.deepEqual(outcome(await pass(node, present(kept))), ['Failed', 'RuntimeUnhealthy']);
  assert(!(await node.read(bundle)).includes(old.pem));
});

test('a rollback that fails too says so, is held, and is not tried again', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(kept));
  const failing = (host: Host): Host => ({
    ...host,
    apply: (step: Step, signal) =>
      step.kind === 'restart-runtime'
        ? Promise.reject(new AgentError('RuntimeUnhealthy', { unit, evidence: 'it is down' }))
        : host.apply(step, signal),
  });
  const restarted = (host: Host): Host => ({
    ...failing(host),
    apply: async (step, signal) => {
      if (step.kind === 'restart-runtime') {
        const { runtime } = await host.facts.read();
        await host.facts.update({
          runtime: { ...runtime, restarted: { bundle: step.bundle, at: fixedNow.toISOString() } },
        });
      }
      return failing(host).apply(step, signal);
    },
  });
  const failed = await pass(node, present(kept, added), { wrap: restarted });
  assert.deepEqual([outcome(failed), failed.next], [['Failed', 'RollbackFailed'], { kind: 'resync' }]);
  assert.match(failed.status.message, /RuntimeUnhealthy: .*could not be taken away again: RuntimeUnhealthy/);
  const again = await pass(node, present(kept, added));
  assert.deepEqual([outcome(again), kinds(again)], [outcome(failed), []]);
  assert.deepEqual(outcome(await pass(node, present(kept, added), { retryMark: '1' })), ['Synced', '']);
});

test('what was rolled back for good is not tried again because somebody restarts, stops or starts the runtime', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(kept));
  await node.runtime.failNextRestart('fails');
  const failed = await pass(node, present(kept, added));
  assert.deepEqual(outcome(failed), ['Failed', 'RolledBack']);
  assert.match(failed.status.message, /; it is not tried again by itself; mend/);
  for (const verb of ['restart', 'stop', 'start']) {
    await node.runtime.systemctl(verb, unit);
    const again = await pass(node, present(kept, added));
    assert.deepEqual([outcome(again), kinds(again)], [outcome(failed), []], verb);
  }
  await assertTrusts(node, [kept]);
});

test('what was withdrawn leaves the runtime with the first rollback; those of later tries restart nothing', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(old, kept));
  await breakToolUnless(node, `[ ! -e ${node.at(`/usr/local/share/ca-certificates/${nameOf(added)}.crt`)} ]`);
  for (const at of [60, 120]) {
    assert.deepEqual(outcome(await pass(node, present(kept, added), { at })), ['Failed', 'RolledBack']);
    await assertTrusts(node, [kept]);
    assert.equal(await restarts(node), 2);
  }
});

test('a store that somebody else has broken, and a runtime that cannot be asked, take nothing away', async (t) => {
  hurry(t);
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(kept));
  const systemctl = await node.read('/usr/bin/systemctl');
  const silent = (host: Host): Host => ({
    ...host,
    apply: async (step, signal) => {
      if (step.kind === 'restart-runtime') await node.write('/usr/bin/systemctl', '#!/bin/sh\nexit 1\n', 0o755);
      return host.apply(step, signal);
    },
  });
  const unknown = await pass(node, present(kept, added), { wrap: silent });
  assert.deepEqual(outcome(unknown), ['Failed', 'RuntimeUnknown']);
  assert((await node.read(bundle)).includes(added.pem));
  await node.write('/usr/bin/systemctl', systemctl, 0o755);
  assert.deepEqual(outcome(await pass(node, present(kept, added))), ['Synced', '']);
  await node.write('/usr/local/share/ca-certificates/broken.crt', `${old.pem.slice(0, 200)}\n`);
  assert.deepEqual(outcome(await pass(node, present(kept, added, old))), ['Failed', 'StoreBrokenBefore']);
  await assertTrusts(node, [kept, added]);
});

test('an agent that was killed after its restart finds a runtime that is down, and undoes what it was for', async (t) => {
  hurry(t);
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(kept));
  await node.runtime.failNextRestart('fails');
  const killed = (host: Host): Host => ({
    ...host,
    apply: (step, signal) =>
      host.apply(step, signal).catch(() => {
        throw new Error('killed');
      }),
  });
  await assert.rejects(pass(node, present(kept, added), { wrap: killed }), /killed/);
  assert.deepEqual(outcome(await pass(node, present(kept, added))), ['Failed', 'RolledBack']);
  await assertTrusts(node, [kept]);
});

test('a rollback that is cut off anywhere is ended by the next pass, with one restart for it at most', async () => {
  const killAfter = async (count: number): Promise<boolean> => {
    await using node = await createSandbox({ roots: 1 });
    await pass(node, present(old, kept));
    await node.runtime.failNextRestart('keeps-process');
    let left = Number.POSITIVE_INFINITY;
    const killed = (host: Host): Host => ({
      ...host,
      apply: async (step, signal) => {
        if (left === 0) throw new Error('killed');
        left -= 1;
        if (step.kind === 'restart-runtime' && left > count) left = count;
        return host.apply(step, signal);
      },
    });
    const cut = await pass(node, present(kept, added), { wrap: killed }).then(
      () => false,
      (error: Error) => error.message === 'killed',
    );
    const ended = await pass(node, present(kept, added));
    assert.deepEqual(outcome(ended), ['Failed', 'RolledBack'], `after ${count} steps`);
    assert.match(ended.status.message, /since RuntimeUnhealthy: .*the same process/);
    await assertTrusts(node, [kept]);
    assert.equal(await restarts(node), 3, `after ${count} steps`);
    assert.deepEqual(kinds(await pass(node, present(kept, added))), [], 'held');
    return cut;
  };
  let count = 0;
  while (await killAfter(count)) count += 1;
  assert(count >= 6, `${count} steps`);
});

test('a restart to undo that is still under way when the next agent comes is waited for, and the addition is held', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(kept));
  await node.runtime.failNextRestart('keeps-process');
  const invocation = async (id: string, state: string): Promise<void> => {
    await node.write('/run/sandbox/invocation-id', `${id}\n`);
    await node.write('/run/sandbox/state', `${state}\n`);
    await node.remove(`/run/systemd/units/invocation:${unit}`);
    await node.link(`/run/systemd/units/invocation:${unit}`, id);
  };
  let restartsBegun = 0;
  let after = '';
  const dying = (host: Host): Host => ({
    ...host,
    async apply(step, signal) {
      const before = await node.runtime.invocationId();
      const isUndo = step.kind === 'restart-runtime' && (restartsBegun += 1) === 2;
      const told = await host.apply(step, signal);
      if (!isUndo) return told;
      after = await node.runtime.invocationId();
      await invocation(before, 'deactivating');
      throw new Error('killed');
    },
  });
  await assert.rejects(pass(node, present(kept, added), { wrap: dying }), /killed/);
  const arrive = (host: Host): Host => ({
    ...host,
    async apply(step, signal) {
      if (step.kind === 'await-healthy') await invocation(after, 'active');
      return host.apply(step, signal);
    },
  });
  assert.deepEqual(outcome(await pass(node, present(kept, added), { wrap: arrive })), ['Failed', 'RolledBack']);
  assert.equal(restartsBegun, 2);
  await invocation(after, 'active');
  assert.deepEqual(kinds(await pass(node, present(kept, added))), [], 'held');
});

const killedInRollBack = (host: Host): Host => ({
  ...host,
  async apply(step, signal) {
    if (step.kind === 'remove-anchor') throw new Error('killed');
    return host.apply(step, signal);
  },
});

test('what was begun to be undone is undone first, and then another bundle or another wish is carried out', async () => {
  for (const next of [{ set: present(kept, old) }, { set: present(kept, added), retryMark: 'now' }]) {
    await using node = await createSandbox({ roots: 1 });
    await pass(node, present(kept));
    await node.runtime.failNextRestart('fails');
    await assert.rejects(pass(node, present(kept, added), { wrap: killedInRollBack }), /killed/);
    const { retryMark = '' } = next;
    assert.deepEqual(outcome(await pass(node, next.set, { retryMark })), ['Synced', '']);
    await assertTrusts(node, [kept, retryMark === '' ? old : added]);
  }
});

test('whoever has started the runtime meanwhile is not restarted for a rollback to another bundle', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(kept));
  await node.runtime.failNextRestart('fails');
  await assert.rejects(pass(node, present(kept, added), { wrap: killedInRollBack }), /killed/);
  const startedMeanwhile = (host: Host): Host => ({
    ...host,
    async observe(look, signal) {
      const seen = await host.observe(look, signal);
      if (look === 'glance') await node.runtime.systemctl('start', unit);
      return seen;
    },
  });
  const interval = { restartIntervalMs: 300_000, at: 10 };
  const passed = await pass(node, present(kept, old), { ...interval, wrap: startedMeanwhile });
  assert.deepEqual(outcome(passed), ['Waiting', 'RestartDeferred']);
  assert.equal(await restarts(node), 2);
});

test('where the disk is too full to note a rollback, it is made all the same', async () => {
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(kept));
  await breakTool(node, 1);
  const full = (host: Host): Host => ({
    ...host,
    facts: {
      ...host.facts,
      update: (change) =>
        change.undoing === undefined
          ? host.facts.update(change)
          : Promise.reject(new AgentError('DiskFull', { path: '/var' })),
    },
  });
  assert.deepEqual(outcome(await pass(node, present(kept, added), { wrap: full })), ['Failed', 'RolledBack']);
  await assertTrusts(node, [kept]);
});

test('what no addition is to blame for takes none away', async () => {
  for (const error of [
    new AgentError('AnchorsReadOnly', { path: '/usr', evidence: 'EROFS' }),
    new AgentError('StoreUnreadable', { path: bundle, evidence: 'EIO' }),
    new AgentError('ToolMissing', { tool, evidence: 'ENOENT' }),
  ]) {
    await using node = await createSandbox({ roots: 1 });
    await pass(node, present(kept));
    const failing = (host: Host): Host => ({
      ...host,
      apply: (step, signal) => (step.kind === 'rebuild-store' ? Promise.reject(error) : host.apply(step, signal)),
    });
    assert.deepEqual(outcome(await pass(node, present(kept, added), { wrap: failing })), ['Failed', error.code]);
    assert((await node.list('/usr/local/share/ca-certificates')).includes(`${nameOf(added)}.crt`));
  }
});

test('a restart of an earlier life of the same bundle is none of this try', async (t) => {
  hurry(t);
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(kept, added));
  await pass(node, present(kept), { restartDelayMs: 60_000, at: 1 });
  await node.runtime.systemctl('restart', unit);
  await pass(node, present(kept), { at: 2 });
  const waiting = await pass(node, present(kept, added), { restartDelayMs: 60_000, at: 3 });
  assert.deepEqual(outcome(waiting), ['Waiting', 'RestartDeferred']);
  await node.runtime.systemctl('stop', unit);
  const stopped = await pass(node, present(kept, added), { restartDelayMs: 60_000, at: 4 });
  assert.deepEqual(outcome(stopped), ['Failed', 'RuntimeUnknown'], 'somebody has stopped it');
  assert.equal((await node.read('/run/sandbox/state')).trim(), 'inactive');
});

test('a runtime that is active and does not serve is unhealthy', async (t) => {
  hurry(t);
  await using node = await createSandbox({ roots: 1 });
  await pass(node, present(kept));
  await node.write('/run/containerd/keep', '');
  await using cri = await startCriServer(node.at('/run/containerd/containerd.sock'));
  cri.say(false);
  const failed = await pass(node, present(kept, added));
  assert.equal(failed.status.reason, 'RollbackFailed', 'it does not serve without what was added either');
  assert.match(failed.status.message, /RuntimeUnhealthy: containerd\.service .*RuntimeReady is false: PluginBroken/);
  cri.say(true);
  assert.deepEqual(outcome(await pass(node, present(kept, added), { retryMark: '1' })), ['Synced', '']);
  await assertTrusts(node, [kept, added]);
});

test('the runtime is restarted at most once in the interval, but to undo', async () => {
  await using node = await createSandbox({ roots: 1 });
  const interval = { restartIntervalMs: 300_000 };
  await pass(node, present(old), interval);
  const waiting = await pass(node, present(kept), { ...interval, at: 299 });
  assert.deepEqual(outcome(waiting), ['Waiting', 'RestartDeferred']);
  assert.deepEqual(waiting.next, { kind: 'at', at: new Date(fixedNow.getTime() + 300_000) });
  assert((await node.read(bundle)).includes(kept.pem), 'the store does not wait');
  await node.runtime.failNextRestart('fails');
  assert.deepEqual(outcome(await pass(node, present(kept), { ...interval, at: 300 })), ['Failed', 'RolledBack']);
  assert.equal(await restarts(node), 3);
  await assertTrusts(node, []);
});

test('a clock that was set back does not shorten the interval between restarts, and stretches it by one at most', async () => {
  await using node = await createSandbox({ roots: 1 });
  const interval = { restartIntervalMs: 300_000 };
  const outcomeAt = async (at: number): Promise<unknown> =>
    outcome(await pass(node, present(kept, added), { ...interval, at }));
  await pass(node, present(kept), interval);
  assert.deepEqual(await outcomeAt(-100), ['Waiting', 'RestartDeferred']);
  assert.deepEqual(await outcomeAt(199), ['Waiting', 'RestartDeferred']);
  assert.deepEqual(await outcomeAt(200), ['Synced', '']);
  assert.equal(await restarts(node), 2);
});

test('what the kubelet complained of before is no fault of an addition, whichever process asks after the restart', async (t) => {
  await using node = await createSandbox({ roots: 1 });
  const kubelet = await startKubelet(t);
  const asked = { healthz: kubelet.url, healthTimeoutMs: 300 };
  kubelet.code = 500;
  const sick = await pass(node, present(kept), asked);
  assert.deepEqual(outcome(sick), ['Synced', '']);
  assert.match(sick.status.warnings.join(), /healthz answers 500 before .* is restarted: it is not waited for/);
  const ending = new AbortController();
  const killed = (host: Host): Host => ({
    ...host,
    async apply(step, signal) {
      if (step.kind === 'await-healthy') ending.abort(new Error('killed'));
      return host.apply(step, signal);
    },
  });
  await assert.rejects(pass(node, present(kept, added), { ...asked, wrap: killed, signal: ending.signal }), /killed/);
  assert.deepEqual(outcome(await pass(node, present(kept, added), asked)), ['Synced', '']);
});

test('a kubelet that complains since the restart is why an addition goes, and a rollback after which it does has failed', async (t) => {
  await using node = await createSandbox({ roots: 1 });
  const kubelet = await startKubelet(t);
  const asked = { healthz: kubelet.url, healthTimeoutMs: 300 };
  await pass(node, present(kept), asked);
  const spoiling = (host: Host): Host => ({
    ...host,
    async apply(step, signal) {
      const told = await host.apply(step, signal);
      if (step.kind === 'restart-runtime') kubelet.code = 500;
      return told;
    },
  });
  const failed = await pass(node, present(kept, added), { ...asked, wrap: spoiling });
  assert.deepEqual(outcome(failed), ['Failed', 'RollbackFailed']);
  assert.match(failed.status.message, /healthz answers 500/);
  await assertTrusts(node, [kept]);
});

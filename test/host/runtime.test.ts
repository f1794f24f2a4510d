import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHostCommands } from '../../agent/host/commands.ts';
import { createHostRoot } from '../../agent/host/root.ts';
import { createNoRuntime, detectRuntime, type Runtime } from '../../agent/host/runtime.ts';
import { createEmptyRoot, createSandbox, type EmptyRoot, type Sandbox } from '../support/sandbox.ts';
import { hurry, until } from '../support/until.ts';

const { signal } = new AbortController();
const healthTimeoutMs = 30_000;
const unit = 'containerd.service';
const systemctl = '/usr/bin/systemctl';
const link = `/run/systemd/units/invocation:${unit}`;
const id = '0123456789abcdef0123456789abcdef';

test('a host that is not booted with systemd has NoServiceManager', async () => {
  await using host = await createEmptyRoot();
  await host.write(`/usr/lib/systemd/system/${unit}`, '');
  await assert.rejects(detect(host), { code: 'NoServiceManager' });
});

test('a host without the unit of a known runtime has RuntimeNotFound, and every folder of units is looked into', async () => {
  await using host = await createEmptyRoot();
  await host.write('/run/systemd/system/other.service', '');
  await host.write('/usr/lib/systemd/system/containerd.socket', '');
  await assert.rejects(detect(host), {
    code: 'RuntimeNotFound',
    message: /none of containerd\.service in \/etc\/systemd/,
  });
  const folders = [
    '/etc/systemd/system',
    '/run/systemd/system',
    '/usr/local/lib/systemd/system',
    '/lib/systemd/system',
  ];
  for (const folder of folders) {
    await host.write(`${folder}/${unit}`, '');
    assert.deepEqual((await detect(host)).facts, { kind: 'unit', unit }, folder);
    await host.remove(`${folder}/${unit}`);
  }
});

test('a running unit is observed without a command, and asked for when somebody must know', async () => {
  await using node = await createNode();
  const runtime = await detect(node);
  const before = await node.runtime.calls();
  const invocationId = await node.runtime.invocationId();
  assert.deepEqual(await runtime.observe('glance', signal), { kind: 'running', unit, invocationId });
  assert.deepEqual(await node.runtime.calls(), before);
  assert.equal(await runtime.mark(signal), invocationId);
  assert.equal(await runtime.identify(signal), invocationId);
  assert.equal((await node.runtime.calls()).length, before.length + 2);
});

const answers = {
  'loaded active running': { output: answer('loaded', 'active', 'running', id), kind: 'running', mark: id },
  'active without an ID': { output: answer('loaded', 'active', 'running', ''), kind: 'unknown', mark: 'unknown' },
  'stopped, with the ID of before': {
    output: answer('loaded', 'inactive', 'dead', id),
    kind: 'stopped',
    mark: 'stopped',
  },
  failed: { output: answer('loaded', 'failed', 'failed', id), kind: 'stopped', mark: 'stopped' },
  'no such unit': { output: answer('not-found', 'inactive', 'dead', ''), kind: 'stopped', mark: 'stopped' },
  masked: { output: answer('masked', 'inactive', 'dead', ''), kind: 'stopped', mark: 'stopped' },
  'active and not loaded': { output: answer('not-found', 'active', 'running', id), kind: 'unknown', mark: 'unknown' },
  'on its way up': { output: answer('loaded', 'activating', 'start', id), kind: 'unknown', mark: 'unknown' },
  'waiting for its next start': {
    output: answer('loaded', 'activating', 'auto-restart', id),
    kind: 'unknown',
    mark: 'unknown',
  },
  'on its way down': { output: answer('loaded', 'deactivating', 'stop-sigterm', id), kind: 'unknown', mark: 'unknown' },
  reloading: { output: answer('loaded', 'reloading', 'reload', id), kind: 'unknown', mark: 'unknown' },
  'nothing said': { output: 'true', kind: 'unknown', mark: 'unknown' },
  'something else said': { output: 'echo System has not been booted with systemd', kind: 'unknown', mark: 'unknown' },
  'an error': { output: 'echo Failed to connect to bus >&2; exit 1', kind: 'unknown', mark: 'unknown' },
} as const;

test('only a loaded and active unit with an ID counts as running, and what cannot be found out is unknown', async (t) => {
  hurry(t);
  await using node = await createNode();
  await node.remove(link);
  const runtime = await detect(node);
  for (const [what, { output, kind, mark }] of Object.entries(answers)) {
    await node.write(systemctl, `#!/bin/sh\n${output}\n`, 0o755);
    assert.equal((await runtime.observe('glance', signal)).kind, kind, what);
    assert.equal(await runtime.mark(signal), mark, what);
    if (kind === 'running') assert.equal(await runtime.identify(signal), id);
    else await assert.rejects(runtime.identify(signal), { code: 'RuntimeUnknown' }, what);
  }
});

test('a unit whose restart would end its containers is not named, and that is told', async (t) => {
  hurry(t);
  await using node = await createNode();
  const show = answer('loaded', 'active', 'running', id);
  await node.write(systemctl, `#!/bin/sh\n${show}\necho KillMode=control-group\n`, 0o755);
  const runtime = await detect(node);
  const message = /its KillMode is control-group: a restart would end its containers/;
  await assert.rejects(runtime.identify(signal), { code: 'RuntimeUnknown', message });
  assert.equal(await runtime.mark(signal), 'unknown');
  await node.write(systemctl, `#!/bin/sh\n${show}\necho KillMode=process\n`, 0o755);
  assert.equal(await runtime.identify(signal), id);
});

test('without a systemctl, and with one that hangs, nothing is known and nothing is claimed', async (t) => {
  await using node = await createNode();
  await node.remove(link);
  await node.remove(systemctl);
  const runtime = await detect(node);
  const seen = await runtime.observe('glance', signal);
  assert.equal(seen.kind, 'unknown');
  assert.equal(await runtime.mark(signal), 'unknown');
  t.mock.timers.enable({ apis: ['setTimeout'] });
  await hang(node);
  const asking = runtime.observe('glance', signal);
  await untilAsked(node);
  t.mock.timers.tick(10_000);
  assert.deepEqual(await asking, {
    kind: 'unknown',
    unit,
    evidence: 'systemctl did not end within 10 s and was killed; last words: it printed nothing',
  });
});

test('a restart that works gives another process, and its start limit is reset before', async () => {
  await using node = await createNode();
  const before = await node.runtime.invocationId();
  const seen = (await node.runtime.calls()).length;
  await restart(await detect(node));
  assert.notEqual(await node.runtime.invocationId(), before);
  const verbs = (await node.runtime.calls()).slice(seen).map((call) => call.split(' ')[0]);
  assert.deepEqual(verbs, ['show', 'reset-failed', 'restart', 'show']);
});

test('a restart that fails, or leaves the same process or none, is RuntimeUnhealthy with what was said', async () => {
  await using node = await createNode();
  const runtime = await detect(node);
  await node.runtime.failNextRestart('keeps-process');
  const same = `${unit} did not come back: it is the same process as before its restart`;
  await assert.rejects(restart(runtime), { code: 'RuntimeUnhealthy', message: same });
  await node.runtime.failNextRestart('fails');
  const failed = /its state is loaded, failed .*control process exited with error/;
  await assert.rejects(restart(runtime), { code: 'RuntimeUnhealthy', message: failed });
  await node.runtime.systemctl('start', unit);
  await onRestart(node, 'start; echo failed > state');
  await assert.rejects(restart(runtime), { code: 'RuntimeUnhealthy', message: /loaded, failed/ });
});

test('a restart is judged by the unit: one that is complained of and gave another process is a good one', async () => {
  await using node = await createNode();
  await onRestart(node, 'start; echo Failed to wait for response >&2; exit 1');
  await restart(await detect(node));
});

test('a unit that is on its way after a restart is waited for, and unhealthy when it does not arrive', async (t) => {
  await using node = await createNode();
  const runtime = await detect(node);
  await onRestart(node, 'start; echo activating > state');
  const arriving = restart(runtime);
  await untilShownAfterRestart(node);
  await node.write('/run/sandbox/state', 'active');
  await arriving;

  let now = 0;
  t.mock.method(performance, 'now', () => now);
  const lost = assert.rejects(restart(runtime), {
    code: 'RuntimeUnhealthy',
    message: /loaded, activating/,
  });
  await untilShownAfterRestart(node);
  now = 30_001;
  await lost;

  await node.write('/run/sandbox/state', 'active');
  const controller = new AbortController();
  const aborted = assert.rejects(restart(runtime, controller.signal), { name: 'AbortError' });
  await untilShownAfterRestart(node);
  controller.abort();
  await aborted;
});

test('a unit that somebody restarts just now is waited for before it is named', async () => {
  await using node = await createNode();
  const runtime = await detect(node);
  await node.write('/run/sandbox/state', 'activating');
  const before = (await node.runtime.calls()).length;
  const identified = runtime.identify(signal);
  await until(async () => (await node.runtime.calls()).length > before);
  await node.write('/run/sandbox/state', 'active');
  assert.equal(await identified, await node.runtime.invocationId());
});

test('a restart that hangs is given up after 200 s, and the unit is the judge', async (t) => {
  await using node = await createNode();
  const runtime = await detect(node);
  await node.runtime.failNextRestart('hangs');
  const before = (await node.runtime.calls()).length;
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const failing = assert.rejects(restart(runtime), {
    code: 'RuntimeUnhealthy',
    message: /within 200 s/,
  });
  await until(async () => (await node.runtime.calls()).slice(before).some((call) => call.startsWith('restart')));
  t.mock.timers.tick(200_000);
  await failing;
});

test('told to end before the restart was asked for, it is not asked for', async () => {
  await using node = await createNode();
  const ending = new AbortController();
  const systemctl = await node.read('/usr/bin/systemctl');
  const wait = `until [ -e ${node.at('/run/go-on')} ]; do sleep 0.02; done`;
  await node.write(
    '/usr/bin/systemctl',
    systemctl.replace('case $1 in', `[ $1 != reset-failed ] || ${wait}\ncase $1 in`),
    0o755,
  );
  const before = (await node.runtime.calls()).length;
  const ended = assert.rejects(restart(await detect(node), ending.signal), /told to end/);
  await until(async () => (await node.runtime.calls()).some((call) => call.startsWith('reset-failed')));
  ending.abort(new Error('told to end'));
  await node.write('/run/go-on', '');
  await ended;
  assert(!(await node.runtime.calls()).slice(before).some((call) => call.startsWith('restart')));
});

test('a host without a runtime has nothing to ask and nothing to restart', async () => {
  const runtime = createNoRuntime('why');
  assert.deepEqual(runtime.facts, { kind: 'none', reason: 'why' });
  assert.deepEqual(await runtime.observe('glance', signal), { kind: 'none' });
  assert.equal(await runtime.mark(signal), 'unknown');
  await assert.rejects(runtime.identify(signal), { code: 'RuntimeNotFound' });
  await assert.rejects(restart(runtime), { code: 'RuntimeNotFound' });
});

function createNode(): Promise<Sandbox> {
  return createSandbox({ roots: 0 });
}

async function detect({ root }: EmptyRoot): Promise<Runtime> {
  return detectRuntime(createHostRoot(root), await createHostCommands(root), { healthTimeoutMs, healthz: undefined });
}

/** What `systemctl show` prints, as a script. */
function answer(load: string, active: string, sub: string, invocationId: string): string {
  return `printf 'LoadState=${load}\\nActiveState=${active}\\nSubState=${sub}\\nInvocationID=${invocationId}\\n'`;
}

/** What a restart does from now on. */
async function onRestart(node: EmptyRoot, script: string): Promise<void> {
  await node.write(systemctl, (await node.read(systemctl)).replace('works) start ;;', `works) ${script} ;;`), 0o755);
}

/** Waits for the restart that is under way, and for a look at the unit after it. */
async function untilShownAfterRestart(node: Sandbox): Promise<void> {
  const before = (await node.runtime.calls()).length;
  await until(async () => {
    const calls = (await node.runtime.calls()).slice(before);
    const restart = calls.findIndex((call) => call.startsWith('restart'));
    return restart !== -1 && calls.slice(restart).some((call) => call.startsWith('show'));
  });
}

async function hang(node: EmptyRoot): Promise<void> {
  await node.write(systemctl, `#!/bin/sh\necho > '${node.at('/asked')}'\nexec sleep 600\n`, 0o755);
}

async function untilAsked(node: EmptyRoot): Promise<void> {
  await until(() => node.read('/asked').catch(() => ''));
}

async function restart(runtime: Runtime, until = signal): Promise<void> {
  await runtime.restart(await runtime.mark(signal), until);
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Step } from '../../agent/trust/plan.ts';
import { createCertificate, type TestCertificate } from '../support/certificates.ts';
import { anchors, bundle, nameOf, tool } from '../support/debian.ts';
import { openSandbox, parse, planFor, reach } from '../support/host-steps.ts';
import { createSandbox, type Sandbox, updateStore } from '../support/sandbox.ts';
import { hurry } from '../support/until.ts';

const { signal } = new AbortController();
const unit = 'containerd.service';
const create = (subject: string): TestCertificate => createCertificate({ subject });
const [one, two] = [create('Same'), create('Same')];

test('an idle host is observed without running a program, and has nothing to do', async () => {
  await using node = await createNode();
  await reach(node, [one]);
  await assertLoaded(node, [one]);
  const before = await node.runtime.calls();
  const host = await openSandbox(node);
  assert.deepEqual(await planFor(host, [one]), []);
  assert.deepEqual(await node.runtime.calls(), before);
});

test('a host that was never touched and shall trust nothing is left alone', async () => {
  await using node = await createNode();
  assert.deepEqual((await reach(node, [])).steps, []);
  await assert.rejects(node.list('/var'));
});

test('a tool that was killed when the new bundle was in place already leads to another rebuild and one restart', async () => {
  await using node = await createNode();
  const before = await countRestarts(node);
  await node.write(
    tool,
    `#!/bin/sh\ncase "$2" in *stage*) exec ${tool} "$@" ;; esac\n${tool} "$@"\nkill -9 $$\n`,
    0o755,
  );
  await assert.rejects(reach(node, [one]), { code: 'ToolFailed' });
  await node.remove(tool);
  const { steps } = await reach(node, [one]);
  assert(steps.includes('rebuild-store'));
  await assertLoaded(node, [one]);
  assert.equal((await countRestarts(node)) - before, 1);
});

const meanwhile = {
  'before the bundle is new': (systemctl: string) => `${systemctl} restart ${unit}; ${tool} "$@"`,
  'after the bundle is new': (systemctl: string) => `${tool} "$@"; ${systemctl} restart ${unit}`,
  'twice while the bundle is made': (systemctl: string) =>
    `${systemctl} restart ${unit}; ${tool} "$@"; ${systemctl} restart ${unit}`,
} as const;

test('another process than the one that was found to serve is not noted, but asked first whether it serves', async () => {
  await using node = await createNode();
  const host = await openSandbox(node);
  for (const step of await planFor(host, [one])) {
    if (step.kind === 'note-loaded') await node.runtime.systemctl('restart', unit);
    const told = await host.apply(step, signal);
    assert.equal(told === 'outdated', step.kind === 'note-loaded');
  }
  assert.equal((await host.facts.read()).runtime.loaded, undefined);
  assert.deepEqual((await reach(node, [one])).steps, ['await-healthy', 'note-loaded']);
});

test('only the process that was to go is restarted: not another one, and none of which nothing is known', async () => {
  await using node = await createNode();
  const host = await openSandbox(node);
  await node.write(tool, `#!/bin/sh\ncase "$2" in *stage*) exec ${tool} "$@" ;; esac\n${tool} "$@"\n`, 0o755);
  await applyUntil(node, [one], 'restart-runtime');
  const step = (await planFor(host, [one])).find(({ kind }) => kind === 'restart-runtime');
  assert(step !== undefined);
  const restarts = await countRestarts(node);
  for (const prepare of [
    () => node.write('/run/sandbox/state', 'activating'),
    () => node.write('/run/sandbox/invocation-id', ''),
    () => node.runtime.systemctl('stop', unit),
    () => node.runtime.systemctl('start', unit),
  ]) {
    await prepare();
    assert.equal(await host.apply(step, signal), 'outdated');
    assert.equal(await countRestarts(node), restarts);
  }
  assert.equal((await host.facts.read()).runtime.restarted, undefined, 'nor noted');
});

for (const [when, script] of Object.entries(meanwhile)) {
  test(`a runtime that somebody restarts during the rebuild, ${when}, does not count as one that loaded it`, async () => {
    await using node = await createNode();
    const rebuild = script(node.at('/usr/bin/systemctl'));
    await node.write(tool, `#!/bin/sh\ncase "$2" in *stage*) exec ${tool} "$@" ;; esac\n${rebuild}\n`, 0o755);
    const { steps } = await reach(node, [one]);
    assert(steps.includes('restart-runtime'), steps.join());
    await assertLoaded(node, [one]);
  });
}

test('a runtime that somebody restarts after the rebuild is not restarted by us again', async () => {
  await using node = await createNode();
  await applyUntil(node, [one], 'restart-runtime');
  await node.runtime.systemctl('restart', unit);
  assert.deepEqual((await reach(node, [one])).steps, ['await-healthy', 'note-loaded']);
  await assertLoaded(node, [one]);
});

test('a new process of a runtime that trusts it all, as after a reboot, is noted and not disturbed', async () => {
  await using node = await createNode();
  await reach(node, [one]);
  await node.runtime.systemctl('restart', unit);
  assert.deepEqual((await reach(node, [one])).steps, ['await-healthy', 'note-loaded']);
});

test('a runtime that somebody started on a torn store which somebody else mended before we looked is restarted', async () => {
  await using node = await createNode();
  await reach(node, [one]);
  await node.write(bundle, 'torn');
  await node.runtime.systemctl('restart', unit);
  await updateStore(node.root);
  assert.deepEqual((await reach(node, [one])).steps, ['restart-runtime', 'await-healthy', 'note-loaded']);
});

test('a store that somebody else rebuilds whole costs a note and no restart', async () => {
  await using node = await createNode();
  await reach(node, [one]);
  await updateStore(node.root);
  assert.deepEqual((await reach(node, [one])).steps, ['note-loaded']);
});

test('a store that somebody writes while the runtime is restarted proves nothing, and the next pass restarts it', async () => {
  await using node = await createNode();
  const host = await openSandbox(node);
  for (const step of await planFor(host, [one])) {
    if (step.kind === 'note-loaded') await updateStore(node.root);
    const warnings = await host.apply(step, signal);
    if (step.kind === 'note-loaded') assert.match(String(warnings), /containerd.service loaded is not known/);
  }
  assert.deepEqual(
    (await planFor(host, [one])).map(({ kind }) => kind),
    ['restart-runtime', 'await-healthy', 'note-loaded'],
  );
});

test('what somebody writes beside a start that is not ours tells nothing of the starts to come', async () => {
  await using node = await createNode();
  const host = await openSandbox(node);
  const runAndWrite = async (): Promise<readonly string[]> => {
    const plan = await planFor(host, [one]);
    for (const step of plan) {
      if (step.kind === 'note-loaded') await updateStore(node.root);
      const warnings = await host.apply(step, signal);
      if (step.kind === 'note-loaded') assert.match(String(warnings), /is not known/);
    }
    return plan.map(({ kind }) => kind);
  };
  await reach(node, [one]);
  await node.runtime.systemctl('restart', 'containerd.service');
  assert.deepEqual(await runAndWrite(), ['await-healthy', 'note-loaded']);
  assert.deepEqual(await runAndWrite(), ['restart-runtime', 'await-healthy', 'note-loaded']);
  assert.deepEqual((await reach(node, [one])).steps, ['restart-runtime', 'await-healthy', 'note-loaded']);
});

test('a store that somebody writes right after the process was named proves nothing of it', async () => {
  await using node = await createNode();
  const host = await openSandbox(node);
  const plan = await planFor(host, [one]);
  for (const step of plan.slice(0, -1)) await host.apply(step, signal);
  const systemctl = await node.read('/usr/bin/systemctl');
  const touching = systemctl.replace('  show) printf', `  show) touch ${node.at(bundle)}; printf`);
  await node.write('/usr/bin/systemctl', touching, 0o755);
  for (const step of plan.slice(-1)) assert.match(String(await host.apply(step, signal)), /is not known/);
});

test('where the store is written at each start of the runtime, a second restart is the last', async () => {
  await using node = await createNode();
  const systemctl = await node.read('/usr/bin/systemctl');
  const options = `--etccertsdir ${node.at('/etc/ssl/certs')} --localcertsdir ../../../usr/local/share/ca-certificates`;
  const more = `--certsdir ../../../usr/share/ca-certificates --certsconf ${node.at('/etc/ca-certificates.conf')}`;
  const writing = systemctl.replace(
    'start() {',
    `start() {\n  ${tool} ${options} ${more} --hooksdir /none > /dev/null`,
  );
  await node.write('/usr/bin/systemctl', writing, 0o755);
  const host = await openSandbox(node);
  const restarts = await countRestarts(node);
  for (let pass = 1; pass <= 4; pass += 1)
    for (const step of await planFor(host, [one])) await host.apply(step, signal);
  assert.deepEqual(await planFor(host, [one]), []);
  assert.equal((await countRestarts(node)) - restarts, 2);
  await assertLoaded(node, [one]);
});

test('what is put back counts as withdrawn until it lies there, and not as taken away by somebody', async () => {
  await using node = await createNode();
  await reach(node, [one]);
  await reach(node, []);
  const host = await openSandbox(node);
  const step: Step = { kind: 'write-anchor', certificate: parse(one) };
  await node.write(`${anchors}/${nameOf(one)}.crt/in the way`, '');
  await assert.rejects(host.apply(step, signal));
  assert.deepEqual((await host.facts.read()).withdrawn, [nameOf(one)]);
  await node.remove(`${anchors}/${nameOf(one)}.crt`);
  await host.apply(step, signal);
  assert.equal((await host.facts.read()).withdrawn, undefined);
});

test('a withdrawn certificate that comes back with an old bundle is taken away again, from the runtime too', async () => {
  await using node = await createNode();
  await reach(node, [one, two]);
  const old = await node.read(bundle);
  await reach(node, [one]);
  await node.write(bundle, old);
  await node.runtime.systemctl('restart', unit);
  const { steps } = await reach(node, [one]);
  assert(steps.includes('rebuild-store') && steps.includes('restart-runtime'), steps.join());
  await assertLoaded(node, [one]);
  assert(!(await node.read(bundle)).includes(two.pem));
  await reach(node, [one, two]);
  await assertLoaded(node, [one, two]);
});

test('a change that is taken back before the restart costs one: the process may have loaded it meanwhile', async () => {
  await using node = await createNode();
  await reach(node, [one]);
  const before = await countRestarts(node);
  await applyUntil(node, [one, two], 'restart-runtime');
  await reach(node, [one]);
  await assertLoaded(node, [one]);
  assert.equal(await countRestarts(node), before + 1);
});

test('a runtime that was stopped during the rebuild and started after it is only noted', async () => {
  await using node = await createNode();
  await node.runtime.systemctl('stop', unit);
  await applyUntil(node, [one], 'await-runtime');
  assert.deepEqual(
    (await planFor(await openSandbox(node), [one])).map(({ kind }) => kind),
    ['await-runtime'],
  );
  await node.runtime.systemctl('start', unit);
  assert.deepEqual((await reach(node, [one])).steps, ['await-healthy', 'note-loaded']);
  await assertLoaded(node, [one]);
});

test('a runtime that was started during the rebuild is restarted', async () => {
  await using node = await createNode();
  await node.runtime.systemctl('stop', unit);
  const start = `${node.at('/usr/bin/systemctl')} start ${unit}; ${tool} "$@"`;
  await node.write(tool, `#!/bin/sh\ncase "$2" in *stage*) exec ${tool} "$@" ;; esac\n${start}\n`, 0o755);
  await applyUntil(node, [one], 'await-runtime');
  assert.deepEqual((await reach(node, [one])).steps, ['restart-runtime', 'await-healthy', 'note-loaded']);
  await assertLoaded(node, [one]);
});

test('while the runtime cannot be asked, the store is made and nothing is claimed; then it is restarted', async (t) => {
  hurry(t);
  await using node = await createNode();
  const systemctl = await node.read('/usr/bin/systemctl');
  await node.write('/usr/bin/systemctl', '#!/bin/sh\necho Failed to connect to bus >&2\nexit 1\n', 0o755);
  await assert.rejects(reach(node, [one]), { code: 'RuntimeUnknown' });
  assert.notDeepEqual(await planFor(await openSandbox(node), [one]), []);
  await node.write('/usr/bin/systemctl', systemctl, 0o755);
  assert.deepEqual((await reach(node, [one])).steps, ['restart-runtime', 'await-healthy', 'note-loaded']);
  await assertLoaded(node, [one]);
});

test('a restart that fails leaves a runtime that has to become healthy, and whoever starts it makes it good', async (t) => {
  hurry(t);
  await using node = await createNode();
  await node.runtime.failNextRestart('fails');
  await assert.rejects(reach(node, [one]), { code: 'RuntimeUnhealthy' });
  const host = await openSandbox(node);
  const [step, ...rest] = await planFor(host, [one]);
  assert(step?.kind === 'await-healthy' && rest.length === 0);
  await assert.rejects(host.apply(step, signal), { code: 'RuntimeUnhealthy' });
  await node.runtime.systemctl('start', unit);
  assert.deepEqual((await reach(node, [one])).steps, ['await-healthy', 'note-loaded']);
  await assertLoaded(node, [one]);
});

test('a restart that kept the process is not taken for one', async () => {
  await using node = await createNode();
  await node.runtime.failNextRestart('keeps-process');
  await assert.rejects(reach(node, [one]), { code: 'RuntimeUnhealthy' });
  assert.deepEqual((await reach(node, [one])).steps, ['restart-runtime', 'await-healthy', 'note-loaded']);
  await assertLoaded(node, [one]);
});

test('a state that was lost or spoilt costs a rebuild and a restart, and no trust', async () => {
  await using node = await createNode();
  await reach(node, [one]);
  for (const content of ['', '{"version":1,"runtime":{"loaded":7}}']) {
    await node.write('/var/lib/node-trust-agent/state.json', content);
    const { steps } = await reach(node, [one]);
    assert(steps.includes('rebuild-store') && steps.includes('restart-runtime'), steps.join());
    await assertLoaded(node, [one]);
  }
});

test('a step is not begun once the signal is aborted', async () => {
  await using node = await createNode();
  const host = await openSandbox(node);
  const before = await node.runtime.calls();
  for (const step of await planFor(host, [one]))
    await assert.rejects(host.apply(step, AbortSignal.abort()), { name: 'AbortError' });
  assert.deepEqual(await node.runtime.calls(), before);
  await assert.rejects(node.list('/var'));
});

test('a host without a runtime is refused, or is one of a store alone, as whoever opens it wishes', async () => {
  await using node = await createSandbox({ roots: 1, runtime: false });
  await assert.rejects(openSandbox(node, 'required'), { code: 'NoServiceManager' });
  const host = await openSandbox(node, 'optional');
  assert.equal(host.runtime.kind, 'none');
  await reach(node, [one]);
  assert((await node.read('/etc/ssl/certs/ca-certificates.crt')).includes(one.pem));
});

test('whatever happens in whatever order, in the end the runtime has loaded just what it shall', async () => {
  const wanted = fc.subarray([one, two]);
  const event = fc.oneof(
    fc.record({ kind: fc.constant('pass' as const), wanted, survived: fc.nat(10) }),
    fc.record({ kind: fc.constantFrom('restart', 'stop', 'start', 'daemon-reload') }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(event, { minLength: 2, maxLength: 5 }), wanted, async (events, last) => {
      await using node = await createNode();
      for (const happening of events) {
        if (!('wanted' in happening)) await node.runtime.systemctl(happening.kind, unit);
        else {
          const host = await openSandbox(node);
          const plan = await planFor(host, happening.wanted);
          for (const step of plan.slice(0, happening.survived))
            if (step.kind !== 'await-runtime') await host.apply(step, signal);
        }
      }
      if ((await openSandbox(node)).runtime.kind === 'unit') await node.runtime.systemctl('start', unit);
      await reach(node, last);
      await assertLoaded(node, last);
    }),
    { numRuns: 3 },
  );
});

function createNode(): Promise<Sandbox> {
  return createSandbox({ roots: 1 });
}

/** The running process trusts these of ours and no others. */
async function assertLoaded(node: Sandbox, wanted: readonly TestCertificate[]): Promise<void> {
  const pool = await node.runtime.trustPool();
  for (const certificate of [one, two]) {
    assert.equal(pool.includes(certificate.pem), wanted.includes(certificate), nameOf(certificate));
  }
}

async function countRestarts(node: Sandbox): Promise<number> {
  return (await node.runtime.calls()).filter((call) => call.startsWith('restart')).length;
}

/** A pass that ends before the first step of this kind. */
async function applyUntil(node: Sandbox, wanted: readonly TestCertificate[], kind: Step['kind']): Promise<void> {
  const host = await openSandbox(node);
  const plan = await planFor(host, wanted);
  assert(plan.some((step) => step.kind === kind));
  for (const step of plan) {
    if (step.kind === kind) return;
    await host.apply(step, signal);
  }
}

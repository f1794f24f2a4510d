import assert from 'node:assert/strict';
import { copyFile, rename, stat } from 'node:fs/promises';
import { test } from 'node:test';
import { bootFile, createFileSource, planRetirement, withBoot } from '../../agent/host/boot.ts';
import type { Host } from '../../agent/host/host.ts';
import { createHostRoot } from '../../agent/host/root.ts';
import type { SourceSnapshot } from '../../agent/trust/source.ts';
import { createCertificate, fixedNow, type TestCertificate } from '../support/certificates.ts';
import { anchors, bundle, nameOf } from '../support/debian.ts';
import { bundleOf } from '../support/host-steps.ts';
import { type Passed, type PassOptions, pass, present } from '../support/passes.ts';
import { createEmptyRoot, createSandbox, type Sandbox, updateStore } from '../support/sandbox.ts';

const unit = 'containerd.service';
const [early, late] = ['Early Root', 'Late Root'].map((subject) => createCertificate({ subject })) as [
  TestCertificate,
  TestCertificate,
];
const leaf = createCertificate({ subject: 'Server', ca: false });
const state = '/var/lib/node-trust-agent/state.json';
const bootList = '/var/lib/node-trust-agent/boot.list';
const absent = { kind: 'absent' } as const;
const outcome = ({ status: { state, reason } }: Passed): readonly string[] => [state, reason];
const kinds = ({ steps }: Passed): readonly string[] => steps.map(({ kind }) => kind);

/** What the boot leaves: the anchor, the store, the record, and a runtime that was started after it. */
async function boot(node: Sandbox, ...certificates: readonly TestCertificate[]): Promise<void> {
  await node.runtime.systemctl('stop', unit);
  await node.write(bootFile, certificates.map(({ pem }) => pem).join('\n'));
  for (const certificate of certificates) await node.write(`${anchors}/${nameOf(certificate)}.crt`, certificate.pem);
  await updateStore(node.root);
  await finishBoot(node, certificates);
}

/** It finds the store good as it is. */
async function finishBoot(node: Sandbox, certificates: readonly TestCertificate[], runs = 'stopped'): Promise<void> {
  const { ino, size, ctimeMs } = await stat(node.at(bundle));
  const { digest } = bundleOf(certificates);
  await node.write(
    '/run/node-trust-agent/boot',
    `version 1\nbundle ${digest}\nstore ${ino}.${size}.${Math.floor(ctimeMs / 1000)}\nbefore ${runs}\nafter ${runs}\n`,
  );
  if (runs === 'stopped') await node.runtime.systemctl('start', unit);
}

function passWithFile(node: Sandbox, snapshot: SourceSnapshot, options: PassOptions = {}): Promise<Passed> {
  return pass(node, snapshot, { ...options, local: createFileSource(createHostRoot(node.root), bootFile) });
}

async function restarts(node: Sandbox): Promise<number> {
  return (await node.runtime.calls()).filter((call) => call.startsWith('restart')).length;
}

test('what the boot has installed is taken over: nothing is written to the store, and no runtime is restarted', async () => {
  await using node = await createSandbox({ roots: 1 });
  await boot(node, early);
  const before = [await node.read(bundle), await restarts(node)];
  const first = await passWithFile(node, absent);
  assert.deepEqual(
    [outcome(first), kinds(first)],
    [
      ['Synced', ''],
      ['await-healthy', 'note-loaded'],
    ],
  );
  assert.match(first.status.message, /^1 certificate of file \/etc\/node-trust\/certificates\.pem is trusted/);
  assert.deepEqual(kinds(await passWithFile(node, absent)), []);
  assert.deepEqual([await node.read(bundle), await restarts(node)], before);
  await assert.rejects(node.read('/run/node-trust-agent/boot'), { code: 'ENOENT' }, 'the record is good once');
  await node.runtime.systemctl('restart', unit);
  assert.deepEqual(kinds(await passWithFile(node, absent)), ['await-healthy', 'note-loaded'], 'it is remembered');
});

test('a boot record counts for the store that it speaks of, and not for one that was written since', async () => {
  await using node = await createSandbox({ roots: 1 });
  await boot(node, early);
  await node.write(bundle, `${await node.read(bundle)}\n`);
  assert(kinds(await passWithFile(node, absent)).includes('restart-runtime'));
});

test('nor does it count for a store that was damaged and mended since, whatever started meanwhile', async () => {
  await using node = await createSandbox({ roots: 1 });
  await boot(node, early);
  await copyFile(node.at(bundle), node.at(`${bundle}.mended`));
  await rename(node.at(`${bundle}.mended`), node.at(bundle));
  assert(kinds(await passWithFile(node, absent)).includes('restart-runtime'));
});

test('a store that the boot unit builds in the middle of a pass is not the one that the pass was for', async () => {
  await using node = await createSandbox({ roots: 1 });
  await node.write(bootFile, early.pem);
  const wrap = (host: Host): Host => ({
    ...host,
    async apply(step, signal) {
      if (step.kind === 'await-healthy') {
        await node.remove(`${anchors}/${nameOf(early)}.crt`);
        await boot(node, late);
      }
      return host.apply(step, signal);
    },
  });
  assert.notEqual((await passWithFile(node, absent, { wrap })).status.state, 'Synced', 'nobody has loaded that');
  assert.deepEqual(outcome(await passWithFile(node, absent)), ['Synced', '']);
  const trusted = await node.runtime.trustPool();
  assert.deepEqual([trusted.includes(early.pem), trusted.includes(late.pem)], [false, true]);
});

test('nor is one that it builds to the same bundle: what our restart has loaded may be another', async () => {
  await using node = await createSandbox({ roots: 1 });
  await boot(node, early, late);
  await passWithFile(node, absent);
  const old = await node.read(bundle);
  await node.write(bootFile, early.pem);
  const wrap = (host: Host): Host => ({
    ...host,
    async apply(step, signal) {
      if (step.kind === 'restart-runtime') await node.write(bundle, old);
      if (step.kind === 'note-loaded') {
        await updateStore(node.root);
        await finishBoot(node, [early], await node.runtime.invocationId());
      }
      return host.apply(step, signal);
    },
  });
  assert.notEqual((await passWithFile(node, absent, { wrap })).status.state, 'Synced');
  assert.deepEqual(outcome(await passWithFile(node, absent)), ['Synced', '']);
  assert(!(await node.runtime.trustPool()).includes(late.pem));
});

test('what leaves the file while the store is one of before leaves the runtime, too, whose boot found the store good', async () => {
  await using node = await createSandbox({ roots: 1 });
  await boot(node, early, late);
  await passWithFile(node, absent);
  const old = await node.read(bundle);
  await node.runtime.systemctl('stop', unit);
  await node.write(bootFile, early.pem);
  await node.remove(`${anchors}/${nameOf(late)}.crt`);
  await node.write(bundle, old);
  await finishBoot(node, [early]);
  assert.deepEqual(outcome(await passWithFile(node, absent)), ['Synced', '']);
  const trusted = await node.runtime.trustPool();
  assert.deepEqual([trusted.includes(early.pem), trusted.includes(late.pem)], [true, false]);
});

test("the boot's record is good once: not for a store of the same bytes that comes again later", async () => {
  const killed =
    (node: Sandbox) =>
    (host: Host): Host => ({
      ...host,
      // kill -9 between the tool's end and the note of what it has left.
      async apply(step, signal) {
        if (step.kind !== 'rebuild-store') return host.apply(step, signal);
        const records = await node.read(state);
        await host.apply(step, signal);
        await node.write(state, records);
        throw new Error('killed');
      },
    });
  const withdraw = {
    'cut off': async (node: Sandbox) =>
      assert.rejects(passWithFile(node, present(early), { wrap: killed(node) }), /killed/),
    'put off': async (node: Sandbox) => {
      const waiting = await passWithFile(node, present(early), { restartDelayMs: 60_000, at: 1 });
      assert.equal(waiting.status.state, 'Waiting');
      await node.write(bundle, await node.read(bundle));
    },
  };
  for (const [how, begin] of Object.entries(withdraw)) {
    await using node = await createSandbox({ roots: 1 });
    await boot(node, early);
    await passWithFile(node, absent);
    await passWithFile(node, present(late));
    await begin(node);
    const told = await passWithFile(node, present(early), { at: 120 });
    assert.equal(told.status.state, 'Synced', how);
    assert(!(await node.runtime.trustPool()).includes(late.pem), `${how}: what was withdrawn is still loaded`);
  }
});

test('a file with something that the agent does not admit keeps what the boot has installed', async () => {
  await using node = await createSandbox({ roots: 1 });
  await boot(node, early, leaf);
  assert.deepEqual(outcome(await passWithFile(node, present(late))), ['Rejected', 'NotCa']);
  assert.deepEqual(await ownAnchors(node), [early, late, leaf].map(nameOf).sort());
});

test('what the agent has installed of a file that no boot has seen yet is its last good set, too', async () => {
  await using node = await createSandbox({ roots: 1 });
  await boot(node, early);
  await node.write(bootList, `${nameOf(early)}\n`);
  await passWithFile(node, absent);
  await node.write(bootFile, early.pem + late.pem);
  assert.deepEqual(outcome(await passWithFile(node, absent)), ['Synced', '']);
  await node.write(bootFile, 'broken');
  await node.remove(`${anchors}/${nameOf(late)}.crt`);
  const passed = await passWithFile(node, absent);
  assert.deepEqual([outcome(passed), passed.repaired.length], [['Rejected', 'NoCertificate'], 1]);
  assert.deepEqual(await ownAnchors(node), [early, late].map(nameOf).sort());
  await node.write(bootList, `${nameOf(late)}\n`); // a later boot, with another file
  await node.remove(`${anchors}/${nameOf(early)}.crt`);
  await passWithFile(node, absent);
  assert.deepEqual(await ownAnchors(node), [nameOf(late)], 'what that boot has taken away is not put back');
});

test('a Node that leaves its pool has no grace for a file that is gone', async () => {
  await using node = await createSandbox({ roots: 1 });
  await boot(node, early);
  await passWithFile(node, present(late));
  await node.remove(bootFile);
  const left = await passWithFile(node, present(late), { chooseAim: () => Promise.resolve('withdraw') });
  assert.deepEqual([outcome(left), await ownAnchors(node)], [['Disabled', ''], []]);
});

test('what an agent only keeps, since it cannot ask, does not become the last good set of the Secret', async () => {
  await using node = await createSandbox({ roots: 1 });
  await boot(node, early, late);
  const silent = { kind: 'unavailable', code: 'SourceForbidden', evidence: '403' } as const;
  await passWithFile(node, silent, { chooseAim: () => Promise.resolve('keep') });
  assert.deepEqual(outcome(await passWithFile(node, absent)), ['Synced', '']);
  await node.write(bootFile, early.pem);
  await passWithFile(node, silent);
  assert.deepEqual(await ownAnchors(node), [nameOf(early)]);
});

test('a runtime that ran while the boot rebuilt the store is restarted', async () => {
  await using node = await createSandbox({ roots: 1 });
  await boot(node, early);
  const record = '/run/node-trust-agent/boot';
  const id = await node.runtime.invocationId();
  await node.write(record, (await node.read(record)).replaceAll('stopped', id));
  assert(kinds(await passWithFile(node, absent)).includes('restart-runtime'));
});

test('a boot record that is torn, or of another version, counts for nothing', async () => {
  await using host = await createEmptyRoot();
  const root = createHostRoot(host.root);
  const digest = `sha256:${'0'.repeat(64)}`;
  const version = '12.345.1700000000123456789';
  const good = `version 1\nbundle ${digest}\nstore 12.345.1700000000\nbefore stopped\nafter stopped\n`;
  for (const text of ['', good.slice(0, 100), good.replace('version 1', 'version 2'), good.replace(/after .*\n/, '')]) {
    await host.write('/run/node-trust-agent/boot', text);
    assert.deepEqual(await withBoot({}, root, version), {}, text);
  }
  await host.write('/run/node-trust-agent/boot', good);
  assert.deepEqual(await withBoot({}, root, version.replace('12', '13')), {});
  const { rebuild } = await withBoot({}, root, version);
  assert.deepEqual(
    [rebuild?.bundle, rebuild?.before, rebuild?.after, rebuild?.version],
    [digest, 'stopped', 'stopped', version],
  );
});

test('file and Secret are trusted together; the Secret goes, and the file stays', async () => {
  await using node = await createSandbox({ roots: 1 });
  await boot(node, early);
  assert.deepEqual(outcome(await passWithFile(node, present(late))), ['Synced', '']);
  assert.deepEqual(await ownAnchors(node), [early, late].map(nameOf).sort());
  const left = await passWithFile(node, present(late), { chooseAim: () => Promise.resolve('withdraw') });
  assert.deepEqual([outcome(left), left.next], [['Disabled', ''], { kind: 'end' }]);
  assert.match(left.status.message, /1 certificate of the machine's own file stays$/);
  assert.deepEqual(await ownAnchors(node), [nameOf(early)]);
  assert(!(await node.runtime.trustPool()).includes(late.pem));
});

test('a broken file changes nothing of what it had, and does not hold up the Secret', async () => {
  await using node = await createSandbox({ roots: 1 });
  await boot(node, early);
  await passWithFile(node, absent);
  await node.write(bootFile, early.pem.replaceAll('\n', '\r\n'));
  const broken = await passWithFile(node, present(late));
  assert.deepEqual(outcome(broken), ['Rejected', 'CrlfLineEndings']);
  assert.match(broken.status.message, /^file \/etc\/node-trust\/certificates\.pem, entry "certificates\.pem"/);
  assert.deepEqual(await ownAnchors(node), [early, late].map(nameOf).sort());
});

test('a file that was broken before any agent ran keeps what it had installed, and the Secret has no part in it', async () => {
  await using node = await createSandbox({ roots: 1 });
  await boot(node, early);
  await node.write(bootFile, 'broken');
  for (const snapshot of [absent, present(late), absent]) {
    const told = await passWithFile(node, snapshot, { graceMs: 0 });
    assert.deepEqual(outcome(told), ['Rejected', 'NoCertificate']);
    assert((await ownAnchors(node)).includes(nameOf(early)));
  }
});

test('where the records are lost, too, what a Secret holds is not taken for the broken file’s, but for what a boot has installed', async () => {
  await using node = await createSandbox({ roots: 1 });
  await boot(node, early);
  await node.write(bootList, `${nameOf(early)}\n`);
  await passWithFile(node, present(early, late));
  await node.write(bootFile, 'broken');
  await node.remove(state);
  await passWithFile(node, present(early, late));
  assert.deepEqual(await ownAnchors(node), [early, late].map(nameOf).sort());
  await passWithFile(node, absent, { graceMs: 0 });
  assert.deepEqual(await ownAnchors(node), [nameOf(early)]);
});

test('a file that goes away keeps its trust for the grace, as a Secret does', async () => {
  await using node = await createSandbox({ roots: 1 });
  await boot(node, early);
  await passWithFile(node, absent);
  await node.remove(bootFile);
  assert.deepEqual(outcome(await passWithFile(node, absent)), ['Waiting', 'SourceDeleted']);
  assert.deepEqual(outcome(await passWithFile(node, absent, { at: 600 })), ['Synced', '']);
  assert.deepEqual(await ownAnchors(node), []);
});

test('beside a Secret that is rejected, the grace of a file that is gone ends in time', async () => {
  await using node = await createSandbox({ roots: 1 });
  await boot(node, early);
  await passWithFile(node, absent);
  await node.remove(bootFile);
  const during = await passWithFile(node, present(leaf));
  const end = new Date(fixedNow.getTime() + 600_000);
  assert.deepEqual([outcome(during), during.next], [['Rejected', 'NotCa'], { kind: 'at', at: end }]);
  await passWithFile(node, present(leaf), { at: 600 });
  assert.deepEqual(await ownAnchors(node), []);
});

test('so it does where the file was gone before any agent ran: what the boot installed is not the rejected Secret’s', async () => {
  await using node = await createSandbox({ roots: 1 });
  await boot(node, early);
  await node.write(bootList, `${nameOf(early)}\n`);
  await node.remove(bootFile);
  await passWithFile(node, present(leaf));
  assert.deepEqual(await ownAnchors(node), [nameOf(early)]);
  await passWithFile(node, present(leaf), { at: 600 });
  assert.deepEqual(await ownAnchors(node), []);
});

test('nor is what the file held at the boot and holds no more when the first agent runs', async () => {
  await using node = await createSandbox({ roots: 1 });
  await boot(node, early);
  await node.write(bootList, `${nameOf(early)}\n`);
  await node.write(bootFile, late.pem);
  await passWithFile(node, present(leaf));
  assert.deepEqual(await ownAnchors(node), [nameOf(late)]);
});

test('a file that cannot be read is not one that is gone', async () => {
  await using node = await createSandbox({ roots: 1 });
  await boot(node, early);
  await passWithFile(node, absent);
  await node.remove(bootFile);
  await node.write(`${bootFile}/inner`, '');
  assert.deepEqual(outcome(await passWithFile(node, absent)), ['Failed', 'SourceUnavailable']);
  assert.deepEqual(await ownAnchors(node), [nameOf(early)]);
});

test('retired, no unit wants to be started with the one of the boot, and the file lies beside where it was', async () => {
  await using host = await createEmptyRoot(); // not even a systemctl is there
  const root = createHostRoot(host.root);
  assert.deepEqual(await planRetirement(root), []);
  await host.write(bootFile, early.pem);
  const [units, list] = ['/etc/systemd/system', '/var/lib/node-trust-agent/boot.list'];
  await host.write(list, `${nameOf(early)}\n`);
  await host.write(`${units}/node-trust-boot.service`, '[Unit]\n');
  const links = ['multi-user.target.wants', 'containerd.service.requires'].map((folder) => `${units}/${folder}`);
  for (const folder of links) await host.link(`${folder}/node-trust-boot.service`, '../node-trust-boot.service');
  await host.link(`${units}/multi-user.target.wants/containerd.service`, '/lib/systemd/system/containerd.service');

  const steps = await planRetirement(root);
  assert.deepEqual(steps.map(({ sentence }) => sentence).sort(), [
    `disable node-trust-boot.service: remove ${links[1]}/node-trust-boot.service`,
    `disable node-trust-boot.service: remove ${links[0]}/node-trust-boot.service`,
    `move ${bootFile} aside, to ${bootFile}.removed`,
    `remove ${list}`,
  ]);
  assert.equal(await host.read(bootFile), early.pem, 'a plan does nothing');
  for (const step of steps) await step.carryOut();
  assert.deepEqual(await planRetirement(root), []);
  assert.deepEqual(await host.list('/etc/node-trust'), ['certificates.pem.removed']);
  assert.equal(await host.read(`${bootFile}.removed`), early.pem);
  assert.deepEqual(await host.list(`${units}/multi-user.target.wants`), ['containerd.service']);
  assert.deepEqual(await host.list('/var/lib/node-trust-agent'), []);
  assert((await host.list(units)).includes('node-trust-boot.service'), 'the unit itself is whose who has put it there');
});

async function ownAnchors(node: Sandbox): Promise<readonly string[]> {
  const names = (await node.list(anchors)).filter((name) => name.startsWith('node-trust-'));
  return names.map((name) => name.replace(/\.crt$/, ''));
}

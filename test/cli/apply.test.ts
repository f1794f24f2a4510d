import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { lockHost } from '../../agent/host/lock.ts';
import { createHostRoot } from '../../agent/host/root.ts';
import { createCertificate } from '../support/certificates.ts';
import { nodeTrust } from '../support/command-line.ts';
import { anchors, nameOf } from '../support/debian.ts';
import { createSandbox, type Sandbox, updateStore } from '../support/sandbox.ts';

const folder = await mkdtemp(join(tmpdir(), 'node-trust-apply-'));
after(() => rm(folder, { recursive: true }));
const corp = createCertificate({ subject: 'Corp Root' });
const cas = join(folder, 'cas.pem');
await writeFile(cas, corp.pem);

const bundleOf = (sandbox: Sandbox): Promise<string> => sandbox.read('/etc/ssl/certs/ca-certificates.crt');

test('apply installs, restarts the runtime once, and finds nothing to do the second time; remove leaves no trace', async () => {
  await using sandbox = await createSandbox();
  const before = await bundleOf(sandbox);
  const applied = await nodeTrust(['apply', '--file', cas, '--host-root', sandbox.root]);
  assert.equal(applied.code, 0, applied.err);
  assert.match(applied.out, /^done: write node-trust-[0-9a-f]{16} \(CN=Corp Root\)$/m);
  assert.match(
    applied.out,
    /^Synced: 1 certificate of file .* is trusted by the host; containerd\.service runs with it/m,
  );
  assert((await sandbox.runtime.trustPool()).includes(corp.pem));

  const again = await nodeTrust(['apply', '--file', cas, '--host-root', sandbox.root]);
  assert.match(again.out, /^Synced: .*\n$/);

  const removed = await nodeTrust(['remove', '--host-root', sandbox.root]);
  assert.equal(removed.code, 0, removed.err);
  assert.equal(await bundleOf(sandbox), before);
  assert(!(await sandbox.runtime.trustPool()).includes(corp.pem));
  assert.deepEqual(await sandbox.list('/usr/local/share/ca-certificates'), []);
  assert.deepEqual(await sandbox.list('/var/lib/node-trust-agent'), []);
  assert.deepEqual(
    (await sandbox.list('/etc/ssl/certs')).filter((name) => name.startsWith('node-trust')),
    [],
  );
});

test('--dry-run prints the sentences of the plan and touches nothing', async () => {
  await using sandbox = await createSandbox();
  const { code, out } = await nodeTrust(['apply', '--dry-run', '--file', cas, '--host-root', sandbox.root]);
  assert.equal(code, 0);
  const sentences = out.trimEnd().split('\n');
  assert.equal(sentences.length, 8);
  assert.match(sentences[2] ?? '', /^would write node-trust-[0-9a-f]{16} \(CN=Corp Root\)$/);
  assert.match(sentences[5] ?? '', /^would restart containerd\.service/);
  assert.deepEqual(await sandbox.list('/usr/local/share/ca-certificates'), []);
  assert.deepEqual(await sandbox.list('/'), ['etc', 'run', 'usr']);
});

test('--dry-run says that an agent holds the host, which would keep it from being done', async () => {
  await using sandbox = await createSandbox();
  const flags = ['--dry-run', '--file', cas, '--host-root', sandbox.root];
  const lock = await lockHost(createHostRoot(sandbox.root));
  const { code, err } = await nodeTrust(['apply', ...flags]);
  await lock.release();
  assert.deepEqual([code, err.startsWith(`note: an agent (PID ${process.pid}) holds this host: `)], [0, true], err);
  assert.equal((await nodeTrust(['apply', ...flags])).err, '');
});

test('--json prints one object with the steps, for apply and for a dry run', async () => {
  await using sandbox = await createSandbox();
  const dry = await nodeTrust(['apply', '--json', '--dry-run', '--file', cas, '--host-root', sandbox.root]);
  const plan = JSON.parse(dry.out) as { readonly steps: readonly string[]; readonly accepted: boolean };
  const wet = await nodeTrust(['apply', '--json', '--file', cas, '--host-root', sandbox.root]);
  const done = JSON.parse(wet.out) as {
    readonly steps: readonly string[];
    readonly state: string;
    readonly version: number;
  };
  assert.deepEqual(done.steps, plan.steps);
  assert.deepEqual([plan.accepted, done.state, done.version], [true, 'Synced', 1]);
});

test('on a machine without a service manager apply works on the store alone and says so', async () => {
  await using sandbox = await createSandbox({ runtime: false });
  const { code, out } = await nodeTrust(['apply', '--file', cas, '--host-root', sandbox.root]);
  assert.equal(code, 0);
  assert.match(out, /no container runtime was restarted: no service manager on this host/);
  assert((await bundleOf(sandbox)).includes(corp.pem));
  assert.equal((await nodeTrust(['remove', '--host-root', sandbox.root])).code, 0);
  assert(!(await bundleOf(sandbox)).includes(corp.pem));
});

test('a rejected file changes nothing, prints the remedy and ends with 1', async () => {
  await using sandbox = await createSandbox();
  assert.equal((await nodeTrust(['apply', '--file', cas, '--host-root', sandbox.root])).code, 0);
  const before = await bundleOf(sandbox);
  const bad = join(folder, 'bad.pem');
  await writeFile(bad, corp.pem.replaceAll('\n', '\r\n'));
  const { code, out } = await nodeTrust(['apply', '--file', bad, '--host-root', sandbox.root]);
  assert.equal(code, 1);
  assert.match(out, /^Rejected \(CrlfLineEndings\): .*dos2unix/m);
  assert.equal(out.split('dos2unix').length, 2, 'each fault is told once');
  assert.equal(await bundleOf(sandbox), before);
});

test('an empty file is a mistake, not a wish to remove', async () => {
  await using sandbox = await createSandbox();
  await nodeTrust(['apply', '--file', cas, '--host-root', sandbox.root]);
  const before = await bundleOf(sandbox);
  const { code, err } = await nodeTrust(['apply', '--file', '-', '--host-root', sandbox.root], '');
  assert.equal(code, 1);
  assert.match(err, /SourceEmpty/);
  assert.equal(await bundleOf(sandbox), before);
});

test('a host that is no host, a missing file and a missing flag end with 3, 3 and 2', async () => {
  const none = await nodeTrust(['apply', '--file', cas, '--host-root', folder]);
  assert.equal(none.code, 3);
  assert.match(none.out + none.err, /UnsupportedDistribution/);
  assert(!existsSync(join(folder, 'var')), 'and nothing is written there');
  assert.equal((await nodeTrust(['apply', '--file', join(folder, 'missing'), '--host-root', folder])).code, 3);
  assert.equal((await nodeTrust(['apply'])).code, 2);
});

test('remove on a host that was never touched is done', async () => {
  await using sandbox = await createSandbox();
  const { code, out } = await nodeTrust(['remove', '--host-root', sandbox.root]);
  assert.equal(code, 0);
  assert.match(out, /nothing of ours is on this host/);
});

test('an interrupted apply says so in one line and ends with 3, and the same command goes on from there', async () => {
  await using sandbox = await createSandbox({ roots: 1 });
  const [tool, started] = ['/usr/sbin/update-ca-certificates', '/run/started'];
  const wait = `touch ${sandbox.at(started)}; until [ -e ${sandbox.at('/run/go-on')} ]; do sleep 0.02; done`;
  await sandbox.write(tool, `#!/bin/sh\n${wait}\nexec ${tool} "$@"\n`, 0o755);
  const args = ['apply', '--file', cas, '--host-root', sandbox.root];
  const interrupted = await nodeTrust(args, '', async (kill) => {
    while (!existsSync(sandbox.at(started))) await delay(5);
    kill('SIGINT');
    await sandbox.write('/run/go-on', '');
  });
  assert.equal(interrupted.code, 3);
  assert.match(interrupted.err, /^node-trust apply: interrupted after the step under way; [^\n]*\n$/);
  assert.equal((await nodeTrust(args)).code, 0);
  assert((await sandbox.runtime.trustPool()).includes(corp.pem));
});

test('what a killed agent left under temporary names is swept away, and nothing of anybody else', async () => {
  await using sandbox = await createSandbox({ roots: 1 });
  const folders = ['/usr/local/share/ca-certificates', '/etc/ssl/certs', '/var/lib/node-trust-agent'];
  const [ours, foreign] = ['.node-trust-0123456789ab.tmp', '.node-trust-mine.tmp'];
  for (const place of folders) for (const name of [ours, foreign]) await sandbox.write(`${place}/${name}`, 'half');
  await sandbox.write('/var/lib/node-trust-agent/stage/local/half.crt', 'half');
  await nodeTrust(['remove', '--host-root', sandbox.root]);
  for (const place of folders) {
    const names = await sandbox.list(place);
    assert(!names.includes(ours) && names.includes(foreign) && !names.includes('stage'), `${place}: ${names.join()}`);
  }
});

test('a hook that failed is told again with each pass until it has taken it, and then no more', async () => {
  await using sandbox = await createSandbox();
  const hook = '/etc/ca-certificates/update.d/key-store';
  const told = '/told';
  await sandbox.write(told, '');
  const script = (end: string): string => `#!/bin/sh\ncat >> '${sandbox.at(told)}'\n${end}\n`;
  const applyOnce = async (): Promise<{ readonly out: string; readonly lines: string }> => {
    await sandbox.write(told, '');
    const { out, code } = await nodeTrust(['apply', '--file', cas, '--host-root', sandbox.root]);
    assert.equal(code, 0, 'a key store of somebody else is no failure of ours');
    return { out, lines: await sandbox.read(told) };
  };
  const name = nameOf(corp);
  await sandbox.write(hook, script('echo no key store >&2; exit 3'), 0o755);
  for (const time of ['first', 'second']) {
    const { out, lines } = await applyOnce();
    assert.match(out, /^warning: a hook of update-ca-certificates failed.* no key store$/m, time);
    assert.match(lines, new RegExp(`^\\+\\S+/${name}.pem$`, 'm'), time);
  }
  await sandbox.write(hook, script(''), 0o755);
  const mended = await applyOnce();
  assert.match(mended.lines, new RegExp(`${name}.pem`));
  assert(!mended.out.includes('warning'), mended.out);
  assert.equal((await applyOnce()).lines, '');

  await sandbox.write(hook, script('exit 3'), 0o755);
  const removeOnce = () => nodeTrust(['remove', '--host-root', sandbox.root]);
  const untold = await removeOnce();
  assert.match(untold.out, /^warning: a hook/m);
  assert.equal(untold.code, 3, 'its key store still holds what was taken away');
  await sandbox.write(told, '');
  await sandbox.write(hook, script(''), 0o755);
  const ended = await removeOnce();
  assert(!ended.out.includes('warning'));
  assert.equal(ended.code, 0);
  assert.match(await sandbox.read(told), new RegExp(`^-\\S+/${name}.pem$`, 'm'), 'of what has gone, too');
  assert.deepEqual(await sandbox.list('/var/lib/node-trust-agent'), []);
});

test("remove leaves the machine's own certificates, and with --all takes them and what installs them", async () => {
  await using node = await createSandbox({ roots: 1 });
  const own = [1, 2].map((number) => createCertificate({ subject: `Own ${number}` }));
  const file = '/etc/node-trust/certificates.pem';
  await node.write(file, own.map(({ pem }) => pem).join('\n'));
  for (const certificate of own) await node.write(`${anchors}/${nameOf(certificate)}.crt`, certificate.pem);
  await updateStore(node.root);
  const kept = await nodeTrust(['remove', '--host-root', node.root]);
  assert.deepEqual([kept.code, (await node.list(anchors)).length], [0, 2], kept.out + kept.err);
  assert.match(kept.out, /2 certificates of the machine's own file stay/);
  await node.write(file, createCertificate({ subject: 'Server', ca: false }).pem);
  const bad = await nodeTrust(['remove', '--host-root', node.root]);
  assert.deepEqual([bad.code, (await node.list(anchors)).length], [0, 2], bad.out + bad.err);
  await node.write(file, own.map(({ pem }) => pem).join('\n'));
  await node.link('/etc/systemd/system/multi-user.target.wants/node-trust-boot.service', '../node-trust-boot.service');
  const all = ['remove', '--all', '--host-root', node.root];
  const [planned, asJson] = [await nodeTrust([...all, '--dry-run']), await nodeTrust([...all, '--dry-run', '--json'])];
  assert.match(planned.out, /^would disable node-trust-boot\.service: .*\nwould move .* aside, .*\nwould build /);
  assert.equal((await node.list(anchors)).length, 2);
  const gone = await nodeTrust(all);
  assert.deepEqual([gone.code, await node.list(anchors)], [0, []], gone.out + gone.err);
  assert.deepEqual(
    gone.out.split('\n').flatMap((line) => (line.startsWith('done: ') ? [line.slice(6)] : [])),
    (JSON.parse(asJson.out) as { readonly steps: readonly string[] }).steps,
  );
  assert.equal(await node.read(`${file}.removed`), own.map(({ pem }) => pem).join('\n'));
});

test('a folder that is not there is told as that, whatever is asked of it', async () => {
  for (const args of [['apply', '--file', '-'], ['remove']]) {
    const { code, out, err } = await nodeTrust([...args, '--host-root', '/nowhere'], corp.pem);
    assert.deepEqual([code, out, err], [3, '', `node-trust ${args[0]}: there is no folder /nowhere\n`]);
  }
});

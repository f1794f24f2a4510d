import assert from 'node:assert/strict';
import { copyFile, mkdir, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { createHostCommands } from '../../agent/host/commands.ts';
import { createDebianStore } from '../../agent/host/debian-store.ts';
import { createHostRoot } from '../../agent/host/root.ts';
import type { TrustStore } from '../../agent/host/trust-store.ts';
import { createCertificate, encodePem, type TestCertificate } from '../support/certificates.ts';
import { anchors, assertTrusted, bundle, certs, createNode, digestHost, nameOf, trustOf } from '../support/debian.ts';
import { hookFileSystem } from '../support/hooked-file-system.ts';
import { openSandbox, parse, planFor, reach } from '../support/host-steps.ts';
import { createEmptyRoot, createSandbox, type EmptyRoot, updateStore } from '../support/sandbox.ts';

const { signal } = new AbortController();
const create = (subject: string): TestCertificate => createCertificate({ subject });

test('an installed certificate is in the bundle and found by look-ups, and what was trusted before still is', async () => {
  await using node = await createNode();
  const [ours, foreign] = [create('Ours'), create('Foreign')];
  await node.write(`${anchors}/foreign.crt`, foreign.pem);
  await updateStore(node.root);
  const before = await node.read(bundle);
  await reach(node, [ours]);
  await assertTrusted(node, [ours, foreign]);
  const after = await node.read(bundle);
  for (const block of before.split(/(?<=END CERTIFICATE-----\n)/)) assert(after.includes(block), block);
});

test('an empty host without any folder is observed as one that trusts nothing, and is left as it is', async () => {
  await using host = await createEmptyRoot();
  const nothing = {
    anchors: [],
    derived: [],
    tool: 'absent',
    version: 'absent',
    bundle: new Set(),
    indexed: new Set(),
    returned: [],
    stillTrusted: [],
  };
  assert.deepEqual(await (await storeOf(host)).observe([]), nothing);
  assert.deepEqual(await host.list('/'), []);
});

test('a host whose folders are missing gets them', async () => {
  await using node = await createNode();
  for (const path of ['/usr/local', '/etc/ssl', '/etc/ca-certificates.conf']) await node.remove(path);
  const ours = create('Ours');
  await reach(node, [ours]);
  await assertTrusted(node, [ours]);
});

test('withdrawn is gone from bundle, index and anchors, and nothing else is', async () => {
  await using node = await createNode();
  const [stays, goes] = [create('Stays'), create('Goes')];
  await reach(node, [stays]);
  const before = await digestHost(node);
  await reach(node, [stays, goes]);
  const { warnings } = await reach(node, [stays]);
  assert.deepEqual(warnings, []);
  assert.deepEqual(await trustOf(node, goes), { byFile: false, byFolder: false });
  assert.deepEqual(await digestHost(node), before);
});

test('what was taken away and lies loose beside the bundle, where the programs of Go find it, is told', async () => {
  await using node = await createNode();
  const [stays, goes] = [create('Stays'), create('Goes')];
  await reach(node, [stays, goes]);
  const path = '/etc/ssl/certs/.kept-by-somebody';
  await node.write(path, `${stays.pem}${goes.pem}`);
  await reach(node, [stays]);
  const { store } = await (await openSandbox(node, 'optional')).observe('glance', new AbortController().signal);
  assert.deepEqual(
    store.stillTrusted.map((found) => [found.fingerprint, found.path]),
    [[parse(goes).fingerprint, path]],
  );
  assert.deepEqual(store.returned, []);
  assert.equal(await node.read(path), `${stays.pem}${goes.pem}`);
});

test('what was taken away and is in an old bundle goes from there, whoever has a copy beside it', async () => {
  await using node = await createNode();
  const [stays, goes] = [create('Stays'), create('Goes')];
  await reach(node, [stays, goes]);
  const old = await node.read(bundle);
  await reach(node, [stays]);
  await node.write(bundle, old);
  await node.write('/etc/ssl/certs/deadbeef.0', goes.pem);
  await reach(node, [stays]);
  assert(!(await node.read(bundle)).includes(goes.pem));
});

test('a bundle that has lost what the tool had put into it, as after two of its runs at once, is rebuilt', async () => {
  await using node = await createSandbox({ roots: 3, runtime: false });
  const ours = create('Ours');
  await reach(node, [ours]);
  const before = await digestHost(node);
  await node.write(bundle, ours.pem);
  assert.notDeepEqual((await reach(node, [ours])).steps, []);
  assert.deepEqual(await digestHost(node), before);
});

test('what is lost out of a file of two certificates is missed, too', async () => {
  await using node = await createNode();
  const [ours, one, two] = [create('Ours'), create('One'), create('Two')];
  await node.write(`${anchors}/chain.crt`, one.pem + two.pem);
  await reach(node, [ours]);
  const before = await digestHost(node);
  await node.write(bundle, (await node.read(bundle)).replace(two.pem, ''));
  assert.notDeepEqual((await reach(node, [ours])).steps, []);
  assert.deepEqual(await digestHost(node), before);
});

test('what the tool has not taken up yet, or is taking up now, is nothing that was lost', async () => {
  await using node = await createNode();
  const [ours, waiting] = [create('Ours'), create('Waiting')];
  await reach(node, [ours]);
  await node.write(`${anchors}/waiting.crt`, waiting.pem);
  assert.deepEqual((await reach(node, [ours])).steps, []);
  await node.link('/etc/ssl/certs/waiting.pem', `${anchors}/waiting.crt`);
  await node.write(`${bundle}.new`, '');
  assert.deepEqual((await reach(node, [ours])).steps, []);
});

test('a foreign certificate whose own file left before goes with our rebuild, and that is a warning', async () => {
  await using node = await createNode();
  const [left, deselected] = [create('Left'), create('Deselected')];
  await node.write(`${anchors}/left.crt`, left.pem);
  await node.write('/usr/share/ca-certificates/deselected.crt', deselected.pem);
  const selection = await node.read('/etc/ca-certificates.conf');
  await node.write('/etc/ca-certificates.conf', `${selection}deselected.crt\n`);
  await updateStore(node.root);
  await node.remove(`${anchors}/left.crt`);
  await node.write('/etc/ca-certificates.conf', `${selection}!deselected.crt\n`);
  const { warnings } = await reach(node, [create('Ours')]);
  assert.equal(warnings.length, 1);
  for (const { fingerprint } of [left, deselected].map(parse)) assert.match(warnings[0] ?? '', new RegExp(fingerprint));
});

test('a folder in the place of an anchor of ours is told and not removed', async () => {
  await using node = await createNode();
  const ours = create('Ours');
  await node.write(`${anchors}/${nameOf(ours)}.crt/file`, '');
  await assert.rejects(reach(node, [ours]), { code: 'AnchorsReadOnly' });
  assert.deepEqual(await node.list(`${anchors}/${nameOf(ours)}.crt`), ['file']);
});

test('a host of which ours was the only certificate trusts none after it', async () => {
  await using node = await createSandbox({ roots: 0, runtime: false });
  const ours = create('Ours');
  await reach(node, [ours]);
  await assertTrusted(node, [ours]);
  await reach(node, []);
  assert.deepEqual(await trustOf(node, ours), { byFile: false, byFolder: false });
});

test('a file of ours that holds another certificate than its name says is observed as holding none', async () => {
  await using node = await createNode();
  const [ours, other] = [create('Ours'), create('Other')];
  await node.write(`${anchors}/${nameOf(ours)}.crt`, other.pem);
  const observed = await (await storeOf(node)).observe([]);
  assert.deepEqual(observed.anchors, [{ name: nameOf(ours), certificate: undefined }]);
});

test('a bundle that is broken is observed as one that trusts nothing', async () => {
  await using node = await createNode();
  const ours = create('Ours');
  await reach(node, [ours]);
  await node.write(bundle, `${await node.read(bundle)}${encodePem('CERTIFICATE', Buffer.from('not one'))}`);
  const { bundle: trusted } = await (await storeOf(node)).observe([]);
  assert.deepEqual(trusted, new Set());
  await reach(node, [ours]);
  await assertTrusted(node, [ours]);
});

test('a store whose folders are absolute links, as from a pod, is read inside the host', async () => {
  await using node = await createNode();
  const ours = create('Ours');
  await reach(node, [ours]);
  await rename(node.at('/etc/ssl'), node.at('/data'));
  await node.link('/etc/ssl', '/data');
  const { store } = await (await openSandbox(node, 'optional')).observe('glance', signal);
  assert(store.bundle.has(parse(ours).fingerprint));
  assert(store.indexed.has(parse(ours).fingerprint));
  assert.deepEqual(await planFor(await openSandbox(node, 'optional'), [ours]), []);
});

test('a bundle that somebody writes while it is read has not the version of what was read', async () => {
  await using node = await createNode();
  const ours = create('Ours');
  await reach(node, [ours]);
  const replace = async (call: string): Promise<void> => {
    if (call !== 'readFile ca-certificates.crt') return;
    await copyFile(node.at(bundle), node.at(`${bundle}.other`));
    await rename(node.at(`${bundle}.other`), node.at(bundle));
  };
  const root = createHostRoot(node.root, hookFileSystem(replace));
  const store = createDebianStore(root, await createHostCommands(node.root));
  assert.notEqual((await store.observe([])).version, await store.version());
  const { version } = await store.rebuild({ certificates: [parse(ours)] }, signal);
  assert.notEqual(version, await store.version());
});

async function storeOf({ root }: EmptyRoot): Promise<TrustStore> {
  return createDebianStore(createHostRoot(root), await createHostCommands(root));
}

test('a sandbox whose store is an absolute link is worked on inside of it, and this machine is left alone', async () => {
  await using node = await createNode();
  await using decoy = await createEmptyRoot();
  await decoy.write('/marker', '');
  await rename(node.at(certs), node.at('/moved'));
  await node.link(certs, decoy.root);
  await mkdir(dirname(node.at(decoy.root)), { recursive: true });
  await rename(node.at('/moved'), node.at(decoy.root));
  await rename(node.at('/var'), node.at('/elsewhere')).catch(() => {});
  await node.link('/var/lib', '/elsewhere');
  const ours = create('Ours');
  await reach(node, [ours]);
  assert((await node.read(`${decoy.root}/ca-certificates.crt`)).includes(ours.pem));
  assert.deepEqual(await decoy.list('/'), ['marker']);
});

test('a bundle that no file accounts for is not rebuilt into nothing', async () => {
  await using node = await createNode();
  await node.write('/etc/ca-certificates.conf', '');
  const before = await node.read(bundle);
  await assert.rejects(reach(node, [create('Ours')]), {
    code: 'StoreBrokenBefore',
    message: /it holds \d+ certificates, and no file of/,
  });
  assert.equal(await node.read(bundle), before);
  assert.deepEqual(await node.list(anchors), []);
});

// Trust before the cluster, on a real node: what the boot installs makes pulls work before any agent ran, and an agent that
// comes later takes it over.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCertificate } from '../support/certificates.ts';
import { syncedWith } from '../support/cluster.ts';
import { nodeTrust } from '../support/command-line.ts';
import { setNodeStage } from './support/stage.ts';

const [corp, next] = [createCertificate({ subject: 'Corp Root' }), createCertificate({ subject: 'Next Root' })];
const file = '/etc/node-trust/certificates.pem';
const unit = 'node-trust-boot.service';

test('booted with the file, a node pulls before any agent ran; the agent takes over and restarts nothing; a later change and a mistake are for the next boot', async (t) => {
  const stage = await setNodeStage(t, { 'registry.test': corp, 'next.test': next });
  const { node } = stage;
  const pulls = async (): Promise<readonly string[]> => [
    await stage.pull(stage.registries['registry.test']),
    await stage.pull(stage.registries['next.test']),
  ];
  const seen = async () => [await stage.invocationId(), await stage.digestStore()];
  assert.deepEqual(await pulls(), ['x509', 'x509']);
  const { out: provision } = await nodeTrust(['boot', '--format', 'script', '-'], corp.pem);
  await node.write('/root/provision', provision, 0o755);
  await node.sh('/root/provision');
  assert.deepEqual(await pulls(), ['pulled', 'x509'], 'at the first boot already');
  await node.reboot();
  assert.deepEqual(await pulls(), ['pulled', 'x509']);

  const booted = await seen();
  const first = await stage.startAgent();
  await stage.says(syncedWith(corp));
  assert.deepEqual(await seen(), booted, 'taken over');
  assert.equal(await first.stop(), 0);

  await node.write(file, `${corp.pem}\n${next.pem}`);
  await node.reboot();
  assert.deepEqual(await pulls(), ['pulled', 'pulled']);
  const changed = await seen();
  const second = await stage.startAgent();
  await stage.says(syncedWith(corp, next));
  assert.deepEqual(await seen(), changed);
  assert.equal(await second.stop(), 0);

  await node.write(file, corp.pem.replaceAll('\n', '\r\n'));
  await node.reboot([unit]);
  assert.match(await node.sh(`journalctl -b --no-pager -u ${unit}`), /CrlfLineEndings.*line 1|line 1.*CrlfLineEndings/);
  assert.deepEqual(await pulls(), ['pulled', 'pulled']);
  const broken = await seen();
  await stage.startAgent();
  await stage.says(({ state, reason }) => state === 'Rejected' && reason === 'CrlfLineEndings');
  assert.equal(stage.read()['certificates'], '2');
  assert.deepEqual(await seen(), broken);
});

test('a pool label that goes away takes what came from the cluster, and leaves what the node booted with', async (t) => {
  const stage = await setNodeStage(t, { 'registry.test': corp, 'next.test': next });
  const { out: provision } = await nodeTrust(['boot', '--format', 'script', '-'], corp.pem);
  await stage.node.write('/root/provision', provision, 0o755);
  await stage.node.sh('/root/provision');
  const before = await stage.digestStore();
  stage.apply({ 'next.pem': next.pem });
  const agent = await stage.startAgent();
  await stage.says(syncedWith(corp, next));
  stage.labelNode({ 'kubernetes.io/os': 'linux' });
  assert.equal(await agent.stop(), 0);
  assert.equal(stage.read()['state'], 'Disabled');
  assert.equal(await stage.digestStore(), before);
  assert.equal(await stage.pull(stage.registries['registry.test']), 'pulled');
  assert.equal(await stage.pull(stage.registries['next.test']), 'x509');
});

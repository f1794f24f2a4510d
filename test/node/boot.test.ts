// Trust before the cluster, on a real node: what the boot installs makes pulls work before any agent ran, and an agent that
// comes later takes it over.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCertificate, encodePem, type TestCertificate } from '../support/certificates.ts';
import { syncedWith } from '../support/cluster.ts';
import { nodeTrust } from '../support/command-line.ts';
import { agentImage, importedName } from './support/images.ts';
import { type NodeStage, setNodeStage } from './support/stage.ts';

const [corp, next] = [createCertificate({ subject: 'Corp Root' }), createCertificate({ subject: 'Next Root' })];
const file = '/etc/node-trust/certificates.pem';
const unit = 'node-trust-boot.service';
const eleven = Array.from({ length: 11 }, (_, index) => createCertificate({ subject: `CA ${index}` }));
const bad = {
  ByteOrderMark: `\ufeff${corp.pem}`,
  PrivateKey: corp.pem + corp.keyPem,
  DoubleBase64: Buffer.from(corp.pem).toString('base64'),
  TooManyCertificates: eleven.map(({ pem }) => pem).join('\n'),
  // As long as it should be: openssl alone can tell.
  MalformedCertificate: encodePem('CERTIFICATE', Buffer.from(corp.der).fill(0, 40, 80)),
};

test('booted with the file, a node pulls before any agent ran; the agent takes over and restarts nothing; a later change and a mistake are for the next boot', async (t) => {
  const stage = await setNodeStage(t, { 'registry.test': corp, 'next.test': next });
  const { node } = stage;
  const pulls = async (): Promise<readonly string[]> => [
    await stage.pull(stage.registries['registry.test']),
    await stage.pull(stage.registries['next.test']),
  ];
  const seen = async () => [await stage.invocationId(), await stage.digestStore()];
  assert.deepEqual(await pulls(), ['x509', 'x509']);
  await provision(stage, corp);
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

  await node.write(file, next.pem);
  await node.reboot();
  assert.deepEqual(await pulls(), ['x509', 'pulled'], 'what left the file is gone before any agent comes');
  const without = await seen();
  const third = await stage.startAgent();
  await stage.says(syncedWith(next));
  assert.deepEqual(await seen(), without);
  assert.equal(await third.stop(), 0);

  for (const [code, content] of Object.entries(bad)) {
    await node.write(file, content);
    const { exitCode } = await node.exec(`systemctl reset-failed ${unit}; systemctl restart ${unit}`);
    const said = await node.sh(`journalctl --sync; journalctl -q -o cat -n 9 -u ${unit}`);
    assert.match(said, new RegExp(`certificates\\.pem line [0-9]+: ${code}: .*; `));
    assert.deepEqual([exitCode, await seen()], [1, without], code);
  }

  await node.write(file, corp.pem.replaceAll('\n', '\r\n'));
  await node.reboot([unit]);
  assert.match(await node.sh(`journalctl -b --no-pager -u ${unit}`), /CrlfLineEndings.*line 1|line 1.*CrlfLineEndings/);
  assert.deepEqual(await pulls(), ['x509', 'pulled']);
  const broken = await seen();
  await stage.startAgent();
  await stage.says(({ state, reason }) => state === 'Rejected' && reason === 'CrlfLineEndings');
  assert.equal(stage.read()['certificates'], '1');
  assert.deepEqual(await seen(), broken);
});

test('a pool label that goes away takes what came from the cluster, and leaves what the node booted with', async (t) => {
  const stage = await setNodeStage(t, { 'registry.test': corp, 'next.test': next });
  await provision(stage, corp);
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

test('provisioned again, nothing is restarted; remove --all leaves a node as it was, at its next boot, too', async (t) => {
  const stage = await setNodeStage(t, { 'registry.test': corp });
  const { node } = stage;
  const before = await stage.digestStore();
  await provision(stage, corp);
  const id = await stage.invocationId();
  await provision(stage, corp);
  assert.equal(await stage.invocationId(), id);
  // As docs/uninstalling.md says it for a node that has no such command.
  const image = importedName(await agentImage());
  await node.sh(`mkdir /mnt/node-trust && ctr -n k8s.io images mount ${image} /mnt/node-trust`);
  await node.sh(
    'cd /mnt/node-trust/usr && LD_LIBRARY_PATH=$PWD/lib local/bin/node local/lib/node-trust.mjs remove --all',
  );
  await node.sh('cd / && ctr -n k8s.io images unmount --rm /mnt/node-trust && rmdir /mnt/node-trust');
  assert.equal(await stage.pull(stage.registries['registry.test']), 'x509');
  await node.reboot();
  assert.equal(await stage.pull(stage.registries['registry.test']), 'x509');
  assert.equal(await stage.digestStore(), before);
  assert.equal(await node.sh('ls /etc/node-trust /var/lib/node-trust-agent'), removedFiles);
});

const removedFiles = '/etc/node-trust:\ncertificates.pem.removed\n\n/var/lib/node-trust-agent:';

async function provision({ node }: NodeStage, certificate: TestCertificate): Promise<void> {
  const { out } = await nodeTrust(['boot', '--format', 'script', '-'], certificate.pem);
  await node.write('/root/provision', out, 0o755);
  await node.sh('/root/provision');
}

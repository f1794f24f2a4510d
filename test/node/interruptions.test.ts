// What happens to a node while the agent works on it: it is booted again, the agent is killed, others work on the same
// files and on the same containerd.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { readBundle } from '../../agent/host/trust-store.ts';
import { createCertificate } from '../support/certificates.ts';
import { syncedWith } from '../support/cluster.ts';
import { until } from '../support/until.ts';
import { setNodeStage } from './support/stage.ts';

const corp = createCertificate({ subject: 'Corp Root' });
const next = createCertificate({ subject: 'Corp Root' });
const anchors = '/usr/local/share/ca-certificates';

test('a reboot of the node ends with its trust intact and without a restart more', async (t) => {
  const stage = await setNodeStage(t, { 'registry.test': corp });
  const registry = stage.registries['registry.test'];
  stage.apply({ 'corp.pem': corp.pem });
  await stage.startAgent();
  await stage.says(syncedWith(corp));
  const before = await stage.digestStore();
  await stage.node.reboot();
  const booted = await stage.invocationId();
  assert.equal(await stage.pull(registry), 'pulled', 'before the agent is there');
  const agent = await stage.startAgent();
  await agent.ready();
  assert.equal(await stage.pull(registry), 'pulled');
  assert.equal(await stage.digestStore(), before);
  assert.equal(await stage.invocationId(), booted);
  stage.apply({ 'corp.pem': corp.pem, 'next.pem': next.pem });
  await stage.says(syncedWith(corp, next));
});

test('kill -9 at three random moments of a pass, then a start, ends synced', async (t) => {
  const stage = await setNodeStage(t, { 'registry.test': corp });
  const registry = stage.registries['registry.test'];
  const startedAt = performance.now();
  let agent = await stage.startAgent();
  stage.apply({ first: corp.pem });
  await stage.says(syncedWith(corp));
  const passMs = performance.now() - startedAt;
  for (const round of [1, 2, 3]) {
    const added = createCertificate({ subject: `Corp Root of round ${round}` });
    const momentMs = Math.round(Math.random() * passMs);
    const read = stage.passes(1);
    stage.apply({ first: corp.pem, added: added.pem });
    await read;
    await delay(momentMs); // the moment is what this is about, not something that is waited for
    t.diagnostic(`killed ${momentMs} ms into a pass of about ${Math.round(passMs)} ms`);
    await agent.kill();
    agent = await stage.startAgent();
    await stage.says(syncedWith(corp, added));
    await agent.ready();
    await stage.assertStore([corp, added], [next]);
    assert.equal(await stage.pull(registry), 'pulled');
  }
});

test('a restart of containerd by somebody else during the rebuild gives no false Synced', async (t) => {
  const stage = await setNodeStage(t, { 'registry.test': corp });
  const registry = stage.registries['registry.test'];
  await stage.startAgent();
  await stage.says(syncedWith());
  const before = await stage.starts();
  // As slow as it needs to be: the tool is on its way when somebody's restart comes, and has not made the store yet. Go
  // loads the store at the first use, so a pull makes the new process take the old one.
  const script = `#!/bin/sh
case "$*" in *--certbundle*)
  systemctl restart containerd.service && touch /root/restarted
  while [ ! -e /root/go-on ]; do sleep 0.05; done ;;
esac
exec /usr/sbin/update-ca-certificates "$@"
`;
  await stage.node.write('/usr/local/sbin/update-ca-certificates', script, 0o755);
  stage.apply({ 'corp.pem': corp.pem });
  await until(async () => (await stage.node.exec('test -e /root/restarted')).exitCode === 0);
  assert.equal(await stage.pull(registry), 'x509');
  await stage.node.write('/root/go-on', '');
  await stage.says(syncedWith(corp));
  assert.equal(await stage.pull(registry), 'pulled');
  assert.equal((await stage.starts()) - before, 2, 'their restart and ours');
});

for (const [title, command] of [
  ['update-ca-certificates', 'update-ca-certificates && update-ca-certificates --fresh'],
  ['a reinstallation of ca-certificates', 'apt-get install -y --reinstall /opt/debs/ca-certificates_*.deb'],
] as const) {
  test(`${title} at the same time breaks neither side`, async (t) => {
    const stage = await setNodeStage(t, { 'registry.test': corp });
    await stage.startAgent();
    await stage.says(syncedWith());
    // What counts is what the bundle makes programs trust: two runs at once may also leave a certificate in it twice.
    const look = async () => readBundle(Buffer.from(await stage.node.sh('cat /etc/ssl/certs/ca-certificates.crt')));
    const roots = (await look()).fingerprints.size;
    const theirs = stage.node.sh(command);
    stage.apply({ 'corp.pem': corp.pem });
    await Promise.all([theirs, stage.says(syncedWith(corp))]);
    assert.equal(await stage.pull(stage.registries['registry.test']), 'pulled');
    // Two runs of the tool at once may tear the bundle, whoever starts them; the agent mends what it was part of.
    await until(async () => {
      const { fingerprints, broken } = await look();
      return broken === undefined && fingerprints.size === roots + 1;
    }).catch(async (error: unknown) => {
      const { fingerprints, broken } = await look();
      t.diagnostic(`${roots} roots before, ${fingerprints.size} certificates now, ${JSON.stringify(broken)}`);
      throw error;
    });
    await stage.assertStore([corp], [next]);
  });
}

test('a foreign file of any name in the anchors folder survives everything, and so does its trust', async (t) => {
  const foreign = createCertificate({ subject: 'Foreign Root' });
  const stage = await setNodeStage(t, { 'foreign.test': foreign, 'registry.test': corp });
  const names = ['foreign.crt', 'x', '-rf', '.hidden', 'two words.txt', 'node-trust-notes.txt', 'node-trust-.crt.bak'];
  const content = (name: string): string => (name.endsWith('.crt') ? foreign.pem : 'somebody wrote this\n');
  for (const name of [...names, 'folder/deep.txt']) await stage.node.write(`${anchors}/${name}`, content(name));
  await stage.node.sh(`ln -s /nowhere ${anchors}/dangling && ln -s x ${anchors}/link`);
  const look = (): Promise<string> =>
    stage.node.sh(
      `cd ${anchors} && find . -mindepth 1 ! -name 'node-trust-????????????????.crt' -printf '%p %y %m %i %s %T@ %l\\n' | sort`,
    );
  await stage.node.sh('update-ca-certificates && systemctl restart containerd.service');
  const before = await look();
  stage.apply({ old: corp.pem });
  const agent = await stage.startAgent();
  await stage.says(syncedWith(corp));
  stage.apply({ new: next.pem });
  await stage.says(syncedWith(next));
  stage.labelNode({});
  assert.equal(await agent.stop(), 0);
  assert.equal(stage.read()['state'], 'Disabled');
  assert.equal(await look(), before);
  assert.equal(await stage.pull(stage.registries['foreign.test']), 'pulled');
  assert.equal(await stage.pull(stage.registries['registry.test']), 'x509');
});

// What makes a node let go of its trust, and what does not.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCertificate } from '../support/certificates.ts';
import { syncedWith } from '../support/cluster.ts';
import { until } from '../support/until.ts';
import { setNodeStage } from './support/stage.ts';

const corp = createCertificate({ subject: 'Corp Root' });

test('a pool label that goes away takes the trust with it, while its pod is being deleted', async (t) => {
  const stage = await setNodeStage(t, { 'registry.test': corp });
  const registry = stage.registries['registry.test'];
  const before = await stage.digestStore();
  const bystander = await stage.startBystander();
  const process = await bystander.process();
  stage.apply({ 'corp.pem': corp.pem });
  const agent = await stage.startAgent();
  await stage.says(syncedWith(corp));
  assert.equal(await stage.pull(registry), 'pulled');
  stage.labelNode({ 'kubernetes.io/os': 'linux' });
  assert.equal(await agent.stop(), 0);
  assert.equal(stage.read()['state'], 'Disabled');
  assert.equal(await stage.pull(registry), 'x509');
  assert.equal(await stage.digestStore(), before);
  assert.equal(await bystander.process(), process);
});

test('a deleted DaemonSet takes nothing away, and the next agent has nothing to do', async (t) => {
  const stage = await setNodeStage(t, { 'registry.test': corp });
  stage.apply({ 'corp.pem': corp.pem });
  const agent = await stage.startAgent();
  await stage.says(syncedWith(corp));
  const before = [await stage.digestStore(), await stage.starts(), stage.read()] as const;
  assert.equal(await agent.stop(), 0);
  assert.equal(await stage.digestStore(), before[0]);
  assert.equal(await stage.pull(stage.registries['registry.test']), 'pulled');
  const successor = await stage.startAgent();
  await successor.ready();
  assert.deepEqual([await stage.digestStore(), await stage.starts(), stage.read()], before);
});

test('a dead API server takes nothing away, neither while the agent runs nor when it is told to end', async (t) => {
  const stage = await setNodeStage(t, { 'registry.test': corp });
  const registry = stage.registries['registry.test'];
  stage.apply({ 'corp.pem': corp.pem });
  const agent = await stage.startAgent();
  await stage.says(syncedWith(corp));
  const before = await stage.digestStore();
  await stage.api.refuse();
  await stage.node.sh('systemctl restart containerd.service'); // the agent sees that, and makes a pass
  await until(async () => (await agent.log()).includes('SourceUnavailable'));
  assert.equal(await stage.pull(registry), 'pulled');
  assert.equal(await agent.stop(), 0);
  assert.equal(await stage.pull(registry), 'pulled');
  assert.equal(await stage.digestStore(), before);
});

test('uninstalled, a node has the files that it had, byte for byte, and its Node no annotation of ours', async (t) => {
  const stage = await setNodeStage(t, { 'registry.test': corp });
  const registry = stage.registries['registry.test'];
  const bystander = await stage.startBystander();
  const process = await bystander.process();
  // All but what the runtime and the journal write by themselves, and what this suite puts there.
  const files = (): Promise<string> =>
    stage.node.sh(
      `find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /root -o -path /dev \\) -prune -o -printf '%p %y %l %m %U\\n' | sort > /tmp/names
find /var/lib -path /var/lib/containerd -prune -o -path /var/lib/systemd -prune -o -printf '%p %y %l %m %U\\n' | sort >> /tmp/names
grep -E ' f( |$)' /tmp/names | cut -d' ' -f1 | xargs -d '\\n' sha256sum >> /tmp/names; cat /tmp/names`,
    );
  const before = await files();
  stage.apply({ 'corp.pem': corp.pem });
  const agent = await stage.startAgent();
  await stage.says(syncedWith(corp));
  assert.equal(await stage.pull(registry), 'pulled');
  assert.notEqual(await files(), before);
  assert.equal(await agent.stop(), 0);
  const leaving = await stage.startAgent('--uninstall');
  await leaving.ready();
  assert.equal(await files(), before);
  assert.deepEqual(stage.read(), {});
  assert.equal(await stage.pull(registry), 'x509');
  assert.equal(await bystander.process(), process);
  assert.equal(await leaving.stop(), 0);
  assert.equal(await files(), before);
});

// The main job on a real node, proven through containerd itself: every pull is made by the CRI.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCertificate } from '../support/certificates.ts';
import { secret, syncedWith } from '../support/cluster.ts';
import { setNodeStage } from './support/stage.ts';

const corp = createCertificate({ subject: 'Corp Root' });
/** The usual rotation: another key, the same name. */
const next = createCertificate({ subject: 'Corp Root' });

test('a Secret makes pulls from a private registry work, and no container notices the restart of containerd', async (t) => {
  const stage = await setNodeStage(t, { 'registry.test': corp });
  const registry = stage.registries['registry.test'];
  const bystander = await stage.startBystander();
  const agent = await stage.startAgent();
  await stage.says(syncedWith());
  assert.equal(await stage.pull(registry), 'x509');
  const before = [await agent.process(), await bystander.process(), await stage.starts()] as const;
  stage.apply({ 'corp.pem': corp.pem });
  await stage.says(syncedWith(corp));
  assert.equal(await stage.pull(registry), 'pulled');
  await stage.assertStore([corp], [next]);
  assert.deepEqual([await agent.process(), await bystander.process(), (await stage.starts()) - 1], before);
});

test('a rotation trusts the new root beside the old one, refuses the old one at its end, and costs one restart a change', async (t) => {
  const stage = await setNodeStage(t, { 'old.test': corp, 'new.test': next });
  const pulls = async (): Promise<readonly string[]> => [
    await stage.pull(stage.registries['old.test']),
    await stage.pull(stage.registries['new.test']),
  ];
  const bystander = await stage.startBystander();
  const agent = await stage.startAgent();
  await stage.says(syncedWith());
  const before = [await agent.process(), await bystander.process(), await stage.starts()] as const;
  stage.apply({ old: corp.pem });
  await stage.says(syncedWith(corp));
  assert.deepEqual(await pulls(), ['pulled', 'x509']);
  stage.apply({ old: corp.pem, new: next.pem });
  await stage.says(syncedWith(corp, next));
  assert.deepEqual(await pulls(), ['pulled', 'pulled']);
  await stage.assertStore([corp, next], []);
  stage.apply({ new: next.pem });
  await stage.says(syncedWith(next));
  assert.deepEqual(await pulls(), ['x509', 'pulled']);
  await stage.assertStore([next], [corp]);
  assert.deepEqual([await agent.process(), await bystander.process(), (await stage.starts()) - 3], before);
});

test('a Secret that is removed takes its trust with it, from the store and from containerd', async (t) => {
  const stage = await setNodeStage(t, { 'registry.test': corp });
  const registry = stage.registries['registry.test'];
  const before = await stage.digestStore();
  await stage.startAgent();
  stage.apply({ 'corp.pem': corp.pem }, { metadata: { annotations: { 'node-trust-agent/on-delete': 'remove' } } });
  await stage.says(syncedWith(corp));
  assert.equal(await stage.pull(registry), 'pulled');
  stage.api.delete(secret);
  await stage.says(syncedWith());
  assert.equal(await stage.pull(registry), 'x509');
  assert.equal(await stage.digestStore(), before);
});

test('the same content again and an edit of labels restart nothing and change no file', async (t) => {
  const stage = await setNodeStage(t, { 'registry.test': corp });
  const agent = await stage.startAgent();
  stage.apply({ 'corp.pem': corp.pem });
  await stage.says(syncedWith(corp));
  const before = [await stage.digestStore(), await stage.starts()] as const;
  stage.api.delete(secret);
  await stage.says(({ reason }) => reason === 'SourceDeleted');
  stage.apply({ 'corp.pem': corp.pem });
  await stage.says(syncedWith(corp));
  const read = stage.passes(1);
  stage.apply({ 'corp.pem': corp.pem }, { metadata: { labels: { team: 'platform' } } });
  await read;
  assert.equal(await agent.stop(), 0); // the pass that has read the labels has ended, too
  assert.deepEqual([await stage.digestStore(), await stage.starts()], before);
  assert.equal(await stage.pull(stage.registries['registry.test']), 'pulled');
});

test('a malformed certificate among good ones changes nothing on the host', async (t) => {
  const stage = await setNodeStage(t, { 'registry.test': corp });
  await stage.startAgent();
  stage.apply({ old: corp.pem });
  await stage.says(syncedWith(corp));
  const before = [await stage.digestStore(), await stage.starts()] as const;
  const body = next.pem.split('\n').slice(2, -2).join('\n'); // its first line is missing
  const malformed = `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----\n`;
  stage.apply({ old: corp.pem, new: next.pem, malformed });
  const { reason } = await stage.says(({ state }) => state === 'Rejected');
  assert.equal(reason, 'MalformedCertificate');
  assert.deepEqual([await stage.digestStore(), await stage.starts()], before);
  await stage.assertStore([corp], [next]);
  assert.equal(await stage.pull(stage.registries['registry.test']), 'pulled');
});

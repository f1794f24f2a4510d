// `run --uninstall`: the way out of a cluster. After it the host's files are what they were, byte by byte.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { bootFile } from '../agent/host/boot.ts';
import { createCertificate, type TestCertificate } from './support/certificates.ts';
import { digestTree } from './support/debian.ts';
import { type Stage, setStage } from './support/stage.ts';
import { until } from './support/until.ts';

const [corp, own] = ['Corp Root', 'Own Root'].map((subject) => createCertificate({ subject })) as [
  TestCertificate,
  TestCertificate,
];
const isSynced = ({ state }: Readonly<Record<string, string>>): boolean => state === 'Synced';

async function isReady(started: { readonly [field: string]: unknown } | undefined): Promise<boolean> {
  return (await fetch(`${String(started?.['listen'])}/readyz`)).ok;
}

/** Of all that is not the fake of the machine itself. */
async function files({ sandbox }: Stage): Promise<ReadonlyMap<string, string>> {
  const machine = /^\/(run|usr\/bin|kubeconfig)(\/|$)/;
  return new Map([...(await digestTree(sandbox))].filter(([path]) => !machine.test(path)));
}

async function install(t: TestContext): Promise<Stage> {
  const stage = await setStage(t);
  stage.apply({ 'corp.pem': corp.pem });
  const agent = stage.run();
  await stage.says(isSynced);
  await agent.stop();
  return stage;
}

test('uninstalled, a host has the files that it had, its Node no annotation of ours, and its runtime none of our trust', async (t) => {
  const stage = await setStage(t);
  await stage.sandbox.write('/var/lib/somebody', '');
  const before = await files(stage);
  stage.apply({ 'corp.pem': corp.pem });
  const agent = stage.run();
  await stage.says(isSynced);
  await agent.stop();
  assert.notDeepEqual(await files(stage), before);
  stage.labelNode({}, { retry: 'a word of the operator' });

  const leaving = stage.run({ uninstalls: true });
  await until(async () => leaving.log.some(({ msg }) => msg.startsWith('uninstalled')));
  assert.deepEqual(await files(stage), before);
  assert.deepEqual(stage.read(), {});
  await stage.assertTrusts([], [corp]);
  assert(await isReady(leaving.log[0]));
  await leaving.stop();
  assert.deepEqual(await files(stage), before);
});

test('an agent that uninstalls is not ready, and goes on, while the Node cannot be cleared', async (t) => {
  const stage = await install(t);
  stage.api.fail({ verb: 'patch', resource: 'nodes' }, { kind: 'status', code: 500 });
  const leaving = stage.run({ uninstalls: true });
  await until(async () => leaving.log.some(({ msg }) => msg === 'status not written'));
  await stage.assertTrusts([], [corp]);
  assert.equal(await isReady(leaving.log[0]), false);
});

test('on a distribution that no agent works on there is nothing to take away, and the Node is cleared', async (t) => {
  const stage = await setStage(t);
  await stage.sandbox.write('/etc/os-release', 'ID=slackware\n');
  stage.labelNode({}, { state: 'Failed' });
  const leaving = stage.run({ uninstalls: true });
  await until(async () => leaving.log.some(({ msg }) => msg.startsWith('uninstalled')));
  assert.deepEqual(stage.read(), {});
  assert(await isReady(leaving.log[0]));
});

test("the machine's own certificates stay, and so does what is remembered of them", async (t) => {
  const stage = await setStage(t);
  await stage.sandbox.write(bootFile, own.pem);
  stage.apply({ 'corp.pem': corp.pem });
  const agent = stage.run();
  await stage.says(({ state, certificates }) => state === 'Synced' && certificates === '2');
  await agent.stop();
  const leaving = stage.run({ uninstalls: true });
  await until(async () => leaving.log.some(({ msg }) => msg.startsWith('uninstalled')));
  await stage.assertTrusts([own], [corp]);
  assert.deepEqual(stage.read(), {});
  await leaving.stop();
  const restarts = await stage.restarts();
  stage.api.delete({ kind: 'Secret', namespace: 'kube-system', name: 'custom-ca-trust-secret' });
  stage.run();
  await stage.says(isSynced);
  assert.equal(await stage.restarts(), restarts);
});

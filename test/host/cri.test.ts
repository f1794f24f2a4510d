import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { findCriFault } from '../../agent/host/cri.ts';
import { startCriServer } from '../support/cri-server.ts';

async function createSocketPath(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'node-trust-cri-'));
  t.after(() => rm(folder, { recursive: true }));
  return join(folder, 'containerd.sock');
}

test('a runtime is asked for its version and its status, and is well when it says RuntimeReady', async (t) => {
  const path = await createSocketPath(t);
  await using cri = await startCriServer(path);
  assert.equal(await findCriFault(path), undefined);
  assert.deepEqual(cri.asked, ['Version', 'Status']);
});

test('a runtime that is not ready, and one that does not tell, is not well, in its own words', async (t) => {
  const path = await createSocketPath(t);
  await using cri = await startCriServer(path);
  cri.say(false);
  assert.equal(await findCriFault(path), 'CRI Status: RuntimeReady is false: PluginBroken');
  cri.say('nothing');
  assert.equal(await findCriFault(path), 'CRI Status tells no RuntimeReady');
});

test('a runtime without CRI is none that a kubelet uses', async (t) => {
  const path = await createSocketPath(t);
  await using cri = await startCriServer(path);
  cri.say('none');
  assert.match((await findCriFault(path)) ?? '', /^it serves no CRI/);
});

test('a socket behind which nobody listens is a fault', async (t) => {
  assert.match((await findCriFault(await createSocketPath(t))) ?? '', /^CRI does not answer: /);
});

// The daemon as a process: killed, told to end, doubled. What is on disk must be enough.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createCertificate } from './support/certificates.ts';
import { type Stage, setStage } from './support/stage.ts';

const corp = createCertificate({ subject: 'Corp Root' });
const next = createCertificate({ subject: 'Corp Root' });

/** The sandbox's own tool: tells that it runs, waits until it may go on, and then does the machine's work. */
async function slowTool({ sandbox }: Stage): Promise<{ started(): Promise<void>; goOn(): Promise<void> }> {
  const [running, may] = [sandbox.at('/run/tool-runs'), sandbox.at('/run/tool-may-end')];
  const isReal = 'case "$2" in *stage*) ;; *)';
  const wait = `echo > '${running}'; while [ ! -e '${may}' ]; do sleep 0.05; done;;`;
  // Where nobody reads its output any more the tool dies, and leaves its temporary files.
  const tmp = `export TMPDIR='${sandbox.at('/run')}'`;
  const script = `#!/bin/sh\n${isReal} ${wait} esac\n${tmp}\nexec /usr/sbin/update-ca-certificates "$@"\n`;
  await sandbox.write('/usr/sbin/update-ca-certificates', script, 0o755);
  return {
    async started() {
      while (!(await sandbox.list('/run')).includes('tool-runs')) await delay(5);
    },
    goOn: () => sandbox.write('/run/tool-may-end', ''),
  };
}

for (const sentence of [/^record which .* before/, /^write /, /^rebuild /, /^record which .* after/, /^restart /]) {
  test(`kill -9 right after the step ${sentence.source}, then a start, ends synced with at most one restart more`, async (t) => {
    const stage = await setStage(t);
    stage.apply({ old: corp.pem });
    const first = stage.spawn();
    await stage.says(({ state }) => state === 'Synced');
    const before = first.log.length;
    stage.apply({ new: next.pem });
    await first.said(({ msg, step }, index) => index >= before && msg === 'step done' && sentence.test(String(step)));
    first.kill('SIGKILL');
    await first.ended;
    stage.spawn();
    await stage.says(({ state, details }) => state === 'Synced' && details?.includes('"entry":"new"') === true);
    await stage.assertTrusts([next], [corp]);
    assert((await stage.restarts()) <= 3);
  });
}

test('kill -9 in the middle of the rebuild, then a start, ends synced, and the dead owner of the lock is no obstacle', async (t) => {
  const stage = await setStage(t);
  const tool = await slowTool(stage);
  stage.apply({ old: corp.pem });
  const first = stage.spawn();
  await tool.started();
  first.kill('SIGKILL');
  await first.ended;
  await tool.goOn();
  stage.spawn();
  await stage.says(({ state }) => state === 'Synced');
  await stage.assertTrusts([corp], []);
});

test('SIGTERM lets the step under way come to its end, a second SIGTERM changes nothing, and the exit code is 0', async (t) => {
  const stage = await setStage(t);
  const tool = await slowTool(stage);
  stage.apply({ old: corp.pem });
  const agent = stage.spawn();
  await tool.started();
  agent.kill('SIGTERM');
  agent.kill('SIGTERM');
  await tool.goOn();
  const { code, signal } = await agent.ended;
  assert.deepEqual([code, signal], [0, null]);
  assert(
    (await stage.sandbox.read('/etc/ssl/certs/ca-certificates.crt')).includes(corp.pem),
    'the rebuild was not cut off',
  );
  assert.equal(await stage.restarts(), 0, 'and nothing was begun after it');
  assert.deepEqual(await stage.sandbox.list('/var/lib/node-trust-agent'), ['state.json'], 'the lock is gone');
});

test('a second agent on the host is told who holds it, and the first is not disturbed', async (t) => {
  const stage = await setStage(t);
  stage.apply({ old: corp.pem });
  const first = stage.spawn();
  await stage.says(({ state }) => state === 'Synced');
  const second = stage.spawn();
  const refused = await second.said(({ reason }) => reason === 'HostLocked');
  assert.match(String(refused['message']), new RegExp(`PID ${first.pid}\\b`));
  await stage.assertTrusts([corp], []);
  first.kill('SIGTERM');
  await first.ended;
});

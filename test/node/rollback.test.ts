// A change of trust as a transaction, with a real containerd: what does not work is undone, and no crash leaves a half of it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCertificate } from '../support/certificates.ts';
import { syncedWith } from '../support/cluster.ts';
import { setNodeStage } from './support/stage.ts';

const corp = createCertificate({ subject: 'Corp Root' });
const unwanted = createCertificate({ subject: 'Unwanted Root' });

test('a containerd that does not come up with an added root is brought up without it, and told', async (t) => {
  const stage = await setNodeStage(t, { 'registry.test': corp });
  const registry = stage.registries['registry.test'];
  await stage.startAgent('--health-timeout=8s');
  stage.apply({ 'corp.pem': corp.pem });
  await stage.says(syncedWith(corp));
  const bystander = await stage.startBystander();
  const process = await bystander.process();
  const line = unwanted.pem.split('\n')[2] ?? '';
  await stage.node.write('/root/refuse', `#!/bin/sh\n! grep -qF '${line}' /etc/ssl/certs/ca-certificates.crt\n`, 0o755);
  const dropIn = '/etc/systemd/system/containerd.service.d/refuse.conf';
  await stage.node.write(dropIn, '[Service]\nExecStartPre=/root/refuse\n');
  await stage.node.sh('systemctl daemon-reload');

  stage.apply({ 'corp.pem': corp.pem, 'unwanted.pem': unwanted.pem });
  const told = await stage.says(({ state }) => state === 'Failed');
  assert.equal(told['reason'], 'RolledBack');
  assert.match(told['message'] ?? '', /CN=Unwanted Root.* since RuntimeUnhealthy: containerd\.service/);
  assert.equal(told['certificates'], '1');
  await stage.assertStore([corp], [unwanted]);
  assert.equal(await stage.pull(registry), 'pulled');
  assert.equal(await bystander.process(), process);
  const starts = await stage.starts();
  /** Wakes the agent. */
  const edit = (): Promise<void> => {
    const passed = stage.passes(1);
    stage.apply(
      { 'corp.pem': corp.pem, 'unwanted.pem': unwanted.pem },
      { metadata: { labels: { edit: `${Date.now()}` } } },
    );
    return passed;
  };
  await edit();
  await edit(); // so the pass after the first has ended
  assert.equal(await stage.starts(), starts, 'it is held');

  await stage.node.sh(`rm ${dropIn} && systemctl daemon-reload`);
  stage.labelNode(stage.poolLabel, { retry: 'please' });
  await edit();
  await stage.says(syncedWith(corp, unwanted));
  await stage.assertStore([corp, unwanted], []);
});

test('kill -9 at every step of a rotation, then a start, ends synced', async (t) => {
  const stage = await setNodeStage(t, { 'registry.test': corp });
  const registry = stage.registries['registry.test'];
  let agent = await stage.startAgent();
  let old = createCertificate({ subject: 'Root 0' });
  stage.apply({ corp: corp.pem, other: old.pem });
  await stage.says(syncedWith(corp, old));
  for (const steps of [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]) {
    const next = createCertificate({ subject: `Root ${steps}` });
    const killed = await agent.killAfter(steps);
    stage.apply({ corp: corp.pem, other: next.pem });
    t.diagnostic(`killed after: ${await killed.done}`);
    agent = await stage.startAgent();
    await stage.says(syncedWith(corp, next));
    await stage.assertStore([corp, next], [old]);
    assert.equal(await stage.pull(registry), 'pulled');
    await agent.ready();
    old = next;
  }
});

// The doctor in the agent's pod, against what containerd itself says of the same registry at the same moment.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { podProgram } from '../../agent/cli/doctor-on-node.ts';
import type { Report } from '../../agent/doctor/report.ts';
import { createCertificate } from '../support/certificates.ts';
import { syncedWith } from '../support/cluster.ts';
import { until } from '../support/until.ts';
import type { Registry } from './support/registry.ts';
import { type RunningAgent, setNodeStage } from './support/stage.ts';

const corp = createCertificate({ subject: 'Corp Root' });
const other = createCertificate({ subject: 'Other Root' });
const dropIn = '/etc/systemd/system/containerd.service.d/50-doctor.conf';

/** As `kubectl exec` runs it in the pod. */
async function ask(agent: RunningAgent, target: string): Promise<Report> {
  const { stdout, stderr } = await agent.exec([...podProgram, 'doctor', '--json', target]);
  assert.match(stdout, /^\{/, stderr);
  return JSON.parse(stdout) as Report;
}

test('the doctor names the link from which containerd suffers, and none where it does not', async (t) => {
  const stage = await setNodeStage(t, { 'registry.test': corp, 'other.test': other });
  const { 'registry.test': registry, 'other.test': foreign } = stage.registries;
  const agent = await stage.startAgent();
  await stage.says(syncedWith());
  /** What containerd says, and what the doctor says. */
  const both = async (asked: Registry): Promise<readonly [string, string | undefined]> => {
    const { diagnosis, checks } = await ask(agent, asked.image);
    const fails = checks.filter(({ status }) => status === 'fail').map(({ code }) => code);
    assert.deepEqual(fails, diagnosis?.status === 'fail' ? [diagnosis.code] : [], JSON.stringify(checks, null, 1));
    return [await stage.pull(asked), diagnosis?.code];
  };
  const restart = async (): Promise<void> => {
    await stage.node.sh('systemctl daemon-reload && systemctl restart containerd.service');
    // The socket is there before the CRI is.
    await until(() =>
      agent.pid().then(
        () => true,
        () => false,
      ),
    );
  };
  assert.deepEqual(await both(registry), ['x509', 'UnknownRoot']);
  stage.apply({ 'corp.pem': corp.pem.replaceAll('\n', '\r\n') });
  await stage.says(({ state }) => state === 'Rejected');
  assert.deepEqual(await both(registry), ['x509', 'SecretRejected']);
  stage.apply({ 'corp.pem': corp.pem });
  await stage.says(syncedWith(corp));
  assert.deepEqual(await both(registry), ['pulled', undefined]);

  await stage.node.write(dropIn, '[Service]\nEnvironment=SSL_CERT_FILE=/root/other.pem SSL_CERT_DIR=/nowhere\n');
  await stage.node.write('/root/other.pem', other.pem);
  await restart();
  assert.deepEqual(await both(registry), ['x509', 'OtherStoreLacksRoot']);
  await stage.node.sh(`rm ${dropIn}`);
  await restart();
  // Go reads the store at its first use.
  assert.deepEqual(await both(registry), ['pulled', undefined]);

  await stage.node.write('/usr/local/share/ca-certificates/admins.crt', other.pem);
  await stage.node.sh('update-ca-certificates');
  assert.deepEqual(await both(foreign), ['x509', 'RuntimeOlderThanStore']);
  await restart();
  assert.deepEqual(await both(foreign), ['pulled', undefined]);
});

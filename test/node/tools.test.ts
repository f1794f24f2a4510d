// The commands for whoever is on call, on a real node: from a failing pull to one that works, and what only a running runtime can
// tell. The doctor looks from within the agent's pod, as `kubectl exec` puts it there, or on the node itself.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { podProgram } from '../../agent/cli/doctor-on-node.ts';
import type { Report } from '../../agent/doctor/report.ts';
import { writeKubeconfig } from '../support/api-fixture.ts';
import type { ObjectInput } from '../support/api-server.ts';
import { createCertificate } from '../support/certificates.ts';
import { syncedWith } from '../support/cluster.ts';
import { nodeTrust } from '../support/command-line.ts';
import type { Executed } from './support/cri.ts';
import { agentImage, importedName } from './support/images.ts';
import { type NodeStage, type RunningAgent, setNodeStage } from './support/stage.ts';

const corp = createCertificate({ subject: 'Corp Root' });

test('a failing pull: doctor names the root, secret makes the Secret, status waits for it, and the pull works', async (t) => {
  const stage = await setNodeStage(t, { 'registry.test': corp });
  const registry = stage.registries['registry.test'];
  const agent = await stage.startAgent();
  await stage.says(syncedWith());
  assert.equal(await stage.pull(registry), 'x509');
  const sick = await askInPod(agent, registry.image);
  assert.deepEqual([sick.diagnosis?.code, failing(sick)], ['UnknownRoot', ['secret']]);
  const { code, out, err } = await nodeTrust(['secret', '--json', '-'], corp.pem);
  assert.equal(code, 0, err);
  stage.api.put(JSON.parse(out) as ObjectInput);
  const kubeconfig = writeKubeconfig(t, stage.api.kubeconfig());
  const watched = await nodeTrust(['status', '--watch', '--timeout', '4m', '--kubeconfig', kubeconfig]);
  assert.equal(watched.code, 0, watched.out + watched.err);
  assert.equal(await stage.pull(registry), 'pulled');
  const well = await askInPod(agent, registry.image);
  assert.deepEqual([well.healthy, failing(well)], [true, []]);
});

test('a runtime that an agent has not restarted yet is what doctor names, on the node itself', async (t) => {
  const stage = await setNodeStage(t, { 'registry.test': corp });
  const registry = stage.registries['registry.test'];
  const agent = await stage.startAgent('--spread=500h');
  await stage.says(syncedWith());
  assert.equal(await stage.pull(registry), 'x509', 'Go reads the roots at the first use');
  stage.apply({ 'corp.pem': corp.pem });
  await stage.says(({ state }) => state === 'Waiting');
  assert.equal(await stage.pull(registry), 'x509');
  const stale = await askOnNode(stage, registry.image);
  assert.deepEqual([stale.diagnosis?.code, failing(stale)], ['RuntimeStale', ['runtime']]);
  assert.match(stale.diagnosis?.command ?? '', /systemctl restart containerd\.service/);
  assert.equal(await agent.stop(), 0);
  await stage.startAgent();
  await stage.says(syncedWith(corp));
  assert.equal((await askOnNode(stage, registry.image)).healthy, true);
});

function failing({ checks }: Report): readonly string[] {
  return checks.flatMap(({ check, status }) => (status === 'fail' ? [check] : []));
}

async function askInPod(agent: RunningAgent, target: string): Promise<Report> {
  return parse(await agent.exec([...podProgram, 'doctor', '--json', target]));
}

/** With the program out of the agent's image, as docs/uninstalling.md has it. */
async function askOnNode({ node, api }: NodeStage, target: string): Promise<Report> {
  const image = importedName(await agentImage());
  await node.write('/root/kubeconfig', api.kubeconfig());
  await node.sh(`mkdir -p /mnt/node-trust && ctr -n k8s.io images mount ${image} /mnt/node-trust`);
  const asked = await node.exec(
    `cd /mnt/node-trust/usr && NODE_NAME=none LD_LIBRARY_PATH=$PWD/lib local/bin/node local/lib/node-trust.mjs doctor --json --kubeconfig /root/kubeconfig ${target}`,
  );
  await node.sh('ctr -n k8s.io images unmount --rm /mnt/node-trust');
  return parse(asked);
}

function parse({ exitCode, stdout, stderr }: Executed): Report {
  assert.ok(exitCode === 0 || exitCode === 1, stderr);
  const report = JSON.parse(stdout) as Report;
  assert.equal(exitCode === 0, report.healthy);
  return report;
}

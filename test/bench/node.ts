// How long a change of the Secret takes on a real node until a pull works, next to the same by hand. Docker's engine is
// needed; without one the rows are left out, and it is said.

import { findEngine, removeContainers } from '../node/support/engine.ts';
import type { Registry } from '../node/support/registry.ts';
import { createNodeStage, type NodeStage } from '../node/support/stage.ts';
import { createCertificate } from '../support/certificates.ts';
import { syncedWith } from '../support/cluster.ts';
import { type Row, ratio, time } from './rows.ts';

const rounds = 3;
const corp = createCertificate({ subject: 'Corp Root' });
const byHand = '/usr/local/share/ca-certificates/by-hand.crt';
/** So many restarts are more than the unit's start limit lets pass. */
const load =
  'update-ca-certificates && systemctl reset-failed containerd.service && systemctl restart containerd.service';

export async function measureNode(): Promise<readonly Row[]> {
  await using cleanup = new AsyncDisposableStack();
  const engine = await findEngine();
  if (engine.kind === 'none') {
    process.stderr.write(`left out: what a real node takes, since ${engine.why}; to have it, ${engine.remedy}\n`);
    return [];
  }
  cleanup.use(engine);
  cleanup.defer(removeContainers);
  const stage = await createNodeStage({ 'registry.test': corp }, cleanup);
  const registry = stage.registries['registry.test'];
  const bare: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    await stage.node.write(byHand, corp.pem);
    bare.push(await time(() => stage.node.sh(load).then(() => untilPulled(stage, registry))));
    await stage.node.sh(`rm ${byHand} && ${load}`);
  }
  await stage.startAgent();
  await stage.says(syncedWith());
  const [pulled, synced]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round += 1) {
    stage.apply({ 'corp.pem': corp.pem });
    const told = time(() => stage.says(syncedWith(corp)));
    pulled.push(await time(() => untilPulled(stage, registry)));
    synced.push(await told);
    stage.apply({ 'other.pem': createCertificate().pem });
    await stage.says((annotations) => annotations['state'] === 'Synced' && !syncedWith(corp)(annotations));
  }
  const pairs = (ours: readonly number[]) =>
    ours.map((time, index) => ({ ours: time, bare: bare[index] ?? Number.NaN }));
  return [
    ratio('on a real node, a change of the Secret until Synced', pairs(synced), 'by hand until a pull works'),
    ratio('the same until a pull works', pairs(pulled), 'by hand'),
  ];
}

/** containerd is gone for a moment while it is restarted. */
async function untilPulled(stage: NodeStage, registry: Registry): Promise<void> {
  while ((await stage.pull(registry).catch(() => 'x509')) !== 'pulled');
}

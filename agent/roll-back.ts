// The other half of a transaction: certificates that were added since the last proof and cannot be brought into use are taken
// away again. What was taken away stays away. A rollback is tried once; one that fails says so and is held. docs/adr/0007.

import { AgentError } from './errors.ts';
import { createBundle, type TrustBundle } from './trust/bundle.ts';
import type { Certificate } from './trust/certificate.ts';
import { anchorName, type Observation } from './trust/observation.ts';
import { planUndo, type Step } from './trust/plan.ts';
import type { OperationalCode } from './trust/reasons.ts';
import type { Carried } from './trust/report.ts';

export interface Aims {
  readonly desired: TrustBundle;
  /** The names of our anchors when all was proven last. */
  readonly proven: ReadonlySet<string>;
}

export interface Means {
  /** Carries out steps in order, a restart at once. */
  run(steps: readonly Step[]): Promise<Carried>;
  observe(): Promise<Observation>;
}

/** Nothing is wrong with what was added, or nothing could be undone either: it stays for the next try. */
const blameless: ReadonlySet<OperationalCode> = new Set([
  'RuntimeUnknown',
  'StoreBrokenBefore',
  'StoreUnreadable',
  'AnchorsReadOnly',
  'ToolMissing',
]);

/** What is to be told of a failure, after what was added and is to blame is gone; and the host as it is then. */
export async function rollBack(
  error: AgentError,
  { desired, proven }: Aims,
  after: Observation,
  { run, observe }: Means,
): Promise<{ readonly error: AgentError; readonly after: Observation }> {
  const isProven = ({ fingerprint }: Certificate): boolean => proven.has(anchorName(fingerprint));
  const added = desired.certificates.filter((certificate) => !isProven(certificate));
  const kept = createBundle(desired.certificates.filter(isProven));
  if (blameless.has(error.code) || !added.some((certificate) => isOnHost(certificate, after))) return { error, after };

  const wasRestarted = after.record.restarted?.bundle === desired.digest;
  const plan = planUndo(kept, after, wasRestarted);
  const store = await run(plan.store);
  // A runtime that is down because of what was added must come up again, even if the store cannot be rebuilt. One that was not
  // restarted has nothing to forget but what was withdrawn meanwhile.
  const isWithdrawn = kept.certificates.length < proven.size;
  const runtime = wasRestarted || (store.kind === 'done' && isWithdrawn) ? await run(plan.runtime) : undefined;
  const undone = await observe();
  const evidence = `${error.code}: ${error.message}`;
  const isGone = !added.some((certificate) => isOnHost(certificate, undone));
  if (isGone && runtime?.kind !== 'failed') {
    const names = added.map(({ subject }) => subject).join('; ');
    return {
      error: new AgentError('RolledBack', { added: names, evidence }, { retry: error.retry, cause: error }),
      after: undone,
    };
  }
  const failed = [store, runtime].find((part) => part?.kind === 'failed');
  const why = failed?.kind === 'failed' ? `${failed.error.code}: ${failed.error.message}` : 'it is still on the host';
  return {
    error: new AgentError('RollbackFailed', { cause: evidence, evidence: why }, { cause: error }),
    after: undone,
  };
}

/** As an anchor, as what the tool made of one, or in the bundle without anybody's file. */
function isOnHost({ fingerprint }: Certificate, { store }: Observation): boolean {
  const name = anchorName(fingerprint);
  return (
    store.anchors.some((anchor) => anchor.name === name) ||
    store.derived.includes(name) ||
    store.returned.includes(fingerprint)
  );
}

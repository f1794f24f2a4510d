// The other half of a transaction: certificates that were added since the last proof and cannot be brought into use are taken
// away again. What was taken away stays away. A rollback is noted before it begins, and ended by whoever comes after a crash;
// it is tried once, and one that fails says so and is held. docs/adr/0007.

import { AgentError } from './errors.ts';
import { createBundle, type TrustBundle } from './trust/bundle.ts';
import type { Certificate } from './trust/certificate.ts';
import { anchorName, type Observation } from './trust/observation.ts';
import { planTrust, planUndo, type Step } from './trust/plan.ts';
import type { OperationalCode } from './trust/reasons.ts';
import type { Carried } from './trust/report.ts';
import type { Undoing } from './trust/status.ts';

export interface Aims {
  readonly desired: TrustBundle;
  /** The names of our anchors when all was proven last. */
  readonly proven: ReadonlySet<string>;
  /** The last wish to try again. */
  readonly retryMark: string;
}

export interface Means {
  /** Before anything is undone, with what goes; where it cannot be written, a crash costs another try. */
  note(undoing: Undoing, going: readonly Certificate[]): Promise<void>;
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
export async function rollBack(error: AgentError, aims: Aims, after: Observation, means: Means): Promise<Undone> {
  const { added } = divide(aims);
  if (blameless.has(error.code) || !added.some((certificate) => isOnHost(certificate, after))) return { error, after };
  const { desired, retryMark } = aims;
  const wasRestarted = after.record.restarted?.bundle === desired.digest;
  const evidence = `${error.code}: ${error.message}`;
  const undoing = { bundle: desired.digest, retryMark, evidence, retry: error.retry, wasRestarted };
  await means.note(undoing, added);
  return endRollBack(undoing, aims, after, means);
}

export interface Undone {
  readonly error: AgentError;
  readonly after: Observation;
  /** What is left, where the host is proven to trust that: no later rollback has to rid the runtime of anything else. */
  readonly proven?: readonly Certificate[];
}

/** A rollback from its beginning, or from where a crash has left it. */
export async function endRollBack(
  { evidence, retry, wasRestarted }: Undoing,
  aims: Aims,
  before: Observation,
  { run, observe }: Means,
): Promise<Undone> {
  const { kept, added } = divide(aims);
  const plan = planUndo(kept, before, wasRestarted);
  const store = await run(plan.store);
  // A runtime that is down because of what was added must come up again, even if the store cannot be rebuilt. One that was not
  // restarted has nothing to forget but what was withdrawn meanwhile.
  const isWithdrawn = kept.certificates.length < aims.proven.size;
  const runtime = wasRestarted || (store.kind === 'done' && isWithdrawn) ? await run(plan.runtime) : undefined;
  const after = await observe();
  const isGone = !added.some((certificate) => isOnHost(certificate, after));
  if (isGone && runtime?.kind !== 'failed') {
    const names = added.map(({ subject }) => subject).join('; ');
    const error = new AgentError('RolledBack', { added: names, evidence, isHeld: retry === 'content' }, { retry });
    return planTrust(kept, after).length === 0 ? { error, after, proven: kept.certificates } : { error, after };
  }
  const failed = [store, runtime].find((part) => part?.kind === 'failed');
  const why = failed?.kind === 'failed' ? `${failed.error.code}: ${failed.error.message}` : 'it is still on the host';
  return { error: new AgentError('RollbackFailed', { cause: evidence, evidence: why }), after };
}

/** What stays, desired and proven, and what was added since. */
function divide({ desired, proven }: Aims): { readonly kept: TrustBundle; readonly added: readonly Certificate[] } {
  const isProven = ({ fingerprint }: Certificate): boolean => proven.has(anchorName(fingerprint));
  const kept = createBundle(desired.certificates.filter(isProven));
  return { kept, added: desired.certificates.filter((certificate) => !isProven(certificate)) };
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

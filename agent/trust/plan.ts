// What is to be done on a host so that it trusts the desired bundle, as data: pure, without a clock, and empty exactly
// when nothing is left to do. An empty plan over a fresh observation is therefore the proof that the host is in sync.
// Whether the runtime is stale follows from recorded facts (docs/adr/0004), never from times.

import type { BundleDigest, TrustBundle } from './bundle.ts';
import type { Certificate } from './certificate.ts';
import {
  type AnchorName,
  anchorName,
  type Observation,
  type RuntimeRecord,
  type StoreObservation,
} from './observation.ts';

export type Step =
  | {
      readonly kind: 'stage-store';
      readonly certificates: readonly Certificate[];
      readonly without: readonly AnchorName[];
    }
  | { readonly kind: 'note-before'; readonly bundle: BundleDigest }
  | { readonly kind: 'write-anchor'; readonly certificate: Certificate }
  | { readonly kind: 'unindex'; readonly names: readonly AnchorName[] }
  | { readonly kind: 'remove-anchor'; readonly name: AnchorName }
  | {
      readonly kind: 'rebuild-store';
      readonly certificates: readonly Certificate[];
      readonly withdrawn: readonly AnchorName[];
      /** Anchors that are left to somebody who fights over them. */
      readonly leftAlone: readonly AnchorName[];
    }
  | { readonly kind: 'reindex' }
  | { readonly kind: 'note-after'; readonly bundle: BundleDigest }
  | {
      readonly kind: 'restart-runtime';
      readonly unit: string;
      readonly bundle: BundleDigest;
      /** Which process is to go: where another runs meanwhile, nothing is restarted. Undefined: whatever runs or does not. */
      readonly stale: string | undefined;
    }
  | { readonly kind: 'await-healthy'; readonly unit: string }
  | {
      readonly kind: 'note-loaded';
      readonly unit: string;
      readonly bundle: BundleDigest;
      /** What the store must be still for the note to be true; undefined: as the rebuild in this plan has left it. */
      readonly version: string | undefined;
    }
  | { readonly kind: 'await-runtime'; readonly unit: string; readonly evidence: string };

export function planTrust(desired: TrustBundle, observed: Observation): readonly Step[] {
  const store = planStore(desired, observed);
  const rebuilds = store.some(({ kind }) => kind === 'rebuild-store');
  return [...store, ...planRuntime(desired, observed, rebuilds)];
}

/**
 * The order never lets go of trust that stays: what comes is written first; what goes leaves the index, then the anchors,
 * and only then the bundle (two roots of one subject share a hash, so the index must be mended before the anchor goes).
 */
function planStore(desired: TrustBundle, { store, record }: Observation): Step[] {
  const wanted = new Map(desired.certificates.map((certificate) => [anchorName(certificate.fingerprint), certificate]));
  const intact = new Set(
    store.anchors.flatMap(({ name, certificate }) =>
      certificate !== undefined && wanted.get(name)?.fingerprint === certificate.fingerprint ? [name] : [],
    ),
  );
  const missing = [...wanted].filter(([name]) => !intact.has(name)).map(([, certificate]) => certificate);
  const surplus = store.anchors.map(({ name }) => name).filter((name) => !wanted.has(name));
  const returned = store.returned.map(anchorName).filter((name) => !wanted.has(name));
  const misindexed = store.derived.filter((name) => !wanted.has(name));
  // Written again, an anchor is found by the link that it had; the links by what it held meanwhile go afterwards.
  const spoiled = store.anchors.some(({ name }) => wanted.has(name) && !intact.has(name));
  const untrusted = desired.certificates.filter(({ fingerprint }) => !store.bundle.has(fingerprint));
  const unindexed = desired.certificates.some(
    ({ fingerprint }) => intact.has(anchorName(fingerprint)) && !store.indexed.has(fingerprint),
  );

  // All that goes, since somebody's run of the tool may index what was not when it was looked at.
  const leaving = [...new Set([...misindexed, ...surplus])];
  const unindex: Step[] = leaving.length > 0 ? [{ kind: 'unindex', names: leaving }] : [];
  const reindex: Step[] = unindexed || spoiled ? [{ kind: 'reindex' }] : [];
  const changes = [missing, surplus, untrusted, returned].some(({ length }) => length > 0);
  if (!changes && !isRebuildOpen(desired, record)) return [...unindex, ...reindex];
  const stage: Step[] = changes ? [{ kind: 'stage-store', certificates: desired.certificates, without: surplus }] : [];
  return [
    ...stage,
    { kind: 'note-before', bundle: desired.digest },
    ...missing.map((certificate): Step => ({ kind: 'write-anchor', certificate })),
    ...unindex,
    ...surplus.map((name): Step => ({ kind: 'remove-anchor', name })),
    { kind: 'rebuild-store', certificates: desired.certificates, withdrawn: [...surplus, ...returned], leftAlone: [] },
    ...reindex,
    { kind: 'note-after', bundle: desired.digest },
  ];
}

/** A rebuild to this bundle was begun and not ended, or is not known to have been made. */
function isRebuildOpen(desired: TrustBundle, { rebuild }: RuntimeRecord): boolean {
  if (rebuild === undefined) return desired.certificates.length > 0;
  return rebuild.bundle !== desired.digest || rebuild.after === undefined;
}

function planRuntime(desired: TrustBundle, { store, runtime, record }: Observation, rebuilds: boolean): Step[] {
  const untouched = record.rebuild === undefined && !rebuilds;
  if (runtime.kind === 'none' || untouched) return [];
  const { unit } = runtime;
  if (runtime.kind !== 'running') {
    const isOurs = record.restarted?.bundle === desired.digest;
    return [isOurs ? { kind: 'await-healthy', unit } : { kind: 'await-runtime', unit, evidence: runtime.evidence }];
  }
  const version = rebuilds ? undefined : store.version;
  const load = loadSteps(unit, desired, version);
  switch (loadedBy(runtime.invocationId, record, desired.digest, rebuilds ? undefined : store)) {
    case 'noted':
      return [];
    case 'rewritten':
      return load.filter(({ kind }) => kind === 'note-loaded');
    case 'follows':
      return load;
    default:
      return [{ kind: 'restart-runtime', unit, bundle: desired.digest, stale: runtime.invocationId }, ...load];
  }
}

function loadSteps(unit: string, { digest }: TrustBundle, version: string | undefined): Step[] {
  return [
    { kind: 'await-healthy', unit },
    { kind: 'note-loaded', unit, bundle: digest, version },
  ];
}

/**
 * Back to a part of what is there. Nothing is staged, since the store without what goes was there before; and a runtime that
 * was restarted for what goes is restarted once more, in whatever state it is, unless it was already and is not down.
 */
export function planUndo(
  kept: TrustBundle,
  observed: Observation,
  wasRestarted: boolean,
): { readonly store: readonly Step[]; readonly runtime: readonly Step[] } {
  const store = planStore(kept, observed).filter(({ kind }) => kind !== 'stage-store');
  const { runtime, record } = observed;
  const isRestartedBack = record.restarted?.bundle === kept.digest && runtime.kind !== 'stopped';
  if (!wasRestarted || isRestartedBack || runtime.kind === 'none')
    return {
      store,
      runtime: planRuntime(
        kept,
        observed,
        store.some(({ kind }) => kind === 'rebuild-store'),
      ),
    };
  const { unit } = runtime;
  const restart: Step = { kind: 'restart-runtime', unit, bundle: kept.digest, stale: undefined };
  return { store, runtime: [restart, ...loadSteps(unit, kept, undefined)] };
}

/**
 * Whether the running process loaded the desired bundle when it started: it is noted so, and keeps what it loaded if somebody
 * has rewritten the store since; or it follows, since it started after the end of the rebuild, being neither of the
 * processes seen before and after, and nobody has written the store since, or another one than before our own restart with
 * the store as it is; or it is stale.
 */
function loadedBy(
  invocationId: string,
  { rebuild, loaded, restarted }: RuntimeRecord,
  bundle: BundleDigest,
  store: StoreObservation | undefined,
): 'noted' | 'rewritten' | 'follows' | 'stale' {
  const version = store?.version;
  if (loaded?.invocationId === invocationId) {
    if (loaded.bundle !== bundle || (store !== undefined && hasLost(store, loaded.besides))) return 'stale';
    return version === undefined || version === loaded.version ? 'noted' : 'rewritten';
  }
  if (version === undefined || rebuild?.after === undefined) return 'stale';
  const isRestarted = restarted?.bundle === bundle && restarted.version === version;
  if (isRestarted && restarted.before !== 'unknown' && restarted.before !== invocationId) return 'follows';
  const seen = new Set([rebuild.before, rebuild.after]);
  const isLater = !seen.has(invocationId) && !seen.has('unknown');
  const isSame = version === rebuild.version || (loaded?.bundle === bundle && version === loaded.version);
  return isLater && isSame ? 'follows' : 'stale';
}

/** What was withdrawn and was in the store for somebody else's sake is there no more. One that cannot be read tells nothing. */
function hasLost({ bundle, stillTrusted }: StoreObservation, besides: readonly AnchorName[] = []): boolean {
  const there = new Set([...bundle, ...stillTrusted.map(({ fingerprint }) => fingerprint)].map(anchorName));
  return bundle.size > 0 && besides.some((name) => !there.has(name));
}

/** What disturbs nobody is done in a world, too, in which something else has failed. */
export function isHarmless({ kind }: Step): boolean {
  return kind === 'note-loaded' || kind === 'await-healthy' || kind === 'unindex' || kind === 'reindex';
}

/** The sentence for a step: logs, `--dry-run` and tests say the same. */
export function describeStep(step: Step): string {
  switch (step.kind) {
    case 'stage-store':
      return `build the new store beside the real one and verify it (${count(step.certificates.length, 'certificate')} of ours)`;
    case 'note-before':
      return `record which process of the runtime runs before the rebuild to ${step.bundle.slice(0, 19)}`;
    case 'write-anchor':
      return `write ${anchorName(step.certificate.fingerprint)} (${step.certificate.subject})`;
    case 'unindex':
      return `take ${step.names.join(', ')} out of the store's index`;
    case 'remove-anchor':
      return `remove ${step.name}`;
    case 'rebuild-store':
      return `rebuild the store and read back ${count(step.certificates.length, 'certificate')} of ours`;
    case 'reindex':
      return "mend the store's index";
    case 'note-after':
      return `record which process of the runtime runs after the rebuild to ${step.bundle.slice(0, 19)}`;
    case 'restart-runtime':
      return `restart ${step.unit} so that it loads the store`;
    case 'await-healthy':
      return `wait until ${step.unit} is healthy`;
    case 'note-loaded':
      return `record that the running ${step.unit} loaded ${step.bundle.slice(0, 19)}`;
    case 'await-runtime':
      return `wait for ${step.unit}: ${step.evidence}`;
    default:
      return step satisfies never;
  }
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

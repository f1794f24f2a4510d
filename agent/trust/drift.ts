// What somebody else has changed on a host that was proven, and when it is left to him: a path that had to be repaired five times
// within ten minutes is somebody's who means it, and is left alone until fewer of the repairs are that young. Pure.

import { createBundle, type TrustBundle } from './bundle.ts';
import { type AnchorName, anchorName, anchorNames, type Observation } from './observation.ts';
import { isHarmless, planTrust, type Step } from './plan.ts';
import type { Provenance } from './provenance.ts';
import type { Carried } from './report.ts';

export interface Drift {
  readonly kind: 'anchor' | 'bundle' | 'link';
  /** Of an anchor or a link. */
  readonly name?: AnchorName;
  readonly path: string;
  /** What was found, for people. */
  readonly seen: string;
}

/** Where a store keeps what can drift. */
export interface StorePlaces {
  readonly bundlePath: string;
  anchorPath(name: AnchorName): string;
  linkPath(name: AnchorName): string;
}

/** When each path was repaired, the last times. */
export type Repairs = Readonly<Record<string, readonly string[]>>;

const windowMs = 10 * 60_000;
const maxRepairs = 5;

/** What the records say of it. */
export interface Remembered extends Pick<Provenance, 'proven' | 'withdrawn'> {
  readonly repairs?: Repairs;
}

export interface DriftPlan {
  readonly plan: readonly Step[];
  readonly repaired: readonly Drift[];
  readonly fight: Extract<Carried, { kind: 'fought' }> | undefined;
  /** To be noted once it is carried out: a repair that has failed is none. */
  readonly repairs: Repairs | undefined;
}

/** The plan, and which part of it repairs what somebody else did; without what is left to him, and then without the runtime. */
export function planAgainstDrift(
  desired: TrustBundle,
  observed: Observation,
  { proven, withdrawn, repairs: known }: Remembered,
  places: StorePlaces,
  now: Date,
): DriftPlan {
  const drifts = findDrift(desired, { proven: new Set(proven), withdrawn: new Set(withdrawn) }, observed, places);
  if (drifts.length === 0)
    return { plan: planTrust(desired, observed), repaired: [], fight: undefined, repairs: known };
  const { repaired, fought, until, young, repairs } = judgeDrift(drifts, known ?? {}, now);
  const [first] = fought;
  if (first === undefined) return { plan: planTrust(desired, observed), repaired, fight: undefined, repairs };
  const fight = { kind: 'fought', path: first.path, seen: first.seen, until } as const;
  if (fought.some(({ kind }) => kind === 'bundle')) return { plan: [], repaired: [], fight, repairs: young };
  const masked = maskDrift(desired, observed, fought);
  const leftAlone = fought.flatMap(({ name }) => name ?? []);
  const plan = planTrust(masked.desired, masked.observed)
    .filter((step) => !('unit' in step))
    .map((step) => (step.kind === 'rebuild-store' ? { ...step, leftAlone } : step));
  // Without a change of ours, a rebuild would do no more than take what is left alone out of the bundle.
  const changes = plan.some(({ kind }) => kind === 'stage-store');
  const isLost = masked.desired.certificates.some(({ fingerprint }) => !observed.store.bundle.has(fingerprint));
  const mended = repaired.filter(
    ({ kind }) => kind === 'link' || (changes && (kind === 'anchor' || isLost || observed.store.returned.length > 0)),
  );
  const { repairs: noted } = judgeDrift(mended, known ?? {}, now);
  return { plan: changes ? plan : plan.filter(isHarmless), repaired: mended, fight, repairs: noted };
}

/**
 * Of what was proven and is still desired; what is being added or taken away, was taken away by us, or was begun by us and not
 * ended, is no drift.
 */
export function findDrift(
  desired: TrustBundle,
  { proven, withdrawn }: { readonly proven: ReadonlySet<string>; readonly withdrawn: ReadonlySet<string> },
  { store, record }: Observation,
  { bundlePath, anchorPath, linkPath }: StorePlaces,
): readonly Drift[] {
  const settled = desired.certificates.filter(({ fingerprint }) => {
    const name = anchorName(fingerprint);
    return proven.has(name) && !withdrawn.has(name);
  });
  const wanted = new Set<string>(anchorNames(desired.certificates));
  const anchors = new Map(store.anchors.map(({ name, certificate }) => [name, certificate]));
  const isIntact = (fingerprint: string, name: AnchorName): boolean => anchors.get(name)?.fingerprint === fingerprint;
  const spoiled = settled.flatMap(({ fingerprint }): Drift[] => {
    const name = anchorName(fingerprint);
    if (isIntact(fingerprint, name)) return [];
    const seen = anchors.has(name) ? 'it held something else' : 'it was gone';
    return [{ kind: 'anchor', name, path: anchorPath(name), seen }];
  });
  const isOwnRebuild =
    record.rebuild !== undefined && (!record.rebuild.after || record.rebuild.bundle !== desired.digest);
  const lacking = settled.filter(({ fingerprint }) => !store.bundle.has(fingerprint)).length;
  const rebuilt: Drift[] = [];
  if (!isOwnRebuild && lacking > 0) {
    rebuilt.push({ kind: 'bundle', path: bundlePath, seen: `${lacking} of our certificates were not in it` });
  } else if (!isOwnRebuild && store.returned.length > 0) {
    rebuilt.push({ kind: 'bundle', path: bundlePath, seen: 'a certificate that was taken away was in it again' });
  }
  const left = store.derived.filter((name) => !wanted.has(name) && !proven.has(name) && !anchors.has(name));
  const unfound = settled.filter(({ fingerprint }) => {
    const isHeld = isIntact(fingerprint, anchorName(fingerprint)) && store.bundle.has(fingerprint);
    return !isOwnRebuild && isHeld && !store.indexed.has(fingerprint);
  });
  return [
    ...spoiled,
    ...rebuilt,
    ...left.map((name): Drift => ({ kind: 'link', name, path: linkPath(name), seen: 'it was left over' })),
    ...unfound.map(({ fingerprint }): Drift => {
      const name = anchorName(fingerprint);
      return { kind: 'link', name, path: linkPath(name), seen: 'no look-up found it' };
    }),
  ];
}

/** Which of them are repaired now, and which are left alone, until when; and what is to be remembered. */
export function judgeDrift(
  drifts: readonly Drift[],
  repairs: Repairs,
  now: Date,
): {
  readonly repaired: readonly Drift[];
  readonly fought: readonly Drift[];
  readonly until: Date;
  /** What is remembered still, and that with what is repaired now. */
  readonly young: Repairs;
  readonly repairs: Repairs;
} {
  const isYoung = (at: string): boolean => Math.abs(now.getTime() - Date.parse(at)) < windowMs;
  // What lies ahead was recorded by a clock that was set back since: nothing is left alone for longer than from now on.
  const atMostNow = (at: string): string => new Date(Math.min(Date.parse(at), now.getTime())).toISOString();
  const times = Object.entries(repairs).map(([path, all]) => [path, all.filter(isYoung).map(atMostNow)] as const);
  const young = new Map(times.filter(([, left]) => left.length > 0));
  const isFought = ({ path }: Drift): boolean => (young.get(path)?.length ?? 0) >= maxRepairs;
  const [fought, repaired] = [drifts.filter(isFought), drifts.filter((drift) => !isFought(drift))];
  const paths = new Set(repaired.map(({ path }) => path));
  const added = [...paths].map((path) => [path, [...(young.get(path) ?? []), now.toISOString()]] as const);
  const ends = fought.map(({ path }) => Date.parse(young.get(path)?.[0] ?? '') + windowMs);
  return {
    repaired,
    fought,
    until: new Date(Math.min(...ends)),
    young: Object.fromEntries(young),
    repairs: Object.fromEntries([...young, ...added]),
  };
}

/** What is desired and observed without what is left alone. A bundle that is left alone leaves nothing to do for a store. */
function maskDrift(
  desired: TrustBundle,
  observed: Observation,
  fought: readonly Drift[],
): { readonly desired: TrustBundle; readonly observed: Observation } {
  const names = new Set<AnchorName>(fought.flatMap(({ name }) => (name === undefined ? [] : [name])));
  const { store } = observed;
  return {
    desired: createBundle(desired.certificates.filter(({ fingerprint }) => !names.has(anchorName(fingerprint)))),
    observed: {
      ...observed,
      store: {
        ...store,
        anchors: store.anchors.filter(({ name }) => !names.has(name)),
        derived: store.derived.filter((name) => !names.has(name)),
      },
    },
  };
}

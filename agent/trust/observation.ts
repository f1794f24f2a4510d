// What was seen on a host, as data, and what follows from it without asking anybody else.

import { createHash } from 'node:crypto';
import type { AdmittedCertificate } from './admission.ts';
import { type BundleDigest, createBundle, type TrustBundle } from './bundle.ts';
import type { Certificate, Fingerprint } from './certificate.ts';
import type { ReasonCode } from './reasons.ts';
import type { Trusted } from './status.ts';

/** `node-trust-` and the first 16 hex digits of the certificate's SHA-256; each store adds the suffix it needs. */
export type AnchorName = string & { readonly __brand: 'AnchorName' };

export interface Anchor {
  readonly name: AnchorName;
  /** What the file holds: `undefined` when it is not the one certificate that its name promises, as we would write it. */
  readonly certificate: Certificate | undefined;
}

export interface StoreObservation {
  /** Our files in the folder of local certificates. */
  readonly anchors: readonly Anchor[];
  /** What the store's tool made of our anchors beside the bundle, whether its anchor is still there or not. */
  readonly derived: readonly AnchorName[];
  /** Which program makes the bundle: another answer once somebody has mended it. */
  readonly tool: string;
  /** Which file the bundle is: another one whenever anybody has written it. */
  readonly version: string;
  /** The effective bundle; empty when it is absent, when it is torn, or when OpenSSL loads nothing of it: a block is broken. */
  readonly bundle: ReadonlySet<Fingerprint>;
  /** Our certificates that are found by a look-up in the store's folder too. */
  readonly indexed: ReadonlySet<Fingerprint>;
  /** Certificates that were taken away once and are in the bundle, or in what is left of one, though nobody's file holds them. */
  readonly returned: readonly Fingerprint[];
  /** Certificates that were taken away and are trusted through somebody else's file. */
  readonly stillTrusted: readonly { readonly fingerprint: Fingerprint; readonly path: string }[];
}

/** A process of the runtime: the unit's InvocationID, or why there is none. */
export type RuntimeObservation =
  | { readonly kind: 'running'; readonly unit: string; readonly invocationId: string }
  | { readonly kind: 'stopped' | 'unknown'; readonly unit: string; readonly evidence: string }
  | { readonly kind: 'none' };

/** Which runtime the host has; without one its store is all there is to it. */
export type RuntimeFacts =
  | { readonly kind: 'unit'; readonly unit: string }
  | { readonly kind: 'none'; readonly reason: string };

/** The process that was seen at one moment: an InvocationID, or `stopped`, or `unknown` when nobody could be asked. */
export type RuntimeMark = string;

/** When something was done, and from when an interval after it counts, where a clock that was set back had it lie ahead. */
export interface NotedTime {
  readonly at: string;
  readonly countsFrom?: string;
}

export function timeOf({ at, countsFrom }: NotedTime): NotedTime {
  return { at, ...(countsFrom !== undefined && { countsFrom }) };
}

/** Facts on the host's disk about rebuilds and the runtime. */
export interface RuntimeRecord {
  /**
   * The last rebuild: to which bundle, who ran before it and after it, and the version of the store that it left; without
   * `after` it did not come to its end.
   */
  readonly rebuild?: NotedTime & {
    readonly bundle: BundleDigest;
    readonly before: RuntimeMark;
    readonly after?: RuntimeMark;
    readonly version?: string;
  };
  /**
   * A process that is known to have started with this bundle in the store, the store's version while it ran, and what of ours
   * had been taken away and was in the store for somebody else's sake.
   */
  readonly loaded?: {
    readonly invocationId: string;
    readonly bundle: BundleDigest;
    readonly version?: string;
    readonly besides?: readonly AnchorName[];
  };
  /** Our last restart, noted before it was asked for: the bundle that it was for, who ran then, and the store's version. */
  readonly restarted?: NotedTime & {
    /** Missing where the store was rebuilt to another bundle since. */
    readonly bundle?: BundleDigest;
    readonly before?: RuntimeMark;
    readonly version?: string;
  };
  /** The bundle for which the runtime was restarted while somebody wrote the store, so that nothing could be noted. */
  readonly rewritten?: BundleDigest;
  /** What the kubelet complained of before the store or the runtime was changed last: it is not waited for. */
  readonly kubelet?: string;
}

export interface Observation {
  readonly store: StoreObservation;
  readonly runtime: RuntimeObservation;
  readonly record: RuntimeRecord;
}

/** Our certificates that lie on the host, whether the store was rebuilt since or not. */
export function ownOnHost({ store }: Pick<Observation, 'store'>): TrustBundle {
  return createBundle(store.anchors.flatMap(({ certificate }) => certificate ?? []));
}

/** What the host trusts on our account: an intact anchor of ours that is in the bundle. */
export function trustedNow(observed: Pick<Observation, 'store'>, known: readonly AdmittedCertificate[]): Trusted {
  const entries = new Map(known.map(({ entry, certificate }) => [certificate.fingerprint, entry]));
  const { bundle } = observed.store;
  const ours = createBundle(ownOnHost(observed).certificates.filter(({ fingerprint }) => bundle.has(fingerprint)));
  const certificates = ours.certificates.map((certificate) => ({
    entry: entries.get(certificate.fingerprint) ?? '',
    certificate,
  }));
  return { bundle: ours.digest, certificates };
}

/**
 * What a held failure depends on: the bundle, and the host as far as it is observed. What was rolled back is not tried again
 * because the runtime has died, was upgraded or started with the node: which process runs, if any, is not of its world.
 */
export function digestWorld(desired: TrustBundle, { store, runtime }: Observation, failure: ReasonCode): string {
  const isUndone = failure === 'RolledBack' || failure === 'RollbackFailed';
  const unit = runtime.kind === 'none' ? '' : runtime.unit;
  const anchors = store.anchors.map(({ name, certificate }) => `${name}=${certificate?.fingerprint ?? ''}`);
  const lists = [anchors, store.derived, store.bundle, store.indexed, store.returned].map((list) => [...list].sort());
  return createHash('sha256')
    .update(JSON.stringify([desired.digest, lists, store.tool, isUndone ? unit : runtime]))
    .digest('hex');
}

export function anchorName(fingerprint: Fingerprint): AnchorName {
  return `node-trust-${fingerprint.slice(0, 16)}` as AnchorName;
}

export function anchorNames(certificates: readonly Pick<Certificate, 'fingerprint'>[]): readonly AnchorName[] {
  return certificates.map(({ fingerprint }) => anchorName(fingerprint));
}

/** The anchor's name in a file name, or undefined when the file is not ours. */
export function parseAnchorName(fileName: string, suffix: string): AnchorName | undefined {
  const name = fileName.endsWith(suffix) ? fileName.slice(0, fileName.length - suffix.length) : '';
  return /^node-trust-[0-9a-f]{16}$/.test(name) ? (name as AnchorName) : undefined;
}

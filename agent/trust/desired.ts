// What the host shall trust, given what the source says now and what is remembered of it. Pure.
// A source that says no good set, or says nothing, leaves its last good set in place; a source that is gone, or holds
// nothing, lets it go after a grace, because GitOps tools and secret operators delete and recreate.

import { type AdmissionOptions, type AdmittedCertificate, admit, type Finding } from './admission.ts';
import { createBundle, emptyBundle, type TrustBundle } from './bundle.ts';
import { type Fingerprint, parseCanonicalPem } from './certificate.ts';
import { type AnchorName, anchorName, anchorNames } from './observation.ts';
import { contentDigest, type Entries, type OnDelete, type SourceSnapshot } from './source.ts';

/** Kept on the host's disk: the last set that was admitted, and since when the source is gone. */
export interface SourceMemory {
  readonly source: string;
  readonly certificates: readonly { readonly entry: string; readonly pem: string }[];
  readonly observed: string;
  readonly onDelete: OnDelete;
  /** RFC 3339. */
  readonly goneSince?: string;
  /** Of the machine's own file: what stood in it at the last boot. */
  readonly atBoot?: readonly AnchorName[];
}

export type Verdict =
  | { readonly kind: 'admitted' }
  | { readonly kind: 'rejected' }
  | { readonly kind: 'wrong-type'; readonly type: string }
  | Extract<SourceSnapshot, { kind: 'unavailable' }>
  /** The grace runs. */
  | { readonly kind: 'leaving'; readonly code: 'SourceDeleted' | 'SourceEmpty'; readonly until: Date }
  | { readonly kind: 'gone'; readonly code: 'SourceDeleted' | 'SourceEmpty' }
  /** Not asked: the node is not in the pool, and was not seen to leave it. */
  | { readonly kind: 'kept' }
  /** Not asked: somebody takes everything away. */
  | { readonly kind: 'withdrawn' };

export interface Decision {
  readonly desired: TrustBundle;
  /** Certificates of the desired bundle with the entries they came from. */
  readonly certificates: readonly AdmittedCertificate[];
  readonly verdict: Verdict;
  readonly findings: readonly Finding[];
  /** Digest of the content that this decision speaks of; empty where there was none to see. */
  readonly observed: string;
  readonly memory: SourceMemory;
  /** Where two sources are merged, the end of the first grace that runs: the verdict may be about something else. */
  readonly graceEnds?: Date;
}

export interface DecisionContext {
  readonly source: string;
  /** Undefined on a host that never had a good set, or lost its memory of it. */
  readonly memory: SourceMemory | undefined;
  /** Our certificates that lie on the host: what stays when there is no memory. */
  readonly onHost: TrustBundle;
  readonly now: Date;
  readonly graceMs: number;
  readonly admission: Omit<AdmissionOptions, 'now'>;
}

export function decideTrust(snapshot: SourceSnapshot, context: DecisionContext): Decision {
  const memory = memoryOf(context);
  const last = { ...remembered(memory), findings: [], observed: memory.observed };
  switch (snapshot.kind) {
    case 'unavailable':
      return { ...last, verdict: snapshot, memory };
    case 'wrong-type':
      return { ...last, verdict: snapshot, memory: present(memory) };
    case 'absent':
      return { ...last, ...leave('SourceDeleted', memory, memory.onDelete, context), observed: '' };
    case 'present':
      return decidePresent(snapshot.entries, snapshot.onDelete, memory, context);
    default:
      return snapshot satisfies never;
  }
}

/** The decision for a node outside of the pool: what is there stays as it is, whatever the source says. */
export function keepTrust(context: DecisionContext): Decision {
  const memory = memoryOf(context);
  const { certificates } = remembered(memory);
  const kept = { verdict: { kind: 'kept' }, findings: [], observed: memory.observed, memory } as const;
  return { ...kept, desired: context.onHost, certificates };
}

/** The decision of `remove` and of a node that leaves its pool: nothing, at once, whatever the source says. */
export function withdrawTrust(source: string): Decision {
  const memory = { source, certificates: [], observed: '', onDelete: 'grace' } as const;
  return { desired: emptyBundle, certificates: [], verdict: { kind: 'withdrawn' }, findings: [], observed: '', memory };
}

/** What is remembered as this source's last good set. */
export function rememberedPrints(memory: SourceMemory | undefined): ReadonlySet<Fingerprint> {
  return new Set(memory?.certificates.flatMap(({ pem }) => parseCanonicalPem(pem)?.fingerprint ?? []));
}

/** Without what a boot has taken away since: it was on the boot's list, and is neither there nor on the host any more. */
export function forgetRemoved(
  memory: SourceMemory | undefined,
  atBoot: ReadonlySet<AnchorName> | undefined,
  onHost: TrustBundle,
): SourceMemory | undefined {
  if (memory === undefined || atBoot === undefined) return memory;
  const known = new Set([...atBoot, ...anchorNames(onHost.certificates)]);
  const gone = new Set(memory.atBoot?.filter((name) => !known.has(name)));
  const certificates = memory.certificates.filter(({ pem }) => {
    const certificate = parseCanonicalPem(pem);
    return certificate === undefined || !gone.has(anchorName(certificate.fingerprint));
  });
  return { ...memory, certificates };
}

function decidePresent(entries: Entries, onDelete: OnDelete, memory: SourceMemory, context: DecisionContext): Decision {
  const observed = contentDigest(entries);
  const { accepted, bundle, certificates, findings } = admit(entries, { ...context.admission, now: context.now });
  const seen = { findings, observed };
  if (entries.size === 0) return { ...remembered(memory), ...seen, ...leave('SourceEmpty', memory, onDelete, context) };
  if (!accepted) {
    return { ...remembered(memory), ...seen, verdict: { kind: 'rejected' }, memory: { ...present(memory), onDelete } };
  }
  const admitted = certificates.map(({ entry, certificate }) => ({ entry, pem: certificate.pem }));
  return {
    ...seen,
    desired: bundle,
    certificates,
    verdict: { kind: 'admitted' },
    memory: { source: context.source, certificates: admitted, observed, onDelete },
  };
}

function leave(
  code: 'SourceDeleted' | 'SourceEmpty',
  memory: SourceMemory,
  onDelete: OnDelete,
  { now, graceMs }: DecisionContext,
): Partial<Decision> & Pick<Decision, 'verdict' | 'memory'> {
  const nothing = { desired: emptyBundle, certificates: [], verdict: { kind: 'gone', code } } as const;
  if (memory.certificates.length === 0) return { ...nothing, memory: { ...present(memory), onDelete } };
  // A clock that was set back must not stretch the grace: a start in the future starts now.
  const noted = memory.goneSince === undefined ? now : new Date(memory.goneSince);
  const since = noted > now ? now : noted;
  const until = new Date(since.getTime() + graceMs);
  if (onDelete === 'remove' || until <= now) {
    return { ...nothing, memory: { ...present(memory), certificates: [], observed: '', onDelete } };
  }
  return { verdict: { kind: 'leaving', code, until }, memory: { ...memory, onDelete, goneSince: since.toISOString() } };
}

function present({ goneSince: _, ...memory }: SourceMemory): SourceMemory {
  return memory;
}

/**
 * A memory of which a certificate cannot be read any more is a lost one: what lies on the host counts then. Of another
 * source its certificates count, and nothing that source said of itself.
 */
function memoryOf({ source, memory, onHost }: DecisionContext): SourceMemory {
  const isWhole = memory?.certificates.every(({ pem }) => parseCanonicalPem(pem) !== undefined) ?? false;
  if (memory !== undefined && isWhole && memory.source === source) return memory;
  const known = isWhole ? memory?.certificates : undefined;
  const certificates = known ?? onHost.certificates.map(({ pem }) => ({ entry: '', pem }));
  return { source, certificates, observed: '', onDelete: 'grace' };
}

function remembered(memory: SourceMemory): Pick<Decision, 'desired' | 'certificates'> {
  const certificates = memory.certificates.flatMap(({ entry, pem }) => {
    const certificate = parseCanonicalPem(pem);
    return certificate === undefined ? [] : [{ entry, certificate }];
  });
  return { desired: createBundle(certificates.map(({ certificate }) => certificate)), certificates };
}

// What a pass reports, and its form as annotations of the Node. Pure, and the same for `apply --json` and `status`.
// A status that says the same gives the same annotations, but for updated-at.

import type { AdmittedCertificate, Finding } from './admission.ts';
import type { BundleDigest } from './bundle.ts';
import type { RuntimeFacts } from './observation.ts';
import type { ReasonCode, Retry } from './reasons.ts';

export type NodeState = 'Applying' | 'Waiting' | 'Synced' | 'Rejected' | 'Failed' | 'Disabled';

export interface Trusted {
  readonly bundle: BundleDigest;
  readonly certificates: readonly AdmittedCertificate[];
}

export interface Status {
  readonly state: NodeState;
  /** A code of the catalogue; empty when synced. */
  readonly reason: ReasonCode | '';
  /** One sentence with the remedy. */
  readonly message: string;
  /** What the host trusts now on our account; undefined when that could not be found out. */
  readonly trusted: Trusted | undefined;
  /** Digest of the source content that this status speaks of; empty when none was seen. */
  readonly observed: string;
  readonly findings: readonly Finding[];
  /** Facts that do not change by themselves; undefined when the host could not be looked at. */
  readonly store: string | undefined;
  readonly runtime: RuntimeFacts | undefined;
  /** What the pass saw and did not count as its own failure. */
  readonly warnings: readonly string[];
}

/** A failure that is not tried again until the world it happened in has changed. */
export interface HeldFailure {
  readonly world: string;
  /** The Node's wish to try again, as it was then; another one is a new wish. */
  readonly retryMark: string;
  readonly code: ReasonCode;
  readonly message: string;
}

/** A rollback, noted before it begins, so that it is ended by whoever comes after a crash. */
export interface Undoing {
  /** With which the additions came. */
  readonly bundle: BundleDigest;
  /** The Node's wish to try again, as it was then. */
  readonly retryMark: string;
  /** What had failed. */
  readonly evidence: string;
  readonly retry: Retry;
  /** Whether the runtime had been restarted for that bundle. */
  readonly wasRestarted: boolean;
}

export const annotationPrefix = 'node-trust-agent/';
const maxDetailsBytes = 16 * 1024;

/**
 * The annotations that say it, without `updated-at`, which the writer adds; null takes one away. What could not be found
 * out is left as it was last known.
 */
export function formatAnnotations(status: Status): Readonly<Record<string, string | null>> {
  const { trusted } = status;
  return {
    [`${annotationPrefix}state`]: status.state,
    [`${annotationPrefix}reason`]: status.reason,
    [`${annotationPrefix}message`]: status.message,
    [`${annotationPrefix}observed`]: status.observed,
    ...(trusted !== undefined && {
      [`${annotationPrefix}bundle`]: trusted.bundle,
      [`${annotationPrefix}certificates`]: String(trusted.certificates.length),
      [`${annotationPrefix}expires-at`]: soonestExpiry(trusted)?.toISOString() ?? null,
    }),
    [`${annotationPrefix}details`]: formatDetails(status),
  };
}

export function soonestExpiry({ certificates }: Trusted): Date | undefined {
  const times = certificates.map(({ certificate }) => certificate.notAfter.getTime());
  return times.length === 0 ? undefined : new Date(Math.min(...times));
}

/** Too long for an annotation, whole items go, from the end: findings first, then warnings and certificates; their number is told. */
export function formatDetails(status: Status): string {
  const certificates = (status.trusted?.certificates ?? []).map(({ entry, certificate }) => ({
    subject: certificate.subject,
    fingerprint: certificate.fingerprint,
    notAfter: certificate.notAfter.toISOString(),
    entry,
  }));
  const { warnings, findings } = status;
  const count = certificates.length + warnings.length + findings.length;
  const format = (kept: number): string => {
    const keptWarnings = warnings.slice(0, Math.max(kept - certificates.length, 0));
    return JSON.stringify({
      version: 1,
      certificates: certificates.slice(0, kept),
      findings: findings.slice(0, Math.max(kept - certificates.length - warnings.length, 0)),
      ...(kept < count && { truncated: count - kept }),
      store: status.store,
      runtime: status.runtime,
      ...(keptWarnings.length > 0 && { warnings: keptWarnings }),
    });
  };
  let [fitting, tooMany] = [0, count + 1];
  while (tooMany - fitting > 1) {
    const middle = Math.floor((fitting + tooMany) / 2);
    if (Buffer.byteLength(format(middle)) <= maxDetailsBytes) fitting = middle;
    else tooMany = middle;
  }
  return format(fitting);
}

/** A message and its remedy as one sentence. */
export function sentence(message: string, remedy: string): string {
  return `${message}; ${remedy.charAt(0).toLowerCase()}${remedy.slice(1).replace(/\.$/, '')}`;
}

/** Where a finding is, and what: `entry "corp.pem", certificate 2: …`. */
export function describeFinding({ entry, certificate, line, message }: Omit<Finding, 'code'>): string {
  const place = [
    entry === '' ? '' : `entry ${JSON.stringify(entry)}`,
    certificate === undefined ? '' : `certificate ${certificate}`,
    line === undefined ? '' : `line ${line}`,
  ].filter((part) => part !== '');
  return place.length === 0 ? message : `${place.join(', ')}: ${message}`;
}

// Decides whether a source is fit for a host: every finding about every entry, and the bundle it stands for.
// A source is admitted whole or not at all. Pure: bytes and the clock's time in, values out; never throws.

import { type Explained, explain, type Severity } from './admission-reasons.ts';
import { createBundle, emptyBundle, type TrustBundle } from './bundle.ts';
import { type Certificate, type Fingerprint, isPrivateKeyDer, parseCertificate } from './certificate.ts';
import { type CertificateRules, judgeCertificate } from './certificate-rules.ts';
import { judgeEncoding } from './encoding.ts';
import { scanPem } from './pem.ts';
import { type AdmissionCode, explainOperational } from './reasons.ts';
import type { Entries } from './source.ts';

export interface Finding {
  readonly code: AdmissionCode | 'SourceEmpty';
  readonly severity: Severity;
  readonly entry: string;
  /** Counts the CERTIFICATE blocks of the entry, from 1. */
  readonly certificate?: number;
  /** Counts from 1. */
  readonly line?: number;
  readonly message: string;
  readonly remedy: string;
}

export interface AdmittedCertificate {
  /** The entry it was first found in. */
  readonly entry: string;
  readonly certificate: Certificate;
}

export interface AdmissionOptions extends CertificateRules {
  readonly maxCertificates: number;
}

export interface Admission {
  readonly accepted: boolean;
  /** Of the distinct certificates that parsed: to be used only if accepted. */
  readonly bundle: TrustBundle;
  /** The same certificates, ordered by entry and position. */
  readonly certificates: readonly AdmittedCertificate[];
  /** Sorted by entry, line, certificate and code. */
  readonly findings: readonly Finding[];
}

interface Place {
  readonly certificate: number;
  readonly line: number;
}

interface PlacedCertificate extends Place {
  readonly entry: string;
  readonly parsed: Certificate;
}

interface Reading {
  readonly certificates: readonly PlacedCertificate[];
  readonly findings: readonly Finding[];
}

export function admit(entries: Entries, options: AdmissionOptions): Admission {
  if (entries.size === 0) return { accepted: false, bundle: emptyBundle, certificates: [], findings: [sourceEmpty()] };
  const readings = [...entries].sort(([a], [b]) => compare(a, b)).map(([entry, bytes]) => readEntry(entry, bytes));
  const { distinct, duplicates } = separateDuplicates(readings.flatMap(({ certificates }) => certificates));
  const findings = [
    ...readings.flatMap((reading) => reading.findings),
    ...duplicates,
    ...distinct.flatMap((placed) =>
      judgeCertificate(placed.parsed, options).map((explained) => toFinding(placed.entry, explained, placed)),
    ),
    ...judgeCount(distinct, options.maxCertificates),
  ].sort(compareFindings);
  return {
    accepted: findings.every(({ severity }) => severity !== 'error'),
    bundle: createBundle(distinct.map(({ parsed }) => parsed)),
    certificates: distinct.map(({ entry, parsed }) => ({ entry, certificate: parsed })),
    findings,
  };
}

function sourceEmpty(): Finding {
  const { code, severity, message, remedy } = explainOperational('SourceEmpty', { source: 'the source' });
  return { code, severity, entry: '', message, remedy };
}

function readEntry(entry: string, bytes: Uint8Array): Reading {
  const unreadable = judgeEncoding(bytes);
  if (unreadable !== undefined) return { certificates: [], findings: [toFinding(entry, unreadable)] };
  const scan = scanPem(bytes);
  const findings = scan.findings.map((found) => toFinding(entry, found, found));
  const certificates: PlacedCertificate[] = [];
  for (const { der, certificate, line } of scan.certificates) {
    const result = parseCertificate(der);
    if (result.kind === 'certificate') certificates.push({ entry, certificate, line, parsed: result.certificate });
    else findings.push(toFinding(entry, explainMalformed(der, result.evidence), { certificate, line }));
  }
  if (certificates.length === 0 && findings.length === 0) {
    const evidence = 'the entry holds no -----BEGIN CERTIFICATE----- line';
    findings.push(toFinding(entry, explain('NoCertificate', { evidence })));
  }
  return { certificates, findings };
}

// A key under the label of a certificate is as much of a leak as one under its own.
function explainMalformed(der: Uint8Array, evidence: string): Explained {
  return isPrivateKeyDer(der)
    ? explain('PrivateKey', { evidence: 'the block says CERTIFICATE and holds a private key' })
    : explain('MalformedCertificate', { evidence });
}

function separateDuplicates(certificates: readonly PlacedCertificate[]): {
  readonly distinct: readonly PlacedCertificate[];
  readonly duplicates: readonly Finding[];
} {
  const distinct = new Map<Fingerprint, PlacedCertificate>();
  const duplicates: Finding[] = [];
  for (const placed of certificates) {
    const { fingerprint, subject } = placed.parsed;
    const first = distinct.get(fingerprint);
    if (first === undefined) distinct.set(fingerprint, placed);
    else {
      const { entry, certificate } = first;
      duplicates.push(toFinding(placed.entry, explain('Duplicate', { entry, certificate, subject }), placed));
    }
  }
  return { distinct: [...distinct.values()], duplicates };
}

function judgeCount(distinct: readonly PlacedCertificate[], limit: number): Finding[] {
  const firstBeyond = distinct[limit];
  if (firstBeyond === undefined) return [];
  return [toFinding(firstBeyond.entry, explain('TooManyCertificates', { count: distinct.length, limit }), firstBeyond)];
}

function toFinding(entry: string, explained: Explained, place: Partial<Place> = {}): Finding {
  const { code, severity, message, remedy } = explained;
  const { certificate, line } = place;
  return {
    code,
    severity,
    entry,
    ...(certificate === undefined ? {} : { certificate }),
    ...(line === undefined ? {} : { line }),
    message,
    remedy,
  };
}

function compareFindings(a: Finding, b: Finding): number {
  return (
    compare(a.entry, b.entry) ||
    compare(a.line ?? 0, b.line ?? 0) ||
    compare(a.certificate ?? 0, b.certificate ?? 0) ||
    compare(a.code, b.code)
  );
}

/** By code unit, so that the order is the same under every locale. */
const compare = <T extends string | number>(a: T, b: T): number => (a < b ? -1 : a > b ? 1 : 0);

// The certificates of all simulations: a fixed pool, since keys made anew would give every run its own order of fingerprints.
// And how a program of the host reads a file of them: what does not load is passed over, as Go does.

import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';

export interface KnownCertificate {
  readonly name: string;
  readonly pem: string;
  readonly fingerprint: string;
  /** Eight hexadecimal digits, the same for every certificate of this subject. */
  readonly subjectHash: string;
}

const block = /-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----\n?/g;
const known = new Map<string, KnownCertificate>();
const read = new Map<string, readonly KnownCertificate[]>();

export const certificates: ReadonlyMap<string, KnownCertificate> = readPool();

/** Which of these are ours to install; the others are the distribution's and an administrator's. */
export const ownNames = ['corp-old', 'corp-new', 'proxy', 'lab', 'never', 'leaf'] as const;
/** Of the machine itself, from its own file. */
export const machineNames = ['own-one', 'own-two'] as const;
export type OwnName = (typeof ownNames)[number];

export function certificate(name: string): KnownCertificate {
  const found = certificates.get(name);
  if (found === undefined) throw new TypeError(`no certificate is called ${name}`);
  return found;
}

export function nameOf(fingerprint: string): string {
  for (const { name, fingerprint: own } of certificates.values()) if (own === fingerprint) return name;
  return fingerprint.slice(0, 16);
}

export function readCertificates(content: Buffer | undefined): readonly KnownCertificate[] {
  const text = content?.toString('latin1') ?? '';
  const before = read.get(text);
  if (before !== undefined) return before;
  const found = [...text.matchAll(block)].flatMap(([pem]) => readOne(pem) ?? []);
  if (read.size < 5_000) read.set(text, found);
  return found;
}

function readOne(pem: string, name = ''): KnownCertificate | undefined {
  const cached = known.get(pem);
  if (cached !== undefined) return cached;
  try {
    const { raw, subject } = new X509Certificate(pem);
    const fingerprint = createHash('sha256').update(raw).digest('hex');
    const subjectHash = createHash('sha256').update(subject).digest('hex').slice(0, 8);
    const one = { name, pem, fingerprint, subjectHash };
    known.set(pem, one);
    return one;
  } catch {
    return undefined;
  }
}

function readPool(): ReadonlyMap<string, KnownCertificate> {
  const text = readFileSync(new URL('./certificates.pem', import.meta.url), 'latin1');
  const names = [...text.matchAll(/^([a-z-]+)\n(-----BEGIN[^]*?-----END CERTIFICATE-----\n)/gm)];
  return new Map(
    names.flatMap(([, name = '', pem = '']) => {
      const one = readOne(pem, name);
      return one === undefined ? [] : [[name, one] as const];
    }),
  );
}

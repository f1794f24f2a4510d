// A rotation of certificates in two steps: first old and new are trusted together, then the new ones alone. In a Secret that
// is known, the second step is taken only after the first, and neither touches what is not part of the rotation.

import type { Certificate } from './certificate.ts';
import { addCertificates, certificatesIn, fingerprintsOf, removeCertificates } from './secret-entries.ts';
import type { Entries } from './source.ts';

export interface Rotation {
  readonly old: readonly Certificate[];
  /** A certificate of both is not rotated: it stays. */
  readonly successors: readonly Certificate[];
  /** What the Secret holds now; undefined for one that is to hold nothing else. */
  readonly held: Entries | undefined;
}

export type Rotated =
  | { readonly kind: 'entries'; readonly entries: Entries }
  | { readonly kind: 'refused'; readonly message: string };

export function beginRotation(rotation: Rotation): Rotated {
  const { old, successors, held } = rotation;
  const missing = held && findMissing(goingOf(rotation), held);
  if (missing !== undefined) {
    return refuse(
      `the Secret does not hold ${nameOf(missing)}, which is to be rotated; look at it with node-trust validate`,
    );
  }
  return judgeGoing(rotation) ?? entries(addCertificates(held ?? new Map(), [...(held ? [] : old), ...successors]));
}

export function endRotation(rotation: Rotation): Rotated {
  const { successors, held } = rotation;
  const missing = held && findMissing(successors, held);
  if (missing !== undefined) {
    return refuse(
      `the Secret does not hold ${nameOf(missing)} yet; apply what the same command prints without --final, and wait until all nodes are Synced`,
    );
  }
  const end = held
    ? removeCertificates(held, fingerprintsOf(goingOf(rotation)))
    : addCertificates(new Map(), successors);
  return judgeGoing(rotation) ?? entries(end);
}

function goingOf({ old, successors }: Rotation): readonly Certificate[] {
  const staying = fingerprintsOf(successors);
  return old.filter(({ fingerprint }) => !staying.has(fingerprint));
}

function judgeGoing(rotation: Rotation): Rotated | undefined {
  return goingOf(rotation).length > 0
    ? undefined
    : refuse('OLD holds no certificate that NEW does not hold: there is nothing to rotate');
}

function findMissing(certificates: readonly Certificate[], held: Entries): Certificate | undefined {
  const known = fingerprintsOf(certificatesIn(held));
  return certificates.find(({ fingerprint }) => !known.has(fingerprint));
}

const nameOf = ({ subject, fingerprint }: Certificate): string =>
  `${subject || 'the certificate without a subject'} (${fingerprint.slice(0, 16)})`;
const entries = (entries: Entries): Rotated => ({ kind: 'entries', entries });
const refuse = (message: string): Rotated => ({ kind: 'refused', message });

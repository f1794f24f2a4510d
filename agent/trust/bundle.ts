// What a host is to trust on our account: distinct certificates in a fixed order, named by one digest.
// Two sources that hold the same certificates give the same digest, whatever their order, entry names and duplicates.

import { createHash } from 'node:crypto';
import type { Certificate } from './certificate.ts';

/** `sha256:` and 64 lower-case hexadecimal digits. */
export type BundleDigest = string & { readonly __brand: 'BundleDigest' };

export interface TrustBundle {
  readonly digest: BundleDigest;
  /** Distinct, sorted by fingerprint. */
  readonly certificates: readonly Certificate[];
}

/** The digest is the SHA-256 over the sorted fingerprints, each followed by one LF. */
export function createBundle(certificates: Iterable<Certificate>): TrustBundle {
  const distinct = new Map(Array.from(certificates, (certificate) => [certificate.fingerprint, certificate]));
  const fingerprints = [...distinct.keys()].sort();
  return {
    digest: digestLines(fingerprints),
    certificates: [...distinct.values()].sort((a, b) => (a.fingerprint < b.fingerprint ? -1 : 1)),
  };
}

export const emptyBundle: TrustBundle = createBundle([]);

function digestLines(lines: readonly string[]): BundleDigest {
  const hash = createHash('sha256');
  for (const line of lines) hash.update(`${line}\n`);
  return `sha256:${hash.digest('hex')}` as BundleDigest;
}

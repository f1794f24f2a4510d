// What a source of certificates says at one moment. The API's Secret and a file on the command line both speak this.
// "Absent" is a fact that somebody confirmed; "could not find out" is a third answer and never the same.

import { createHash } from 'node:crypto';

export type Entries = ReadonlyMap<string, Uint8Array>;

/** What the last seen source asked for in case it goes away: the grace, or removal at once. */
export type OnDelete = 'grace' | 'remove';

export type SourceSnapshot =
  | { readonly kind: 'present'; readonly entries: Entries; readonly onDelete: OnDelete }
  | { readonly kind: 'wrong-type'; readonly type: string }
  | { readonly kind: 'absent' }
  | {
      readonly kind: 'unavailable';
      readonly code: 'SourceForbidden' | 'SourceUnavailable';
      readonly evidence: string;
      readonly retryAfterMs?: number;
    };

export interface Source {
  /** For people: `secret kube-system/custom-ca-trust-secret`, `file cas.pem`. */
  readonly name: string;
  /** Never throws for a failing peer: that is `unavailable`. */
  read(signal: AbortSignal): Promise<SourceSnapshot>;
}

/** `sha256:` over names and bytes, each with its length, so that no two contents run together. Order does not count. */
export function contentDigest(entries: Entries): string {
  const hash = createHash('sha256');
  for (const [name, bytes] of [...entries].sort(([a], [b]) => (a < b ? -1 : 1))) {
    hash.update(`${Buffer.byteLength(name)}:${name}${bytes.length}:`).update(bytes);
  }
  return `sha256:${hash.digest('hex')}`;
}

// Which certificates are ours, by the records: what was proven, what is only being added, and what was taken away. It is noted
// before anything is changed, since somebody else, or the boot, may take an anchor away before us. Pure.

import type { TrustBundle } from './bundle.ts';
import type { Certificate } from './certificate.ts';
import { type AnchorName, anchorNames, type StoreObservation, trustedNow } from './observation.ts';

export interface Provenance {
  /** Our anchors when the host was proven last, by a pass or a rollback: what was added since is what a failure takes away. */
  readonly proven?: readonly AnchorName[] | undefined;
  /** What was written, or begun to be, besides, and not proven since. */
  readonly added?: readonly AnchorName[] | undefined;
  /** Anchors that were taken away, the last ones: none of them may come back with somebody's old bundle. */
  readonly withdrawn?: readonly AnchorName[] | undefined;
}

/** As many as fit into a Secret; an older one would have to come back from an older backup. */
const maxWithdrawn = 1024;

/** These go as the last ones, of which so many are kept. */
export function withdraw({ withdrawn = [] }: Provenance, going: readonly AnchorName[]): Provenance['withdrawn'] {
  const names = [...withdrawn.filter((name) => !going.includes(name)), ...going];
  return names.length === 0 ? undefined : names.slice(-maxWithdrawn);
}

/**
 * The records, with what a look at the store and a new bundle say: what is found at the first pass of all counts as proven, since
 * others have lived with it; and what was proven, was only being added, or is told of by a link of ours, and is not wanted, is to go.
 */
export function recollect(
  { proven: last, added: begun = [], withdrawn = [] }: Provenance,
  { certificates }: TrustBundle,
  store: StoreObservation,
): Provenance {
  const proven = last ?? anchorNames(trustedNow({ store }, []).certificates.map(({ certificate }) => certificate));
  const wanted = new Set(anchorNames(certificates));
  const there = new Set(anchorNames(store.anchors.flatMap(({ certificate }) => certificate ?? [])));
  const gone = withdrawn.filter((name) => !(wanted.has(name) && there.has(name)));
  const known = new Set([...proven, ...begun, ...store.derived]);
  const going = [...known].filter((name) => !wanted.has(name) && !gone.includes(name));
  const added = [...wanted].filter((name) => !proven.includes(name) && (there.has(name) || begun.includes(name)));
  return {
    proven,
    added: added.length === 0 ? undefined : added,
    withdrawn: withdraw({ withdrawn: gone }, going),
  };
}

/** Once the host is proven to trust them. */
export function provenBy(certificates: readonly Certificate[]): Provenance {
  return { proven: anchorNames(certificates), added: undefined };
}

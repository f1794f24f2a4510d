// The links by which OpenSSL finds a certificate in a folder: HASH.0, HASH.1 and so on, HASH being that of the subject.
// A look-up tries them in turn and ends at the first number that is missing or leads nowhere, so a root that goes must not
// leave a gap before one of the same name that stays. openssl-rehash(1) leaves such gaps where they are.
// https://docs.openssl.org/3.0/man3/X509_LOOKUP_hash_dir/

export type LinkMove =
  /** What is at `to` is replaced in one moment. */
  | { readonly kind: 'rename'; readonly from: string; readonly to: string }
  | { readonly kind: 'remove'; readonly name: string };

/** The hash and number of a link for look-ups, or undefined for any other file name. */
export function parseHashLink(name: string): { readonly hash: string; readonly number: number } | undefined {
  const [, hash, number] = /^([0-9a-f]{8})\.(\d{1,3})$/.exec(name) ?? [];
  return hash === undefined ? undefined : { hash, number: Number(number) };
}

/**
 * Takes the links out for which `isGone` holds, and closes gaps, in an order in which whatever stays and could be found
 * before is found at every moment: the last of a chain takes the place of the first that goes.
 */
export function closeGaps(names: Iterable<string>, isGone: (name: string) => boolean): readonly LinkMove[] {
  const chains = Map.groupBy(
    [...names].flatMap((name) => parseHashLink(name) ?? []),
    ({ hash }) => hash,
  );
  return [...chains].flatMap(([hash, links]) => {
    const nameOf = (number: number): string => `${hash}.${number}`;
    const numbers = links.map(({ number }) => number).sort((a, b) => a - b);
    const staying = numbers.filter((number) => !isGone(nameOf(number)));
    const holes = Array.from(staying, (_, number) => number).filter((number) => !staying.includes(number));
    const fillers = staying.filter((number) => number >= staying.length).reverse();
    const renames = holes.map((hole, index): LinkMove => {
      return { kind: 'rename', from: nameOf(fillers[index] ?? hole), to: nameOf(hole) };
    });
    const surplus = numbers.filter((number) => number >= staying.length && !staying.includes(number)).reverse();
    return [...renames, ...surplus.map((number): LinkMove => ({ kind: 'remove', name: nameOf(number) }))];
  });
}

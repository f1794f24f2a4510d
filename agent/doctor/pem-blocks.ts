// The PEM blocks of certificates in a text, in time linear in its length whatever it holds: files of a host and entries of a Secret are
// anybody's.

const begin = '-----BEGIN CERTIFICATE-----';
const end = '-----END CERTIFICATE-----';

export function findBlocks(text: string): readonly string[] {
  const blocks: string[] = [];
  for (let start = text.indexOf(begin); start !== -1; ) {
    const last = text.indexOf(end, start);
    if (last === -1) break; // nor behind any later BEGIN, which is not to be looked for again and again
    const next = last + end.length;
    blocks.push(text.slice(text.lastIndexOf(begin, last), next)); // one that does not end has nothing in it
    start = text.indexOf(begin, next);
  }
  return blocks;
}

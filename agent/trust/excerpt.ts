// The line of an entry that a finding speaks of, where it helps and may be shown: nothing of an entry that holds a private
// key, and of base64, which may be one that nobody recognised, only what does not belong there.

import type { Finding } from './admission.ts';
import { printable } from './printable.ts';
import type { Entries } from './source.ts';

type Placed = Pick<Finding, 'entry' | 'line'> & { readonly code: string };

const maxCharacters = 100;

/** Of findings about the text. What is said of a certificate is not seen in its BEGIN line. */
const codesOfText: ReadonlySet<string> = new Set([
  'ByteOrderMark',
  'CrlfLineEndings',
  'InvalidBase64',
  'MalformedPem',
  'UnexpectedPemBlock',
]);

/** Of a source: one printable line for a finding, undefined where there is none to show. `findings` are all of the source. */
export function createExcerpts(entries: Entries, findings: readonly Placed[]): (finding: Placed) => string | undefined {
  const withKeys = new Set(findings.filter(({ code }) => code === 'PrivateKey').map(({ entry }) => entry));
  const linesOf = new Map<string, readonly string[]>();
  const read = (entry: string): readonly string[] => {
    const lines = linesOf.get(entry) ?? splitLines(entries.get(entry) ?? new Uint8Array());
    linesOf.set(entry, lines);
    return lines;
  };
  return ({ code, entry, line }) => {
    if (line === undefined || !codesOfText.has(code) || withKeys.has(entry)) return undefined;
    const shown = read(entry)[line - 1];
    return shown === undefined ? undefined : printable(hideBase64(shown.replace(/\n$/, '')), maxCharacters);
  };
}

/** After LF, or after a CR alone, as findings count them. */
function splitLines(bytes: Uint8Array): readonly string[] {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
  return text.split(/(?<=\n|\r(?!\n))/);
}

// Letters and digits may be those of a key, wherever they stand; the words of a label are none.
const wordOrByte =
  /(?:BEGIN|END) |\b(?:CERTIFICATE|CMS|CRL|KEY|NEW|PKCS7|PUBLIC|REQUEST|TRUSTED|X509)\b|[A-Za-z0-9+/]/gi;

function hideBase64(line: string): string {
  return line.replaceAll(wordOrByte, (match) => (match.length === 1 ? '·' : match));
}

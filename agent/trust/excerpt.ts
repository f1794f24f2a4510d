// The line of an entry that a finding speaks of, where it helps and may be shown: nothing of an entry that holds a private
// key, and of base64, which may be one that nobody recognised, only what does not belong there.

import type { Finding } from './admission.ts';
import { printable } from './printable.ts';

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

/** One printable line; undefined where there is none to show. `findings` are all of the entry's source. */
export function excerpt(bytes: Uint8Array, finding: Placed, findings: readonly Placed[]): string | undefined {
  const { code, entry, line } = finding;
  if (line === undefined || !codesOfText.has(code)) return undefined;
  if (findings.some((other) => other.entry === entry && other.code === 'PrivateKey')) return undefined;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
  const shown = text.split(/(?<=\n|\r(?!\n))/)[line - 1];
  return shown === undefined ? undefined : printable(hideBase64(shown.replace(/\n$/, '')), maxCharacters);
}

// Letters and digits may be those of a key, wherever they stand; the words of a label are none.
const wordOrByte =
  /(?:BEGIN|END) |\b(?:CERTIFICATE|CMS|CRL|KEY|NEW|PKCS7|PUBLIC|REQUEST|TRUSTED|X509)\b|[A-Za-z0-9+/]/gi;

function hideBase64(line: string): string {
  return line.replaceAll(wordOrByte, (match) => (match.length === 1 ? '·' : match));
}

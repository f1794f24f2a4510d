// Turns what certificates come in into the PEM text that admission takes: other line ends, byte order marks, UTF-16, DER,
// PKCS #7, and base64 around any of these. It changes the form alone, and tells each change; what does not turn out to hold
// PEM blocks stays as it is, for admission to say what is wrong with it. Never throws.

import { encodePem, parseCertificate } from './certificate.ts';
import { decodeBase64, guessUtf16 } from './encoding.ts';
import { utf8ByteOrderMark } from './pem-boundary.ts';
import { readPkcs7 } from './pkcs7.ts';

export interface Normalized {
  readonly bytes: Uint8Array;
  /** What was undone, from the outside in: `base64`, `CR in line ends`. Empty where nothing was changed. */
  readonly changes: readonly string[];
  /** A line of it has the number that it had. */
  readonly keepsLines: boolean;
}

interface Layer {
  readonly bytes: Uint8Array;
  readonly change: string;
  readonly keepsLines?: true;
}

const marker = '-----BEGIN ';
/** Nothing is wrapped that often by mistake. */
const maxLayers = 8;

export function normalize(bytes: Uint8Array): Normalized {
  const normalized = unwrap(bytes, maxLayers);
  return latin1(normalized.bytes).includes(marker) ? normalized : { bytes, changes: [], keepsLines: true };
}

function unwrap(bytes: Uint8Array, layers: number): Normalized {
  const layer = layers === 0 ? undefined : peel(bytes);
  if (layer === undefined) return { bytes, changes: [], keepsLines: true };
  const inner = unwrap(layer.bytes, layers - 1);
  return {
    bytes: inner.bytes,
    changes: [layer.change, ...inner.changes],
    keepsLines: inner.keepsLines && layer.keepsLines === true,
  };
}

function peel(bytes: Uint8Array): Layer | undefined {
  return peelDer(bytes) ?? peelUtf16(bytes) ?? peelText(bytes) ?? peelBase64(bytes);
}

function peelDer(bytes: Uint8Array): Layer | undefined {
  if (parseCertificate(bytes).kind === 'certificate') return { bytes: Buffer.from(encodePem(bytes)), change: 'DER' };
  const certificates = readPkcs7(bytes);
  return certificates && { bytes: Buffer.from(certificates.map(encodePem).join('')), change: 'PKCS #7' };
}

function peelUtf16(bytes: Uint8Array): Layer | undefined {
  const [first, second] = bytes;
  const marked =
    first === 0xff && second === 0xfe ? 'utf-16le' : first === 0xfe && second === 0xff ? 'utf-16be' : undefined;
  const encoding = marked ?? guessUtf16(bytes);
  if (encoding === undefined) return undefined;
  // The decoder takes the byte order mark away.
  return { bytes: Buffer.from(new TextDecoder(encoding).decode(bytes)), change: 'UTF-16', keepsLines: true };
}

function peelText(bytes: Uint8Array): Layer | undefined {
  const text = latin1(bytes);
  const changed = (next: string, change: string): Layer => ({ bytes: Buffer.from(next, 'latin1'), change });
  if (!text.startsWith(utf8ByteOrderMark) && !text.includes(marker)) return undefined;
  // Files that were joined have one in the middle, too.
  const unmarked = text.replaceAll(new RegExp(`^${utf8ByteOrderMark}`, 'gm'), '');
  if (unmarked !== text) return { ...changed(unmarked, 'a byte order mark'), keepsLines: true };
  if (text.includes('\r')) return { ...changed(text.replaceAll(/\r\n?/g, '\n'), 'CR in line ends'), keepsLines: true };
  const unpacked = text.replaceAll(pkcs7Block, (block, _label: string, body: string) => {
    const certificates = readPkcs7(decodeBase64(body) ?? new Uint8Array());
    return certificates === undefined ? block : certificates.map(encodePem).join('').trimEnd();
  });
  return unpacked === text ? undefined : changed(unpacked, 'PKCS #7');
}

/** RFC 7468, 8 and 9; the third one is OpenSSL's. No dash is base64, so this ends at the block's own end. */
const pkcs7Block = /^-----BEGIN (PKCS7|CMS|PKCS #7 SIGNED DATA)-----\n([A-Za-z0-9+/=\s]*)^-----END \1-----$/gm;

function peelBase64(bytes: Uint8Array): Layer | undefined {
  const decoded = decodeBase64(latin1(bytes));
  return decoded && { bytes: decoded, change: 'base64' };
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

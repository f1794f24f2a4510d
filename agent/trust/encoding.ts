// Values that are not PEM text at all but could have become it: DER, UTF-16, base64 once too often.
// Such a value gives one finding, for nothing else can be said of it before it is decoded.

import { type Explained, explain } from './admission-reasons.ts';
import { isPrivateKeyDer, parseCertificate } from './certificate.ts';

/** What keeps the value from being PEM text; undefined where it may be. Linear in its length; never throws. */
export function judgeEncoding(bytes: Uint8Array): Explained | undefined {
  if (bytes.length === 0) return explain('NoCertificate', { evidence: 'the entry is empty' });
  const [first, second = 0] = bytes;
  if ((first === 0xfe && second === 0xff) || (first === 0xff && second === 0xfe)) {
    return explain('ByteOrderMark', { encoding: 'UTF-16' });
  }
  return judgeDer(bytes) ?? judgeUtf16(bytes) ?? judgeBinary(bytes) ?? judgeBase64(bytes);
}

function judgeDer(bytes: Uint8Array): Explained | undefined {
  if (bytes[0] !== 0x30) return undefined;
  if (isPrivateKeyDer(bytes)) return explain('PrivateKey', { evidence: 'the value is a private key in DER' });
  const second = bytes[1] ?? 0;
  // The length of a longer sequence. As text it would be a "0" before a lone continuation byte: not UTF-8.
  if (second < 0x80 || second > 0x84) return undefined;
  return explain('DerEncoded', { isCertificate: isCertificate(bytes) });
}

/** Of text without a byte order mark: ASCII in UTF-16 has a NUL in every other byte. */
export function guessUtf16(bytes: Uint8Array): 'utf-16be' | 'utf-16le' | undefined {
  const sample = bytes.subarray(0, 64);
  const hasZeros = (parity: number): boolean => sample.every((byte, at) => (byte === 0) === (at % 2 === parity));
  if (sample.length < 2) return undefined;
  return hasZeros(0) ? 'utf-16be' : hasZeros(1) ? 'utf-16le' : undefined;
}

function judgeUtf16(bytes: Uint8Array): Explained | undefined {
  if (guessUtf16(bytes) === undefined) return undefined;
  return explain('NoCertificate', { evidence: 'the value looks like UTF-16 text, expected ASCII' });
}

// A NUL is in no text; beside a PEM block the scanner has the better word for it.
function judgeBinary(bytes: Uint8Array): Explained | undefined {
  const value = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (!value.includes(0) || value.includes('-----BEGIN ')) return undefined;
  return explain('NoCertificate', { evidence: 'the value is binary (an archive, a key store?), expected PEM text' });
}

function judgeBase64(bytes: Uint8Array): Explained | undefined {
  let text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
  for (let times = 1; times <= 3; times++) {
    const decoded = decodeBase64(text);
    if (decoded === undefined) return undefined;
    if (isCertificate(decoded)) {
      const evidence = 'the value is base64 of a certificate without its BEGIN and END lines';
      return explain('NoCertificate', { evidence });
    }
    if (isPrivateKeyDer(decoded)) return explain('PrivateKey', { evidence: 'the value is base64 of a private key' });
    text = decoded.toString('latin1');
    if (text.includes('-----BEGIN ')) return explain('DoubleBase64', { times });
  }
  return undefined;
}

/** Of text that is base64 and nothing else, in lines or not. */
export function decodeBase64(text: string): Buffer | undefined {
  // The first test ends early for PEM, at its first dash; the second one needs the white space gone to stay linear.
  if (/[^A-Za-z0-9+/=\s]/.test(text)) return undefined;
  const compact = text.replace(/\s+/g, '');
  return /^[A-Za-z0-9+/]+={0,2}$/.test(compact) ? Buffer.from(compact, 'base64') : undefined;
}

const isCertificate = (der: Uint8Array): boolean => parseCertificate(der).kind === 'certificate';

// One certificate: DER in, the facts that admission, host and reports speak of out (RFC 5280).
// Two readers must take it: node:crypto is what OpenSSL users on the host will see, extensions.ts tells what it does not.
// Nothing here throws: getters of node:crypto do, late, so all facts are read at once. Bytes of the input never appear in
// the evidence.

import { createHash, createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readElements, readHeader } from './der.ts';
import { type Extensions, readExtensions, sha1 } from './extensions.ts';
import { printable } from './printable.ts';

/** SHA-256 over the DER, 64 lower-case hexadecimal digits. */
export type Fingerprint = string & { readonly __brand: 'Fingerprint' };

export type PublicKeyFacts =
  | { readonly kind: 'rsa'; readonly bits: number }
  | { readonly kind: 'ec'; readonly curve: string; readonly bits: number }
  | { readonly kind: 'other'; readonly name: string };

/** The hash under the signature, where it is a broken one. */
export type SignatureHash = 'MD2' | 'MD4' | 'MD5' | 'SHA-1' | 'other';

export interface Certificate extends Pick<Extensions, 'extendedKeyUsage' | 'goFault' | 'isCa'> {
  readonly der: Uint8Array;
  /** Canonical PEM: 64 columns, LF, ends with one LF. */
  readonly pem: string;
  readonly fingerprint: Fingerprint;
  /** One printable line of at most 256 characters; empty for an empty name. */
  readonly subject: string;
  readonly issuer: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** Its signature verifies with its own key. */
  readonly selfSigned: boolean;
  readonly signatureHash: SignatureHash;
  readonly publicKey: PublicKeyFacts;
}

export type ParsedCertificate =
  | { readonly kind: 'certificate'; readonly certificate: Certificate }
  | { readonly kind: 'malformed'; readonly evidence: string };

/** Reads exactly one DER certificate. Never throws. */
export function parseCertificate(der: Uint8Array): ParsedCertificate {
  const fault = findOuterFault(der);
  if (fault !== undefined) return malformed(fault);
  try {
    return readFacts(new Uint8Array(der));
  } catch {
    return malformed('its DER is not a certificate that can be read');
  }
}

export function fingerprintOf(der: Uint8Array): Fingerprint {
  return createHash('sha256').update(der).digest('hex') as Fingerprint;
}

/** Whether the bytes are a private key in DER (PKCS #8, encrypted or not, PKCS #1 or SEC 1). Never throws. */
export function isPrivateKeyDer(der: Uint8Array): boolean {
  if (findOuterFault(der) !== undefined) return false;
  const key = Buffer.from(der);
  return (['pkcs8', 'pkcs1', 'sec1'] as const).some((type) => {
    try {
      createPrivateKey({ key, format: 'der', type });
      return true;
    } catch (error) {
      return error instanceof Error && 'code' in error && error.code === 'ERR_MISSING_PASSPHRASE';
    }
  });
}

/** The certificate of a text that is its canonical PEM and nothing else; undefined for any other text. */
export function parseCanonicalPem(pem: string): Certificate | undefined {
  const parsed = parseCertificate(Buffer.from(pem.replaceAll(/-----[A-Z ]+-----|\s/g, ''), 'base64'));
  return parsed.kind === 'certificate' && parsed.certificate.pem === pem ? parsed.certificate : undefined;
}

const malformed = (evidence: string): ParsedCertificate => ({ kind: 'malformed', evidence });

function readFacts(der: Uint8Array): ParsedCertificate {
  const x509 = new X509Certificate(der);
  // OpenSSL reads some BER; it would then compute another fingerprint than the one over these bytes.
  if (!x509.raw.equals(der)) return malformed('its encoding is not DER');
  const extensions = readExtensions(der);
  if (typeof extensions === 'string') return malformed(extensions);
  const { validFromDate: notBefore, validToDate: notAfter } = x509;
  // For a date it cannot read, node:crypto gives a Date of whatever was in memory; its text then is no date.
  if (Date.parse(x509.validFrom) !== notBefore.getTime() || Date.parse(x509.validTo) !== notAfter.getTime()) {
    return malformed('its validity dates cannot be read');
  }
  return {
    kind: 'certificate',
    certificate: {
      der,
      pem: encodePem(der),
      fingerprint: fingerprintOf(der),
      subject: printableName(x509.subject),
      issuer: printableName(x509.issuer),
      notBefore,
      notAfter,
      selfSigned: verifies(x509),
      isCa: extensions.isCa,
      extendedKeyUsage: extensions.extendedKeyUsage,
      goFault: extensions.goFault,
      signatureHash: weakHashes.get(extensions.pssHash ?? x509.signatureAlgorithmOid ?? '') ?? 'other',
      publicKey: describeKey(x509.publicKey),
    },
  };
}

function verifies(x509: X509Certificate): boolean {
  try {
    return x509.verify(x509.publicKey);
  } catch {
    return false;
  }
}

/** Canonical PEM of one certificate: 64 columns, LF, ends with one LF. */
export function encodePem(der: Uint8Array): string {
  const lines = Buffer.from(der)
    .toString('base64')
    .replace(/.{64}(?!$)/g, '$&\n');
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}

// node:crypto puts each part of a name on a line of its own and escapes control characters below U+0080 (RFC 2253).
// What is left could still turn or hide text on a terminal: other control and format characters, line separators.
function printableName(name: string | undefined): string {
  return printable((name ?? '').replaceAll('\n', ', '), 256);
}

const weakHashes: ReadonlyMap<string, SignatureHash> = new Map([
  [sha1, 'SHA-1'],
  ['1.2.840.113549.1.1.2', 'MD2'],
  ['1.2.840.113549.1.1.3', 'MD4'],
  ['1.2.840.113549.1.1.4', 'MD5'],
  ['1.3.14.3.2.3', 'MD5'],
  ['1.2.840.113549.1.1.5', 'SHA-1'],
  ['1.3.14.3.2.29', 'SHA-1'],
  ['1.2.840.10045.4.1', 'SHA-1'],
  ['1.2.840.10040.4.3', 'SHA-1'],
  ['1.3.14.3.2.13', 'SHA-1'],
  ['1.3.14.3.2.27', 'SHA-1'],
]);

function describeKey(key: KeyObject): PublicKeyFacts {
  const details = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case 'rsa':
    case 'rsa-pss':
      return { kind: 'rsa', bits: details.modulusLength ?? 0 };
    case 'ec':
      return { kind: 'ec', curve: details.namedCurve ?? 'with explicit parameters', bits: curveBits(key) };
    default:
      return { kind: 'other', name: key.asymmetricKeyType ?? 'unknown' };
  }
}

// node:crypto names the curve and not its size, so it is read from the point: one byte, then x and, uncompressed, y.
// Rounded up to whole bytes, which no known curve below 256 bits turns into 256.
function curveBits(key: KeyObject): number {
  const spki = key.export({ format: 'der', type: 'spki' });
  const [, point] = readElements(readElements(spki)?.[0]?.content ?? spki) ?? [];
  const [, form, ...coordinates] = point?.content ?? [];
  const isCompressed = form === 2 || form === 3;
  return (coordinates.length / (isCompressed ? 1 : 2)) * 8;
}

function findOuterFault(der: Uint8Array): string | undefined {
  if (der.length === 0) return 'the block is empty';
  const header = readHeader(der);
  if (header?.tag !== 0x30 || !header.isDer || header.end === undefined) return 'it does not begin with a DER sequence';
  const { start, end } = header;
  if (end > der.length) return 'its DER is cut off';
  if (end < der.length) return 'bytes follow after its DER';
  return start === end ? 'its DER sequence is empty' : undefined;
}

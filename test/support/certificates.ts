// Makes certificates for tests, with every property that admission judges, and servers' certificates with their keys.
// The DER is put together by hand: generators refuse to make what has to be refused. Synchronous; new keys each time
// unless given. Properties of what comes out are tested against node:crypto and openssl.

import {
  constants,
  createHash,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign as signBytes,
} from 'node:crypto';
import { isIPv4 } from 'node:net';
import {
  asn1Null,
  bitString,
  boolean,
  distinguishedName,
  element,
  explicit,
  implicit,
  integer,
  octetString,
  oid,
  sequence,
  time,
} from './der.ts';

/** The clock of the tests. The certificates are good from a year before until ten years after, unless told otherwise. */
export const fixedNow = new Date('2026-06-01T00:00:00Z');

export const extendedKeyUsages = {
  any: '2.5.29.37.0',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  codeSigning: '1.3.6.1.5.5.7.3.3',
} as const;

export interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

export type KeySpec =
  | { readonly kind: 'ec'; readonly curve: string }
  | { readonly kind: 'rsa'; readonly bits: number }
  | { readonly kind: 'ed25519' };

export interface CertificateOptions {
  /** The common name; '' gives an empty name. */
  readonly subject?: string;
  /** Who signs it; itself where missing. */
  readonly issuer?: TestCertificate;
  /** basicConstraints: CA:TRUE unless told otherwise. */
  readonly ca?: boolean | 'missing';
  /** Object identifiers; no such extension where missing. */
  readonly extendedKeyUsage?: readonly string[];
  /** Host names and IPv4 addresses. */
  readonly names?: readonly string[];
  /** EC on P-256 where missing: RSA keys take long to make. */
  readonly key?: KeyPair | KeySpec;
  /** With SHA-256, or Ed25519, where missing. */
  readonly signature?: SignatureName;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** Version 1 has no extensions at all. */
  readonly version?: 1 | 3;
  /** DER of `Extension`s to add as they are. */
  readonly extraExtensions?: readonly Uint8Array[];
}

/** Must fit the key that signs. */
export type SignatureName = keyof typeof signatures;

export interface TestCertificate {
  readonly subject: string;
  readonly der: Uint8Array;
  /** As OpenSSL writes it: 64 columns, LF, ends with one LF. */
  readonly pem: string;
  readonly keys: KeyPair;
  /** The private key, PKCS #8. */
  readonly keyPem: string;
}

export function createKeyPair(spec: KeySpec): KeyPair {
  switch (spec.kind) {
    case 'ec':
      return generateKeyPairSync('ec', { namedCurve: spec.curve });
    case 'rsa':
      return generateKeyPairSync('rsa', { modulusLength: spec.bits });
    case 'ed25519':
      return generateKeyPairSync('ed25519');
    default:
      return spec satisfies never;
  }
}

export function createCertificate(options: CertificateOptions = {}): TestCertificate {
  const { subject = 'Test CA', key = { kind: 'ec', curve: 'P-256' }, version = 3, issuer } = options;
  const { notBefore = yearsAfterFixedNow(-1), notAfter = yearsAfterFixedNow(10) } = options;
  const keys = 'kind' in key ? createKeyPair(key) : key;
  const signer = issuer?.keys ?? keys;
  const signature = options.signature ?? defaultSignature(signer);
  const { algorithm, sign } = signatures[signature];
  const tbs = sequence(
    ...(version === 3 ? [explicit(0, integer(2n))] : []),
    integer(randomBytes(8).readBigUInt64BE()),
    algorithm,
    distinguishedName(issuer?.subject ?? subject),
    sequence(time(notBefore), time(notAfter)),
    distinguishedName(subject),
    keys.publicKey.export({ format: 'der', type: 'spki' }),
    ...(version === 3 ? [explicit(3, sequence(...encodeExtensions(options, keys, signer)))] : []),
  );
  const der = new Uint8Array(sequence(tbs, algorithm, bitString(sign(tbs, signer.privateKey))));
  const keyPem = keys.privateKey.export({ format: 'pem', type: 'pkcs8' });
  return { subject, der, pem: encodePem('CERTIFICATE', der), keys, keyPem };
}

/** For a TLS server of a test on this machine; `pem` and `keyPem` are what `tls.createServer` wants. */
export function createServerCertificate(issuer: TestCertificate, options: CertificateOptions = {}): TestCertificate {
  const { serverAuth } = extendedKeyUsages;
  const names = ['localhost', '127.0.0.1'];
  return createCertificate({
    subject: 'localhost',
    names,
    ca: false,
    extendedKeyUsage: [serverAuth],
    issuer,
    ...options,
  });
}

export function encodePem(label: string, der: Uint8Array): string {
  const lines = Buffer.from(der)
    .toString('base64')
    .replace(/.{64}(?!$)/g, '$&\n');
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}

/** The DER of one `Extension`. */
export function encodeExtension(id: string, value: Uint8Array, critical = false): Uint8Array {
  return sequence(oid(id), ...(critical ? [boolean(true)] : []), octetString(value));
}

function encodeExtensions(options: CertificateOptions, keys: KeyPair, signer: KeyPair): Uint8Array[] {
  const { ca = true, extendedKeyUsage = [], names = [], issuer, extraExtensions = [] } = options;
  const extensions = [encodeExtension('2.5.29.14', octetString(keyIdentifier(keys)))];
  // Tells CAs of the same name apart.
  if (issuer !== undefined) extensions.push(encodeExtension('2.5.29.35', sequence(implicit(0, keyIdentifier(signer)))));
  if (ca !== 'missing') {
    extensions.push(encodeExtension('2.5.29.19', ca ? sequence(boolean(true)) : sequence(), true));
    extensions.push(encodeExtension('2.5.29.15', ca ? keyCertSignAndCrlSign : digitalSignature, true));
  }
  if (extendedKeyUsage.length > 0)
    extensions.push(encodeExtension('2.5.29.37', sequence(...extendedKeyUsage.map(oid))));
  if (names.length > 0) extensions.push(encodeExtension('2.5.29.17', sequence(...names.map(generalName))));
  return [...extensions, ...extraExtensions];
}

const keyCertSignAndCrlSign = element(0x03, Buffer.of(1, 0x06));
const digitalSignature = element(0x03, Buffer.of(7, 0x80));

function keyIdentifier({ publicKey }: KeyPair): Uint8Array {
  return createHash('sha1')
    .update(publicKey.export({ format: 'der', type: 'spki' }))
    .digest();
}

function generalName(name: string): Uint8Array {
  return isIPv4(name) ? implicit(7, Buffer.from(name.split('.').map(Number))) : implicit(2, Buffer.from(name));
}

interface Signature {
  readonly algorithm: Uint8Array;
  readonly sign: (bytes: Uint8Array, key: KeyObject) => Uint8Array;
}

const signWith = (hash: string | null, ...algorithm: readonly Uint8Array[]): Signature => ({
  algorithm: sequence(...algorithm),
  sign: (bytes, key) => signBytes(hash, bytes, key),
});

const signatures = {
  'rsa-md5': signWith('md5', oid('1.2.840.113549.1.1.4'), asn1Null),
  'rsa-sha1': signWith('sha1', oid('1.2.840.113549.1.1.5'), asn1Null),
  'rsa-sha256': signWith('sha256', oid('1.2.840.113549.1.1.11'), asn1Null),
  'rsa-pss-sha1': {
    // Empty parameters stand for SHA-1 and a salt of 20 bytes (RFC 4055).
    algorithm: sequence(oid('1.2.840.113549.1.1.10'), sequence()),
    sign: (bytes, key) => signBytes('sha1', bytes, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 20 }),
  },
  'ecdsa-sha1': signWith('sha1', oid('1.2.840.10045.4.1')),
  'ecdsa-sha256': signWith('sha256', oid('1.2.840.10045.4.3.2')),
  'ecdsa-sha384': signWith('sha384', oid('1.2.840.10045.4.3.3')),
  ed25519: signWith(null, oid('1.3.101.112')),
} as const satisfies Readonly<Record<string, Signature>>;

function defaultSignature({ privateKey }: KeyPair): SignatureName {
  switch (privateKey.asymmetricKeyType) {
    case 'rsa':
      return 'rsa-sha256';
    case 'ed25519':
      return 'ed25519';
    default:
      return 'ecdsa-sha256';
  }
}

function yearsAfterFixedNow(years: number): Date {
  const date = new Date(fixedNow);
  date.setUTCFullYear(date.getUTCFullYear() + years);
  return date;
}

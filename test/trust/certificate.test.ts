import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Certificate, fingerprintOf, isPrivateKeyDer, parseCertificate } from '../../agent/trust/certificate.ts';
import {
  type CertificateOptions,
  createCertificate,
  createKeyPair,
  createServerCertificate,
  encodeExtension,
  extendedKeyUsages,
  type TestCertificate,
} from '../support/certificates.ts';
import { element, sequence } from '../support/der.ts';

function parse({ der }: Pick<TestCertificate, 'der'>): Certificate {
  const result = parseCertificate(der);
  assert.ok(result.kind === 'certificate', JSON.stringify(result));
  return result.certificate;
}

const parseNew = (options: CertificateOptions): Certificate => parse(createCertificate(options));

function evidenceOf(der: Uint8Array): string {
  const result = parseCertificate(der);
  assert.ok(result.kind === 'malformed');
  return result.evidence;
}

const rsa = createCertificate({ subject: 'RSA', key: { kind: 'rsa', bits: 1024 } });

test('the facts of a certificate are those that node:crypto tells', () => {
  const made = createServerCertificate(createCertificate({ subject: 'Root' }));
  const certificate = parse(made);
  const x509 = new X509Certificate(made.pem);
  assert.equal(certificate.fingerprint, x509.fingerprint256.replaceAll(':', '').toLowerCase());
  assert.equal(certificate.fingerprint, fingerprintOf(made.der));
  assert.equal(certificate.pem, x509.toString());
  assert.deepEqual(certificate.der, made.der);
  assert.equal(certificate.subject, 'CN=localhost');
  assert.equal(certificate.issuer, 'CN=Root');
  assert.deepEqual([certificate.notBefore, certificate.notAfter], [x509.validFromDate, x509.validToDate]);
});

test('canonical PEM has 64 columns and ends with one LF, also where the base64 fills its last line', () => {
  for (let length = 1; length <= 64; length++) {
    const { pem } = parseNew({ subject: 'x'.repeat(length) });
    assert.equal(pem, new X509Certificate(pem).toString());
    assert.match(pem, /^-----BEGIN CERTIFICATE-----\n(?:.{64}\n)+(?:.{1,63}\n)?-----END CERTIFICATE-----\n$/);
  }
});

test('the bytes belong to the certificate alone', () => {
  const der = Uint8Array.from(rsa.der);
  const certificate = parse({ der });
  der.fill(0);
  assert.deepEqual(certificate.der, rsa.der);
});

test('a CA is what basicConstraints call one', () => {
  assert.equal(parseNew({}).isCa, true);
  assert.equal(parseNew({ ca: false }).isCa, false);
  assert.equal(parseNew({ ca: 'missing' }).isCa, false);
  assert.equal(parseNew({ version: 1 }).isCa, false);
});

test('a certificate is self-signed when its own key verifies it, whatever its names', () => {
  const issuer = createCertificate({ subject: 'Same' });
  assert.equal(parse(issuer).selfSigned, true);
  assert.equal(parseNew({ subject: 'Same', issuer }).selfSigned, false);
  assert.equal(parseNew({ subject: 'Other', issuer, key: issuer.keys }).selfSigned, true);
});

test('the extended key usage is a list of object identifiers, or undefined', () => {
  const { any, clientAuth } = extendedKeyUsages;
  assert.equal(parseNew({}).extendedKeyUsage, undefined);
  assert.deepEqual(parseNew({ extendedKeyUsage: [clientAuth, any] }).extendedKeyUsage, [clientAuth, any]);
});

test('broken hashes are recognised under every signature algorithm', () => {
  const ec = createCertificate();
  const hashOf = (issuer: TestCertificate, signature: NonNullable<CertificateOptions['signature']>): string =>
    parseNew({ issuer, signature }).signatureHash;
  assert.equal(hashOf(rsa, 'rsa-md5'), 'MD5');
  assert.equal(hashOf(rsa, 'rsa-sha1'), 'SHA-1');
  assert.equal(hashOf(rsa, 'rsa-pss-sha1'), 'SHA-1');
  assert.equal(hashOf(rsa, 'rsa-sha256'), 'other');
  assert.equal(hashOf(ec, 'ecdsa-sha1'), 'SHA-1');
  assert.equal(hashOf(ec, 'ecdsa-sha384'), 'other');
  assert.equal(parseNew({ key: { kind: 'ed25519' } }).signatureHash, 'other');
});

test('keys are described by type and size', () => {
  assert.deepEqual(parse(rsa).publicKey, { kind: 'rsa', bits: 1024 });
  const curves = [
    ['P-192', 'prime192v1', 192],
    ['secp224r1', 'secp224r1', 224],
    ['P-256', 'prime256v1', 256],
    ['secp256k1', 'secp256k1', 256],
    ['P-384', 'secp384r1', 384],
    ['brainpoolP256r1', 'brainpoolP256r1', 256],
  ] as const;
  for (const [name, curve, bits] of curves) {
    assert.deepEqual(parseNew({ key: { kind: 'ec', curve: name } }).publicKey, { kind: 'ec', curve, bits });
  }
  assert.deepEqual(parseNew({ key: { kind: 'ed25519' } }).publicKey, { kind: 'other', name: 'ed25519' });
});

test('names are one printable line of at most 256 characters', () => {
  assert.equal(parseNew({ subject: 'Zürich 東京' }).subject, 'CN=Zürich 東京');
  assert.equal(parseNew({ subject: '' }).subject, '');
  for (const subject of ['a\nb', 'a\x1b[31mb', 'a\u0085b', 'a\u202eb', 'a\u2028b', 'a\u200bb', 'a\0b', 'a\u{e0001}b']) {
    const printed = parseNew({ subject }).subject;
    assert.doesNotMatch(printed, /[\p{C}\p{Zl}\p{Zp}]/u);
    assert.match(printed, /^CN=a.+b$/u);
  }
  const long = parseNew({ subject: '💥'.repeat(1000) }).subject;
  assert.equal(Array.from(long).length, 256);
  assert.ok(long.endsWith('💥…') && long.isWellFormed());
});

test('bytes before, behind and instead of the certificate are malformed', () => {
  const { der } = createCertificate();
  assert.equal(evidenceOf(new Uint8Array()), 'the block is empty');
  assert.equal(evidenceOf(Buffer.concat([der, Buffer.of(0)])), 'bytes follow after its DER');
  assert.equal(evidenceOf(Buffer.concat([der, der])), 'bytes follow after its DER');
  assert.equal(evidenceOf(der.subarray(0, -1)), 'its DER is cut off');
  assert.equal(evidenceOf(der.subarray(1)), 'it does not begin with a DER sequence');
  assert.equal(evidenceOf(sequence()), 'its DER sequence is empty');
  assert.equal(evidenceOf(sequence(element(0x02, Buffer.of(1)))), 'its DER is not a certificate that can be read');
});

test('lengths that DER does not allow are malformed though OpenSSL reads them', () => {
  const content = createCertificate().der.subarray(4);
  const indefinite = Buffer.concat([Buffer.of(0x30, 0x80), content, Buffer.of(0, 0)]);
  const padded = Buffer.concat([Buffer.of(0x30, 0x83, 0, content.length >> 8, content.length & 255), content]);
  for (const der of [indefinite, padded]) {
    assert.ok(new X509Certificate(der).subject);
    assert.equal(evidenceOf(der), 'it does not begin with a DER sequence');
  }
});

test('a certificate that OpenSSL would write in other bytes is malformed', () => {
  // The signature, 129 bytes with its own head of 3, comes last; a longer form of its length is BER.
  const beforeSignature = rsa.der.subarray(4, -132);
  const signature = rsa.der.subarray(-129);
  const asDer = sequence(beforeSignature, Buffer.of(0x03, 0x81, 129), signature);
  const asBer = sequence(beforeSignature, Buffer.of(0x03, 0x82, 0, 129), signature);
  assert.deepEqual(new Uint8Array(asDer), rsa.der);
  assert.ok(new X509Certificate(asBer).subject);
  assert.equal(evidenceOf(asBer), 'its encoding is not DER');
});

test('the same extension twice is malformed', () => {
  const again = encodeExtension('2.5.29.19', sequence(), true);
  assert.equal(evidenceOf(createCertificate({ extraExtensions: [again] }).der), 'it holds the same extension twice');
});

test('the last dates that can be written are read', () => {
  const notAfter = new Date('9999-12-31T23:59:59Z');
  const notBefore = new Date('1950-01-01T00:00:00Z');
  const certificate = parseNew({ notBefore, notAfter });
  assert.deepEqual([certificate.notBefore, certificate.notAfter], [notBefore, notAfter]);
});

test('dates and keys that cannot be read are malformed', () => {
  const replace = (from: string, to: string): Uint8Array => {
    const { der } = createCertificate({ notAfter: new Date('2033-03-03T03:03:03Z') });
    const text = Buffer.from(der).toString('latin1');
    assert.ok(text.includes(from));
    return Buffer.from(text.replace(from, to), 'latin1');
  };
  for (const bad of ['339903030303Z', 'garbagegarbag', '\0\0\0\0\0\0\0\0\0\0\0\0\0', '33030303+0100']) {
    assert.equal(evidenceOf(replace('330303030303Z', bad)), 'its validity dates cannot be read');
  }
  assert.ok(evidenceOf(replace('\x2a\x86\x48\xce\x3d\x03\x01\x07', '\x2a\x86\x48\xce\x3d\x03\x01\x7f')));
});

test('no bytes make it throw, and what parses parses to the same again', () => {
  const { der } = createCertificate();
  const change = fc.array(fc.tuple(fc.nat(der.length - 1), fc.nat(255)), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(change, (changes) => {
      const bytes = Uint8Array.from(der);
      for (const [at, byte] of changes) bytes[at] = byte;
      const result = parseCertificate(bytes);
      if (result.kind === 'malformed') return;
      assert.deepEqual(result.certificate.der, bytes);
      assert.deepEqual(parse(result.certificate), result.certificate);
      assert.doesNotThrow(() => JSON.stringify(result));
    }),
    { numRuns: 800 },
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => assert.ok(evidenceOf(sequence(bytes)))));
});

test('private keys are recognised in every DER form, and nothing else is', () => {
  const ec = createKeyPair({ kind: 'ec', curve: 'P-256' });
  const rsaKey = rsa.keys.privateKey;
  const encrypted = { format: 'der', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'secret' } as const;
  const keys = [
    ec.privateKey.export({ format: 'der', type: 'pkcs8' }),
    ec.privateKey.export({ format: 'der', type: 'sec1' }),
    ec.privateKey.export(encrypted),
    rsaKey.export({ format: 'der', type: 'pkcs1' }),
    createKeyPair({ kind: 'ed25519' }).privateKey.export({ format: 'der', type: 'pkcs8' }),
  ];
  assert.deepEqual(keys.map(isPrivateKeyDer), [true, true, true, true, true]);
  const others = [rsa.der, ec.publicKey.export({ format: 'der', type: 'spki' }), Buffer.of(), Buffer.from('0')];
  assert.deepEqual(others.map(isPrivateKeyDer), [false, false, false, false]);
});

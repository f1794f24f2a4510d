// Beside cases of its own, the reader is held to a library: what it takes, the library takes, and reads the same in it.

import 'reflect-metadata';
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { BasicConstraintsExtension, ExtendedKeyUsageExtension, X509Certificate } from '@peculiar/x509';
import fc from 'fast-check';
import { parseCertificate } from '../../agent/trust/certificate.ts';
import { formatOid } from '../../agent/trust/der.ts';
import { type Extensions, readExtensions } from '../../agent/trust/extensions.ts';
import { createCertificate, encodeExtension, extendedKeyUsages } from '../support/certificates.ts';
import { asn1Null, bitString, boolean, element, explicit, implicit, integer, oid, sequence } from '../support/der.ts';

const { any, serverAuth } = extendedKeyUsages;
const rsa = createCertificate({ key: { kind: 'rsa', bits: 1024 } });
const url = implicit(6, Buffer.from('http://crl.test'));
const name = implicit(2, Buffer.from('a.test'));

/** One right value for each kind that is judged and that the builder does not make by itself. */
const others = {
  '2.5.29.18': sequence(name, explicit(4, sequence())),
  '2.5.29.30': sequence(explicit(0, sequence(name))),
  '2.5.29.31': sequence(sequence(explicit(0, explicit(0, url)))),
  '2.5.29.32': sequence(sequence(oid('2.5.29.32.0'))),
  '2.5.29.35': sequence(implicit(0, Buffer.from('id'))),
  '1.3.6.1.5.5.7.1.1': sequence(sequence(oid('1.3.6.1.5.5.7.48.1'), url)),
  '1.2.3.4': Buffer.from('what nobody knows may hold anything'),
};
const full = createCertificate({
  names: ['a.test', '127.0.0.1'],
  extendedKeyUsage: [any, serverAuth],
  extraExtensions: Object.entries(others).map(([id, value]) => encodeExtension(id, value)),
});

function read(der: Uint8Array): Extensions {
  const extensions = readExtensions(der);
  assert(typeof extensions !== 'string', JSON.stringify(extensions));
  return extensions;
}

/** As the library tells them. */
function readByLibrary(der: Uint8Array): Pick<Extensions, 'extendedKeyUsage' | 'isCa'> & { readonly pss: string } {
  const certificate = new X509Certificate(new Uint8Array(der));
  const usage = certificate.getExtension(ExtendedKeyUsageExtension);
  const { signatureAlgorithm } = certificate;
  return {
    isCa: certificate.getExtension(BasicConstraintsExtension)?.ca ?? false,
    extendedKeyUsage: usage === null ? undefined : Array.from(usage.usages, String),
    pss: 'name' in signatureAlgorithm && signatureAlgorithm.name === 'RSA-PSS' ? signatureAlgorithm.hash.name : '',
  };
}

test('a certificate with one extension of every kind is read', () => {
  assert.deepEqual(read(full.der), {
    isCa: true,
    extendedKeyUsage: [any, serverAuth],
    pssHash: undefined,
    goFault: undefined,
  });
  const bare = createCertificate({ version: 1 });
  assert.deepEqual(read(bare.der), {
    isCa: false,
    extendedKeyUsage: undefined,
    pssHash: undefined,
    goFault: undefined,
  });
  assert.equal(read(createCertificate({ issuer: rsa, signature: 'rsa-pss-sha1' }).der).pssHash, '1.3.14.3.2.26');
});

test('an extension that is not of the form of its kind is told', () => {
  const empty = sequence();
  for (const [id, ...values] of [
    ['2.5.29.14', empty, asn1Null],
    ['2.5.29.15', element(0x03), element(0x03, Buffer.of(8, 0)), empty],
    [
      '2.5.29.17',
      asn1Null,
      sequence(asn1Null),
      sequence(implicit(9, Buffer.of())),
      sequence(implicit(0, Buffer.of(1))),
    ],
    ['2.5.29.18', sequence(element(0xa4, Buffer.of(1)))],
    ['2.5.29.19', boolean(true), sequence(integer(1n), boolean(true)), sequence(element(0x01, Buffer.of(1)))],
    ['2.5.29.30', sequence(name)],
    ['2.5.29.31', sequence(url), sequence(sequence(explicit(0, url))), sequence(sequence(boolean(true)))],
    ['2.5.29.32', sequence(empty), sequence(oid('1.2.3'))],
    ['2.5.29.35', sequence(explicit(0, empty)), asn1Null],
    [
      '2.5.29.37',
      asn1Null,
      sequence(integer(1n)),
      sequence(element(0x06, Buffer.of(0x80, 1))),
      sequence(element(0x06)),
    ],
    ['1.3.6.1.5.5.7.1.1', sequence(empty), sequence(sequence(oid('1.2.3'), asn1Null)), sequence(oid('1.2.3'))],
  ] as const) {
    for (const value of [...values, Buffer.of(), Buffer.concat([bitString(Buffer.of(1)), Buffer.of(0)])]) {
      // The builder has made a right one of some kinds already: this one stands in its place.
      const { der } = createCertificate({ ca: 'missing', extraExtensions: [encodeExtension(id, value)] });
      const bytes = id === '2.5.29.14' ? replaceKeyIdentifier(value) : der;
      assert.equal(
        readExtensions(bytes),
        `its extension ${id} is not of the form of its kind`,
        Buffer.from(value).toString('hex'),
      );
    }
  }
});

/** It is the first extension that the builder writes. */
function replaceKeyIdentifier(value: Uint8Array): Uint8Array {
  const list = sequence(encodeExtension('2.5.29.14', value));
  const tbs = sequence(
    explicit(0, integer(2n)),
    integer(1n),
    sequence(),
    sequence(),
    sequence(),
    sequence(),
    sequence(),
  );
  return sequence(sequence(tbs.subarray(2), explicit(3, list)), sequence(oid('1.2.3')), bitString(Buffer.of()));
}

test('an object identifier that nobody uses the length of is refused, before it is written out', () => {
  const long = Buffer.concat([Buffer.alloc(200_000, 0x81), Buffer.of(1)]);
  const id = element(0x06, long);
  const usage = createCertificate({ extraExtensions: [encodeExtension('2.5.29.37', sequence(id))] });
  const parsed = parseCertificate(usage.der);
  assert.equal(parsed.kind, 'malformed');
  assert.equal(formatOid(long), 'of 200001 bytes');
});

test('every root of this machine is read as the library reads it', (t) => {
  const folder = '/usr/share/ca-certificates/mozilla';
  if (!existsSync(folder)) return t.skip('ca-certificates is not installed');
  for (const file of readdirSync(folder)) {
    const pem = readFileSync(join(folder, file), 'utf8');
    const der = Buffer.from(pem.replaceAll(/-----.*-----/g, ''), 'base64');
    const { isCa, extendedKeyUsage } = read(der);
    assert.deepEqual({ isCa, extendedKeyUsage, pss: '' }, readByLibrary(der), file);
  }
});

test('what is taken of spoilt certificates, the library takes, and reads the same in it', () => {
  const pss = createCertificate({ issuer: rsa, signature: 'rsa-pss-sha1' });
  const certificates = [full, rsa, pss, createCertificate({ version: 1 })].map(({ der }) => der);
  const likely = fc.constantFrom(0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0c, 0x30, 0x31, 0x80, 0x82, 0xa0, 0xa3, 0xff);
  const change = fc.tuple(fc.nat(2 ** 16), fc.oneof(likely, fc.nat(255)));
  let taken = 0;
  fc.assert(
    fc.property(fc.constantFrom(...certificates), fc.array(change, { minLength: 1, maxLength: 2 }), (der, changes) => {
      const bytes = Uint8Array.from(der);
      for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
      const parsed = parseCertificate(bytes);
      if (parsed.kind === 'malformed') return;
      taken += 1;
      const { isCa, extendedKeyUsage } = parsed.certificate;
      const { pss, ...facts } = readByLibrary(bytes);
      assert.deepEqual({ isCa, extendedKeyUsage }, facts);
      if (pss === 'SHA-1') assert.equal(parsed.certificate.signatureHash, 'SHA-1');
    }),
    // Always the same ones: what the library takes beyond that is not known for all there are.
    { numRuns: 3000, seed: 20_261_125 },
  );
  assert(taken > 500, String(taken));
});

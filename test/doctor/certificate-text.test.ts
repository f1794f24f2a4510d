import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { datesOf, day, findGoFault, nameOf } from '../../agent/doctor/certificate-text.ts';
import { createCertificate, encodeExtension, type TestCertificate } from '../support/certificates.ts';
import { implicit, sequence } from '../support/der.ts';

test('a name is one line, and an empty one is told as such', () => {
  const { subject } = new X509Certificate(createCertificate({ subject: '' }).pem);
  assert.deepEqual([nameOf(subject), nameOf('C=DE\nCN=Corp Root')], ['(no name)', 'C=DE, CN=Corp Root']);
});

test('a date is told by its day', () => {
  const notAfter = new Date('2030-01-02T03:04:05Z');
  assert.equal(day(datesOf(new X509Certificate(createCertificate({ notAfter }).pem)).notAfter), '2030-01-02');
  assert.equal(day(undefined), 'a date that cannot be read');
});

test('what Go cannot read, and what it can', () => {
  const fault = (certificate: TestCertificate): string | undefined => findGoFault(new X509Certificate(certificate.pem));
  const unreadableName = encodeExtension('2.5.29.17', sequence(implicit(7, Buffer.of(1, 2, 3))));
  for (const curve of ['P-224', 'P-256', 'P-384', 'P-521'])
    assert.equal(fault(createCertificate({ key: { kind: 'ec', curve } })), undefined, curve);
  assert.match(fault(createCertificate({ key: { kind: 'ec', curve: 'secp256k1' } })) ?? '', /curve secp256k1/);
  assert.match(fault(createCertificate({ extraExtensions: [unreadableName] })) ?? '', /address|subjectAltName/);
});

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readPkcs7 } from '../../agent/trust/pkcs7.ts';
import { temporaryFolder } from '../support/api-fixture.ts';
import { createCertificate } from '../support/certificates.ts';
import { element, explicit, oid, sequence } from '../support/der.ts';
import { encodePkcs7 } from '../support/pkcs7.ts';

const [one, two] = [createCertificate({ subject: 'One' }), createCertificate({ subject: 'Two' })];
const ders = [one.der, two.der];

function read(bytes: Uint8Array): readonly Uint8Array[] | undefined {
  return readPkcs7(bytes)?.map((der) => new Uint8Array(der));
}

test('the certificates come out as they went in, in DER and in BER', () => {
  for (const indefinite of [false, true]) assert.deepEqual(read(encodePkcs7(ders, { indefinite })), ders);
});

test('what OpenSSL makes is read, and what the test makes OpenSSL reads', (t) => {
  const openssl = (args: readonly string[], input: Uint8Array | string): Buffer =>
    execFileSync('openssl', args, { input });
  const file = join(temporaryFolder(t), 'both.pem');
  writeFileSync(file, one.pem + two.pem);
  const made = openssl(['crl2pkcs7', '-nocrl', '-certfile', file, '-outform', 'der'], '');
  assert.deepEqual(new Set(read(made)), new Set(ders));
  for (const indefinite of [false, true]) {
    const printed = openssl(['pkcs7', '-inform', 'der', '-print_certs'], encodePkcs7(ders, { indefinite })).toString();
    assert.equal(printed.match(/BEGIN CERTIFICATE/g)?.length, 2);
  }
});

test('crls and what is no plain certificate are left out', () => {
  assert.deepEqual(read(encodePkcs7([explicit(2, sequence()), one.der])), [one.der]);
});

test('anything else is none: signed content, no certificate, other content, what is cut off or goes on', () => {
  const whole = encodePkcs7(ders);
  for (const bytes of [
    encodePkcs7(ders, { content: Buffer.from('signed') }),
    encodePkcs7([]),
    sequence(oid('1.2.840.113549.1.7.3'), explicit(0, sequence())),
    sequence(oid('1.2.840.113549.1.7.2'), explicit(0, element(0x31))),
    Buffer.concat([whole, Buffer.of(0)]),
    one.der,
    Buffer.of(),
  ])
    assert.equal(readPkcs7(bytes), undefined);
  for (let length = 0; length < whole.length; length += 7)
    assert.equal(readPkcs7(whole.subarray(0, length)), undefined);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { normalize } from '../../agent/trust/normalize.ts';
import { createCertificate, encodePem } from '../support/certificates.ts';
import { encodePkcs7 } from '../support/pkcs7.ts';

const [one, two] = [createCertificate({ subject: 'One' }), createCertificate({ subject: 'Two' })];
const both = one.pem + two.pem;
const crlf = both.replaceAll('\n', '\r\n');
const utf16 = (text: string): Buffer => Buffer.from(`\ufeff${text}`, 'utf16le');
const base64 = (bytes: Uint8Array | string): Buffer => Buffer.from(Buffer.from(bytes).toString('base64'));
const pkcs7 = encodePkcs7([one.der, two.der]);

for (const [what, given, changes, keepsLines] of [
  ['PEM', both, [], true],
  ['CRLF', crlf, ['CR in line ends'], true],
  ['a lone CR', both.replaceAll('\n', '\r'), ['CR in line ends'], true],
  ['a UTF-8 byte order mark', `\ufeff${both}`, ['a byte order mark'], true],
  ['one of a file that was joined', `${one.pem}\ufeff${two.pem}`, ['a byte order mark'], true],
  ['UTF-16, as PowerShell writes it', utf16(crlf), ['UTF-16', 'CR in line ends'], true],
  ['UTF-16, big-endian', utf16(both).swap16(), ['UTF-16'], true],
  ['UTF-16 without a byte order mark', Buffer.from(both, 'utf16le'), ['UTF-16'], true],
  ['PKCS #7', pkcs7, ['PKCS #7'], false],
  ['PKCS #7 in PEM', encodePem('PKCS7', pkcs7), ['PKCS #7'], false],
  ['CMS in PEM', encodePem('CMS', pkcs7), ['PKCS #7'], false],
  ['base64 of PEM', base64(both), ['base64'], false],
  ['base64 in lines', base64(both).toString().replaceAll(/.{76}/g, '$&\r\n'), ['base64'], false],
  ['base64 of base64', base64(base64(both)), ['base64', 'base64'], false],
  ['base64 of PKCS #7', base64(pkcs7), ['base64', 'PKCS #7'], false],
  ['base64 of UTF-16 of CRLF', base64(utf16(crlf)), ['base64', 'UTF-16', 'CR in line ends'], false],
] as const) {
  test(`${what} becomes PEM`, () => {
    const normalized = normalize(Buffer.from(given));
    assert.equal(Buffer.from(normalized.bytes).toString(), both);
    assert.deepEqual([normalized.changes, normalized.keepsLines], [changes, keepsLines]);
  });
}

test('DER becomes PEM, and so does base64 of it without BEGIN and END', () => {
  assert.equal(Buffer.from(normalize(one.der).bytes).toString(), one.pem);
  assert.equal(Buffer.from(normalize(base64(one.der)).bytes).toString(), one.pem);
});

test('PKCS #7 between certificates leaves them where they are', () => {
  const text = `${two.pem}text\n${encodePem('PKCS7', encodePkcs7([one.der]))}${two.pem}`;
  assert.equal(Buffer.from(normalize(Buffer.from(text)).bytes).toString(), `${two.pem}text\n${one.pem}${two.pem}`);
});

test('what is none of the forms stays as it is', () => {
  const der = one.keys.privateKey.export({ format: 'der', type: 'pkcs8' });
  for (const given of [der, base64(der), '', 'text', 'QUJD', '\r\n', Buffer.of(0, 1, 2), encodePem('PKCS7', one.der)]) {
    const { bytes, changes } = normalize(Buffer.from(given));
    assert.deepEqual([Buffer.from(bytes), changes], [Buffer.from(given), []]);
  }
});

test('no bytes make it throw, and what it made is changed no further', () => {
  const start = fc.constantFrom('', '\ufeff', 'MII', '-----BEGIN CERTIFICATE-----\r\n', '-----BEGIN PKCS7-----\n');
  fc.assert(
    fc.property(start, fc.uint8Array({ maxLength: 200 }), (prefix, bytes) => {
      const { bytes: normalized } = normalize(Buffer.concat([Buffer.from(prefix), bytes]));
      assert.deepEqual(normalize(normalized).changes, []);
    }),
  );
});

test('a megabyte of nearly anything is done with at once', { timeout: 20_000 }, () => {
  for (const unit of ['-----BEGIN PKCS7-----\n', 'QUJD', '\ufeff', '\r', '\r\n', 'MIIB', '\u0000A', '0\u0080'])
    normalize(Buffer.alloc(2 ** 20, unit));
});

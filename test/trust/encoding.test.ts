import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { judgeEncoding } from '../../agent/trust/encoding.ts';
import { createCertificate } from '../support/certificates.ts';

const { der, pem, keys, keyPem } = createCertificate();
const keyDer = keys.privateKey.export({ format: 'der', type: 'pkcs8' });
const base64 = (value: string | Uint8Array): Buffer => Buffer.from(Buffer.from(value).toString('base64'));
const wrapped = (value: Buffer, lineEnd: string): Buffer =>
  Buffer.from(value.toString('latin1').replace(/.{76}/g, `$&${lineEnd}`) + lineEnd);

function tell(value: string | Uint8Array): string | undefined {
  const explained = judgeEncoding(Buffer.from(value));
  return explained === undefined ? undefined : `${explained.code} ${explained.message}`;
}

test('PEM text, any other text and a UTF-8 byte order mark are left to the scanner', () => {
  for (const text of [pem, keyPem, 'text', ' \n', '0 and more', '\ufeff', 'YWJj', pem.replaceAll('\n', '\r\n')]) {
    assert.equal(tell(text), undefined);
  }
});

test('an empty value says so', () => {
  assert.equal(tell(''), 'NoCertificate the entry is empty');
});

test('UTF-16 is recognised with a byte order mark and without', () => {
  const little = Buffer.from(pem, 'utf16le');
  const big = Buffer.from(little).swap16();
  const mark = 'ByteOrderMark a byte order mark of UTF-16 stands before the text';
  assert.equal(tell(Buffer.concat([Buffer.of(0xff, 0xfe), little])), mark);
  assert.equal(tell(Buffer.concat([Buffer.of(0xfe, 0xff), big])), mark);
  for (const value of [little, big]) {
    assert.equal(tell(value), 'NoCertificate the value looks like UTF-16 text, expected ASCII');
  }
});

test('DER is named, and whether it is a certificate', () => {
  assert.equal(tell(der), 'DerEncoded the value is a certificate in DER, expected PEM');
  const other =
    'DerEncoded the value begins like DER and is not one certificate (perhaps PKCS #7 or PKCS #12), expected PEM';
  assert.equal(tell(der.subarray(0, 100)), other);
  assert.equal(tell(Buffer.of(0x30, 0x80)), other);
});

test('a private key is recognised in DER and in base64 without its BEGIN and END lines', () => {
  assert.equal(tell(keyDer), 'PrivateKey the value is a private key in DER');
  assert.equal(tell(base64(keyDer)), 'PrivateKey the value is base64 of a private key');
  assert.equal(tell(base64(base64(keyDer))), 'PrivateKey the value is base64 of a private key');
});

test('PEM that was encoded up to three times is recognised, however its lines are wrapped', () => {
  const once = 'DoubleBase64 the value is base64 of PEM, expected the PEM text';
  assert.equal(tell(base64(pem)), once);
  assert.equal(tell(wrapped(base64(pem), '\n')), once);
  assert.equal(tell(wrapped(base64(pem), '\r\n')), once);
  assert.equal(tell(base64(`# comment\n${keyPem}`)), once);
  assert.equal(
    tell(base64(wrapped(base64(base64(pem)), '\n'))),
    'DoubleBase64 the value is PEM encoded with base64 3 times, expected the PEM text',
  );
  assert.equal(tell(base64(base64(base64(base64(pem))))), undefined);
});

test('base64 of a certificate without BEGIN and END lines says what is missing', () => {
  const message = 'NoCertificate the value is base64 of a certificate without its BEGIN and END lines';
  assert.equal(tell(base64(der)), message);
  assert.equal(tell(wrapped(base64(der), '\r\n')), message);
  assert.equal(tell(base64(base64(der))), message);
});

test('no input makes it throw', () => {
  const start = fc.constantFrom([], [0x30], [0x30, 0x80], [0x30, 0x82, 0, 9], [0xff, 0xfe], [0]);
  fc.assert(
    fc.property(
      start,
      fc.uint8Array({ maxLength: 400 }),
      (head, tail) => void judgeEncoding(Uint8Array.of(...head, ...tail)),
    ),
  );
  fc.assert(fc.property(fc.base64String(), (text) => void tell(text)));
});

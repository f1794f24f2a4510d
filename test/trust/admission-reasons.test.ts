import assert from 'node:assert/strict';
import { test } from 'node:test';
import { admissionReasons, explain } from '../../agent/trust/admission-reasons.ts';

test('what lets a store drop, choke on or leak something is an error, the rest a warning', () => {
  const codesOf = (severity: string): string[] =>
    Object.entries(admissionReasons).flatMap(([code, reason]) => (reason.severity === severity ? [code] : []));
  assert.deepEqual(codesOf('error'), [
    'TooManyCertificates',
    'NoCertificate',
    'CrlfLineEndings',
    'ByteOrderMark',
    'DoubleBase64',
    'DerEncoded',
    'MalformedPem',
    'InvalidBase64',
    'PrivateKey',
    'UnexpectedPemBlock',
    'MalformedCertificate',
    'NotCa',
    'NotForServerAuth',
  ]);
  assert.deepEqual(codesOf('warning'), [
    'WeakSignature',
    'WeakKey',
    'UnsupportedKey',
    'UnreadableForGo',
    'Expired',
    'NotYetValid',
    'ExpiresSoon',
    'NotSelfSigned',
    'Duplicate',
  ]);
});

test('meanings and remedies are sentences', () => {
  for (const { meaning, remedy } of Object.values(admissionReasons)) {
    assert.match(meaning, /^[A-Z][^\n]*\.$/);
    assert.match(remedy, /^[A-Z][^\n]*\.$/);
  }
});

test('a reason is explained by its code, severity and remedy and by the case at hand', () => {
  assert.deepEqual(explain('TooManyCertificates', { count: 11, limit: 10 }), {
    code: 'TooManyCertificates',
    severity: 'error',
    message: 'the source holds 11 distinct certificates, at most 10 are allowed',
    remedy: admissionReasons.TooManyCertificates.remedy,
  });
});

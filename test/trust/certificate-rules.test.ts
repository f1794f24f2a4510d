import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCertificate } from '../../agent/trust/certificate.ts';
import { judgeCertificate } from '../../agent/trust/certificate-rules.ts';
import {
  type CertificateOptions,
  createCertificate,
  createServerCertificate,
  extendedKeyUsages,
  fixedNow,
  type TestCertificate,
} from '../support/certificates.ts';

const root = createCertificate({ subject: 'Root' });
const rsa = createCertificate({ subject: 'RSA', key: { kind: 'rsa', bits: 1024 } });

function tell({ der }: TestCertificate, nonCa: 'error' | 'warning' = 'error', now = fixedNow): string[] {
  const result = parseCertificate(der);
  assert.ok(result.kind === 'certificate');
  return judgeCertificate(result.certificate, { now, nonCa }).map(
    ({ severity, code, message }) => `${severity} ${code}: ${message}`,
  );
}

const tellNew = (options: CertificateOptions): string[] => tell(createCertificate({ subject: 'Corp', ...options }));

const afterNow = (ms: number): Date => new Date(fixedNow.getTime() + ms);
const dayMs = 24 * 60 * 60 * 1000;

test('a sound CA gives no finding', () => {
  assert.deepEqual(tellNew({}), []);
  assert.deepEqual(tellNew({ key: { kind: 'ed25519' } }), []);
  assert.deepEqual(tellNew({ key: { kind: 'ec', curve: 'P-384' }, signature: 'ecdsa-sha384' }), []);
  assert.deepEqual(tellNew({ key: { kind: 'rsa', bits: 2048 } }), []);
});

test('a certificate that is not a CA is refused, or a warning where that is allowed', () => {
  const message = 'NotCa: not a CA, basicConstraints is missing or CA:FALSE (CN=Corp)';
  for (const options of [{ ca: false }, { ca: 'missing' }, { version: 1 }] as const) {
    assert.deepEqual(tellNew(options), [`error ${message}`]);
    assert.deepEqual(tell(createCertificate({ subject: 'Corp', ...options }), 'warning'), [`warning ${message}`]);
  }
});

test('an extended key usage must be missing or allow servers', () => {
  const { any, serverAuth, clientAuth, codeSigning } = extendedKeyUsages;
  assert.deepEqual(tellNew({ extendedKeyUsage: [clientAuth, codeSigning] }), [
    'error NotForServerAuth: extended key usage excludes serverAuth (CN=Corp)',
  ]);
  assert.deepEqual(tellNew({ extendedKeyUsage: [clientAuth, serverAuth] }), []);
  assert.deepEqual(tellNew({ extendedKeyUsage: [any] }), []);
});

test('a broken hash is a warning where another CA signed with it, and nothing on a self-signed certificate', () => {
  for (const [signature, hash] of [
    ['rsa-md5', 'MD5'],
    ['rsa-sha1', 'SHA-1'],
    ['rsa-pss-sha1', 'SHA-1'],
  ] as const) {
    assert.equal(tellNew({ issuer: rsa, signature })[0], `warning WeakSignature: signed with ${hash} (CN=Corp)`);
  }
  assert.deepEqual(tellNew({ signature: 'ecdsa-sha1' }), []);
});

test('a short key is a warning', () => {
  assert.deepEqual(tell(rsa), ['warning WeakKey: RSA key of 1024 bits, expected at least 2048 bits (CN=RSA)']);
  assert.deepEqual(tellNew({ key: { kind: 'ec', curve: 'secp224r1' } }), [
    'warning WeakKey: EC key on secp224r1, expected at least 256 bits (CN=Corp)',
  ]);
});

test('validity is judged against the clock, to the second', () => {
  const certificate = createCertificate({ subject: 'Corp', notBefore: fixedNow, notAfter: afterNow(90 * dayMs) });
  const at = (ms: number): string[] => tell(certificate, 'error', afterNow(ms));
  assert.deepEqual(at(-1), ['warning NotYetValid: not valid before 2026-06-01T00:00:00Z (CN=Corp)']);
  assert.deepEqual(at(0), []);
  assert.deepEqual(at(60 * dayMs - 1), []);
  assert.deepEqual(at(60 * dayMs), ['warning ExpiresSoon: expires 2026-08-30T00:00:00Z (CN=Corp)']);
  assert.deepEqual(at(90 * dayMs), ['warning ExpiresSoon: expires 2026-08-30T00:00:00Z (CN=Corp)']);
  assert.deepEqual(at(90 * dayMs + 1), ['warning Expired: expired 2026-08-30T00:00:00Z (CN=Corp)']);
});

test('an intermediate is a warning that names its issuer', () => {
  assert.deepEqual(tellNew({ issuer: root }), ['warning NotSelfSigned: not self-signed, issued by CN=Root (CN=Corp)']);
  const nameless = createCertificate({ subject: '' });
  assert.deepEqual(tell(createCertificate({ subject: '', issuer: nameless })), [
    'warning NotSelfSigned: not self-signed, issued by an empty name (empty subject)',
  ]);
});

test("a server's own certificate is refused, with all that can be said of it", () => {
  assert.deepEqual(
    tell(createServerCertificate(root)).map((finding) => finding.split(':')[0]),
    ['error NotCa', 'warning NotSelfSigned'],
  );
});

test('a curve that Go does not know is a warning: containerd would skip the certificate', () => {
  const known = 'warning UnsupportedKey: EC key on the curve secp256k1, which containerd cannot verify anything with';
  assert.deepEqual(tellNew({ key: { kind: 'ec', curve: 'secp256k1' } }), [`${known} (CN=Corp)`]);
  for (const curve of ['P-256', 'P-384', 'P-521']) assert.deepEqual(tellNew({ key: { kind: 'ec', curve } }), [], curve);
});

test('what Go cannot read and OpenSSL can is a warning: containerd would skip the certificate', () => {
  const parsed = parseCertificate(root.der);
  assert.ok(parsed.kind === 'certificate');
  const certificate = { ...parsed.certificate, goFault: 'its serial number is negative' };
  const [finding, ...others] = judgeCertificate(certificate, { now: fixedNow, nonCa: 'error' });
  assert.deepEqual(others, []);
  assert.deepEqual(
    [finding?.code, finding?.severity, finding?.message],
    ['UnreadableForGo', 'warning', 'containerd cannot read it and skips it: its serial number is negative (CN=Root)'],
  );
});

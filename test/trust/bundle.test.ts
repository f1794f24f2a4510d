import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { createBundle, emptyBundle } from '../../agent/trust/bundle.ts';
import { type Certificate, parseCertificate } from '../../agent/trust/certificate.ts';
import { createCertificate } from '../support/certificates.ts';

const certificates = ['One', 'Two', 'Three', 'Four'].map((subject): Certificate => {
  const result = parseCertificate(createCertificate({ subject }).der);
  assert.ok(result.kind === 'certificate');
  return result.certificate;
});

test('a bundle holds distinct certificates sorted by fingerprint', () => {
  const bundle = createBundle([...certificates, ...certificates.toReversed()]);
  const fingerprints = bundle.certificates.map(({ fingerprint }) => fingerprint);
  assert.deepEqual(fingerprints, certificates.map(({ fingerprint }) => fingerprint).toSorted());
});

test('the digest is the SHA-256 over the sorted fingerprints, one a line', () => {
  const lines = certificates.map(({ fingerprint }) => `${fingerprint}\n`).toSorted();
  const expected = createHash('sha256').update(lines.join('')).digest('hex');
  assert.equal(createBundle(certificates).digest, `sha256:${expected}`);
});

test('the digest does not depend on order and duplicates, and differs between different sets', () => {
  const picks = fc.array(fc.nat(certificates.length - 1), { maxLength: 12 });
  const digestOf = (picked: readonly number[]): string =>
    createBundle(picked.flatMap((index) => certificates[index] ?? [])).digest;
  const setOf = (picked: readonly number[]): string => [...new Set(picked)].toSorted((a, b) => a - b).join();
  fc.assert(
    fc.property(picks, picks, (a, b) => assert.equal(digestOf(a) === digestOf(b), setOf(a) === setOf(b))),
    { numRuns: 300 },
  );
});

test('the empty bundle has a digest too', () => {
  assert.equal(emptyBundle.digest, 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  assert.deepEqual(emptyBundle.certificates, []);
});

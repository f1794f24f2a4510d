// Any certificate that a server can send is looked at, and none of them ends the doctor.

import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import { createCertificate, encodeExtension, encodePem, type TestCertificate } from '../support/certificates.ts';
import * as der from '../support/der.ts';
import { assertFails, createLeaf, createPatient, registryHost, startRegistry, summaryOf, tell } from './patient.ts';

const root = createCertificate({ subject: 'Corp Root' });
const unreadableName = encodeExtension('2.5.29.17', der.sequence(der.implicit(7, Buffer.of(1, 2, 3))));
const [begin, end] = [new Date('2026-01-01T00:00:00Z'), new Date('2036-01-01T00:00:00Z')].map(der.time) as [
  Uint8Array,
  Uint8Array,
];

/** Below the root, with fields that no generator makes. */
function createStrangeLeaf(notBefore: Uint8Array, notAfter: Uint8Array, subject: Uint8Array): TestCertificate {
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const algorithm = der.sequence(der.oid('1.2.840.10045.4.3.2'));
  const names = der.sequence(der.implicit(2, Buffer.from(registryHost)));
  const tbs = der.sequence(
    der.explicit(0, der.integer(2n)),
    der.integer(5n),
    algorithm,
    der.distinguishedName(root.subject),
    der.sequence(notBefore, notAfter),
    subject,
    keys.publicKey.export({ format: 'der', type: 'spki' }),
    der.explicit(3, der.sequence(encodeExtension('2.5.29.17', names))),
  );
  const bytes = der.sequence(tbs, algorithm, der.bitString(sign('sha256', tbs, root.keys.privateKey)));
  const keyPem = keys.privateKey.export({ format: 'pem', type: 'pkcs8' });
  return { subject: '', der: new Uint8Array(bytes), pem: encodePem('CERTIFICATE', bytes), keys, keyPem };
}

const name = der.distinguishedName('leaf');
const text = (tag: number, content: string | Uint8Array): Uint8Array =>
  der.sequence(
    der.element(0x31, der.sequence(der.oid('2.5.4.3'), der.element(tag, new Uint8Array(Buffer.from(content))))),
  );

test('the certificate of a server whose names are in subjectAltName alone is as good as any', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const port = await startRegistry(t, { chain: [createStrangeLeaf(begin, end, der.sequence())] });
  const seen = await patient.examine(`${registryHost}:${port}`);
  assert.deepEqual([seen.first, seen.fails], [undefined, []], tell(seen));
  assert.match(summaryOf(seen, 'chain'), /^pass: \(no name\) ← CN=Corp Root$/);
});

for (const [what, leaf] of [
  ['a last day that is none', createStrangeLeaf(begin, der.element(0x18, Buffer.from('99999999999999Z')), name)],
  ['a first day that is none', createStrangeLeaf(der.element(0x17, Buffer.from('269999000000Z')), end, name)],
  ['three bytes for an address', createLeaf(root, { names: [], extraExtensions: [unreadableName] })],
] as const)
  test(`a certificate with ${what} is one that Go cannot read`, async (t) => {
    const patient = await createPatient(t);
    await patient.install([root]);
    const port = await startRegistry(t, { chain: [leaf] });
    const seen = await patient.examine(`${registryHost}:${port}`);
    assertFails(seen, 'CertificateUnreadable');
    if (what.endsWith('none')) assert.match(seen.first?.evidence[0] ?? '', /a date that cannot be read/);
  });

test('names in any encoding, and a year that is far away, end nothing', async (t) => {
  const patient = await createPatient(t);
  for (const leaf of [
    createStrangeLeaf(begin, der.element(0x18, Buffer.from('99991231235959Z')), name),
    createStrangeLeaf(begin, end, text(0x1e, 'abcd')),
    createStrangeLeaf(begin, end, text(0x1c, Buffer.of(0, 0, 0, 0x1b))),
  ]) {
    const seen = await patient.examine(`${registryHost}:${await startRegistry(t, { chain: [leaf] })}`);
    assert(seen.first !== undefined, tell(seen));
  }
});

test('a root that Go cannot read is trusted by nobody who pulls, and is named', async (t) => {
  const patient = await createPatient(t);
  for (const [options, why] of [
    [{ extraExtensions: [unreadableName] }, /Go cannot read CN=Go Root, and skips it: /],
    [{ key: { kind: 'ec', curve: 'secp256k1' } }, /its key is on the curve secp256k1, which Go does not have/],
  ] as const) {
    const unreadable = createCertificate({ subject: 'Go Root', ...options });
    await patient.install([unreadable]);
    for (const chain of [[createLeaf(unreadable)], [createLeaf(unreadable), unreadable]]) {
      const seen = await patient.examine(`${registryHost}:${await startRegistry(t, { chain })}`);
      assertFails(seen, 'RootUnreadable');
      assert.match(seen.first?.summary ?? '', why);
    }
  }
});

test('beside a root that Go cannot read, one of the same name and key that it can is what counts', async (t) => {
  const patient = await createPatient(t);
  const unreadable = createCertificate({ subject: 'Go Root', extraExtensions: [unreadableName] });
  const readable = createCertificate({ subject: 'Go Root', key: unreadable.keys });
  await patient.install([unreadable, readable]);
  const seen = await patient.examine(`${registryHost}:${await startRegistry(t, { chain: [createLeaf(readable)] })}`);
  assert.deepEqual([seen.first, seen.fails], [undefined, []], tell(seen));
});

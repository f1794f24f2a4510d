// A Secret that is rejected: what it is meant to hold may be the very root, and nothing can be merged into it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCertificate } from '../support/certificates.ts';
import { secret } from '../support/cluster.ts';
import { encodePkcs7 } from '../support/pkcs7.ts';
import {
  assertFails,
  assertWarns,
  createLeaf,
  createPatient,
  registryHost,
  startRegistry,
  summaryOf,
} from './patient.ts';

const root = createCertificate({ subject: 'Corp Root' });
const otherRoot = createCertificate({ subject: 'Other Root' });
const validate = 'kubectl -n kube-system get secret custom-ca-trust-secret -o yaml | node-trust validate -';

for (const [code, entry] of [
  ['PrivateKey', root.keyPem],
  ['InvalidBase64', root.pem.replace(/^M/m, '!')],
  ['MalformedPem', root.pem.slice(0, 200)],
  ['NoCertificate', 'the root of the company'],
  ['PrivateKey', `${otherRoot.pem}${otherRoot.keyPem}`],
] as const)
  test(`a Secret that is rejected for ${code} is to be mended before a root is called unknown`, async (t) => {
    const patient = await createPatient(t);
    patient.apply({ 'corp.pem': entry });
    const port = await startRegistry(t, { chain: [createLeaf(root)] });
    const seen = await patient.examine(`${registryHost}:${port}`);
    assertFails(seen, 'SecretRejected');
    const { summary = '', evidence = [], diagnosis } = seen.first ?? {};
    assert.equal(
      summary,
      `secret kube-system/custom-ca-trust-secret is not admitted: ${code}; CN=Corp Root is known nowhere here`,
    );
    assert(evidence[0]?.startsWith(`${code}: entry "corp.pem"`), evidence.join('\n'));
    assert(!evidence.some((line) => line.includes('holds no certificate')), evidence.join('\n'));
    assert.equal(diagnosis?.command, validate);
    assert.match(summaryOf(seen, 'secret'), /^skipped: what the Secret is meant to hold cannot be told/);
  });

test('a root inside of PKCS #7 is found in the Secret, which is rejected for its form', async (t) => {
  const patient = await createPatient(t);
  const port = await startRegistry(t, { chain: [createLeaf(root)] });
  const bytes = encodePkcs7([root.der]);
  const text = `-----BEGIN PKCS7-----\n${Buffer.from(bytes).toString('base64')}\n-----END PKCS7-----\n`;
  for (const entry of [bytes, text]) {
    patient.apply({ 'corp.p7b': entry });
    const seen = await patient.examine(`${registryHost}:${port}`);
    assertFails(seen, 'SecretRejected');
    assert.match(summaryOf(seen, 'secret'), /^pass: CN=Corp Root is in secret/);
  }
});

test('a Secret of another type is named with its type, and may be what keeps the last good set', async (t) => {
  const patient = await createPatient(t);
  const { kind, ...place } = secret;
  const put = () => patient.api.put({ kind, metadata: place, type: 'kubernetes.io/tls', data: {} });
  put();
  const target = `${registryHost}:${await startRegistry(t, { chain: [createLeaf(root)] })}`;
  const seen = await patient.examine(target);
  assertFails(seen, 'SecretRejected');
  assert.match(seen.first?.summary ?? '', /has the type kubernetes\.io\/tls, expected Opaque; CN=Corp Root is known/);
  patient.api.delete(secret);
  await patient.install([root]);
  patient.api.delete(secret);
  put();
  const kept = await patient.examine(target);
  assertWarns(kept, 'LastGoodStays');
  assert.match(kept.first?.summary ?? '', /has the type kubernetes\.io\/tls/);
});

test('what asks for another root tells that nothing can be put into a Secret that is rejected', async (t) => {
  const patient = await createPatient(t);
  patient.apply({ 'corp.pem': 'the root of the company' });
  const inspector = createCertificate({ subject: 'Corp TLS Inspection CA' });
  const port = await startRegistry(t, { chain: [createLeaf(inspector), inspector] });
  const seen = await patient.examine(`${registryHost}:${port}`);
  assertFails(seen, 'Intercepted');
  assert.equal(seen.first?.diagnosis?.command, validate);
  assert.match(seen.first?.evidence.at(-1) ?? '', /not admitted: NoCertificate; nothing can be put into it before/);
});

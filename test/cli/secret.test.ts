import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../support/api-fixture.ts';
import { createCertificate } from '../support/certificates.ts';
import { nodeTrust } from '../support/command-line.ts';

const corp = createCertificate({ subject: 'Corp Root' });

test('secret makes a manifest that validate accepts, in YAML and in JSON', async () => {
  for (const format of [[], ['--json']]) {
    const { code, out } = await nodeTrust(['secret', ...format, '-'], corp.pem);
    assert.equal(code, 0);
    assert.match(out, /custom-ca-trust-secret/);
    const judged = await nodeTrust(['validate', '--json', '-'], out);
    assert.equal((JSON.parse(judged.out) as { readonly accepted: boolean }).accepted, true);
  }
});

test('secret names the Secret as it is told', async () => {
  const { out } = await nodeTrust(['secret', '--json', '--name', 'trust/cas', '-'], corp.pem);
  assert.deepEqual((JSON.parse(out) as { readonly metadata: object }).metadata, { namespace: 'trust', name: 'cas' });
});

test('secret gives standard input a key, and refuses a file name that cannot be one', async (t) => {
  const { out } = await nodeTrust(['secret', '--json', '-'], corp.pem);
  assert.deepEqual(Object.keys((JSON.parse(out) as { readonly data: object }).data), ['ca.pem']);
  const file = join(temporaryFolder(t), 'my root.pem');
  await writeFile(file, corp.pem);
  const { code, err } = await nodeTrust(['secret', file]);
  assert.equal(code, 3);
  assert.match(err, /"my root\.pem" cannot be a key of a Secret; rename it/);
});

test('secret prints no manifest that the agent would reject, but why', async () => {
  const { code, out, err } = await nodeTrust(['secret', '-'], corp.pem.replaceAll('\n', '\r\n'));
  assert.deepEqual([code, out], [1, '']);
  assert.match(err, /^error CrlfLineEndings: entry "-", line 1: /);
});

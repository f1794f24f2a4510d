import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findBlocks } from '../../agent/doctor/pem-blocks.ts';
import { sightCertificates } from '../../agent/doctor/view.ts';
import { createCertificate } from '../support/certificates.ts';

test('blocks are found between other text, and without their other half they are none', () => {
  const block = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----';
  assert.deepEqual(findBlocks(`# a\n${block}\n# b\n${block}\n-----BEGIN CERTIFICATE-----\n`), [block, block]);
  assert.deepEqual(findBlocks(`-----BEGIN CERTIFICATE-----\nAAAA\n${block}`), [block]);
  assert.deepEqual(findBlocks('-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\n'), []);
});

test('a text of nothing but beginnings is gone through once', () => {
  const text = '-----BEGIN CERTIFICATE-----\n'.repeat(40_000); // 1 MB, as much as a Secret holds: a minute if each is looked at
  assert.deepEqual([findBlocks(text), sightCertificates(Buffer.from(text))], [[], []]);
  const { pem, der } = createCertificate();
  assert.deepEqual(
    sightCertificates(Buffer.from(pem)).map(({ raw }) => raw),
    [Buffer.from(der)],
  );
});

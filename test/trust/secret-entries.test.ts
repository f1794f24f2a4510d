import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  addCertificates,
  certificatesIn,
  fingerprintsOf,
  removeCertificates,
} from '../../agent/trust/secret-entries.ts';
import type { Entries } from '../../agent/trust/source.ts';
import { makeCertificate } from '../support/bundles.ts';

const [corp, corpAgain, proxy] = ['Corp Root', 'Corp Root', 'Proxy'].map(makeCertificate) as [C, C, C];
type C = ReturnType<typeof makeCertificate>;
const none: Entries = new Map();
const pem = (...certificates: readonly C[]): Buffer => Buffer.from(certificates.map((one) => one.pem).join(''));

function names(...subjects: readonly string[]): readonly string[] {
  return [...addCertificates(none, subjects.map(makeCertificate)).keys()];
}

for (const [subject, name] of [
  ['Corp Root', 'corp-root.pem'],
  ['Zürich CA, G2 (TEST)', 'zurich-ca-g2-test.pem'],
  ['../../etc/passwd', 'etc-passwd.pem'],
  ['--rm', 'rm.pem'],
  ['x'.repeat(1000), `${'x'.repeat(60)}.pem`],
] as const) {
  test(`${subject.slice(0, 30)} is kept as ${name.slice(0, 30)}`, () => assert.deepEqual(names(subject), [name]));
}

test('a subject without a letter that a key can have is named by its fingerprint', () => {
  for (const subject of ['', '東京', '…']) assert.match(names(subject).join(), /^ca-[0-9a-f]{8}\.pem$/);
});

test('certificates of one name are told apart, whatever their order', () => {
  const entries = addCertificates(none, [corp, corpAgain, proxy]);
  const expected = [corp, corpAgain].map(({ fingerprint }) => `corp-root-${fingerprint.slice(0, 8)}.pem`);
  assert.deepEqual([...entries.keys()], [...expected, 'proxy.pem']);
  assert.deepEqual(new Map(addCertificates(none, [proxy, corpAgain, corp])), new Map(entries));
});

test('a name that is taken takes nobody else in', () => {
  const { fingerprint } = corp;
  const taken = ['', `-${fingerprint.slice(0, 8)}`, `-${fingerprint}`, `-${fingerprint}-2`];
  const held = new Map(taken.map((suffix) => [`corp-root${suffix}.pem`, pem(proxy)]));
  const entries = addCertificates(held, [corp]);
  assert.deepEqual([...entries.keys()].slice(taken.length), [`corp-root-${fingerprint}-3.pem`]);
  assert.equal(certificatesIn(entries).length, taken.length + 1);
});

test('a certificate whose subject is the name of another one takes nobody else in, either', () => {
  const lookalike = makeCertificate(`Corp Root ${corp.fingerprint.slice(0, 8)}`);
  for (const order of [
    [corp, corpAgain, lookalike],
    [lookalike, corpAgain, corp],
  ])
    assert.equal(certificatesIn(addCertificates(none, order)).length, 3);
});

test('what is there already is not added, and keeps its name and its bytes', () => {
  const held = new Map([['old', Buffer.concat([Buffer.from('# ours\n'), pem(corp, proxy)])]]);
  assert.deepEqual(addCertificates(held, [proxy, corp, corp]), held);
});

test('an entry loses a certificate, or goes with its last one; others stay byte for byte', () => {
  const text = Buffer.concat([Buffer.from('# ours\n'), pem(proxy)]);
  const held = new Map([
    ['both', Buffer.concat([Buffer.from('# text\n'), pem(corp, proxy)])],
    ['gone', pem(corp)],
    ['text', text],
  ]);
  const left = removeCertificates(held, fingerprintsOf([corp]));
  assert.deepEqual(
    [...left].map(([name, bytes]) => [name, Buffer.from(bytes)]),
    [
      ['both', pem(proxy)],
      ['text', text],
    ],
  );
});

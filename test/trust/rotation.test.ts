import assert from 'node:assert/strict';
import { test } from 'node:test';
import { beginRotation, endRotation, type Rotated } from '../../agent/trust/rotation.ts';
import { addCertificates, certificatesIn } from '../../agent/trust/secret-entries.ts';
import type { Entries } from '../../agent/trust/source.ts';
import { makeCertificate } from '../support/bundles.ts';

const [old, successor, other] = ['Root', 'Root', 'Proxy'].map(makeCertificate) as [C, C, C];
type C = ReturnType<typeof makeCertificate>;
const secretOf = (...certificates: readonly C[]): Entries => addCertificates(new Map(), certificates);

function trusted(rotated: Rotated): ReadonlySet<string> {
  assert(rotated.kind === 'entries', JSON.stringify(rotated));
  return new Set(certificatesIn(rotated.entries).map(({ fingerprint }) => fingerprint));
}

function refusal(rotated: Rotated): string {
  assert(rotated.kind === 'refused');
  return rotated.message;
}

const prints = (...certificates: readonly C[]): ReadonlySet<string> =>
  new Set(certificates.map(({ fingerprint }) => fingerprint));

test('it begins with both and ends with the new one', () => {
  const rotation = { old: [old], successors: [successor], held: undefined };
  assert.deepEqual(trusted(beginRotation(rotation)), prints(old, successor));
  assert.deepEqual(trusted(endRotation(rotation)), prints(successor));
});

test('in a Secret that is there, what is not rotated stays in both steps', () => {
  const rotation = { old: [old], successors: [successor] };
  const begun = beginRotation({ ...rotation, held: secretOf(old, other) });
  assert.deepEqual(trusted(begun), prints(old, successor, other));
  assert(begun.kind === 'entries');
  assert.deepEqual(beginRotation({ ...rotation, held: begun.entries }), begun, 'and once more changes nothing');
  const ended = endRotation({ ...rotation, held: begun.entries });
  assert.deepEqual(trusted(ended), prints(successor, other));
  assert(ended.kind === 'entries');
  assert.deepEqual(endRotation({ ...rotation, held: ended.entries }), ended, 'and once more changes nothing');
});

test('a certificate that is old and new stays', () => {
  const rotation = { old: [old, other], successors: [other, successor], held: secretOf(old, other, successor) };
  assert.deepEqual(trusted(beginRotation(rotation)), prints(old, other, successor));
  assert.deepEqual(trusted(endRotation(rotation)), prints(other, successor));
});

test('a rotation of what the Secret does not hold is a mistake, and adds no trust in what is to go', () => {
  const rotation = { old: [old], successors: [successor], held: secretOf(other) };
  assert.match(refusal(beginRotation(rotation)), /does not hold CN=Root \([0-9a-f]{16}\), which is to be rotated/);
});

test('it does not end before it has begun: the new one is in the Secret first', () => {
  const rotation = { old: [old], successors: [successor], held: secretOf(old) };
  assert.match(refusal(endRotation(rotation)), /does not hold CN=Root \(.*\) yet; apply .* without --final/);
});

test('from a certificate to itself is nothing to rotate', () => {
  for (const held of [undefined, secretOf(old)]) {
    const rotation = { old: [old], successors: [old], held };
    for (const rotated of [beginRotation(rotation), endRotation(rotation)])
      assert.match(refusal(rotated), /nothing to rotate/);
  }
});

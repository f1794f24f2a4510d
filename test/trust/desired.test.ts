import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyBundle } from '../../agent/trust/bundle.ts';
import {
  type DecisionContext,
  decideTrust,
  forgetRemoved,
  keepTrust,
  withdrawTrust,
} from '../../agent/trust/desired.ts';
import { type AnchorName, anchorName } from '../../agent/trust/observation.ts';
import type { Entries, OnDelete, SourceSnapshot } from '../../agent/trust/source.ts';
import { makeBundle, makeCertificate } from '../support/bundles.ts';
import { fixedNow } from '../support/certificates.ts';

const [one, two] = [makeCertificate('Root One'), makeCertificate('Root Two')] as const;
const graceMs = 600_000;
const source = 'secret kube-system/custom-ca-trust-secret';
const fresh: DecisionContext = {
  source,
  memory: undefined,
  onHost: emptyBundle,
  now: fixedNow,
  graceMs,
  admission: { maxCertificates: 10, nonCa: 'error' },
};

function present(entries: Readonly<Record<string, string>>, onDelete: OnDelete = 'grace'): SourceSnapshot {
  return { kind: 'present', entries: encode(entries), onDelete };
}

function encode(entries: Readonly<Record<string, string>>): Entries {
  return new Map(Object.entries(entries).map(([name, text]) => [name, Buffer.from(text)]));
}

/** What is known after this source was admitted. */
function after(snapshot: SourceSnapshot, minutes = 0): DecisionContext {
  const { memory } = decideTrust(snapshot, fresh);
  return { ...fresh, memory, now: new Date(fixedNow.getTime() + minutes * 60_000) };
}

const good = present({ 'corp.pem': one.pem });

test('a good source is admitted and remembered', () => {
  const { verdict, desired, memory, observed } = decideTrust(good, fresh);
  assert.equal(verdict.kind, 'admitted');
  assert.equal(desired.digest, makeBundle(one).digest);
  assert.deepEqual(memory, {
    source,
    certificates: [{ entry: 'corp.pem', pem: one.pem }],
    observed,
    onDelete: 'grace',
  });
});

test('a rejected source leaves its last good set, whole', () => {
  const mixed = present({ 'corp.pem': two.pem, 'bad.pem': 'no certificate' });
  const { verdict, desired, findings, memory } = decideTrust(mixed, after(good));
  assert.equal(verdict.kind, 'rejected');
  assert.equal(desired.digest, makeBundle(one).digest);
  assert.deepEqual(
    findings.map(({ code }) => code),
    ['NoCertificate'],
  );
  assert.deepEqual(memory.certificates, [{ entry: 'corp.pem', pem: one.pem }]);
});

test('a rejected source on a host without memory leaves what of ours lies there', () => {
  const { desired } = decideTrust(present({ a: 'nothing' }), { ...fresh, onHost: makeBundle(two) });
  assert.equal(desired.digest, makeBundle(two).digest);
});

test('a memory of which a certificate cannot be read any more counts for nothing: what lies on the host does', () => {
  const { memory } = after(good);
  assert(memory !== undefined);
  const spoilt = { ...memory, certificates: [...memory.certificates, { entry: 'x', pem: `${two.pem} spoilt` }] };
  const context = { ...fresh, memory: spoilt, onHost: makeBundle(two) };
  assert.equal(decideTrust(present({ a: 'nothing' }), context).desired.digest, makeBundle(two).digest);
  assert.equal(keepTrust(context).desired.digest, makeBundle(two).digest);
});

test('what another source said of itself does not count, its certificates do', () => {
  const { memory } = decideTrust({ ...good, onDelete: 'remove' } as SourceSnapshot, fresh);
  assert(memory !== undefined);
  const renamed = {
    ...fresh,
    source: 'secret kube-system/new',
    memory: { ...memory, goneSince: '2020-01-01T00:00:00Z' },
  };
  const { verdict, desired } = decideTrust({ kind: 'absent' }, renamed);
  assert.deepEqual(verdict, { kind: 'leaving', code: 'SourceDeleted', until: new Date(fixedNow.getTime() + graceMs) });
  assert.equal(desired.digest, makeBundle(one).digest);
});

test('no news is no change', () => {
  for (const code of ['SourceUnavailable', 'SourceForbidden'] as const) {
    const { desired, verdict } = decideTrust({ kind: 'unavailable', code, evidence: '500' }, after(good, 10_000));
    assert.equal(verdict.kind, 'unavailable');
    assert.equal(desired.digest, makeBundle(one).digest);
  }
});

test('no news stops no grace and starts none', () => {
  const gone = decideTrust({ kind: 'absent' }, after(good));
  const unavailable = { kind: 'unavailable', code: 'SourceUnavailable', evidence: '500' } as const;
  const silent = decideTrust(unavailable, { ...after(good, 60), memory: gone.memory });
  assert.equal(silent.desired.digest, makeBundle(one).digest);
  assert.equal(silent.memory.goneSince, gone.memory.goneSince);
  assert.equal(decideTrust(unavailable, after(good, 60)).memory.goneSince, undefined);
});

test('a Secret of another type is not looked at and changes nothing', () => {
  const { desired, verdict } = decideTrust({ kind: 'wrong-type', type: 'kubernetes.io/tls' }, after(good));
  assert.deepEqual(verdict, { kind: 'wrong-type', type: 'kubernetes.io/tls' });
  assert.equal(desired.digest, makeBundle(one).digest);
});

for (const [title, snapshot, code] of [
  ['deleted', { kind: 'absent' }, 'SourceDeleted'],
  ['present without data', present({}), 'SourceEmpty'],
] as const) {
  test(`a source that is ${title} keeps its trust for the grace and loses it then`, () => {
    const first = decideTrust(snapshot, after(good));
    assert.deepEqual(first.verdict, { kind: 'leaving', code, until: new Date(fixedNow.getTime() + graceMs) });
    assert.equal(first.desired.digest, makeBundle(one).digest);
    const context = { ...fresh, memory: first.memory };
    const almost = decideTrust(snapshot, { ...context, now: new Date(fixedNow.getTime() + graceMs - 1) });
    assert.equal(almost.desired.digest, makeBundle(one).digest);
    const then = decideTrust(snapshot, { ...context, now: new Date(fixedNow.getTime() + graceMs) });
    assert.deepEqual(then.verdict, { kind: 'gone', code });
    assert.equal(then.desired.digest, emptyBundle.digest);
    assert.deepEqual(then.memory.certificates, []);
  });
}

test('a source that comes back within the grace keeps its trust, and a later deletion has the whole grace again', () => {
  const gone = decideTrust({ kind: 'absent' }, after(good));
  const back = decideTrust(good, { ...after(good, 9), memory: gone.memory });
  assert.equal(back.verdict.kind, 'admitted');
  assert.equal(back.memory.goneSince, undefined);
  const again = decideTrust({ kind: 'absent' }, { ...after(good, 15), memory: back.memory });
  assert.equal(again.verdict.kind, 'leaving');
});

test('a source that comes back rejected ends the grace as well: it is there', () => {
  const gone = decideTrust({ kind: 'absent' }, after(good));
  const back = decideTrust(present({ a: 'nothing' }), { ...after(good, 60), memory: gone.memory });
  assert.equal(back.desired.digest, makeBundle(one).digest);
  assert.equal(back.memory.goneSince, undefined);
});

test('on-delete: remove takes the trust with the source at once, and so does a rejected Secret that carries it', () => {
  const willing = present({ 'corp.pem': one.pem }, 'remove');
  assert.equal(decideTrust({ kind: 'absent' }, after(willing)).desired.digest, emptyBundle.digest);
  const rejected = decideTrust(present({ a: 'nothing' }, 'remove'), after(good));
  assert.equal(decideTrust({ kind: 'absent' }, { ...fresh, memory: rejected.memory }).verdict.kind, 'gone');
});

test('a clock that is set back neither ends the grace nor stretches it', () => {
  const later = decideTrust({ kind: 'absent' }, after(good, 1000));
  const earlier = decideTrust({ kind: 'absent' }, { ...fresh, memory: later.memory });
  assert.deepEqual(earlier.verdict, {
    kind: 'leaving',
    code: 'SourceDeleted',
    until: new Date(fixedNow.getTime() + graceMs),
  });
});

test('a Secret that never was is no loss', () => {
  const { verdict, desired } = decideTrust({ kind: 'absent' }, fresh);
  assert.deepEqual(verdict, { kind: 'gone', code: 'SourceDeleted' });
  assert.equal(desired.digest, emptyBundle.digest);
});

test('a lost memory makes a deletion wait for the whole grace, with what lies on the host', () => {
  const { verdict, desired } = decideTrust({ kind: 'absent' }, { ...fresh, onHost: makeBundle(one) });
  assert.equal(verdict.kind, 'leaving');
  assert.equal(desired.digest, makeBundle(one).digest);
});

test('a node outside of the pool keeps what it has; one that leaves has nothing', () => {
  assert.equal(keepTrust({ ...after(good), onHost: makeBundle(two) }).desired.digest, makeBundle(two).digest);
  assert.equal(withdrawTrust(source).desired.digest, emptyBundle.digest);
  assert.deepEqual(withdrawTrust(source).memory.certificates, []);
});

test('of what is remembered of a file, what a later boot has taken away is forgotten, and nothing else', () => {
  const three = makeCertificate('Root Three');
  const file = present({ one: one.pem, two: two.pem, three: three.pem });
  const atLast = [one, two, three].map(({ fingerprint }) => anchorName(fingerprint));
  const memory = { ...(after(file).memory ?? assert.fail()), atBoot: atLast };
  const [nowhere, onHost] = [emptyBundle, makeBundle(three)];
  const names = (atBoot: ReadonlySet<AnchorName> | undefined, lying = onHost): readonly string[] | undefined =>
    forgetRemoved(memory, atBoot, lying)?.certificates.map(({ entry }) => entry);
  assert.deepEqual(names(new Set([anchorName(two.fingerprint)])), ['three', 'two']);
  assert.deepEqual(names(new Set(), nowhere), []);
  assert.deepEqual(names(undefined, nowhere)?.length, 3, 'no boot has installed it');
  const unseen = forgetRemoved({ ...memory, atBoot: atLast.slice(0, 1) }, new Set(), nowhere);
  assert.equal(unseen?.certificates.length, 2, 'what no boot has seen yet no boot has taken away');
  assert.equal(forgetRemoved(undefined, new Set(), nowhere), undefined);
});

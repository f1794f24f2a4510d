import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Drift, findDrift, judgeDrift, type Repairs } from '../../agent/trust/drift.ts';
import { type AnchorName, anchorName, type Observation } from '../../agent/trust/observation.ts';
import { createCertificate, fixedNow } from '../support/certificates.ts';
import { bundleOf, parse } from '../support/host-steps.ts';

const [one, two, other] = [createCertificate(), createCertificate(), createCertificate()];
const desired = bundleOf([one, two]);
const [first, second] = [one, two].map(parse).map((certificate) => ({ certificate, name: nameOf(certificate) })) as [
  { certificate: ReturnType<typeof parse>; name: AnchorName },
  { certificate: ReturnType<typeof parse>; name: AnchorName },
];
const proven = new Set<string>([first.name, second.name]);
const places = {
  bundlePath: '/bundle',
  anchorPath: (name: AnchorName) => `/anchors/${name}`,
  linkPath: (name: AnchorName) => `/links/${name}`,
};

function nameOf({ fingerprint }: ReturnType<typeof parse>): AnchorName {
  return anchorName(fingerprint);
}

/** A host on which all is as it was proven, with changes. */
function observed(store: Partial<Observation['store']> = {}, record: Observation['record'] = {}): Observation {
  const prints = new Set([first.certificate.fingerprint, second.certificate.fingerprint]);
  return {
    store: {
      anchors: [first, second],
      derived: [first.name, second.name],
      tool: '',
      version: '',
      bundle: prints,
      indexed: prints,
      returned: [],
      stillTrusted: [],
      ...store,
    },
    runtime: { kind: 'none' },
    record,
  };
}

const find = (
  host: Observation,
  known: ReadonlySet<string> = proven,
  withdrawn: readonly AnchorName[] = [],
): readonly string[] =>
  findDrift(desired, { proven: known, withdrawn: new Set(withdrawn) }, host, places).map(
    ({ path, seen }) => `${path}: ${seen}`,
  );

test('a host that is as it was proven has not drifted', () => {
  assert.deepEqual(find(observed()), []);
});

test('an anchor that is gone or holds something else, a bundle without it, and links are told with their path', () => {
  assert.deepEqual(find(observed({ anchors: [first] })), [`/anchors/${second.name}: it was gone`]);
  const edited = { name: second.name, certificate: undefined };
  assert.deepEqual(find(observed({ anchors: [first, edited] })), [`/anchors/${second.name}: it held something else`]);
  const bundle = new Set([first.certificate.fingerprint]);
  assert.deepEqual(find(observed({ bundle })), ['/bundle: 1 of our certificates were not in it']);
  const returned = [parse(other).fingerprint];
  assert.deepEqual(find(observed({ returned })), ['/bundle: a certificate that was taken away was in it again']);
  const strange = nameOf(parse(other));
  assert.deepEqual(find(observed({ derived: [first.name, second.name, strange] })), [
    `/links/${strange}: it was left over`,
  ]);
  assert.deepEqual(find(observed({ indexed: bundle })), [`/links/${second.name}: no look-up found it`]);
});

test('what is being added or taken away, and a rebuild of ours that did not end, is no drift', () => {
  const half = observed({ anchors: [first], derived: [first.name], bundle: new Set([first.certificate.fingerprint]) });
  assert.deepEqual(find(half, new Set([first.name])), []);
  assert.deepEqual(find(half, proven, [second.name]), [], 'taken away by us, and desired again');
  const leaving = nameOf(parse(other));
  assert.deepEqual(find(observed({ derived: [first.name, second.name, leaving] }), new Set([...proven, leaving])), []);
  const withdrawn = { name: leaving, certificate: parse(other) };
  const unproven = observed({ anchors: [first, second, withdrawn], derived: [first.name, second.name, leaving] });
  assert.deepEqual(find(unproven), [], 'taken out of the source before it was proven');
  const rebuild = { bundle: desired.digest, at: fixedNow.toISOString(), before: 'process' };
  assert.deepEqual(find(observed({ bundle: new Set() }, { rebuild })), []);
  assert.deepEqual(find(observed({ indexed: new Set() }, { rebuild })), [], 'taken out of the index by us');
});

const drift: Drift = { kind: 'bundle', path: '/bundle', seen: 'as an example' };

test('a path is repaired at most five times within any ten minutes, whatever the rhythm, and others are not held up', () => {
  const seconds = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(seconds, (steps) => {
      let [at, repairs]: [number, Repairs] = [fixedNow.getTime(), {}];
      const made: number[] = [];
      for (const step of steps) {
        at += step * 1000;
        const other = { ...drift, path: `/other-${at}` };
        const judged = judgeDrift([drift, other], repairs, new Date(at));
        repairs = judged.repairs;
        assert(judged.repaired.some(({ path }) => path === other.path));
        if (judged.fought.length > 0) assert(judged.until.getTime() > at && judged.until.getTime() <= at + 600_000);
        else made.push(at);
        assert(made.filter((time) => time > at - 600_000).length <= 5);
      }
    }),
  );
});

test('a clock that was set back does not leave a path alone for longer', () => {
  const times = Array.from({ length: 5 }, () => new Date(fixedNow.getTime() + 86_400_000).toISOString());
  assert.deepEqual(judgeDrift([drift], { '/bundle': times }, fixedNow).fought, []);
  const ahead = times.map(() => new Date(fixedNow.getTime() + 60_000).toISOString());
  const { fought, until, young } = judgeDrift([drift], { '/bundle': ahead }, fixedNow);
  assert.deepEqual([fought.length, until], [1, new Date(fixedNow.getTime() + 600_000)]);
  assert.deepEqual(judgeDrift([drift], young, new Date(fixedNow.getTime() + 600_000)).fought, []);
});

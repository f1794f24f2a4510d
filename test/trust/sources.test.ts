import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyBundle } from '../../agent/trust/bundle.ts';
import { type Decision, type DecisionContext, decideTrust, withdrawTrust } from '../../agent/trust/desired.ts';
import type { SourceSnapshot } from '../../agent/trust/source.ts';
import { mergeDecisions, type SourceDecision } from '../../agent/trust/sources.ts';
import { createCertificate, fixedNow, type TestCertificate } from '../support/certificates.ts';

const [one, two, three] = ['One', 'Two', 'Three'].map((subject) => createCertificate({ subject })) as [
  TestCertificate,
  TestCertificate,
  TestCertificate,
];
const secret = 'secret kube-system/custom-ca-trust-secret';
const file = 'file /etc/node-trust/certificates.pem';

function told(source: string, snapshot: SourceSnapshot): SourceDecision {
  const admission = { maxCertificates: 2, nonCa: 'error' } as const;
  const context: DecisionContext = {
    source,
    memory: undefined,
    onHost: emptyBundle,
    now: fixedNow,
    graceMs: 600_000,
    admission,
  };
  return { source, decision: decideTrust(snapshot, context) };
}

function holding(...certificates: readonly TestCertificate[]): SourceSnapshot {
  const entries = new Map(certificates.map(({ pem }, index) => [`${index}.pem`, Buffer.from(pem)]));
  return { kind: 'present', entries, onDelete: 'grace' };
}

const bad: SourceSnapshot = { kind: 'present', entries: new Map([['x', Buffer.from('x')]]), onDelete: 'grace' };
const silent: SourceSnapshot = { kind: 'unavailable', code: 'SourceUnavailable', evidence: 'EIO' };
const subjects = ({ decision }: SourceDecision): readonly string[] =>
  decision.desired.certificates.map(({ subject }) => subject).sort();

test('the host trusts what either holds, what both hold once, and each may hold as many as its limit', () => {
  const merged = mergeDecisions(told(secret, holding(one, two)), told(file, holding(two, three)));
  assert.deepEqual(subjects(merged), ['CN=One', 'CN=Three', 'CN=Two']);
  assert.equal(merged.decision.certificates.length, 3);
  assert.equal(merged.decision.verdict.kind, 'admitted');
  assert.equal(merged.source, `${secret} and ${file}`);
  const alone = told(secret, holding(one, two)).decision;
  assert.deepEqual([merged.decision.observed, merged.decision.memory], [alone.observed, alone.memory]);
});

for (const [what, first, second, kind, source] of [
  [
    'a Secret that is not there is not worth a word beside the file',
    { kind: 'absent' },
    holding(one),
    'admitted',
    file,
  ],
  [
    'a file that is not there is not worth a word beside the Secret',
    holding(one),
    { kind: 'absent' },
    'admitted',
    secret,
  ],
  ['neither is there', { kind: 'absent' }, { kind: 'absent' }, 'gone', secret],
  ['a rejected file is told', holding(one), bad, 'rejected', file],
  ['a rejected Secret is told', bad, holding(one), 'rejected', secret],
  ['both are rejected, and the Secret comes first', bad, bad, 'rejected', secret],
  ['what could not be read is told before what is rejected', bad, silent, 'unavailable', file],
  ['an empty Secret is told', { kind: 'present', entries: new Map(), onDelete: 'grace' }, holding(one), 'gone', secret],
] as const satisfies readonly (readonly [string, SourceSnapshot, SourceSnapshot, string, string])[]) {
  test(what, () => {
    const merged = mergeDecisions(told(secret, first), told(file, second));
    assert.deepEqual([merged.decision.verdict.kind, merged.source], [kind, source]);
    const held = [first, second].some(
      (snapshot) => snapshot !== bad && 'entries' in snapshot && snapshot.entries.size > 0,
    );
    assert.deepEqual(subjects(merged), held ? ['CN=One'] : [], 'the other is not held up');
  });
}

test('the findings of a rejected source come with it', () => {
  const merged = mergeDecisions(told(secret, holding(one)), told(file, holding(one, two, three)));
  assert.deepEqual(
    merged.decision.findings.map(({ code }) => code),
    ['TooManyCertificates'],
  );
});

test('a verdict comes with its own findings first, the empty Secret beside a rejected file', () => {
  const memory = {
    source: secret,
    certificates: [{ entry: 'a', pem: one.pem }],
    observed: '',
    onDelete: 'grace',
  } as const;
  const admission = { maxCertificates: 2, nonCa: 'error' } as const;
  const context = { source: secret, memory, onHost: emptyBundle, now: fixedNow, graceMs: 600_000, admission };
  const leaving = decideTrust({ kind: 'present', entries: new Map(), onDelete: 'grace' }, context);
  const merged = mergeDecisions({ source: secret, decision: leaving }, told(file, bad));
  assert.deepEqual([merged.source, merged.decision.findings[0]?.code], [file, 'NoCertificate']);
  assert.equal(merged.decision.findings.length, 2);
});

test('the end of the first grace that runs is known, whatever is told', () => {
  const leaving = (seconds: number): Decision => ({
    ...told(secret, holding(one)).decision,
    verdict: { kind: 'leaving', code: 'SourceDeleted', until: new Date(fixedNow.getTime() + seconds * 1000) },
  });
  const graceEnds = (first: Decision, second: Decision): Date | undefined =>
    mergeDecisions({ source: secret, decision: first }, { source: file, decision: second }).decision.graceEnds;
  const [rejected, soon] = [told(secret, bad).decision, new Date(fixedNow.getTime() + 1000)];
  assert.deepEqual(graceEnds(rejected, leaving(1)), soon);
  assert.deepEqual(graceEnds(leaving(2), leaving(1)), soon);
  assert.equal(graceEnds(rejected, rejected), undefined);
});

test('to withdraw is told whatever the file says, and what the file holds stays', () => {
  for (const snapshot of [holding(one), bad, silent]) {
    const merged = mergeDecisions({ source: secret, decision: withdrawTrust(secret) }, told(file, snapshot));
    assert.equal(merged.decision.verdict.kind, 'withdrawn');
    assert.deepEqual(subjects(merged), snapshot === silent || snapshot === bad ? [] : ['CN=One']);
  }
});

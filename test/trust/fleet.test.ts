import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FleetReport, hasArrived, reportFleet } from '../../agent/trust/fleet.ts';
import type { Content, FleetFacts } from '../../agent/trust/node-report.ts';
import { fixedNow } from '../support/certificates.ts';
import { fleet, pod, type Told } from '../support/fleet.ts';

const content: Content = { kind: 'known', observed: 'sha256:now', changedAt: undefined };
const mayNot = { kind: 'unknown', why: 'you may not' } as const;
const [refused, failing] = [
  { ...mayNot, isFinal: true },
  { ...mayNot, isFinal: false },
] as const;

const report = (facts: FleetFacts, ...names: readonly string[]): FleetReport => reportFleet(facts, names, fixedNow);
const namesOf = ({ nodes }: FleetReport): readonly string[] => nodes.map(({ node }) => node);

test('a fleet is synced when there is a Node and none has a problem', () => {
  assert.equal(report(fleet({ a: {}, b: {} })).synced, true);
  assert.equal(report(fleet({ a: {}, b: { state: 'Failed' } })).synced, false);
  assert.equal(report(fleet({})).synced, false);
});

test('reported are Nodes that are enabled, say something or have an agent, by name; or the named ones', () => {
  const none = { state: '', enabled: false };
  const facts = fleet({ d: {}, c: { enabled: false }, b: none, a: { state: '' }, e: none });
  const pods = { kind: 'known', value: new Map([['e', pod]]) } as const;
  assert.deepEqual(namesOf(report({ ...facts, pods })), ['a', 'c', 'd', 'e']);
  assert.deepEqual(namesOf(report(facts, 'b', 'd', 'nobody')), ['b', 'd']);
});

test('each pool has a line with its Nodes, those without any part in it as well', () => {
  const facts = fleet({
    a: { pool: 'x' },
    b: { pool: 'x', state: 'Failed' },
    c: { pool: 'x', state: '', enabled: false },
    d: {},
  });
  const pods = { kind: 'known', value: new Map(['a', 'b', 'd'].map((name) => [name, pod])) } as const;
  assert.deepEqual(report({ ...facts, pods }).pools, [
    { pool: '', nodes: 1, enabled: 1, synced: 1, problems: 0 },
    { pool: 'x', nodes: 3, enabled: 2, synced: 1, problems: 1 },
  ]);
  assert.equal(report({ ...facts, enabling: mayNot }).pools[1]?.enabled, null);
});

test('bundles are counted, the most frequent first, without what Disabled Nodes have left', () => {
  const facts = fleet({ a: { bundle: 'one' }, b: { bundle: 'two' }, c: { bundle: 'two' }, d: { state: 'Disabled' } });
  assert.deepEqual(report(facts).bundles, [
    { bundle: 'two', nodes: 2 },
    { bundle: 'one', nodes: 1 },
  ]);
});

test('what could not be found out is listed, each with why', () => {
  assert.deepEqual(report(fleet({ a: {} })).unknown, []);
  const { unknown, present, selector } = report(fleet({ a: {} }, { enabling: mayNot, pods: mayNot, content: refused }));
  assert.deepEqual(unknown, [
    'which Nodes are enabled: you may not',
    'on which Nodes an agent runs: you may not',
    "whether the Secret's present content was seen: you may not",
  ]);
  assert.deepEqual([present, selector], [null, null]);
  const noPods = { kind: 'known', value: new Map() } as const;
  assert.match(report(fleet({ a: {} }, { enabling: mayNot, pods: noPods })).unknown.join(), /none has a pod/);
  const narrower = { kind: 'known', value: { labels: new Map(), isNarrower: true } } as const;
  assert.match(report(fleet({ a: {} }, { enabling: narrower })).unknown.join(), /node affinity/);
});

test('a fleet has arrived when all that follow the Secret are well', () => {
  const arrived = (nodes: Readonly<Record<string, Told>>): boolean => {
    const last = report(fleet(nodes));
    return hasArrived(last, last, content);
  };
  assert.equal(arrived({ a: {}, b: {} }), true);
  assert.equal(arrived({ a: {}, b: { observed: 'sha256:old' } }), false);
  assert.equal(arrived({ a: {}, b: { enabled: false } }), true, 'what is in no pool is not waited for');
  assert.equal(arrived({ b: { enabled: false } }), false, 'nobody follows');
});

test('where the content may not be read, all must agree, and one must have come to it since the first look', () => {
  const at = (a: string, b: string): FleetReport => {
    return report(fleet({ a: { observed: a }, b: { observed: b } }, { content: refused }));
  };
  assert.equal(hasArrived(at('old', 'old'), at('new', 'new'), refused), true);
  assert.equal(hasArrived(at('old', 'new'), at('new', 'new'), refused), true);
  assert.equal(hasArrived(at('old', 'old'), at('new', 'old'), refused), false);
  assert.equal(hasArrived(at('new', 'new'), at('new', 'new'), refused), false, 'it may have been before the change');
  const joined = report(fleet({ a: { observed: 'new' } }, { content: refused }));
  assert.equal(hasArrived(joined, at('new', 'new'), refused), false, 'a Node that joined was not seen to change');
});

test('while the content cannot be read for now, nothing has arrived', () => {
  const first = report(fleet({ a: { observed: 'old' } }, { content: failing }));
  assert.equal(hasArrived(first, report(fleet({ a: {} }, { content: failing })), failing), false);
});

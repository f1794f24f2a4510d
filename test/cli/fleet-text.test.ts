import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeProgress, formatFleet } from '../../agent/cli/fleet-text.ts';
import { createPaint, type Paint } from '../../agent/cli/paint.ts';
import { reportFleet } from '../../agent/trust/fleet.ts';
import type { FleetFacts } from '../../agent/trust/node-report.ts';
import { fixedNow } from '../support/certificates.ts';
import { fleet, pod, type Told } from '../support/fleet.ts';

const plain = createPaint({ isTty: false, env: {} });
const inDays = (days: number): string => new Date(fixedNow.getTime() + days * 86_400_000).toISOString();
const expiresAt = inDays(400);

const format = (facts: FleetFacts, paint: Paint = plain): string =>
  formatFleet(reportFleet(facts, [], fixedNow), paint, fixedNow);
const firstLine = (facts: FleetFacts): string => format(facts).split('\n', 1)[0] ?? '';
const many = (count: number, told: Told = {}): Record<string, Told> =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`n${String(index).padStart(3, '0')}`, told]));

test('a fleet that is not well: which Nodes, what is wrong worst first, what to type, and a row a Node', () => {
  const deferred = { state: 'Waiting', reason: 'RestartDeferred', message: 'it is restarted soon; wait' };
  const nodes = {
    'old-1': { pool: 'old', enabled: false, bundle: 'sha256:0123456789abcdef', updatedAt: inDays(-40) },
    'work-1': { pool: 'work', expiresAt, updatedAt: inDays(-0.5) },
    'work-2': { pool: 'work', ...deferred },
    'work-3': { pool: 'work', state: 'Failed', reason: 'ToolFailed', message: 'the tool failed; run it by hand' },
    'work-4': { pool: 'work', updatedAt: inDays(-2) },
  };
  const pods = new Map(['work-1', 'work-2', 'work-3'].map((name) => [name, pod]));
  const facts = fleet(nodes, { pods: { kind: 'known', value: pods } });
  assert.equal(
    format(facts),
    `Not well: 4 of 5 nodes: work-3, work-4, old-1, work-2

ToolFailed: work-3
    the tool failed; run it by hand
AgentMissing: work-4
    no pod of the agent is on this Node, and what it says dates from ${inDays(-2)}
    Find out why none is scheduled: \`kubectl -n kube-system describe daemonset node-trust-agent\`, \`kubectl describe node work-4\`.
NodeNotEnabled: old-1
    this Node does not carry on=yes, so 1 certificate of ours on it can be neither added to nor taken away
    To go on: \`kubectl label node old-1 on=yes\`. To take the certificates away: run \`node-trust remove\` on it.
RestartDeferred: work-2
    it is restarted soon; wait

POOL   NODES   ENABLED   SYNCED   PROBLEMS
old    1       0         0        1
work   4       4         1        3

bundle: sha256:b on 4 nodes; not the same: sha256:0123456789ab on old-1
soonest expiry: ${expiresAt.slice(0, 10)} on work-1, in 400d

NODE     STATE     REASON            CERTIFICATES   BUNDLE                EXPIRES      AGE
old-1    Synced    -                 1              sha256:0123456789ab   -            40d, stale
work-1   Synced    -                 1              sha256:b              ${expiresAt.slice(0, 10)}   12h
work-2   Waiting   RestartDeferred   1              sha256:b              -            -
work-3   Failed    ToolFailed        1              sha256:b              -            -
work-4   Synced    -                 1              sha256:b              -            2d, stale
`,
  );
});

test('the first line says that all is well only where nothing is unknown', () => {
  const nodes = { a: {}, b: {}, c: { state: 'Disabled', enabled: false } };
  assert.equal(firstLine(fleet(nodes)), 'All is well: 2 of 2 nodes are Synced with secret ns/cas, 1 Disabled');
  const told = format(fleet(nodes, { pods: { kind: 'unknown', why: 'you may not' } }));
  assert.match(told, /^Well as far as known: 2 of 2 .*\n {4}not known: on which Nodes an agent runs: you may not\n/);
});

test('where all is well without a Secret, the first line says that there is none', () => {
  const content = { kind: 'known', observed: '', changedAt: undefined } as const;
  const facts = fleet({ a: { observed: '' } }, { content });
  assert.equal(firstLine(facts), 'All is well: there is no secret ns/cas, and 1 of 1 nodes trust nothing of it');
});

test('Synced is what says so, not all that has no problem', () => {
  const left = { state: 'Rejected', certificates: '0', enabled: false };
  assert.equal(firstLine(fleet({ a: {}, left })), 'All is well: 1 of 2 nodes are Synced with secret ns/cas');
});

test('warnings leave all well, are counted in the first line, and told once with the Nodes they are on', () => {
  const soon = 'ExpiresSoon: entry "a.pem": it expires; renew it';
  const facts = fleet({ a: { warnings: [soon] }, b: { warnings: ['TrustedTwice: it is trusted', soon] }, c: {} });
  const text = format(facts);
  assert(
    text.startsWith(`All is well, with 2 warnings: 3 of 3 nodes are Synced with secret ns/cas

ExpiresSoon (warning): a, b
    entry "a.pem": it expires; renew it
TrustedTwice (warning): b
    it is trusted

POOL`),
    text,
  );
  assert.match(firstLine(fleet({ a: { warnings: [soon] } })), /^All is well, with 1 warning: /);
  const failed = format(fleet({ a: { state: 'Failed', reason: 'DiskFull', message: 'x', warnings: [soon] } }));
  assert.match(failed, /^Not well: 1 of 1 nodes: a\n\nDiskFull: a\n {4}x\n\nExpiresSoon \(warning\): a\n/);
  const warnings = Array.from({ length: 12 }, (_, index) => `ExpiresSoon: entry ${index}`);
  assert.match(format(fleet({ a: { warnings } })), /^2 more warnings; all: node-trust status --json$/m);
});

test('what goes by itself is under way and not an alarm', () => {
  const line = firstLine(fleet({ a: {}, b: { state: 'Applying' } }));
  assert.equal(line, 'Under way: 1 of 2 nodes: b; wait, or follow it: node-trust status --watch');
  const leaving = { a: {}, b: { enabled: false } };
  assert.equal(firstLine(fleet(leaving)), 'Under way: 1 of 2 nodes: b; wait', 'a watch does not wait for it');
});

test('a cluster in which no agent has said anything is not well, and the next step is told', () => {
  assert.match(firstLine(fleet({ a: { state: '', enabled: false } }, noPods)), /^Not well: .*label node NODE on=yes$/);
  const unknown = { enabling: { kind: 'unknown', why: 'you may not' }, ...noPods } as const;
  assert.match(firstLine(fleet({ a: { state: '' } }, unknown)), /^Not well: .*kubectl -n kube-system get pods/);
});

test('of many Nodes the first line names a few, one speaks for those that are alike, and only those have rows', () => {
  const failed = { state: 'Failed', reason: 'DiskFull', message: 'no space left' };
  const told = format(
    fleet({
      ...many(100, failed),
      x: {},
      y: {},
    }),
  );
  assert.match(told, /^Not well: 100 of 102 nodes: n000, n001, n002, n003, n004, n005 and 94 more\n/);
  assert.match(told, /^DiskFull: n000, .* and 94 more\n {4}n000: no space left$/m);
  assert.equal([...told.matchAll(/ Failed /g)].length, 40);
  assert.match(told, /\n62 more without a row; all: node-trust status --json; some: node-trust status NODE…\n$/);
  const well = format(fleet(many(100)));
  assert.match(well, /the same on all\n\n100 more without a row/);
});

test('an expiry that is near or past is told', () => {
  assert.match(format(fleet({ a: { expiresAt: inDays(3) } })), /^soonest expiry: .* on a, in 3d$/m);
  assert.match(format(fleet({ a: { expiresAt: inDays(-3) }, b: { expiresAt } })), / on a, which has passed$/m);
});

test('colour follows what is wrong, and only on a terminal', () => {
  const facts = fleet({ a: {}, b: { state: 'Failed', message: 'x' }, c: { state: 'Applying' } });
  const painted = format(facts, (style, text) => `<${style}>${text}</>`);
  for (const part of [
    '<red>Not well:</>',
    '<red>Failed</>',
    '<yellow>Applying</>',
    '<green>a ',
    '<red>b ',
    '<yellow>c ',
  ])
    assert(painted.includes(part), part);
  assert.equal(painted.replaceAll(/<.*?>/g, ''), format(facts));
});

test('progress says how many have arrived and names those that lag, with why', () => {
  const { nodes } = reportFleet(fleet({ a: {}, b: { observed: 'old' }, c: { state: 'Applying' } }), [], fixedNow);
  assert.equal(describeProgress(nodes.slice(0, 1), null), '1 of 1 nodes are well with what they saw');
  assert.equal(describeProgress(nodes, 'sha256:now'), '1 of 3 nodes have arrived; ContentNotSeen: b; Applying: c');
});

const noPods = { pods: { kind: 'known', value: new Map() } } as const;

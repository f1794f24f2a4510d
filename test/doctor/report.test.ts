import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPaint } from '../../agent/cli/paint.ts';
import { formatReport, parseReport, type Report } from '../../agent/doctor/report.ts';

const target = {
  asked: 'app',
  readAs: 'image',
  registry: 'docker.io',
  scheme: 'https',
  host: 'registry-1.docker.io',
  port: 443,
} as const;
const fail = {
  check: 'dns',
  status: 'fail',
  code: 'NameNotFound',
  summary: 'no address',
  evidence: ['seen'],
  remedy: 'Mend it.',
  command: 'getent ahosts x',
} as const;
const skipped = { check: 'tcp', status: 'skipped', summary: 'why', evidence: [] } as const;
const pass = { check: 'tls', status: 'pass', summary: 'well', evidence: [] } as const;
const plain = createPaint({ isTty: false, env: {} });

function report(...checks: Report['checks']): Report {
  const diagnosis = checks.find(({ status }) => status === 'fail') ?? null;
  return { version: 1, target, at: '2026-06-01T00:00:00.000Z', healthy: diagnosis === null, diagnosis, checks };
}

test('a report is a line a check and the diagnosis as a block', () => {
  assert.equal(
    formatReport(report(fail, skipped, pass), plain),
    `image app: registry-1.docker.io, seen from this machine; from a node with --node NAME
✗ dns  no address
- tcp  why
✓ tls  well

Broken: dns, NameNotFound
  no address
  · seen
Do:   Mend it.
Type, on the node: getent ahosts x
`,
  );
});

test('a node that is known by its name is named', () => {
  const head = formatReport({ ...report(pass), node: 'node-1' }, plain).split('\n', 1)[0];
  assert.equal(head, 'image app: registry-1.docker.io, seen from node node-1');
});

test('a target that is a server itself is told once', () => {
  const server = { ...target, asked: 'localhost:5000', readAs: 'host', host: 'localhost', port: 5000 } as const;
  assert.match(
    formatReport({ ...report(pass), target: server }, plain),
    /^host localhost:5000, seen from this machine; from a node with --node NAME\n/,
  );
  assert.match(
    formatReport({ ...report(pass), target: { ...server, host: '::1' } }, plain),
    /^host localhost:5000: \[::1\]/,
  );
});

test('a command that needs no node is not sent to one', () => {
  for (const command of ['kubectl describe node x', 'node-trust doctor x'])
    assert(formatReport(report({ ...fail, command }), plain).endsWith(`\nType: ${command}\n`), command);
});

test('a report without a fault says so, and how much could not be looked at', () => {
  assert.match(formatReport(report(pass), plain), /\n\nNothing is broken\.\n$/);
  assert.match(
    formatReport(report(pass, skipped), plain),
    /\n\nNothing is broken\. 1 check was skipped, with why above\.\n$/,
  );
});

test('a report in which something could not be found out does not say that nothing is broken', () => {
  const unknown = [
    { ...skipped, check: 'secret', unknown: true },
    { ...skipped, check: 'admitted', unknown: true },
  ] as const;
  assert.match(
    formatReport(report(pass, skipped, ...unknown), plain),
    /\n\nNothing that could be looked at is broken; not known: secret, admitted\n$/,
  );
});

test('a terminal gets colours, and nothing else', () => {
  const colour = createPaint({ isTty: true, env: {} });
  const text = formatReport(report(fail, skipped, pass), colour);
  assert.notEqual(text, formatReport(report(fail, skipped, pass), plain));
  // oxlint-disable-next-line no-control-regex -- colours are made of them
  assert.equal(text.replaceAll(/\u001b\[\d+m/g, ''), formatReport(report(fail, skipped, pass), plain));
});

test('a report that comes from afar does nothing to the terminal', () => {
  const text = formatReport(report({ ...fail, summary: 'one\u001b]0;x\u0007', evidence: ['\u202e'] }), plain);
  for (const character of '\u001b\u0007\u202e') assert(!text.includes(character));
});

test('what is no report of this version is none', () => {
  const good = report(fail);
  assert.deepEqual(parseReport(JSON.stringify(good)), good);
  for (const text of [
    '',
    'null',
    '[]',
    '{}',
    '"x"',
    '{"version":2,"checks":[],"target":{}}',
    `${JSON.stringify(good)}x`,
  ])
    assert.equal(parseReport(text), undefined, text);
});

test('what a report from afar concludes is what its checks say', () => {
  const believed = parseReport(JSON.stringify({ ...report(pass, fail), healthy: true, diagnosis: null }));
  assert.deepEqual([believed?.healthy, believed?.diagnosis], [false, fail]);
  const warned = { ...fail, status: 'warn' } as const;
  const blamed = parseReport(JSON.stringify({ ...report(pass, warned), healthy: false, diagnosis: fail }));
  assert.deepEqual([blamed?.healthy, blamed?.diagnosis], [true, warned]);
  assert.equal(parseReport(JSON.stringify({ ...report(), healthy: true })), undefined, 'nothing was looked at');
});

test('what is no report in any of its fields is none, and what a terminal obeys is not handed on', () => {
  const good = report(fail, skipped);
  assert.deepEqual(parseReport(JSON.stringify(good)), good);
  const bad: readonly Readonly<Record<string, unknown>>[] = [
    { ...good, checks: [{ ...fail, status: 'great' }] },
    { ...good, checks: [{ ...fail, status: 'constructor' }] },
    { ...good, checks: [{ ...fail, evidence: 'seen' }] },
    { ...good, checks: [{ ...fail, command: 1 }] },
    { ...good, checks: [null] },
    { ...good, diagnosis: {} },
    { ...good, target: { ...target, readAs: 'toString' } },
    { ...good, target: null },
    { ...good, node: 1 },
  ];
  for (const text of bad.map((each) => JSON.stringify(each))) assert.equal(parseReport(text), undefined, text);
  const hostile = { ...fail, check: 'dns\u001b[2J', code: '\u001b]0;x\u0007' };
  assert(!formatReport(report(hostile), plain).includes('\u001b'));
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createProgress, type Look, type Watching, watchFleet } from '../../agent/cli/status-watch.ts';
import { KubeError, type KubeFailureKind } from '../../agent/kube/kube-error.ts';
import { reportFleet } from '../../agent/trust/fleet.ts';
import type { FleetFacts } from '../../agent/trust/node-report.ts';
import { fixedNow } from '../support/certificates.ts';
import { fleet } from '../support/fleet.ts';

const lookAt = (facts: FleetFacts): Look => ({ report: reportFleet(facts, [], fixedNow), content: facts.content });
const behind = fleet({ a: {}, b: { observed: 'old' } });
const arrived = fleet({ a: {}, b: {} });
const failure = (kind: KubeFailureKind, retryAfterMs = 0): KubeError =>
  new KubeError({ kind, evidence: `it is ${kind}`, retryAfterMs });

/** Looks as they come, each of which takes some time; with the last pause time is up. */
function play(looks: readonly (FleetFacts | KubeError)[], costMs = 10) {
  const journal: string[] = [];
  const pauses: number[] = [];
  const timeout = new AbortController();
  let time = 0;
  const left = [...looks];
  const watching: Watching = {
    async look() {
      time += costMs;
      const next = left.shift();
      if (next === undefined) return assert.fail('one look too many');
      if (next instanceof KubeError) throw next;
      return lookAt(next);
    },
    async pause(milliseconds) {
      pauses.push(milliseconds);
      if (left.length === 0) timeout.abort();
    },
    clock: () => time,
    onLook: ({ synced }) => void journal.push(synced ? 'synced' : 'not yet'),
    onTrouble: ({ message }) => void journal.push(message),
  };
  return { journal, pauses, end: watchFleet(watching, timeout.signal) };
}

test('a watch ends when all have arrived', async () => {
  const { end, journal } = play([behind, behind, arrived]);
  assert.equal((await end).kind, 'arrived');
  assert.deepEqual(journal, ['not yet', 'not yet', 'synced']);
});

test('a watch that runs out of time ends with what it saw last; that a look failed before does not count', async () => {
  const end = await play([behind, failure('unreachable'), behind]).end;
  assert(end.kind === 'late' && end.error === undefined);
  assert.deepEqual(
    end.last?.report.nodes.filter(({ problem }) => problem !== null).map(({ node }) => node),
    ['b'],
  );
});

test('a failure that may go by itself is told and tried again, later each time or when the server says', async () => {
  const looks = [failure('unreachable'), failure('server-error'), failure('throttled', 90_000), behind, arrived];
  const { end, journal, pauses } = play(looks);
  assert.equal((await end).kind, 'arrived');
  assert.deepEqual(journal.slice(0, 3), ['it is unreachable', 'it is server-error', 'it is throttled']);
  assert.deepEqual(pauses, [2_000, 4_000, 90_000, 1_000]);
});

test('a watch whose last look failed says so, with what it saw before', async () => {
  const end = await play([behind, failure('timed-out')]).end;
  assert(end.kind === 'late');
  assert.deepEqual([end.error?.message, end.last?.report.nodes.length], ['it is timed-out', 2]);
});

test('to be refused ends a watch at once', async () => {
  for (const kind of ['forbidden', 'unauthorized', 'tls', 'misconfigured', 'not-found'] as const)
    await assert.rejects(play([behind, failure(kind), arrived]).end, { message: `it is ${kind}` });
});

test('the pause grows with what a look costs, up to half a minute', async () => {
  for (const [costMs, pauseMs] of [
    [10, 1_000],
    [500, 4_500],
    [20_000, 30_000],
  ] as const) {
    const { end, pauses } = play([behind, arrived], costMs);
    await end;
    assert.deepEqual(pauses, [pauseMs]);
  }
});

test('what could not be found out is asked for once more before it is accepted', async () => {
  const unknown = fleet({ a: {} }, { pods: { kind: 'unknown', why: 'the server was busy' } });
  const twice = play([unknown, unknown]);
  assert.equal((await twice.end).kind, 'arrived');
  assert.equal(twice.journal.length, 2);
  const missing = fleet({ a: {} }, { pods: { kind: 'known', value: new Map() } });
  assert.equal((await play([unknown, missing, unknown]).end).kind, 'late');
});

test('where nobody is enabled, a watch ends at once, or once that is confirmed where something is not known', async () => {
  const disabled = { state: 'Disabled', enabled: false };
  for (const facts of [fleet({}), fleet({ a: disabled }), fleet({ a: { enabled: false } })])
    assert.equal((await play([facts]).end).kind, 'nobody');
  const unknown = { enabling: { kind: 'unknown', why: 'you may not' } } as const;
  const unsure = fleet({ a: disabled }, unknown);
  assert.equal((await play([unsure, unsure]).end).kind, 'nobody');
  const empty = fleet({}, unknown);
  assert.equal((await play([empty, empty]).end).kind, 'late', 'an agent may yet come');
});

test('an end from outside during a look is no failure', async () => {
  const stop = new AbortController();
  const never = (): never => assert.fail('it was not aborted');
  const watching: Watching = {
    look(signal) {
      stop.abort();
      return Promise.reject(signal.reason);
    },
    pause: never,
    clock: () => 0,
    onLook: never,
    onTrouble: never,
  };
  assert.deepEqual(await watchFleet(watching, stop.signal), { kind: 'late', last: undefined, error: undefined });
});

test('progress is a line that is drawn again on a terminal, within its width, and is gone at the end', () => {
  const written: string[] = [];
  const progress = createProgress({ isTty: true, columns: 40 }, (text) => written.push(text));
  progress.show(lookAt(behind).report);
  progress.show(lookAt(arrived).report);
  progress.end();
  assert.deepEqual(written, [
    '\r\u001b[K[##########----------] 1 of 2 nodes hav',
    '\r\u001b[K[####################] 2 of 2 nodes hav',
    '\r\u001b[K',
  ]);
});

test('that the present content is rejected is told once, with why, and waiting goes on', () => {
  let written = '';
  const progress = createProgress({ isTty: false, columns: 80 }, (text) => void (written += text));
  const rejected = { state: 'Rejected', reason: 'NotCa', message: 'use its CA' };
  const { show } = progress;
  for (let look = 0; look < 2; look += 1) show(reportFleet(fleet({ a: rejected, b: rejected }), [], fixedNow));
  assert.equal(written, 'NotCa: use its CA\n0 of 2 nodes have arrived; NotCa: a, b\n');
  written = '';
  createProgress({ isTty: false, columns: 80 }, (text) => void (written += text)).show(
    reportFleet(fleet({ a: { ...rejected, observed: 'old' } }), [], fixedNow),
  );
  assert.equal(written, '0 of 1 nodes have arrived; NotCa: a\n', 'it may not have seen what corrects it');
});

test('elsewhere progress is a plain line for each change', () => {
  const written: string[] = [];
  const progress = createProgress({ isTty: false, columns: Number.POSITIVE_INFINITY }, (text) => written.push(text));
  for (const facts of [behind, behind, arrived]) progress.show(lookAt(facts).report);
  progress.end();
  assert.deepEqual(written, ['1 of 2 nodes have arrived; ContentNotSeen: b\n', '2 of 2 nodes have arrived\n']);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLoop, type Loop } from '../agent/loop.ts';
import type { Next } from '../agent/trust/report.ts';
import { fixedNow } from './support/certificates.ts';

const minute = 60_000;

interface Play {
  /** What each pass answers, in order; the loop ends after the last. */
  readonly answers: readonly Next[];
  readonly random?: number;
  /** Called in each pass, with its number from 0. */
  readonly during?: (loop: Loop, pass: number) => void;
  /** Called in each pause. */
  readonly inPause?: (loop: Loop, pause: number) => void;
  readonly pokeEndsPause?: boolean;
}

async function play({ answers, random = 0.5, during, inPause, pokeEndsPause = true }: Play) {
  const passes: (readonly string[])[] = [];
  const pauses: number[] = [];
  let running = 0;
  const loop = createLoop({
    pollIntervalMs: 5 * minute,
    now: () => fixedNow,
    random: () => random,
    async pass(reasons) {
      assert.equal((running += 1), 1, 'one pass at a time');
      passes.push(reasons);
      await Promise.resolve();
      during?.(loop, passes.length - 1);
      running -= 1;
      return answers[passes.length - 1] ?? { kind: 'end' };
    },
    async sleep(milliseconds, signal) {
      pauses.push(milliseconds);
      inPause?.(loop, pauses.length - 1);
      if (inPause !== undefined) assert.equal(signal.aborted, pokeEndsPause, 'a poke ends the pause');
    },
  });
  await loop.run(new AbortController().signal);
  return { passes, pauses };
}

test('a pass is made at the start and at the poll interval', async () => {
  const { passes, pauses } = await play({ answers: [{ kind: 'resync' }, { kind: 'resync' }] });
  assert.deepEqual(passes, [['start'], ['poll'], ['poll']]);
  assert.deepEqual(pauses, [5 * minute, 5 * minute]);
});

test('the interval varies by a tenth to both sides', async () => {
  assert.deepEqual((await play({ answers: [{ kind: 'resync' }], random: 0 })).pauses, [4.5 * minute]);
  assert.deepEqual((await play({ answers: [{ kind: 'resync' }], random: 1 })).pauses, [5.5 * minute]);
});

test('transient failures back off 1, 2, 5 and then 15 minutes, and begin anew after a success', async () => {
  const fail: Next = { kind: 'back-off' };
  const { pauses } = await play({ answers: [fail, fail, fail, fail, fail, { kind: 'resync' }, fail] });
  assert.deepEqual(
    pauses,
    [1, 2, 5, 15, 15, 5, 1].map((minutes) => minutes * minute),
  );
});

test('Retry-After is respected where it is longer than the back-off', async () => {
  const { pauses } = await play({
    answers: [
      { kind: 'back-off', retryAfterMs: 3 * minute },
      { kind: 'back-off', retryAfterMs: 1 },
    ],
  });
  assert.deepEqual(pauses, [3 * minute, 0, 1, 2 * minute - 1]);
});

test('a poke does not cut Retry-After short', async () => {
  const { passes, pauses } = await play({
    answers: [{ kind: 'back-off', retryAfterMs: 1000 }],
    inPause(loop, pause) {
      if (pause === 0) loop.poke('secret');
    },
    pokeEndsPause: false,
  });
  assert.deepEqual(pauses, [1000]);
  assert.deepEqual(passes[1], ['secret']);
});

test('a pass at a known time is made then, at once where it has passed, and never later than the poll', async () => {
  const at = (offset: number): Next => ({ kind: 'at', at: new Date(fixedNow.getTime() + offset) });
  const { pauses, passes } = await play({ answers: [at(1000), at(-1000), at(60 * minute)] });
  assert.deepEqual(pauses, [1000, 0, 5 * minute]);
  assert.deepEqual(passes[1], ['due']);
});

test('a back-off ends at the time by which a pass must be made, and a peer that asked to be left alone is', async () => {
  const by = new Date(fixedNow.getTime() + 1000);
  const backOff = (retryAfterMs?: number): Next => ({ kind: 'back-off', retryAfterMs, by });
  const { pauses } = await play({ answers: [backOff(), backOff(5000), { kind: 'back-off', by: fixedNow }] });
  assert.deepEqual(pauses, [1000, 5000, 0, 0]);
});

test('pokes during a pass make one more, without a pause, and tell their reasons', async () => {
  const { passes, pauses } = await play({
    answers: [{ kind: 'resync' }],
    during(loop, pass) {
      if (pass === 0) for (const reason of ['secret', 'drift', 'secret']) loop.poke(reason);
    },
  });
  assert.deepEqual(passes, [['start'], ['secret', 'drift']]);
  assert.deepEqual(pauses, []);
});

test('a poke ends the pause, in a back-off too', async () => {
  const { passes } = await play({
    answers: [{ kind: 'back-off' }, { kind: 'resync' }],
    inPause: (loop) => loop.poke('secret'),
  });
  assert.deepEqual(passes, [['start'], ['secret'], ['secret']]);
});

test('an abort ends the loop after the pass under way', async () => {
  const ending = new AbortController();
  let ended = false;
  const loop = createLoop({
    pollIntervalMs: minute,
    now: () => fixedNow,
    random: () => 0,
    sleep: () => Promise.resolve(),
    async pass() {
      ending.abort();
      await Promise.resolve();
      ended = true;
      return { kind: 'resync' };
    },
  });
  await loop.run(ending.signal);
  assert(ended);
});

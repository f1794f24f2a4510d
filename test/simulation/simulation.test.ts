// The agent under a simulated world: thousands of schedules of faults, each from a seed. A failure prints the seed and the
// shortest story; `npm run simulate -- --seed N` tells it again.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { mutations } from './mutations.ts';
import { runWorker, simulateMany } from './simulate.ts';

const task = { mutation: undefined, enough: 3, shrinks: true };

test('every promise is kept over 2,000 schedules of faults', async () => {
  const { schedules, failures } = await simulateMany({ ...task, from: 1, to: 2_001 });
  assert.deepEqual(failures.map(({ seed, story }) => `seed ${seed}\n${story.join('\n')}`).join('\n\n'), '');
  assert.equal(schedules, 2_000);
});

test('a seed gives the same calls at the same times in every process', async () => {
  const [one, other] = await Promise.all([
    runWorker({ ...task, from: 1, to: 31 }),
    runWorker({ ...task, from: 1, to: 31 }),
  ]);
  assert.equal(one.trace, other.trace);
});

test('every planted defect still has the place that it is planted in', async () => {
  const misplaced: string[] = [];
  for (const { name, changes } of mutations) {
    for (const { file, snippet } of changes) {
      const text = await readFile(new URL(`../../agent/${file}`, import.meta.url), 'utf8');
      if (text.split(snippet).length !== 2) misplaced.push(name);
    }
  }
  assert.deepEqual(misplaced, []);
});

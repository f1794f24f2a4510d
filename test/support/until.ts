// Waiting for something that tells nobody when it happens. Real time, whatever timers a test has mocked.

import type { TestContext } from 'node:test';
import { setImmediate as next } from 'node:timers/promises';

/** For a machine that has much else to do. */
const patienceNs = 60_000_000_000n;

/** Looks again and again until there is an answer that is neither false nor empty. */
export async function until<Answer>(look: () => Promise<Answer>): Promise<Exclude<Answer, false | ''>> {
  const end = process.hrtime.bigint() + patienceNs;
  for (;;) {
    const answer = await look();
    if (answer !== false && answer !== '') return answer as Exclude<Answer, false | ''>;
    if (process.hrtime.bigint() > end) throw new Error(`waited in vain for ${String(look)}`);
    await next();
  }
}

/** Whoever waits by `performance.now()` has waited long enough at his second look, for the rest of this test. */
export function hurry(t: TestContext): void {
  let now = performance.now();
  t.mock.method(performance, 'now', () => {
    now += 3_600_000;
    return now;
  });
}

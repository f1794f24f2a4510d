import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCertificate, type TestCertificate } from '../support/certificates.ts';
import { openSandbox, planFor, reach } from '../support/host-steps.ts';
import { createSandbox, type Sandbox } from '../support/sandbox.ts';

const { signal } = new AbortController();
const [one, two] = [createCertificate({ subject: 'Same' }), createCertificate({ subject: 'Same' })];

/** A first certificate comes, is replaced by another of the same name, and the last one goes. */
const journey: readonly (readonly TestCertificate[])[] = [[one], [two], []];

test('an agent that dies between any two steps is made good for by the next, with at most two restarts', async () => {
  await using node = await createSandbox({ roots: 1 });
  for (let survived = 0, longest = 1; survived <= longest; survived += 1) {
    for (const wanted of journey) {
      const before = await countRestarts(node);
      const host = await openSandbox(node);
      const plan = await planFor(host, wanted);
      longest = Math.max(longest, plan.length);
      for (const step of plan.slice(0, survived)) await host.apply(step, signal);
      await reach(node, wanted);
      const pool = await node.runtime.trustPool();
      for (const certificate of [one, two]) assert.equal(pool.includes(certificate.pem), wanted.includes(certificate));
      const restarts = (await countRestarts(node)) - before;
      assert(restarts <= 2, `${restarts} restarts, died after ${survived} of ${plan.map(({ kind }) => kind).join()}`);
      if (survived >= plan.length) assert.equal(restarts, 1);
    }
  }
});

async function countRestarts(node: Sandbox): Promise<number> {
  return (await node.runtime.calls()).filter((call) => call.startsWith('restart')).length;
}

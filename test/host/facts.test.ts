import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { test } from 'node:test';
import fc from 'fast-check';
import { createFactsFile, type Facts } from '../../agent/host/facts.ts';
import { createHostRoot } from '../../agent/host/root.ts';
import { emptyBundle } from '../../agent/trust/bundle.ts';
import { hookFileSystem } from '../support/hooked-file-system.ts';
import { createEmptyRoot } from '../support/sandbox.ts';

const path = '/var/lib/node-trust-agent/state.json';
const { digest: bundle } = emptyBundle;
const at = '2026-06-01T00:00:00.000Z';
const full: Facts = {
  runtime: { rebuild: { bundle, at, before: 'a', after: 'b' }, loaded: { invocationId: 'c', bundle } },
  source: { source: 's', certificates: [{ entry: 'e', pem: 'p' }], observed: 'o', onDelete: 'grace', goneSince: at },
  held: { world: 'w', retryMark: 'r', code: 'StoreIncomplete', message: 'm' },
  undoing: { bundle, retryMark: 'r', evidence: 'e', retry: 'content', wasRestarted: true },
  leaving: true,
};

/** Something was built, nobody knows what. */
const unknown = { rebuild: { bundle: '', at: new Date(0).toISOString(), before: 'unknown' } };

test('a host without a state knows nothing, and asking leaves no trace', async () => {
  await using host = await createEmptyRoot();
  assert.deepEqual(await createFactsFile(createHostRoot(host.root)).read(), { runtime: {} });
  assert.deepEqual(await host.list('/'), []);
});

test('what was told is read back by the next process, part by part', async () => {
  await using host = await createEmptyRoot();
  for (const [part, value] of Object.entries(full))
    await createFactsFile(createHostRoot(host.root)).update({ [part]: value });
  assert.deepEqual(await createFactsFile(createHostRoot(host.root)).read(), full);
  await createFactsFile(createHostRoot(host.root)).update({ held: undefined, leaving: undefined });
  const { source, runtime, undoing } = full;
  assert.deepEqual(await createFactsFile(createHostRoot(host.root)).read(), { source, runtime, undoing });
});

test('the state is for root alone and has a schema version', async () => {
  await using host = await createEmptyRoot();
  await createFactsFile(createHostRoot(host.root)).update(full);
  assert.equal((await stat(host.at(path))).mode & 0o777, 0o600);
  assert.equal(JSON.parse(await host.read(path)).version, 1);
});

test('an update that changes nothing writes nothing', async () => {
  await using host = await createEmptyRoot();
  const journal: string[] = [];
  const facts = createFactsFile(
    createHostRoot(
      host.root,
      hookFileSystem((call) => void journal.push(call)),
    ),
  );
  await facts.update({ held: undefined, runtime: {} });
  await facts.update(full);
  const writes = (): number => journal.filter((call) => call.startsWith('rename')).length;
  assert.equal(writes(), 1);
  for (const change of [{}, full, { leaving: true }, { source: full.source }] as const) await facts.update(change);
  assert.equal(writes(), 1);
});

test('a state of a newer agent is StateTooNew, for a reader and for a writer, and stays as it is', async () => {
  await using host = await createEmptyRoot();
  const facts = createFactsFile(createHostRoot(host.root));
  for (const version of [2, 1.5, '1', null]) {
    const content = JSON.stringify({ version, runtime: {} });
    await host.write(path, content);
    await assert.rejects(facts.read(), { code: 'StateTooNew', message: /knows 1$/ });
    await assert.rejects(facts.update(full), { code: 'StateTooNew' });
    assert.equal(await host.read(path), content);
  }
});

test('of a state that is not one it is known that there was one, it is told, and the next update mends it', async () => {
  await using host = await createEmptyRoot();
  const facts = createFactsFile(createHostRoot(host.root));
  for (const content of [
    '',
    '{',
    'null',
    '[]',
    '7',
    '"x"',
    '{}',
    '\0\0\0',
    '{"version":1}',
    '{"version":1,"runtime":null}',
  ]) {
    await host.write(path, content);
    assert.deepEqual(await facts.read(), { runtime: unknown }, content);
    assert.match((await facts.findLoss()) ?? '', /state\.json could not be read and was begun anew/);
    assert.deepEqual(await facts.update({ leaving: true }), { runtime: unknown, leaving: true });
    assert.equal(await facts.findLoss(), undefined);
  }
});

test('a part of the state that has not its shape is dropped, and the others stay', async () => {
  await using host = await createEmptyRoot();
  const facts = createFactsFile(createHostRoot(host.root));
  const { source, runtime, held, undoing, leaving } = full;
  for (const [damage, expected] of [
    [{ runtime: 5 }, { source, held, undoing, leaving, runtime: unknown }],
    [{ runtime: { rebuild: { bundle, before: 'a' } } }, { source, held, undoing, leaving, runtime: unknown }],
    [{ runtime: { loaded: 'x' } }, { source, held, undoing, leaving, runtime: unknown }],
    [{ source: { ...source, certificates: 'x' } }, { runtime, held, undoing, leaving }],
    [{ source: { ...source, goneSince: 'yesterday' } }, { runtime, held, undoing, leaving }],
    [{ held: [] }, { source, runtime, undoing, leaving }],
    [{ held: { ...held, retryMark: 7 } }, { source, runtime, undoing, leaving }],
    [{ undoing: { ...undoing, wasRestarted: 'no' } }, { source, runtime, held, leaving }],
    [{ leaving: 'no' }, { source, runtime, held, undoing }],
    [{ other: 1 }, full],
  ] as const) {
    await host.write(path, JSON.stringify({ version: 1, ...full, ...damage }));
    assert.deepEqual(await facts.read(), expected, JSON.stringify(damage));
    const [part = ''] = Object.keys(damage);
    const told = part === 'other' ? undefined : new RegExp(`^${part} in .*state\\.json could not be read`);
    assert.match((await facts.findLoss()) ?? '', told ?? /^$/);
  }
});

test('whatever JSON lies there, what is read has the shape that it promises', async () => {
  await using host = await createEmptyRoot();
  const facts = createFactsFile(createHostRoot(host.root));
  const part = fc.constantFrom('source', 'runtime', 'held', 'leaving');
  const damage = fc.dictionary(part, fc.oneof(fc.jsonValue(), fc.constantFrom(...Object.values(full))));
  await fc.assert(
    fc.asyncProperty(damage, async (parts) => {
      await host.write(path, JSON.stringify({ version: 1, ...parts }));
      const { runtime, source, held, leaving } = await facts.read();
      assert.equal(typeof (runtime.rebuild?.before ?? ''), 'string');
      assert(Array.isArray(source?.certificates ?? []));
      assert.equal(typeof (held?.message ?? ''), 'string');
      assert.equal(leaving ?? true, true);
    }),
    { numRuns: 100 },
  );
});

test('forgetting takes the state away but for what is to outlive it, and again is fine', async () => {
  await using host = await createEmptyRoot();
  const facts = createFactsFile(createHostRoot(host.root));
  await facts.update(full);
  const runtime = { restarted: { at: '2026-06-01T00:00:00.000Z' } };
  await facts.forget(runtime);
  assert.deepEqual(await facts.read(), { runtime });
  assert.equal(await facts.findLoss(), undefined);
  await facts.forget({});
  await facts.forget({});
  assert.deepEqual(await facts.read(), { runtime: {} });
});

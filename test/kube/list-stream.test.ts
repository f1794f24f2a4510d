import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { splitItems } from '../../agent/kube/list-stream.ts';

/** As a network would cut it. */
async function* cut(text: string, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text);
  for (let at = 0, round = 0; at < bytes.length; round += 1) {
    const size = sizes[round % sizes.length] ?? 1;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

async function split(text: string, sizes: readonly number[] = [text.length]) {
  const items: string[] = [];
  const rest = await splitItems(cut(text, sizes), (item) => items.push(item));
  return { items, rest };
}

/** Texts with all that could be taken for the end of something. */
const units = ['"', '{', '}', '[', ']', ',', ':', 'ü', '😀', 'items'];
const text = fc.string({ unit: fc.constantFrom(...units, '\\') });
/**
 * Keys have no backslash, because of the judge: after an object with the key `\`, JSON.parse of
 * Node 26.10 takes the key `\"` of the next one for it.
 */
const key = fc.string({ unit: fc.constantFrom(...units) });
const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { depthSize: 'small' },
    text,
    fc.integer(),
    fc.constant(null),
    fc.array(tie('any')),
    fc.dictionary(key, tie('any'), { noNullPrototype: true }),
  ),
})).any;
const object = fc.dictionary(key, value, { noNullPrototype: true });

test('a list is taken apart into its items and the rest, however it is cut and laid out', async () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 });
  const layout = fc.constantFrom(0, 2);
  await fc.assert(
    fc.asyncProperty(object, fc.array(object), object, sizes, layout, async (head, list, tail, sizes, indent) => {
      const whole = { head, items: list, tail, continue: 'x' };
      const { items, rest } = await split(JSON.stringify(whole, null, indent), sizes);
      assert.deepEqual(
        items.map((item) => JSON.parse(item)),
        list,
      );
      assert.deepEqual(JSON.parse(rest), { ...whole, items: [] });
    }),
  );
});

test('items further in are not those of the list', async () => {
  const list = '{"metadata":{"items":[{"a":1}]},"other":[{"items":[{"b":1}]}],"kind":"NodeList"}';
  assert.deepEqual(await split(list), { items: [], rest: list });
});

test('what is no list comes back as it is, and a list that is cut off does not become whole', async () => {
  for (const other of ['', '<html>{log in}', '[{"a":1}]', '"items"'])
    assert.deepEqual(await split(other, [3]), { items: [], rest: other });
  const { items, rest } = await split('{"items":[{"a":1},{"b":');
  assert.deepEqual(items, ['{"a":1}']);
  assert.throws(() => JSON.parse(rest));
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readElement, readElements } from '../../agent/trust/der.ts';
import { asn1Null, element, integer, sequence } from '../support/der.ts';

test('an element is read with its tag, its content and nothing that follows it', () => {
  const bytes = Buffer.concat([sequence(integer(7n), asn1Null), Buffer.of(1, 2, 3)]);
  const outer = readElement(bytes);
  assert(outer !== undefined);
  assert.deepEqual([outer.tag, outer.bytes.length], [0x30, 7]);
  assert.deepEqual(
    readElements(outer.content)?.map(({ tag, content }) => [tag, ...content]),
    [[0x02, 7], [0x05]],
  );
});

for (const length of [0, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000]) {
  test(`a length of ${length} is read`, () =>
    assert.equal(readElement(element(0x04, Buffer.alloc(length)))?.content.length, length));
}

test('an indefinite length ends where its own end is, also inside of another', () => {
  const inner = Buffer.concat([Buffer.of(0x30, 0x80), integer(1n), Buffer.of(0, 0)]);
  const outer = Buffer.concat([Buffer.of(0x30, 0x80), inner, integer(2n), Buffer.of(0, 0)]);
  const read = readElement(Buffer.concat([outer, integer(3n)]));
  assert.deepEqual(read && [Buffer.from(read.bytes), readElements(read.content)?.length], [outer, 2]);
});

test('what is cut off, primitive without a length or too deep is no element', () => {
  const whole = sequence(integer(7n), asn1Null);
  for (let length = 0; length < whole.length; length += 1)
    assert.equal(readElement(whole.subarray(0, length)), undefined);
  assert.equal(readElement(Buffer.of(0x04, 0x80, 0, 0)), undefined);
  assert.equal(readElement(Buffer.of(0x30, 0x85, 0, 0, 0, 0, 0)), undefined);
  assert.equal(readElement(Buffer.alloc(2 ** 20, Buffer.of(0x30, 0x80))), undefined);
  assert.equal(readElements(Buffer.concat([whole, Buffer.of(0x30)])), undefined);
});

test('no bytes make it throw, and elements are views of their input, one behind the other', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      const elements = readElements(bytes);
      if (elements !== undefined)
        assert.deepEqual(Buffer.concat(elements.map((read) => read.bytes)), Buffer.from(bytes));
    }),
  );
});

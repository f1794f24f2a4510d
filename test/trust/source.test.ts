import assert from 'node:assert/strict';
import { test } from 'node:test';
import { contentDigest } from '../../agent/trust/source.ts';

function digest(entries: Readonly<Record<string, string>>): string {
  return contentDigest(new Map(Object.entries(entries).map(([name, text]) => [name, Buffer.from(text)])));
}

test('the digest of the content depends on names and bytes, not on their order, and runs nothing together', () => {
  assert.match(digest({ a: 'x', b: 'y' }), /^sha256:[0-9a-f]{64}$/);
  assert.equal(digest({ b: 'y', a: 'x' }), digest({ a: 'x', b: 'y' }));
  const others = [{ a: 'xb', '': 'y' }, { a: 'y', b: 'x' }, { a: 'x' }, { ab: 'xy' }, { a: 'x', b: 'y', c: '' }];
  for (const other of others) assert.notEqual(digest(other), digest({ a: 'x', b: 'y' }));
});

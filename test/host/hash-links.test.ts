import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { closeGaps, type LinkMove, parseHashLink } from '../../agent/host/hash-links.ts';

type Links = Map<string, string>;

function carryOut(links: Links, move: LinkMove): void {
  if (move.kind === 'remove') return void links.delete(move.name);
  const target = links.get(move.from);
  assert(target !== undefined, `${move.from} is there to be moved`);
  links.delete(move.from);
  links.set(move.to, target);
}

/** What a look-up for the hash finds. */
function findable(links: Links, hash: string): ReadonlySet<string> {
  const found = new Set<string>();
  for (let number = 0; links.has(`${hash}.${number}`); number += 1) found.add(links.get(`${hash}.${number}`) ?? '');
  return found;
}

test('a file name that is no link for look-ups is left alone', () => {
  assert.deepEqual(parseHashLink('5f241b44.12'), { hash: '5f241b44', number: 12 });
  for (const name of ['ca-certificates.crt', '5f241b44.r0', '5f241b4.0', '5F241B44.0', '5f241b44.', 'x5f241b44.0']) {
    assert.equal(parseHashLink(name), undefined);
  }
  assert.deepEqual(
    closeGaps(['a.pem', '5f241b44.r0'], () => true),
    [],
  );
});

test('the last of a chain takes the place of the first that goes', () => {
  assert.deepEqual(
    closeGaps(['aaaaaaaa.0', 'aaaaaaaa.1', 'bbbbbbbb.0'], (name) => name === 'aaaaaaaa.0'),
    [{ kind: 'rename', from: 'aaaaaaaa.1', to: 'aaaaaaaa.0' }],
  );
});

test('a chain of which nothing stays is removed from its end', () => {
  assert.deepEqual(
    closeGaps(['aaaaaaaa.0', 'aaaaaaaa.1'], () => true),
    [
      { kind: 'remove', name: 'aaaaaaaa.1' },
      { kind: 'remove', name: 'aaaaaaaa.0' },
    ],
  );
});

test('a whole chain is left as it is', () => {
  assert.deepEqual(
    closeGaps(['aaaaaaaa.1', 'aaaaaaaa.0'], () => false),
    [],
  );
});

test('whatever stays is found at every moment, what goes is gone at the end, and no gap is left', () => {
  const hash = 'aaaaaaaa';
  const chains = fc.array(fc.boolean(), { maxLength: 8 });
  fc.assert(
    fc.property(chains, (goes) => {
      const links: Links = new Map(goes.map((_, number) => [`${hash}.${number}`, `target-${number}`]));
      const staying = [...links.values()].filter((_, number) => goes[number] !== true);
      const isGone = (name: string): boolean => goes[parseHashLink(name)?.number ?? -1] === true;
      for (const move of closeGaps([...links.keys()], isGone)) {
        carryOut(links, move);
        const found = findable(links, hash);
        for (const target of staying) assert(found.has(target), `${target} after ${JSON.stringify(move)}`);
      }
      assert.deepEqual([...findable(links, hash)].sort(), staying.sort());
      assert.equal(links.size, staying.length);
    }),
  );
});

test('gaps that were there before are closed', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(12)), (numbers) => {
      const links: Links = new Map(numbers.map((number) => [`aaaaaaaa.${number}`, `target-${number}`]));
      for (const move of closeGaps([...links.keys()], () => false)) carryOut(links, move);
      assert.equal(findable(links, 'aaaaaaaa').size, numbers.length);
    }),
  );
});

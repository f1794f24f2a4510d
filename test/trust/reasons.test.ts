import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { catalogue, operationalReasons } from '../../agent/trust/reasons.ts';

const page = await readFile(new URL('../../docs/reasons.md', import.meta.url), 'utf8');

/** The rows of the page's tables: code to the other cells. A pipe of a command is escaped in them. */
const rows = new Map(
  [...page.matchAll(/^\| `(\w+)` \| (.+) \|$/gm)].map(([, code = '', cells = '']) => [
    code,
    cells.split(' | ').map((cell) => cell.replaceAll('\\|', '|')),
  ]),
);

test('docs/reasons.md has a row for each code of the catalogue and no other', () => {
  assert.deepEqual([...rows.keys()].sort(), Object.keys(catalogue).sort());
});

for (const [code, { severity, meaning, remedy }] of Object.entries(catalogue)) {
  test(`docs/reasons.md says of ${code} what the catalogue says`, () => {
    const retry = code in operationalReasons ? [operationalReasons[code as keyof typeof operationalReasons].retry] : [];
    assert.deepEqual(rows.get(code), [severity, ...retry, meaning, remedy]);
  });

  test(`${code} is a name in Pascal case with whole sentences`, () => {
    assert.match(code, /^[A-Z][A-Za-z0-9]+$/);
    for (const text of [meaning, remedy]) assert.match(text, /^[A-Z`].*\.$/);
    assert(!(meaning + remedy).includes('\n'), 'fits into a table');
  });
}

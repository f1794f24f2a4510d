import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { checks, diagnoses, fillIn, quote } from '../../agent/doctor/catalogue.ts';
import { broken } from '../../agent/doctor/check.ts';

const page = await readFile(new URL('../../docs/doctor.md', import.meta.url), 'utf8');

/** The rows of the page's tables: the name in the first cell to the others. */
const rows = new Map(
  [...page.matchAll(/^\| `([\w.-]+)` \| (.+) \|$/gm)].map(([, name = '', cells = '']) => {
    return [name, cells.split(' | ').map((cell) => cell.replaceAll('\\|', '|'))] as const;
  }),
);

test('docs/doctor.md has a row for each check, in their order, then one for each diagnosis, and no other', () => {
  assert.deepEqual([...rows.keys()].slice(0, Object.keys(checks).length), Object.keys(checks));
  assert.deepEqual([...rows.keys()].sort(), [...Object.keys(checks), ...Object.keys(diagnoses)].sort());
});

for (const [name, { meaning, evidence }] of Object.entries(checks)) {
  test(`docs/doctor.md says of the check ${name} what the code says`, () => {
    assert.deepEqual(rows.get(name), [meaning, evidence]);
  });
}

for (const [code, { check, severity, meaning, remedy, command }] of Object.entries(diagnoses)) {
  test(`docs/doctor.md says of ${code} what the code says`, () => {
    assert.deepEqual(rows.get(code), [`\`${check}\``, severity, meaning, remedy, `\`${command}\``]);
    for (const text of [meaning, remedy]) assert.match(text, /^[A-Z`{].*[.}]$/);
  });
}

test('a value that a server has made is one word of a shell, and one line of a terminal', () => {
  assert.equal(quote('registry.test:443'), 'registry.test:443');
  assert.equal(quote("a'; rm -rf /"), String.raw`'a'\''; rm -rf /'`);
  const { diagnosis, summary } = broken('NameNotFound', 'one\u001b[2J\ntwo', [], { name: '$(reboot)\n' });
  assert.equal(diagnosis?.command, String.raw`getent ahosts '$(reboot)\u{a}'; cat /etc/resolv.conf`);
  assert.equal(summary, String.raw`one\u{1b}[2J\u{a}two`);
});

test('what has no value stays as it is written', () => {
  assert.equal(fillIn('{a} {b}', { a: '1' }), '1 {b}');
});

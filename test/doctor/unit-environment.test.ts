import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { addEnvironmentFile, parseUnit } from '../../agent/doctor/unit-environment.ts';

function variablesOf(...texts: readonly string[]): Readonly<Record<string, string>> {
  const { variables } = parseUnit(texts.map((text, index) => ({ path: `/unit-${index}`, text })));
  return Object.fromEntries([...variables].map(([name, { value, path }]) => [name, `${value} (${path})`]));
}

test('a line may set several variables, with blanks in quotes', () => {
  const text = `[Service]\nEnvironment=A=1 "B=two words" C='3 4' D="x\\"y"\n`;
  assert.deepEqual(variablesOf(text), {
    A: '1 (/unit-0)',
    B: 'two words (/unit-0)',
    C: '3 4 (/unit-0)',
    D: 'x"y (/unit-0)',
  });
});

test('a later file wins, and tells that it is the one', () => {
  const texts = ['[Service]\nEnvironment=A=1 B=2\n', '[Service]\nEnvironment=A=3\n'];
  assert.deepEqual(variablesOf(...texts), { A: '3 (/unit-1)', B: '2 (/unit-0)' });
});

test('an empty assignment takes back all before it, and UnsetEnvironment one', () => {
  assert.deepEqual(variablesOf('[Service]\nEnvironment=A=1\nEnvironment=\nEnvironment=B=2\n'), { B: '2 (/unit-0)' });
  assert.deepEqual(variablesOf('[Service]\nEnvironment=A=1 B=2\nUnsetEnvironment=A\n'), { B: '2 (/unit-0)' });
});

test('comments, other sections and lines that go on are read as systemd reads them', () => {
  const text =
    '[Unit]\nEnvironment=A=1\n[Service]\n# Environment=B=2\n; Environment=C=3\n Environment = D=4 \\\n  E=5\n';
  assert.deepEqual(variablesOf(text), { D: '4 (/unit-0)', E: '5 (/unit-0)' });
});

test('environment files are listed, and set more than the unit does', () => {
  const { variables, environmentFiles } = parseUnit([
    {
      path: '/unit',
      text: '[Service]\nEnvironment=A=1 B=2\nEnvironmentFile=/gone\nEnvironmentFile=\nEnvironmentFile=-/etc/default/x\n',
    },
  ]);
  assert.deepEqual(environmentFiles, ['/etc/default/x']);
  const all = addEnvironmentFile(variables, { path: '/etc/default/x', text: '# C=0\nB="3 4"\nexport D=5\nnonsense\n' });
  const values = Object.fromEntries([...all].map(([name, { value }]) => [name, value]));
  assert.deepEqual(values, { A: '1', B: '3 4', D: '5' });
});

test('whatever stands in a unit is read to its end', () => {
  const parts = fc.constantFrom(
    '[Service]\n',
    'Environment=',
    'A=1',
    ' ',
    '"',
    "'",
    '\\',
    '\n',
    '#',
    'EnvironmentFile=',
  );
  fc.assert(
    fc.property(fc.array(parts), (words) => {
      const { variables } = parseUnit([{ path: '/unit', text: words.join('') }]);
      for (const name of variables.keys()) assert.notEqual(name, '');
    }),
  );
});

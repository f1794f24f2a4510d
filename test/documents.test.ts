// What the documents say of the command line is what it does: they name commands and flags that exist, and leave none out.

import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { nodeTrust } from './support/command-line.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string): string => readFileSync(`${root}${path}`, 'utf8');
const documents = ['README.md', 'SECURITY.md', 'CHANGELOG.md', ...globSync('docs/**/*.md', { cwd: root })];

const { out: usage } = await nodeTrust(['--help']);
const commands = [...usage.matchAll(/^ {2}([a-z]+) {2,}\S/gm)].map(([, name = '']) => name);
const helps = new Map(
  await Promise.all(commands.map(async (name) => [name, (await nodeTrust([name, '--help'])).out] as const)),
);

/** As --help writes them: `--name NAMESPACE/NAME`. */
function flagsOf(command: string): ReadonlyMap<string, string> {
  const [, list = ''] = /^Flags:\n(.*?)\n\n/ms.exec(helps.get(command) ?? '') ?? [];
  return new Map([...list.matchAll(/^ {2}(--[a-z-]+)( \S+)?/gm)].map(([both, flag = '']) => [flag, both.trim()]));
}

/** Each `node-trust …` that somebody could type: in code, up to where another program or a comment begins. */
function callsIn(text: string): readonly { readonly line: string; readonly command: string }[] {
  const code = [...text.matchAll(/^```\w*\n(.*?)^```|`([^`\n]+)`/gms)].map(([, block, span]) => block ?? span ?? '');
  const lines = code.join('\n').matchAll(/node-trust ((?:[a-z]+|--version|--help)\b[^|#>`\n]*)/g);
  return [...lines].map(([, line = '']) => ({ line, command: line.split(' ', 1)[0] ?? '' }));
}

for (const path of documents) {
  test(`${path} names commands and flags that exist`, () => {
    for (const { line, command } of callsIn(read(path))) {
      if (command.startsWith('--')) continue;
      assert(commands.includes(command), line);
      for (const [flag] of line.matchAll(/--[a-z][a-z-]*/g)) assert(flagsOf(command).has(flag), `node-trust ${line}`);
    }
  });
}

test('README shows every command', () => {
  const shown = new Set(callsIn(read('README.md')).map(({ command }) => command));
  assert.deepEqual(
    commands.filter((command) => !shown.has(command)),
    [],
  );
});

test("README's table has every flag of run, as --help writes it, and no other", () => {
  const [, table = ''] = /^## Configuration of `run`\n(.*?)^## /ms.exec(read('README.md')) ?? [];
  const flags = [...table.matchAll(/^\| `(--[^`]+)`/gm)].map(([, flag = '']) => flag);
  assert.deepEqual(flags.sort(), [...flagsOf('run').values()].filter((flag) => flag !== '--help').sort());
});

test('docs/command-line.md has every command, what its --json prints, and no flag that does not exist', () => {
  const sections = read('docs/command-line.md').split(/^## /m).slice(1);
  const named = sections.flatMap((section) =>
    [...(section.split('\n', 1)[0] ?? '').matchAll(/`([a-z]+)`/g)].map(([, command = '']) => ({ command, section })),
  );
  assert.deepEqual(named.map(({ command }) => command).sort(), [...commands].sort());
  for (const { command, section } of named) {
    assert.equal(/--json/.test(section), flagsOf(command).has('--json'), command);
    const known = new Set([
      '--save-config',
      ...named.filter((other) => other.section === section).flatMap((other) => [...flagsOf(other.command).keys()]),
    ]);
    for (const [flag] of section.matchAll(/--[a-z][a-z-]*/g)) assert(known.has(flag), `${command}: ${flag}`);
  }
});

test('docs/command-line.md has every metric', () => {
  const known = [...read('agent/metrics.ts').matchAll(/name: '(node_trust_\w+)'/g)].map(([, name]) => name);
  const told = [...read('docs/command-line.md').matchAll(/^\| `(node_trust_\w+)`/gm)].map(([, name]) => name);
  assert.deepEqual(new Set(told), new Set(known));
});

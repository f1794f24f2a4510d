import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  countFlag,
  describeFlags,
  durationFlag,
  parseDuration,
  parseFlags,
  switchFlag,
  textFlag,
} from '../../agent/cli/flags.ts';

const table = {
  name: textFlag('name', 'A name', { placeholder: 'NAME', env: 'THE_NAME', fallback: 'nobody', shown: 'nobody' }),
  count: countFlag('count', 'A count', 10),
  time: durationFlag('time', 'A time', '5m'),
  loud: switchFlag('loud', 'Loud'),
} as const;

function problemsOf(...argv: readonly string[]): readonly string[] {
  const parsed = parseFlags(table, argv, {});
  return parsed.kind === 'problems' ? parsed.problems : [];
}

test('flags have values, defaults and an environment behind them', () => {
  const parsed = parseFlags(table, ['--count=3', '--time', '1h30m', '--loud', 'one', '-'], { THE_NAME: 'somebody' });
  assert.deepEqual(parsed, {
    kind: 'parsed',
    values: { name: 'somebody', count: 3, time: 5_400_000, loud: true },
    positionals: ['one', '-'],
  });
});

test('a flag wins over the environment', () => {
  const parsed = parseFlags(table, ['--name', 'flag'], { THE_NAME: 'somebody' });
  assert(parsed.kind === 'parsed');
  assert.equal(parsed.values.name, 'flag');
});

test('all problems are told at once, each with its flag, what was expected and what was given', () => {
  assert.deepEqual(
    problemsOf('--cuont=3', '--count', 'many', '--time=5 minutes', '--loud=yes', '--name', 'a', '--name', 'b', '-x'),
    [
      'unknown flag --cuont',
      '--count: expected a whole number from 1, got "many"',
      '--time: expected a duration such as 90s, 5m or 1h30m, got "5 minutes"',
      '--loud takes no value',
      '--name is given more than once',
      'unknown flag -x',
    ],
  );
});

test('a flag does not take the next flag, or nothing, for its value', () => {
  assert.deepEqual(problemsOf('--name', '--loud'), ['--name: expected NAME, got nothing']);
  assert.deepEqual(problemsOf('--name'), ['--name: expected NAME, got nothing']);
  assert.deepEqual(problemsOf('--name='), ['--name: expected a value, got nothing']);
});

for (const [text, milliseconds] of [
  ['0', 0],
  ['500ms', 500],
  ['90s', 90_000],
  ['1.5h', 5_400_000],
  ['1h30m', 5_400_000],
] as const) {
  test(`the duration ${text} is ${milliseconds} ms`, () => assert.equal(parseDuration(text), milliseconds));
}

for (const text of ['', '5', '-1s', '1d', '1s2', '1 s', '600h', 'Infinity']) {
  test(`${JSON.stringify(text)} is no duration`, () => assert.throws(() => parseDuration(text), /expected/));
}

test('help shows placeholders, defaults and the environment', () => {
  const lines = describeFlags(table).split('\n');
  assert.equal(lines[0], '  --name NAME      A name (default nobody; or $THE_NAME)');
  assert.equal(lines[3], '  --loud           Loud');
});

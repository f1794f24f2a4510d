import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { nodeTrust } from './support/command-line.ts';

const manifest = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8')) as {
  readonly version: string;
};

/** On some machines only. */
const kubectl = '/usr/bin/kubectl';

test('--version prints the version of the package', async () => {
  assert.deepEqual(await nodeTrust(['--version']), { code: 0, out: `${manifest.version}\n`, err: '' });
});

test('--help names every command, and every command has --help with its flags and examples', async () => {
  const { code, out } = await nodeTrust(['--help']);
  assert.equal(code, 0);
  const commands = [...out.matchAll(/^ {2}([a-z]+) {2,}\S/gm)].map(([, name = '']) => name);
  assert.deepEqual(commands, ['run', 'apply', 'remove', 'validate', 'secret', 'boot', 'status', 'doctor']);
  for (const command of commands) {
    const help = await nodeTrust([command, '--help']);
    assert.equal(help.code, 0);
    assert.match(
      help.out,
      new RegExp(`^Usage: node-trust ${command} .*Examples:.*Flags:.*--help.*Exit codes: 0 `, 's'),
    );
    const [, examples = ''] = /^Examples:\n(.*?)\n\n/ms.exec(help.out) ?? [];
    for (const example of examples.split('\n')) {
      assert.match(example, new RegExp(`^  node-trust ${command}( .*)? {3,}\\S`));
      const [own = ''] = example.split(/ {3,}| [|] /, 1);
      for (const [flag] of own.matchAll(/--[a-z-]+/g))
        assert.match(help.out, new RegExp(`^  ${flag}\\b`, 'm'), example);
    }
  }
});

test('kubectl finds it as its plugin, by name on PATH', {
  skip: !existsSync(kubectl) && `${kubectl} is not there`,
}, async () => {
  const here = fileURLToPath(new URL('..', import.meta.url));
  const run = (...args: readonly string[]): string => {
    return spawnSync('env', [`PATH=${here}:/usr/bin:/bin`, kubectl, 'node-trust', ...args], {
      input: 'text',
    }).stdout.toString();
  };
  assert.equal(run('--version'), `${manifest.version}\n`);
  assert.equal(run('validate', '--json', '-'), (await nodeTrust(['validate', '--json', '-'], 'text')).out);
});

test('colour is for a terminal, and not for one that is dumb or where NO_COLOR is set', () => {
  // `script` of Debian's essential bsdutils gives it a terminal.
  const onTerminal = (...env: readonly string[]): string => {
    const launcher = fileURLToPath(new URL('../node-trust', import.meta.url));
    const command = ['script', '--quiet', '--command', `${launcher} validate /dev/null`, '/dev/null'];
    return spawnSync('env', ['-u', 'NO_COLOR', 'TERM=xterm', ...env, ...command], { stdio: 'pipe' }).stdout.toString();
  };
  assert(onTerminal().includes('\u001b[31merror SourceEmpty'));
  for (const env of ['NO_COLOR=1', 'TERM=dumb']) {
    const printed = onTerminal(env);
    assert(printed.includes(': error SourceEmpty: ') && !printed.includes('\u001b'), printed);
  }
});

test('no command and an unknown one are usage errors', async () => {
  assert.equal((await nodeTrust([])).code, 2);
  const { code, err } = await nodeTrust(['constructor']);
  assert.equal(code, 2);
  assert.match(err, /unknown command "constructor"/);
});

test('run tells all that is wrong with its configuration at once', async () => {
  const flags = [
    '--poll-interval',
    'often',
    '--secret',
    'nameless',
    '--listen',
    'here',
    '--enabled-by',
    'label',
    '--log-level',
    'loud',
  ];
  const { code, err } = await nodeTrust(['run', ...flags]);
  assert.equal(code, 2);
  for (const name of ['poll-interval', 'secret', 'listen', 'enabled-by', 'log-level'])
    assert.match(err, new RegExp(`--${name}: expected`));
  assert.match((await nodeTrust(['run', '--poll-interval', '999ms'])).err, /--poll-interval: expected .*1s/);
});

test('run without a node name or with a kubeconfig that cannot be read says which', async () => {
  assert.match((await nodeTrust(['run'])).err, /--node-name/);
  const { code, err } = await nodeTrust([
    'run',
    '--node-name',
    'n',
    '--kubeconfig',
    '/nowhere',
    '--listen',
    '127.0.0.1:0',
  ]);
  assert.equal(code, 3);
  assert.match(err, /kubeconfig \/nowhere cannot be read/);
});

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { temporaryFolder, writeKubeconfig } from './support/api-fixture.ts';
import { nodeTrust } from './support/command-line.ts';
import { until } from './support/until.ts';

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

/** A kubeconfig whose plugin for credentials tells its start by a file, and hangs. */
function hangingPlugin(t: TestContext) {
  const begun = join(temporaryFolder(t), 'begun');
  const exec = {
    apiVersion: 'client.authentication.k8s.io/v1',
    command: 'sh',
    args: ['-c', `echo > ${begun}; exec sleep 20`],
  };
  const config = {
    clusters: [{ name: 'c', cluster: { server: 'http://127.0.0.1:1' } }],
    users: [{ name: 'u', user: { exec } }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  };
  const hangs = () => until(() => Promise.resolve(existsSync(begun)));
  return { kubeconfig: writeKubeconfig(t, JSON.stringify(config)), hangs };
}

test('an interrupt ends a command whatever a plugin for credentials does', { timeout: 15_000 }, async (t) => {
  const { kubeconfig, hangs } = hangingPlugin(t);
  const { code } = await nodeTrust(['status', '--kubeconfig', kubeconfig], '', async (kill) => {
    await hangs();
    kill('SIGINT');
  });
  assert.equal(code, 1);
});

test('a second interrupt ends any process at once, but for one that was sent twice', { timeout: 15_000 }, async (t) => {
  const deaf = `data:text/javascript,${encodeURIComponent('AbortController.prototype.abort = () => {}')}`;
  for (const [pauseMs, env, expected] of [
    [300, { NODE_OPTIONS: `--import=${deaf}` }, 130],
    [0, {}, 1],
  ] as const) {
    const { kubeconfig, hangs } = hangingPlugin(t);
    const interruptTwice = async (kill: (signal: 'SIGINT') => void) => {
      await hangs();
      kill('SIGINT');
      await delay(pauseMs);
      kill('SIGINT');
    };
    assert.equal((await nodeTrust(['status', '--kubeconfig', kubeconfig], '', interruptTwice, env)).code, expected);
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

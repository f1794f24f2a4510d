// What a command loads before it does anything: a short one must not wait for what only the daemon needs.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from './support/api-fixture.ts';
import { createCertificate } from './support/certificates.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const main = join(root, 'agent/main.ts');
const { pem } = createCertificate();
const secret = JSON.stringify({ kind: 'Secret', metadata: { name: 's' }, stringData: { 'a.pem': pem } });

/** Tells at the end what was loaded. */
const hook = `import { registerHooks } from 'node:module';
const loaded = [];
registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) });
process.on('exit', () => process.stderr.write('loaded ' + loaded.join(' ')));`;

/** The packages and the files of agent/ that the command loads until it ends. */
function listLoaded(args: readonly string[], input: string): readonly string[] {
  const program = [`--import=data:text/javascript,${encodeURIComponent(hook)}`, main, ...args];
  const command = ['-c', '"$@" 2>&1 >/dev/null', 'sh', process.execPath, ...program];
  const [, urls = ''] = execFileSync('sh', command, { input }).toString().split('loaded ');
  const names = [...urls.matchAll(/node_modules\/((?:@[^/]+\/)?[^/]+)|\/(agent\/\S*)/g)];
  return [...new Set(names.map(([, library, own]) => library ?? own ?? ''))];
}

const packagesOf = (loaded: readonly string[]): readonly string[] =>
  loaded.filter((name) => !name.startsWith('agent/'));

for (const [args, input, packages] of [
  [['--version'], '', []],
  [['--help'], '', []],
  [['validate', '--help'], '', []],
  [['validate', '-'], pem, []],
  [['validate', '-'], secret, ['yaml']],
  [['secret', '-'], pem, []],
  [['secret', '--json', '-'], pem, []],
  [['boot', '--format', 'script', '-'], pem, []],
  [['boot', '--format', 'cloud-init', '-'], pem, ['yaml']],
] as const) {
  const what = { '': '', [pem]: ' of PEM', [secret]: ' of a manifest' }[input] ?? '';
  test(`${args.join(' ')}${what} loads ${packages.join() || 'no package'} and nothing of Kubernetes`, () => {
    const loaded = listLoaded(args, input);
    assert.deepEqual(packagesOf(loaded), packages);
    assert(loaded.includes('agent/main.ts'));
    assert(!loaded.some((name) => name.startsWith('agent/kube/')), loaded.join());
  });
}

test('apply loads nothing of Kubernetes, and nothing that the daemon alone needs', () => {
  const loaded = listLoaded(['apply', '--help'], '');
  assert(loaded.includes('agent/reconcile.ts'));
  for (const unwanted of ['@kubernetes/client-node', '@grpc/grpc-js', 'chokidar', 'pino', 'prom-client'])
    assert(!loaded.includes(unwanted), unwanted);
  assert(!loaded.some((name) => name.startsWith('agent/kube/')), loaded.join());
});

test("what was compiled is kept in a checkout of one's own", () => {
  const modules = join(root, 'node_modules');
  const cache = join(modules, '.cache/node-trust');
  execFileSync(join(root, 'node-trust'), ['--version']);
  assert(existsSync(cache) || statSync(modules).uid !== process.getuid?.(), cache);
});

for (const [version, code] of [
  ['v20.19.5', 3],
  ['v24.9.0', 3],
  ['v24.11.1', 3],
  ['v24.12.0', 0],
  ['v25.0.0', 0],
  ['v26.10.0', 0],
  ['v30.1.0', 0],
  ['', 3],
] as const) {
  test(`Node.js ${version || 'that does not start'} is ${code === 0 ? 'taken' : 'refused, with what to do'}`, (t) => {
    const folder = temporaryFolder(t);
    const node = join(folder, 'node_modules/.bin/node');
    mkdirSync(join(folder, 'node_modules/.bin'), { recursive: true });
    writeFileSync(node, `#!/bin/sh\n${version === '' ? 'exit 127' : `echo ${version}`}\n`);
    copyFileSync(join(root, 'with-node'), join(folder, 'with-node'));
    chmodSync(node, 0o755);
    const { status, stderr } = spawnSync(join(folder, 'with-node'), ['true'], { encoding: 'utf8' });
    assert.equal(status, code);
    assert.match(stderr, code === 0 ? /^$/ : /needs Node\.js 24\.12 or newer, this is .*; npm ci brings it/);
  });
}

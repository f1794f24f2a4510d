// What a command loads before it does anything: a short one must not wait for what only the daemon needs.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createCertificate } from './support/certificates.ts';

const main = fileURLToPath(new URL('../agent/main.ts', import.meta.url));
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

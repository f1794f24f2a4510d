// The bundle does what the source does, away from the checkout and its node_modules.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { bundle } from '../../image/bundle.ts';
import { startAgent } from '../support/agent-process.ts';
import { createCertificate } from '../support/certificates.ts';
import { type CommandResult, nodeTrust } from '../support/command-line.ts';
import { setStage } from '../support/stage.ts';

const folder = await mkdtemp(join(tmpdir(), 'node-trust-bundle-'));
after(() => rm(folder, { recursive: true }));
const file = join(folder, 'node-trust.mjs');
await bundle('agent/main.ts', file);

function bundled(args: readonly string[], input = '', options: readonly string[] = []): CommandResult {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...options, file, ...args], {
    cwd: folder,
    input,
    encoding: 'utf8',
  });
  return { code: status, out: stdout, err: stderr };
}

const corp = createCertificate({ subject: 'Corp Root' });

for (const [title, args, input] of [
  ['--version', ['--version'], ''],
  ['validate of a good certificate', ['validate', '-'], corp.pem],
  ['validate of a private key', ['validate', '--json', '-'], corp.pem + corp.keyPem],
  ['run with a kubeconfig that is not there', ['run', '--node-name', 'n', '--kubeconfig', '/nowhere'], ''],
] as const) {
  test(`${title} gives the same as from the source`, async () => {
    assert.deepEqual(bundled(args, input), await nodeTrust(args, input));
  });
}

test('a Node.js that is too old is refused in a line', () => {
  for (const [version, isRefused] of [
    ['20.20.2', true],
    ['24.11.1', true],
    ['24.12.0', false],
  ] as const) {
    const script = `const versions = { ...process.versions, node: '${version}' }; Object.defineProperty(process, 'versions', { value: versions });`;
    const { code, err } = bundled(['--version'], '', [
      '--import',
      `data:text/javascript,${encodeURIComponent(script)}`,
    ]);
    assert.equal(code, isRefused ? 3 : 0);
    assert.match(err, isRefused ? /^node-trust: needs Node.js 24.12 or newer, this is v[0-9.]+\n$/ : /^$/);
  }
});

test('no Node.js fails to link it: it imports one name that each of them has', async () => {
  const code = await readFile(file, 'utf8');
  const imported = [...code.matchAll(/(?:^|[;}])import\s?(\{[^}]*\}|[\w*$][^;"']*)\s?from\s?["']/gm)];
  assert.deepEqual(
    imported.map(([, names]) => names),
    ['{ createRequire as createRequireForCommonJs }'],
  );
});

test('run follows a Secret from the bundle, too', async (t) => {
  const stage = await setStage(t);
  stage.apply({ 'corp.pem': corp.pem });
  const place = ['--node-name', 'node-1', '--kubeconfig', stage.sandbox.at('/kubeconfig')];
  const flags = ['--host-root', stage.sandbox.root, '--listen', '127.0.0.1:0', '--spread', '0'];
  await using agent = startAgent([...place, ...flags], undefined, [process.execPath, '--jitless', file]);
  await stage.says(({ state }) => state === 'Synced');
  await stage.assertTrusts([corp], []);
  agent.kill('SIGTERM');
  assert.deepEqual(await agent.ended, { code: 0, signal: null, stderr: '' });
});

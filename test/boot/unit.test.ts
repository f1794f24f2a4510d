// What the tools that know best say of the script and of its unit, and what has to agree between the two.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { createEmptyRoot } from '../support/sandbox.ts';
import { findOrInstall, run, script } from './boot-node.ts';

const unit = await readFile(`${script}.service`, 'utf8');
const source = await readFile(script, 'utf8');
const path = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };
const lacking = async (program: string, debianPackage = program): Promise<string | false> =>
  (await findOrInstall(program, debianPackage)) === undefined && `${program} is not installed: it was not asked`;
const value = (key: string): readonly string[] =>
  unit.split('\n').flatMap((line) => (line.startsWith(`${key}=`) ? line.slice(key.length + 1).split(' ') : []));

test('shellcheck has nothing to say', { skip: await lacking('shellcheck') }, async () => {
  assert.deepEqual(await run(['/usr/bin/env', 'shellcheck', '--shell=sh', script], path), {
    code: 0,
    log: [],
    said: '',
  });
});

test('systemd reads the unit without a word', { skip: await lacking('systemd-analyze', 'systemd') }, async () => {
  await using place = await createEmptyRoot();
  // It asks for the program as well.
  await place.write('/node-trust-boot.service', unit.replace(/^ExecStart=.*$/m, `ExecStart=${script}`));
  const ran = await run(['/usr/bin/env', 'systemd-analyze', 'verify', place.at('/node-trust-boot.service')], path);
  assert.deepEqual(ran, { code: 0, log: [], said: '' });
});

test('every runtime waits for it, nobody requires it, and systemd ends it later than it ends its own programs', () => {
  const runtimes = ['containerd', 'crio', 'docker', 'k3s', 'k3s-agent', 'kubelet', 'rke2-agent', 'rke2-server'];
  assert.deepEqual(
    [...value('Before')].sort(),
    [...runtimes.map((name) => `${name}.service`), 'shutdown.target'].sort(),
  );
  assert.deepEqual([value('RequiredBy'), value('Requires'), value('WantedBy')], [[], [], ['multi-user.target']]);
  const tool = Number(/NODE_TRUST_TIMEOUT:-(\d+)/.exec(source)?.[1]);
  const systemctl = Number(/bounded (\d+) "\$systemctl"/.exec(source)?.[1]);
  assert(Number(value('TimeoutStartSec')[0]) > 2 * (tool + 2 + systemctl + 2));
});

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { bundle } from '../../image/bundle.ts';
import { temporaryFolder } from '../support/api-fixture.ts';
import { createCertificate } from '../support/certificates.ts';
import { nodeTrust } from '../support/command-line.ts';

interface CloudConfig {
  readonly write_files: readonly { readonly path: string; readonly permissions: string; readonly content: string }[];
  readonly runcmd: readonly string[];
}

const [one, two] = [createCertificate({ subject: 'One' }), createCertificate({ subject: 'Two' })];
const image = (name: string): Promise<string> => readFile(new URL(`../../image/boot/${name}`, import.meta.url), 'utf8');
const unitPath = '/etc/systemd/system/node-trust-boot.service';

test('the user data for cloud-init writes the file, the script and the unit, and starts it before any pod', async () => {
  const { code, out } = await nodeTrust(['boot', '--format', 'cloud-init', '-'], `${one.pem}\n${two.pem}`);
  assert.equal(code, 0);
  assert.match(out, /^#cloud-config\n/);
  const { write_files: files, runcmd } = parse(out) as CloudConfig;
  const unit = await image('node-trust-boot.service');
  const [, script = ''] = /^ExecStart=(\S+)$/m.exec(unit) ?? [];
  const pems = [one.pem, two.pem];
  assert.deepEqual(
    files.map(({ path, permissions }) => [path, permissions]),
    [
      ['/etc/node-trust/certificates.pem', '0644'],
      [script, '0755'],
      [unitPath, '0644'],
    ],
  );
  const [certificates = '', ...others] = files.map(({ content }) => content);
  assert.deepEqual(
    certificates
      .split('\n\n')
      .map((pem) => `${pem.trimEnd()}\n`)
      .sort(),
    pems.sort(),
  );
  assert.deepEqual(others, [await image('node-trust-boot'), unit]);
  assert(runcmd.indexOf('systemctl enable node-trust-boot.service') < runcmd.length - 1);
});

test('the script writes the same files, byte for byte', async (t) => {
  const folder = temporaryFolder(t);
  const { code, out } = await nodeTrust(['boot', '--format', 'script', '-'], one.pem);
  assert.equal(code, 0);
  const asked = await provision(folder, out);
  assert.equal(await readFile(join(folder, 'etc/node-trust/certificates.pem'), 'utf8'), one.pem);
  assert.equal(
    await readFile(join(folder, 'opt/node-trust/bin/node-trust-boot'), 'utf8'),
    await image('node-trust-boot'),
  );
  assert.equal(await readFile(join(folder, unitPath), 'utf8'), await image('node-trust-boot.service'));
  assert.match(asked, /^enable node-trust-boot\.service\ndaemon-reload\nrestart node-trust-boot/);
});

test('containerd is restarted while the process runs that ran before the store was built, so the script may be run again', async (t) => {
  const { out } = await nodeTrust(['boot', '--format', 'script', '-'], one.pem);
  const restarts = async (after: string | undefined, runs: string): Promise<boolean> => {
    const folder = temporaryFolder(t);
    await mkdir(join(folder, 'run/node-trust-agent'), { recursive: true });
    if (after !== undefined) await writeFile(join(folder, 'run/node-trust-agent/boot'), `version 1\nafter ${after}\n`);
    return (await provision(folder, out, runs)).includes('restart containerd.service');
  };
  const [id, next] = ['0123456789abcdef0123456789abcdef', '00000000000000000000000000000000'];
  assert.equal(await restarts(id, id), true);
  assert.equal(await restarts(id, next), false);
  assert.equal(await restarts('stopped', next), false);
  assert.equal(await restarts('stopped', ''), false, 'containerd is not there');
  assert.equal(await restarts(undefined, id), false);
});

test('in an image under construction the unit is enabled, and nothing is asked of a service manager that does not run', async (t) => {
  const { out } = await nodeTrust(['boot', '--format', 'script', '-'], one.pem);
  assert.equal(await provision(temporaryFolder(t), out, '', false), 'enable node-trust-boot.service\n');
});

/** Runs the script into this folder instead of the root, and tells what it has asked of systemctl. */
async function provision(folder: string, text: string, invocationId = '', isBooted = true): Promise<string> {
  const [asked, script] = [join(folder, 'asked'), join(folder, 'script')];
  const moved = text
    .replaceAll(/(mkdir -p |cat > |chmod \d+ )\//g, `$1${folder}/`)
    .replaceAll(' /run/', ` ${folder}/run/`)
    .replace('set -eu', `set -eu\nsystemctl() { echo "$*" >> ${asked}; [ "$1" != show ] || echo '${invocationId}'; }`);
  await writeFile(script, moved);
  if (isBooted) await mkdir(join(folder, 'run/systemd/system'), { recursive: true });
  execFileSync('sh', [script]);
  return readFile(asked, 'utf8');
}

test('the bundle has script and unit inside', async (t) => {
  const file = join(temporaryFolder(t), 'node-trust.mjs');
  await bundle('agent/main.ts', file);
  const output = execFileSync(process.execPath, [file, 'boot', '--format', 'script', '-'], {
    input: one.pem,
  }).toString();
  assert.equal(output, (await nodeTrust(['boot', '--format', 'script', '-'], one.pem)).out);
});

test('what an agent would reject is printed in no format, but why', async () => {
  const { code, out, err } = await nodeTrust(['boot', '--format', 'script', '-'], one.pem.replaceAll('\n', '\r\n'));
  assert.deepEqual([code, out], [1, '']);
  assert.match(err, /^-:1: error CrlfLineEndings: /);
  assert.equal((await nodeTrust(['boot', '-'], one.pem)).code, 2);
  assert.match((await nodeTrust(['boot', '--format', 'yaml', '-'], one.pem)).err, /expected one of cloud-init, script/);
});

// The image by itself, as somebody runs it who has Docker and no cluster.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { before, test } from 'node:test';
import { podProgram } from '../../agent/cli/doctor-on-node.ts';
import manifest from '../../package.json' with { type: 'json' };
import { createCertificate } from '../support/certificates.ts';
import { nodeTrust } from '../support/command-line.ts';
import { docker, labels } from './support/engine.ts';
import { agentImage } from './support/images.ts';

let image = '';
before(async () => {
  image = await agentImage();
});

/** Nothing can be written, and nothing reached. */
function runImage(flags: readonly string[], args: readonly string[], input = '') {
  const labelled = Object.entries(labels).map(([key, value]) => `--label=${key}=${value}`);
  const command = ['run', '--rm', '-i', '--read-only', '--network=none', ...labelled, ...flags, image, ...args];
  const { status, stdout, stderr } = spawnSync('docker', command, { input, encoding: 'utf8' });
  return { code: status, out: stdout, err: stderr };
}

test('docker run -i IMAGE validate - says what the command line says, under a read-only root', async () => {
  const { pem, keyPem } = createCertificate({ subject: 'Corp Root' });
  for (const input of [pem, pem + keyPem]) {
    assert.deepEqual(runImage([], ['validate', '-'], input), await nodeTrust(['validate', '-'], input));
  }
});

test('it starts what the doctor starts in its pod', async () => {
  const entrypoint = await docker('image', 'inspect', '--format', '{{json .Config.Entrypoint}}', image);
  assert.deepEqual(JSON.parse(entrypoint), podProgram);
});

test('its labels tell what it is, and the version is that of the package', async () => {
  const told = JSON.parse(await docker('image', 'inspect', '--format', '{{json .Config.Labels}}', image)) as object;
  const prefix = 'org.opencontainers.image.';
  const facts = Object.fromEntries(Object.entries(told).map(([key, value]) => [key.replace(prefix, ''), value]));
  assert.deepEqual(Object.keys(facts).sort(), ['description', 'licenses', 'revision', 'source', 'title', 'version']);
  const { name: title, description, license: licenses, version } = manifest;
  assert.deepEqual({ ...facts, title, description, licenses, version }, facts);
});

test('it runs the Node.js that the tests run with, has nsenter, and neither npm nor the sources', () => {
  const shell = (line: string): string => runImage(['--entrypoint=sh'], ['-c', line]).out.trim();
  assert.equal(shell('node --version'), process.version);
  assert.match(shell('nsenter --version'), /^nsenter from util-linux/);
  assert.equal(shell('command -v npm; ls -d /build; find / -xdev -name node_modules'), '');
});

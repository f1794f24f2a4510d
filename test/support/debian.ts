// What tests of the Debian store look at: a small node, what OpenSSL's users on it trust, and every file of it.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { anchorName } from '../../agent/trust/observation.ts';
import { createServerCertificate, fixedNow, type TestCertificate } from './certificates.ts';
import { parse } from './host-steps.ts';
import { createSandbox, type EmptyRoot, type Sandbox } from './sandbox.ts';

const execute = promisify(execFile);
export const anchors = '/usr/local/share/ca-certificates';
export const certs = '/etc/ssl/certs';
export const bundle = `${certs}/ca-certificates.crt`;
export const tool = '/usr/sbin/update-ca-certificates';

export function createNode(): Promise<Sandbox> {
  return createSandbox({ roots: 1, runtime: false });
}

export function nameOf(certificate: TestCertificate): string {
  return anchorName(parse(certificate).fingerprint);
}

export interface Trust {
  readonly byFile: boolean;
  readonly byFolder: boolean;
}

/** What OpenSSL says of servers' certificates below these roots, with the bundle and with look-ups in the folder. */
export async function trustOf(node: EmptyRoot, ...roots: readonly TestCertificate[]): Promise<Trust> {
  const leaves = await Promise.all(roots.map((root) => writeLeaf(node, root)));
  const verify = (...where: readonly string[]): Promise<boolean> =>
    execute('openssl', [...verifyArgs, ...where, ...leaves]).then(
      () => true,
      () => false,
    );
  const byFile = await verify('-no-CApath', '-CAfile', node.at(bundle));
  const byFolder = await verify('-no-CAfile', '-CApath', node.at(certs));
  return { byFile, byFolder };
}

export const verifyArgs = ['verify', '-no-CAstore', '-attime', String(fixedNow.getTime() / 1000)];

/** A server's certificate below this root, as a file; always the same one. */
export async function writeLeaf(node: EmptyRoot, root: TestCertificate): Promise<string> {
  const leaf = leaves.get(root) ?? createServerCertificate(root);
  leaves.set(root, leaf);
  const path = `/tmp/leaf-${nameOf(root)}.pem`;
  await node.read(path).catch(() => node.write(path, leaf.pem)); // somebody may be reading it
  return node.at(path);
}

const leaves = new WeakMap<TestCertificate, TestCertificate>();

export async function assertTrusted(node: EmptyRoot, roots: readonly TestCertificate[]): Promise<void> {
  const subjects = roots.map(({ subject }) => subject).join(', ');
  assert.deepEqual(await trustOf(node, ...roots), { byFile: true, byFolder: true }, `one of ${subjects}`);
}

/** Path to mode and digest of everything below, but for what tests put into /tmp. */
export async function digestTree(node: EmptyRoot, folder = '/'): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (const entry of await readdir(node.at(folder), { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name);
    const mode = (await lstat(path)).mode.toString(8);
    const content = entry.isSymbolicLink() ? await readlink(path) : entry.isFile() ? await readFile(path) : '';
    found.set(path.slice(node.root.length), `${mode} ${createHash('sha1').update(content).digest('hex')}`);
  }
  return new Map([...found].filter(([path]) => !/^\/tmp(\/|$)/.test(path)));
}

/** The tree without what the agent keeps for itself. */
export async function digestHost(node: EmptyRoot): Promise<ReadonlyMap<string, string>> {
  return new Map([...(await digestTree(node))].filter(([path]) => !/^\/var(\/|$)/.test(path)));
}

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readlink, rename } from 'node:fs/promises';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { createCertificate, type TestCertificate } from '../support/certificates.ts';
import {
  anchors,
  assertTrusted,
  certs,
  createNode,
  nameOf,
  trustOf,
  verifyArgs,
  writeLeaf,
} from '../support/debian.ts';
import { openSandbox, parse, reach } from '../support/host-steps.ts';
import { type EmptyRoot, updateStore } from '../support/sandbox.ts';

const execute = promisify(execFile);
const create = (subject: string): TestCertificate => createCertificate({ subject });

test('while a root is replaced by one of the same name, neither the new one nor a foreign one of that name is ever lost', async () => {
  for (const isForeignFirst of [true, false]) {
    await using node = await createNode();
    const [old, next, foreign] = [create('Same'), create('Same'), create('Same')];
    await node.write(`${anchors}/foreign.crt`, foreign.pem);
    if (isForeignFirst) await updateStore(node.root);
    await reach(node, [old]);
    await reach(node, [old, next]);
    const watch = await watchTrust(node, [next, foreign]);
    await reach(node, [next]);
    await watch.stop();
    assert.deepEqual(await trustOf(node, old), { byFile: false, byFolder: false });
  }
});

test('a certificate that somebody else installed too stays trusted through theirs at every moment, and that is told', async () => {
  for (const isTheirsLinked of [true, false]) {
    await using node = await createNode();
    const shared = create('Shared');
    await reach(node, [shared]);
    await node.write(`${anchors}/foreign.crt`, shared.pem);
    await updateStore(node.root);
    await linkAlone(node, isTheirsLinked ? 'foreign.pem' : `${nameOf(shared)}.pem`, `${nameOf(shared)}.pem`);
    assert.deepEqual((await reach(node, [shared])).steps, []);
    const watch = await watchTrust(node, [shared]);
    await reach(node, []);
    await watch.stop();
    const { fingerprint } = parse(shared);
    const { store } = await (await openSandbox(node, 'optional')).observe('glance', new AbortController().signal);
    assert.deepEqual(store.stillTrusted, [{ fingerprint, path: `${anchors}/foreign.crt` }]);
  }
});

test('a file of two certificates is no way by which a look-up finds the second', async () => {
  await using node = await createNode();
  const [ours, theirs] = [create('Ours'), create('Theirs')];
  await reach(node, [ours]);
  await node.write('/root/theirs.pem', theirs.pem);
  await node.write(`${certs}/both.pem`, theirs.pem + ours.pem);
  const { stdout: hash } = await execute('openssl', ['x509', '-hash', '-noout', '-in', node.at('/root/theirs.pem')]);
  await node.link(`${certs}/${hash.trim()}.0`, 'both.pem');
  for (const name of await node.list(certs)) {
    const target = await readlink(node.at(`${certs}/${name}`)).catch(() => '');
    if (target === `${nameOf(ours)}.pem`) await node.remove(`${certs}/${name}`);
  }
  assert.deepEqual((await reach(node, [ours])).steps, ['reindex']);
  assert.deepEqual(await trustOf(node, ours), { byFile: true, byFolder: true });
});

test('a look-up link that is missing, or that an earlier dangling one hides, is noticed and mended', async () => {
  const [ours, foreign] = [create('Same'), create('Same')];
  const damages = {
    'hash link removed': async (node: EmptyRoot) => {
      for (const name of await node.list(certs)) {
        const target = await readlink(node.at(`${certs}/${name}`)).catch(() => '');
        if (target === `${nameOf(ours)}.pem`) await node.remove(`${certs}/${name}`);
      }
    },
    'link to our anchor removed': (node: EmptyRoot) => node.remove(`${certs}/${nameOf(ours)}.pem`),
    'foreign root of the same name deleted': (node: EmptyRoot) => node.remove(`${anchors}/foreign.crt`),
    'foreign root of the same name emptied': (node: EmptyRoot) => node.write(`${anchors}/foreign.crt`, ''),
  };
  for (const [what, damage] of Object.entries(damages)) {
    await using node = await createNode();
    await node.write(`${anchors}/foreign.crt`, foreign.pem);
    await updateStore(node.root);
    await reach(node, [ours]);
    await damage(node);
    if (what.startsWith('foreign')) await updateStore(node.root);
    assert.equal((await trustOf(node, ours)).byFolder, false, what);
    const { steps } = await reach(node, [ours]);
    assert(steps.length > 0, what);
    await assertTrusted(node, [ours]);
  }
});

test('an anchor of ours that somebody changed, replaced or removed is mended, and look-ups with it', async () => {
  const [ours, other] = [create('Ours'), create('Other')];
  const path = `${anchors}/${nameOf(ours)}.crt`;
  const damages: Readonly<Record<string, (node: EmptyRoot) => Promise<unknown>>> = {
    removed: (node) => node.remove(path),
    emptied: (node) => node.write(path, ''),
    'another certificate': (node) => node.write(path, other.pem),
    'two certificates': (node) => node.write(path, ours.pem + other.pem),
    'a link': async (node) => {
      await rename(node.at(path), node.at('/opt.crt'));
      await node.link(path, '../../../../opt.crt');
    },
    'a dangling link': (node) => node.remove(path).then(() => node.link(path, '/none')),
  };
  await using node = await createNode();
  await reach(node, [ours]);
  for (const [what, damage] of Object.entries(damages)) {
    await damage(node);
    await updateStore(node.root);
    await execute('openssl', ['rehash', node.at(certs)]).catch(() => {});
    await reach(node, [ours]);
    await assertTrusted(node, [ours]);
    assert.equal(await node.read(path), ours.pem, what);
    assert.deepEqual(await trustOf(node, other), { byFile: false, byFolder: false }, what);
  }
});

interface Watch {
  /** Fails if one of them was not trusted at some moment since. */
  stop(): Promise<void>;
}

/** Looks over and over, and at the moments between our own changes and those that `openssl` makes for us. */
async function watchTrust(node: EmptyRoot, roots: readonly TestCertificate[]): Promise<Watch> {
  await assertTrusted(node, roots);
  const lost = '/tmp/lost';
  const leaves = await Promise.all(roots.map((root) => writeLeaf(node, root)));
  const look = ['openssl', ...verifyArgs, '-no-CAfile', '-CApath', node.at(certs), ...leaves].join(' ');
  await node.write(
    '/usr/bin/openssl',
    `#!/bin/sh\n${look} >> ${node.at(lost)} 2>&1 && : > ${node.at(lost)}\necho >> ${node.at('/tmp/looked')}\nexec openssl "$@"\n`,
    0o755,
  );
  const watching = new AbortController();
  const poll = async (): Promise<void> => {
    while (!watching.signal.aborted) await assertTrusted(node, roots);
  };
  const polling = poll();
  return {
    async stop() {
      watching.abort();
      await polling;
      await assertTrusted(node, roots);
      assert.equal(await node.read(lost), '');
      assert.equal(await node.read('/tmp/looked'), '\n');
    },
  };
}

/** Of two files with one certificate, which one openssl-rehash(1) links depends on the folder's order: this decides it. */
async function linkAlone(node: EmptyRoot, file: string, ours: string): Promise<void> {
  const links = await Promise.all(
    (await node.list(certs)).map(
      async (name) => [name, await readlink(node.at(`${certs}/${name}`)).catch(() => '')] as const,
    ),
  );
  const hashes = links.filter(([, target]) => target === 'foreign.pem' || target === ours).map(([name]) => name);
  for (const name of hashes) await node.remove(`${certs}/${name}`);
  await node.link(`${certs}/${hashes[0]?.replace(/\d+$/, '0')}`, file);
}

test('an anchor of ours that somebody spoiled is written again without being missed for a moment', async () => {
  await using node = await createNode();
  const [ours, other] = [create('Ours'), create('Other')];
  await reach(node, [ours, other]);
  await node.write(`${anchors}/${nameOf(ours)}.crt`, `${ours.pem}junk`);
  const watch = await watchTrust(node, [ours, other]);
  await reach(node, [ours, other]);
  await watch.stop();
});

test('a link of our name to somebody else’s file of that name is theirs', async () => {
  await using node = await createNode();
  const [ours, other] = [create('Ours'), create('Other')];
  await reach(node, [ours, other]);
  await node.write(`${anchors}/backup/${nameOf(ours)}.crt`, ours.pem);
  await reach(node, [other]);
  await updateStore(node.root);
  assert.deepEqual(await trustOf(node, ours), { byFile: true, byFolder: true });
  await reach(node, [other]);
  assert.deepEqual(await trustOf(node, ours), { byFile: true, byFolder: true });
});

test('a copy of a certificate of ours in the place of its link goes with it', async () => {
  await using node = await createNode();
  const [ours, other] = [create('Ours'), create('Other')];
  await reach(node, [ours, other]);
  await node.remove(`${certs}/${nameOf(ours)}.pem`);
  await node.write(`${certs}/${nameOf(ours)}.pem`, ours.pem);
  await reach(node, [other]);
  assert(!(await node.list(certs)).includes(`${nameOf(ours)}.pem`));
});

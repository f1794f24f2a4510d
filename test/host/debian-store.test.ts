import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { lstat, mkdir, readdir, readFile, readlink, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { createHostCommands } from '../../agent/host/commands.ts';
import { createDebianStore } from '../../agent/host/debian-store.ts';
import { createHostRoot } from '../../agent/host/root.ts';
import type { TrustStore } from '../../agent/host/trust-store.ts';
import { anchorName } from '../../agent/trust/observation.ts';
import {
  createCertificate,
  createServerCertificate,
  encodePem,
  fixedNow,
  type TestCertificate,
} from '../support/certificates.ts';
import { openSandbox, parse, planFor, reach } from '../support/host-steps.ts';
import { createEmptyRoot, createSandbox, type EmptyRoot, type Sandbox, updateStore } from '../support/sandbox.ts';

const execute = promisify(execFile);
const { signal } = new AbortController();
const anchors = '/usr/local/share/ca-certificates';
const certs = '/etc/ssl/certs';
const bundle = `${certs}/ca-certificates.crt`;
const tool = '/usr/sbin/update-ca-certificates';
const create = (subject: string): TestCertificate => createCertificate({ subject });
const nameOf = (certificate: TestCertificate): string => anchorName(parse(certificate).fingerprint);

test('an installed certificate is in the bundle and found by look-ups, and what was trusted before still is', async () => {
  await using node = await createNode();
  const [ours, foreign] = [create('Ours'), create('Foreign')];
  await node.write(`${anchors}/foreign.crt`, foreign.pem);
  await updateStore(node.root);
  const before = await node.read(bundle);
  await reach(node, [ours]);
  await assertTrusted(node, [ours, foreign]);
  const after = await node.read(bundle);
  for (const block of before.split(/(?<=END CERTIFICATE-----\n)/)) assert(after.includes(block), block);
});

test('an empty host without any folder is observed as one that trusts nothing, and is left as it is', async () => {
  await using host = await createEmptyRoot();
  const nothing = { anchors: [], derived: [], bundle: new Set(), indexed: new Set() };
  assert.deepEqual(await (await storeOf(host)).observe(), nothing);
  assert.deepEqual(await host.list('/'), []);
});

test('a host whose folders are missing gets them', async () => {
  await using node = await createNode();
  for (const path of ['/usr/local', '/etc/ssl', '/etc/ca-certificates.conf']) await node.remove(path);
  const ours = create('Ours');
  await reach(node, [ours]);
  await assertTrusted(node, [ours]);
});

test('withdrawn is gone from bundle, index and anchors, and nothing else is', async () => {
  await using node = await createNode();
  const [stays, goes] = [create('Stays'), create('Goes')];
  await reach(node, [stays]);
  const before = await digestTree(node);
  await reach(node, [stays, goes]);
  const { warnings } = await reach(node, [stays]);
  assert.deepEqual(warnings, []);
  assert.deepEqual(await trustOf(node, goes), { byFile: false, byFolder: false });
  assert.deepEqual(withoutState(await digestTree(node)), withoutState(before));
});

test('while a root is replaced by one of the same name, neither the new one nor a foreign one of that name is ever lost', async () => {
  for (const order of [
    [0, 1, 2],
    [2, 1, 0],
    [1, 2, 0],
  ] as const) {
    await using node = await createNode();
    const [old, next, foreign] = [create('Same'), create('Same'), create('Same')];
    await watchIndex(node, [next, foreign]);
    const install = [
      () => reach(node, [old]),
      () => reach(node, [old, next]),
      () => node.write(`${anchors}/foreign.crt`, foreign.pem).then(() => updateStore(node.root)),
    ];
    for (const index of order) await install[index]?.();
    await reach(node, [old, next]);
    await assertTrusted(node, [old, next, foreign]);
    await node.write('/watch', '');
    const stop = pollTrust(node, [next, foreign]);
    await reach(node, [next]);
    assert((await stop()) > 3);
    assert.equal(await node.read('/watch'), '');
    await assertTrusted(node, [next, foreign]);
    assert.deepEqual(await trustOf(node, old), { byFile: false, byFolder: false });
  }
});

test('a certificate that somebody else installed too stays trusted through theirs at every moment, and that is told', async () => {
  for (const isFirst of [true, false]) {
    await using node = await createNode();
    const shared = create('Shared');
    const installTheirs = (): Promise<void> =>
      node.write(`${anchors}/a-foreign.crt`, shared.pem).then(() => updateStore(node.root));
    if (isFirst) await installTheirs();
    await reach(node, [shared]);
    if (!isFirst) await installTheirs();
    await reach(node, [shared]);
    await watchIndex(node, [shared]);
    await node.write('/watch', '');
    const stop = pollTrust(node, [shared]);
    const { warnings } = await reach(node, []);
    await stop();
    assert.equal(await node.read('/watch'), '');
    await assertTrusted(node, [shared]);
    const { fingerprint } = parse(shared);
    assert.deepEqual(warnings, [`${fingerprint} was taken away and is still trusted through ${anchors}/a-foreign.crt`]);
  }
});

test('foreign anchors of any name and kind survive all that we do, and stay trusted', async () => {
  await using node = await createNode();
  const names = [
    'with blank.crt',
    'paren(these).crt',
    'com,ma.crt',
    'ümläut-证书.crt',
    '-dash.crt',
    '.hidden.crt',
    'quo\'te".crt',
  ];
  names.push(
    'sub/folder/nested.crt',
    'node-trust-.crt',
    'node-trust-0123456789abcde.crt',
    'node-trust-0123456789ABCDEF.crt',
  );
  const foreign = names.map(create);
  for (const [index, name] of names.entries()) await node.write(`${anchors}/${name}`, foreign[index]?.pem ?? '');
  const linked = [create('Linked'), create('In a linked folder')];
  await node.write('/opt/linked', linked[0]?.pem ?? '');
  await node.link(`${anchors}/linked.crt`, '../../../../opt/linked');
  await node.write('/opt/folder/inside.crt', linked[1]?.pem ?? '');
  await node.link(`${anchors}/folder`, '../../../../opt/folder');
  await node.link(`${anchors}/dangling.crt`, '/none');
  await node.link(`${anchors}/to-itself`, '.');
  await node.write(`${anchors}/README`, 'not a certificate');
  await node.write(`${anchors}/two.crt`, create('Two A').pem + create('Two B').pem);
  await mkdir(node.at(`${anchors}/folder.crt`));
  await execute('mkfifo', [node.at(`${anchors}/fifo.crt`)]);
  await updateStore(node.root);
  const before = await digestTree(node, anchors);
  const ours = create('Ours');
  await reach(node, [ours]);
  await assertTrusted(node, [ours, ...foreign, ...linked]);
  await reach(node, []);
  await assertTrusted(node, [...foreign, ...linked]);
  assert.deepEqual(await digestTree(node, anchors), before);
});

const broken = encodePem('CERTIFICATE', Buffer.from('not a certificate'));
const brokenInputs = {
  'a local file': { path: `${anchors}/bad.crt`, content: `${create('Good').pem}${broken}` },
  'a file with a bad block of another kind': { path: `${anchors}/bad.crt`, content: '-----BEGIN CRL-----\nno\n' },
  'a file in a sub-folder': { path: `${anchors}/sub/bad.crt`, content: broken },
  'a file in a linked folder': { path: `${anchors}/link/bad.crt`, real: '/opt/bad.crt', content: broken },
  'a file of the distribution': { path: '/usr/share/ca-certificates/bad.crt', selected: 'bad.crt', content: broken },
  'a file selected with blanks': {
    path: '/usr/share/ca-certificates/bad.crt',
    selected: ' bad.crt \t',
    content: broken,
  },
} as const;

for (const [what, input] of Object.entries(brokenInputs)) {
  test(`with a bad block in ${what} nothing is changed, neither to add nor to withdraw, and the file is named`, async () => {
    await using node = await createNode();
    const [ours, more] = [create('Ours'), create('More')];
    await reach(node, [ours]);
    await node.write('real' in input ? input.real : input.path, input.content);
    if ('real' in input) await node.link(`${anchors}/link`, '../../../../opt');
    if ('selected' in input) {
      await node.write(
        '/etc/ca-certificates.conf',
        `${await node.read('/etc/ca-certificates.conf')}${input.selected}\n`,
      );
    }
    const before = await digestTree(node);
    const store = await storeOf(node);
    const expected = (error: { readonly code?: unknown; readonly message: string }): boolean =>
      error.code === 'StoreBrokenBefore' && error.message.startsWith(`${input.path} was broken before us: line `);
    await assert.rejects(store.stage([parse(ours), parse(more)], [], signal), expected);
    await assert.rejects(store.rebuild([parse(ours)], [], signal), expected);
    assert.deepEqual(await digestTree(node), before);
  });
}

test('a bad file that the distribution does not select, or that is no .crt, is nobody’s problem', async () => {
  await using node = await createNode();
  await node.write('/usr/share/ca-certificates/bad.crt', broken);
  await node.write(`${anchors}/bad.pem`, broken);
  const selection = await node.read('/etc/ca-certificates.conf');
  await node.write('/etc/ca-certificates.conf', `${selection}!bad.crt\n#bad.crt\nmissing.crt\n`);
  await reach(node, [create('Ours')]);
});

test('a foreign certificate whose own file left before goes with our rebuild, and that is a warning', async () => {
  await using node = await createNode();
  const [left, deselected] = [create('Left'), create('Deselected')];
  await node.write(`${anchors}/left.crt`, left.pem);
  await node.write('/usr/share/ca-certificates/deselected.crt', deselected.pem);
  const selection = await node.read('/etc/ca-certificates.conf');
  await node.write('/etc/ca-certificates.conf', `${selection}deselected.crt\n`);
  await updateStore(node.root);
  await node.remove(`${anchors}/left.crt`);
  await node.write('/etc/ca-certificates.conf', `${selection}!deselected.crt\n`);
  const { warnings } = await reach(node, [create('Ours')]);
  assert.equal(warnings.length, 1);
  for (const { fingerprint } of [left, deselected].map(parse)) assert(warnings[0]?.includes(fingerprint), warnings[0]);
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
  for (const [what, damage] of Object.entries(damages)) {
    for (const rehash of [false, true]) {
      await using node = await createNode();
      await reach(node, [ours]);
      await damage(node);
      await updateStore(node.root);
      if (rehash) await execute('openssl', ['rehash', node.at(certs)]).catch(() => {});
      await reach(node, [ours]);
      await assertTrusted(node, [ours]);
      assert.equal(await node.read(path), ours.pem, what);
      assert.deepEqual(await trustOf(node, other), { byFile: false, byFolder: false }, what);
    }
  }
});

test('a folder in the place of an anchor of ours is told and not removed', async () => {
  await using node = await createNode();
  const ours = create('Ours');
  await node.write(`${anchors}/${nameOf(ours)}.crt/file`, '');
  await assert.rejects(reach(node, [ours]), { code: 'AnchorsReadOnly' });
  assert.deepEqual(await node.list(`${anchors}/${nameOf(ours)}.crt`), ['file']);
});

test('staging touches neither store nor anchors and leaves nothing behind, whether it succeeds or not', async () => {
  await using node = await createNode();
  const [ours, foreign, leaving] = [create('Ours'), create('Foreign'), create('Leaving')];
  await node.write(`${anchors}/foreign.crt`, foreign.pem);
  await reach(node, [leaving]);
  await node.write('/var/lib/node-trust-agent/stage/store/left-over', 'of a stage that was cut off');
  const store = await storeOf(node);
  const before = withoutState(await digestTree(node));
  await store.stage([parse(ours)], [anchorName(parse(leaving).fingerprint)], signal);
  assert.deepEqual(withoutState(await digestTree(node)), before);
  assert.deepEqual(await node.list('/var/lib/node-trust-agent'), ['state.json']);
  for (const [script, code] of failingTools(parse(ours).pem)) {
    await node.write(tool, script, 0o755);
    await assert.rejects(store.stage([parse(ours)], [], signal), { code }, script);
    assert.deepEqual(await node.list('/var/lib/node-trust-agent'), ['state.json'], script);
    await node.remove(tool);
    assert.deepEqual(withoutState(await digestTree(node)), before, script);
  }
});

test('a tool that fails before it has a new bundle leaves the one from before, and is told', async () => {
  await using node = await createNode();
  const [ours, more] = [create('Ours'), create('More')];
  await reach(node, [ours]);
  const before = await node.read(bundle);
  const store = await storeOf(node);
  await store.writeAnchor(parse(more));
  await node.write(tool, '#!/bin/sh\necho starting\necho E: no space left >&2\nexit 1\n', 0o755);
  await assert.rejects(store.rebuild([ours, more].map(parse), [], signal), {
    code: 'ToolFailed',
    message: 'update-ca-certificates failed: exit code 1: E: no space left',
  });
  assert.equal(await node.read(bundle), before);
  await node.remove(tool);
  await reach(node, [ours, more]);
});

test('a tool that ends well and left out a certificate, ours or another’s, or spoilt the bundle, is StoreIncomplete', async () => {
  await using node = await createNode();
  const [ours, foreign] = [create('Ours'), create('Foreign')];
  await reach(node, [ours]);
  await node.write(`${anchors}/foreign.crt`, foreign.pem);
  const store = await storeOf(node);
  const drop = (pem: string): string =>
    onBundle(`grep -vxF '${pem.split('\n')[2]}' "$bundle" > "$bundle.x"; mv "$bundle.x" "$bundle"`);
  const empty = onBundle(': > "$bundle"');
  for (const [script, message] of [
    [drop(ours.pem), /line \d+: this block does not load as a certificate$/],
    [onBundle('sed -i "/Ours/d" "$bundle"; echo "-----BEGIN CERTIFICATE-----" >> "$bundle"'), /is incomplete: line/],
    [empty, new RegExp(`it lacks CN=Ours \\(${parse(ours).fingerprint.slice(0, 16)}\\)`)],
    [onBundle(`cp '${node.at(anchors)}/${nameOf(ours)}.crt' "$bundle"`), /it lacks what is in .*foreign\.crt/],
  ] as const) {
    await node.write(tool, script, 0o755);
    await assert.rejects(store.rebuild([parse(ours)], [], signal), { code: 'StoreIncomplete', message }, script);
  }
});

test('a tool that ends well and keeps a withdrawn certificate is ToolFailed, in the pass after that too', async () => {
  await using node = await createNode();
  const [ours, stays] = [create('Ours'), create('Stays')];
  await reach(node, [ours, stays]);
  await node.write(tool, '#!/bin/sh\nexit 0\n', 0o755);
  for (let pass = 0; pass < 2; pass += 1) {
    await assert.rejects(reach(node, [stays]), { code: 'ToolFailed', message: new RegExp(parse(ours).fingerprint) });
  }
  await node.remove(tool);
  await reach(node, [stays]);
  assert.deepEqual(await trustOf(node, ours), { byFile: false, byFolder: false });
});

test('a tool that hangs is killed after two minutes, with the bundle from before in place', async (t) => {
  await using node = await createNode();
  const ours = create('Ours');
  const before = await node.read(bundle);
  const store = await storeOf(node);
  await node.write(tool, `#!/bin/sh\necho waiting for a lock\necho $$ > '${node.at('/pid')}'\nexec sleep 600\n`, 0o755);
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const staging = store.stage([parse(ours)], [], signal);
  const told = assert.rejects(staging, {
    code: 'ToolTimedOut',
    message: 'update-ca-certificates did not end within 120 s and was killed; last words: waiting for a lock',
  });
  while ((await node.read('/pid').catch(() => '')) === '');
  t.mock.timers.tick(119_999);
  t.mock.timers.tick(1);
  await told;
  assert.equal(await node.read(bundle), before);
  assert.deepEqual(await node.list('/var/lib/node-trust-agent'), []);
});

test('the hooks of the host run at a rebuild and not while staging', async () => {
  await using node = await createNode();
  await node.write('/etc/ca-certificates/update.d/hook', `#!/bin/sh\ncat >> '${node.at('/hooked')}'\n`, 0o755);
  const ours = create('Ours');
  await (await storeOf(node)).stage([parse(ours)], [], signal);
  await assert.rejects(node.read('/hooked'));
  await reach(node, [ours]);
  assert.equal(await node.read('/hooked'), `+${node.at(certs)}/${nameOf(ours)}.pem\n`);
});

test('a bundle that is broken is observed as one that trusts nothing', async () => {
  await using node = await createNode();
  const ours = create('Ours');
  await reach(node, [ours]);
  await node.write(bundle, `${await node.read(bundle)}${broken}`);
  const { bundle: trusted } = await (await storeOf(node)).observe();
  assert.deepEqual(trusted, new Set());
  await reach(node, [ours]);
  await assertTrusted(node, [ours]);
});

test('a store whose folders are absolute links, as from a pod, is read inside the host', async () => {
  await using node = await createNode();
  const ours = create('Ours');
  await reach(node, [ours]);
  await rename(node.at('/etc/ssl'), node.at('/data'));
  await node.link('/etc/ssl', '/data');
  const { store } = await (await openSandbox(node, 'optional')).observe(signal);
  assert(store.bundle.has(parse(ours).fingerprint));
  assert(store.indexed.has(parse(ours).fingerprint));
  assert.deepEqual(await planFor(await openSandbox(node, 'optional'), [ours]), []);
});

async function createNode(): Promise<Sandbox> {
  return createSandbox({ roots: 1, runtime: false });
}

async function storeOf({ root }: EmptyRoot): Promise<TrustStore> {
  return createDebianStore(createHostRoot(root), await createHostCommands(root));
}

/** A tool that works and then does this to the bundle. */
function onBundle(script: string): string {
  return `#!/bin/sh\nset -eu\n${tool} "$@"\nbundle="$2/ca-certificates.crt"\n${script}\n`;
}

function failingTools(pem: string): readonly (readonly [string, string])[] {
  return [
    ['#!/bin/sh\nexit 1\n', 'ToolFailed'],
    ['#!/bin/sh\nkill -9 $$\n', 'ToolFailed'],
    ['#!/bin/sh\nexit 0\n', 'StoreIncomplete'],
    [
      onBundle(`grep -vxF '${pem.split('\n')[3]}' "$bundle" > "$bundle.x"; mv "$bundle.x" "$bundle"`),
      'StoreIncomplete',
    ],
    ['not a program', 'ToolMissing'],
  ];
}

interface Trust {
  readonly byFile: boolean;
  readonly byFolder: boolean;
}

/** What OpenSSL says of a server's certificate below this root, with the bundle and with look-ups in the folder. */
async function trustOf(node: EmptyRoot, root: TestCertificate): Promise<Trust> {
  const leaf = `/tmp/leaf-${nameOf(root)}.pem`;
  await node.write(leaf, createServerCertificate(root).pem);
  const verify = (...where: readonly string[]): Promise<boolean> =>
    execute('openssl', [...verifyArgs, ...where, node.at(leaf)]).then(
      () => true,
      () => false,
    );
  const [byFile, byFolder] = await Promise.all([
    verify('-no-CApath', '-CAfile', node.at(bundle)),
    verify('-no-CAfile', '-CApath', node.at(certs)),
  ]);
  await node.remove(leaf);
  return { byFile, byFolder };
}

const verifyArgs = ['verify', '-no-CAstore', '-attime', String(fixedNow.getTime() / 1000)];

async function assertTrusted(node: EmptyRoot, roots: readonly TestCertificate[]): Promise<void> {
  for (const root of roots) assert.deepEqual(await trustOf(node, root), { byFile: true, byFolder: true }, root.subject);
}

/** Asserts over and over that all are trusted, until told to stop; answers how often. */
function pollTrust(node: EmptyRoot, roots: readonly TestCertificate[]): () => Promise<number> {
  let isStopped = false;
  const poll = async (): Promise<number> => {
    let rounds = 0;
    for (; !isStopped; rounds += 1) await assertTrusted(node, roots);
    return rounds;
  };
  const polling = poll();
  return () => {
    isStopped = true;
    return polling;
  };
}

/** From now on each `openssl` that the agent runs first notes in /watch who is not trusted at that moment. */
async function watchIndex(node: EmptyRoot, roots: readonly TestCertificate[]): Promise<void> {
  const checks = roots.map((root) => {
    const leaf = node.at(`/watched-${nameOf(root)}.pem`);
    return { leaf, pem: createServerCertificate(root).pem };
  });
  for (const { leaf, pem } of checks) await node.write(leaf.slice(node.root.length), pem);
  const lines = checks.map(
    ({ leaf }) =>
      `openssl ${verifyArgs.join(' ')} -no-CAfile -CApath '${node.at(certs)}' '${leaf}' >> '${node.at('/watch')}' 2>&1 || true`,
  );
  await node.write(
    '/usr/bin/openssl',
    `#!/bin/sh\n${lines.join('\n').replaceAll(".pem' >>", ".pem' 2>&1 | grep -v OK >>")}\nexec openssl "$@"\n`,
    0o755,
  );
}

/** Path to kind, mode and content of everything below. */
async function digestTree(node: EmptyRoot, folder = '/'): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (const entry of await readdir(node.at(folder), { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name);
    const mode = (await lstat(path)).mode.toString(8);
    const content = entry.isSymbolicLink() ? await readlink(path) : entry.isFile() ? await readFile(path, 'utf8') : '';
    found.set(path.slice(node.root.length), `${mode} ${content}`);
  }
  return found;
}

function withoutState(tree: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  return new Map([...tree].filter(([path]) => !path.startsWith('/var')));
}

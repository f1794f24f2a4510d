import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdir, stat, truncate } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { createHostRoot } from '../../agent/host/root.ts';
import { failAt, hookFileSystem } from '../support/hooked-file-system.ts';
import { createEmptyRoot, type EmptyRoot } from '../support/sandbox.ts';

const execute = promisify(execFile);
const bundle = '/etc/ssl/certs/ca-certificates.crt';
const text = (bytes: Uint8Array | 'absent'): string => (bytes === 'absent' ? bytes : Buffer.from(bytes).toString());

test('a bundle behind an absolute link is the one of the host, whatever this machine has at that path', async () => {
  await using machine = await createEmptyRoot();
  await using host = await createEmptyRoot();
  await machine.write('/decoy', 'of the machine');
  await host.link(bundle, machine.at('/decoy'));
  const root = createHostRoot(host.root);
  assert.equal(await root.readFile(bundle), 'absent');
  await host.write(machine.at('/decoy'), 'of the host');
  assert.equal(text(await root.readFile(bundle)), 'of the host');
});

test('a folder behind an absolute link is listed as the host has it, and a file is written there', async () => {
  await using machine = await createEmptyRoot();
  await using host = await createEmptyRoot();
  await machine.write('/folder/decoy', '');
  await host.link('/etc/ssl/certs', machine.at('/folder'));
  const root = createHostRoot(host.root);
  assert.equal(await root.readFolder('/etc/ssl/certs'), 'absent');
  await root.writeFile('/etc/ssl/certs/one', 'written');
  assert.equal(await host.read(machine.at('/folder/one')), 'written');
  assert.deepEqual(await machine.list('/folder'), ['decoy']);
});

test('what is missing is absent: a file, a folder on the way, a file on the way, the target of a link', async () => {
  await using host = await createEmptyRoot();
  await host.write('/etc/file', '');
  await host.link('/etc/dangling', '/nowhere');
  const root = createHostRoot(host.root);
  for (const path of ['/etc/none', '/none/none', '/etc/file/none', '/etc/dangling']) {
    assert.equal(await root.readFile(path), 'absent', path);
    assert.equal(await root.readFolder(path), 'absent', path);
  }
});

test('a FIFO, a folder and a device in place of a file are StoreUnreadable and never hang', async () => {
  await using host = await createEmptyRoot();
  await mkdir(host.at('/etc/folder'), { recursive: true });
  await execute('mkfifo', [host.at('/etc/fifo')]);
  await host.link('/etc/link-to-fifo', 'fifo');
  const root = createHostRoot(host.root);
  for (const path of ['/etc/folder', '/etc/fifo', '/etc/link-to-fifo']) {
    await assert.rejects(root.readFile(path), { code: 'StoreUnreadable', message: /not a regular file/ }, path);
  }
  await assert.rejects(createHostRoot('/').readFile('/dev/null'), { code: 'StoreUnreadable' });
});

test('a file of 32 MiB is read, a larger one is StoreUnreadable', async () => {
  await using host = await createEmptyRoot();
  await host.write('/file', '');
  const root = createHostRoot(host.root);
  await truncate(host.at('/file'), 32 * 1024 * 1024);
  assert.equal((await root.readFile('/file')).length, 32 * 1024 * 1024);
  await truncate(host.at('/file'), 32 * 1024 * 1024 + 1);
  await assert.rejects(root.readFile('/file'), { code: 'StoreUnreadable' });
});

test('a file or folder that may not be read is StoreUnreadable and not absent', async () => {
  await using host = await createEmptyRoot();
  await host.write('/folder/file', '');
  for (const call of ['open', 'readdir', 'lstat']) {
    const fail = () => Promise.reject(Object.assign(new Error('EACCES'), { code: 'EACCES' }));
    const root = createHostRoot(host.root, { ...hookFileSystem(() => {}), [call]: fail });
    if (call !== 'readdir') await assert.rejects(root.readFile('/folder/file'), { code: 'StoreUnreadable' }, call);
    if (call !== 'open') await assert.rejects(root.readFolder('/folder'), { code: 'StoreUnreadable' }, call);
  }
});

test('a folder is told with the kind of each entry, links not followed, and its links with their targets', async () => {
  await using host = await createEmptyRoot();
  await host.write('/etc/file', '');
  await mkdir(host.at('/etc/folder'));
  await host.link('/etc/link', '/etc/folder');
  await host.link('/etc/dangling', '../none');
  await execute('mkfifo', [host.at('/etc/fifo')]);
  const root = createHostRoot(host.root);
  const entries = await root.readFolder('/etc');
  assert(entries !== 'absent');
  assert.deepEqual(
    new Map(entries.map(({ name, kind }) => [name, kind])),
    new Map([
      ['dangling', 'link'],
      ['fifo', 'other'],
      ['file', 'file'],
      ['folder', 'folder'],
      ['link', 'link'],
    ]),
  );
  assert.deepEqual(
    await root.readLinks('/etc'),
    new Map([
      ['dangling', '../none'],
      ['link', '/etc/folder'],
    ]),
  );
  assert.equal(await root.readLink('/etc/link'), '/etc/folder');
  assert.equal(await root.readLink('/etc/file'), undefined);
});

test('a written file has its mode and bytes whatever the umask and the file before were', async () => {
  await using host = await createEmptyRoot();
  const root = createHostRoot(host.root);
  await host.write('/file', 'a longer content before');
  await chmod(host.at('/file'), 0o4777);
  const umask = process.umask(0o077);
  try {
    await root.writeFile('/file', 'after');
    await root.writeFile('/secret', Buffer.from('after'), 0o600);
  } finally {
    process.umask(umask);
  }
  assert.equal(await host.read('/file'), 'after');
  assert.equal((await stat(host.at('/file'))).mode & 0o7777, 0o644);
  assert.equal((await stat(host.at('/secret'))).mode & 0o7777, 0o600);
});

test('a link, a FIFO and a hard link in place of the file are replaced and not written through', async () => {
  await using host = await createEmptyRoot();
  const root = createHostRoot(host.root);
  await host.write('/foreign', 'foreign');
  await host.link('/link', '/foreign');
  await execute('ln', [host.at('/foreign'), host.at('/hard-link')]);
  await execute('mkfifo', [host.at('/fifo')]);
  for (const path of ['/link', '/hard-link', '/fifo']) {
    await root.writeFile(path, 'ours');
    assert.equal(await host.read(path), 'ours');
    assert.equal(await root.readLink(path), undefined);
  }
  assert.equal(await host.read('/foreign'), 'foreign');
});

test('a link leads to its new target from one moment to the next, whatever was there before', async () => {
  await using host = await createEmptyRoot();
  const root = createHostRoot(host.root);
  await host.write('/file', 'foreign');
  await host.link('/link', '/file');
  for (const path of ['/link', '/file', '/new/link']) {
    await root.writeLink(path, '../target');
    assert.equal(await root.readLink(path), '../target');
  }
  const failing = createHostRoot(host.root, hookFileSystem(failAt('rename', 'EROFS')));
  await assert.rejects(failing.writeLink('/link', 'other'), { code: 'AnchorsReadOnly' });
  assert.equal(await root.readLink('/link'), '../target');
  assert.deepEqual(await host.list('/'), ['file', 'link', 'new']);
});

test('a reader sees the old file or the new one and never a part of either', async () => {
  await using host = await createEmptyRoot();
  const root = createHostRoot(host.root);
  const contents = ['a', 'b'].map((letter) => letter.repeat(512 * 1024));
  await root.writeFile('/file', contents[0] ?? '');
  const writing = new AbortController();
  const read = async (): Promise<number> => {
    let reads = 0;
    for (; !writing.signal.aborted; reads += 1)
      assert(contents.includes(text(await root.readFile('/file'))), 'half of a file');
    return reads;
  };
  const reader = read();
  try {
    for (let round = 0; round < 40; round += 1) await root.writeFile('/file', contents[round % 2] ?? '');
  } finally {
    writing.abort();
  }
  assert((await reader) > 10);
});

test('a file is on the disk before it has its name, and its name is before the call returns', async () => {
  await using host = await createEmptyRoot();
  const journal: string[] = [];
  const root = createHostRoot(
    host.root,
    hookFileSystem((call) => void journal.push(call)),
  );
  await host.write('/etc/other', '');
  await root.makeFolder('/etc');
  assert.match(journal.splice(0).join(), /^mkdir etc,open (\S+),sync \1$/, 'whoever made it may have been killed then');
  await root.writeFile('/etc/file', 'x');
  const temporary = ['open TEMP', 'writeFile TEMP', 'chmod TEMP', 'sync TEMP'];
  assert.deepEqual(journal.splice(0), ['mkdir etc', ...temporary, 'rename TEMP file', 'open etc', 'sync etc']);
  await root.createFile('/etc/created', 'x');
  assert.deepEqual(journal.splice(0), [
    'mkdir etc',
    ...temporary,
    'link TEMP created',
    'unlink TEMP',
    'open etc',
    'sync etc',
  ]);
  await root.remove('/etc/file');
  assert.deepEqual(journal.splice(0), ['unlink file', 'open etc', 'sync etc']);
  await root.writeLink('/etc/link', 'target');
  assert.deepEqual(journal.splice(0), ['mkdir etc', 'symlink TEMP', 'rename TEMP link', 'open etc', 'sync etc']);
});

test('folders that are made on the way are on the disk, each in the folder above it, before the file is written', async () => {
  await using host = await createEmptyRoot();
  const journal: string[] = [];
  const root = createHostRoot(
    host.root,
    hookFileSystem((call) => void journal.push(call)),
  );
  await mkdir(host.at('/var'));
  await root.writeFile('/var/lib/agent/file', 'x');
  assert.deepEqual(journal.slice(0, journal.indexOf('open TEMP')), [
    'mkdir agent',
    'open lib',
    'sync lib',
    'open var',
    'sync var',
  ]);
  journal.length = 0;
  await root.makeFolder('/var/lib/agent/folder');
  assert.deepEqual(journal, ['mkdir folder', 'open agent', 'sync agent']);
});

test('a write that fails at any call leaves the old content and no temporary file', async () => {
  await using host = await createEmptyRoot();
  for (const call of ['mkdir', 'open TEMP', 'writeFile TEMP', 'chmod TEMP', 'sync TEMP', 'rename TEMP']) {
    for (const [errno, code] of [
      ['ENOSPC', 'DiskFull'],
      ['EDQUOT', 'DiskFull'],
      ['EROFS', 'AnchorsReadOnly'],
      ['EACCES', 'AnchorsReadOnly'],
      ['EIO', 'AnchorsReadOnly'],
    ] as const) {
      await host.write('/etc/file', 'before');
      const root = createHostRoot(host.root, hookFileSystem(failAt(call, errno)));
      await assert.rejects(root.writeFile('/etc/file', 'after'), { code, message: /\/etc\/file/ }, `${call} ${errno}`);
      assert.equal(await host.read('/etc/file'), 'before', call);
      assert.deepEqual(await host.list('/etc'), ['file'], call);
    }
  }
});

test('a write whose folder cannot be brought to the disk is a failure, not a success', async () => {
  await using host = await createEmptyRoot();
  await host.write('/etc/file', '');
  const root = createHostRoot(host.root, hookFileSystem(failAt('sync etc', 'EIO')));
  await assert.rejects(root.writeFile('/etc/file', 'x'), { code: 'AnchorsReadOnly' });
  await assert.rejects(root.remove('/etc/file'), { code: 'AnchorsReadOnly' });
  assert.deepEqual(await host.list('/etc'), []);
});

test('of many concurrent creators one wins, and its content stays', async () => {
  await using host = await createEmptyRoot();
  const root = createHostRoot(host.root);
  const tries = Array.from({ length: 40 }, (_, index) => root.createFile('/run/lock', `content of ${index}`));
  const won = (await Promise.all(tries)).flatMap((isWon, index) => (isWon ? [index] : []));
  assert.equal(won.length, 1);
  assert.equal(await host.read('/run/lock'), `content of ${won[0]}`);
  assert.deepEqual(await host.list('/run'), ['lock']);
});

test('a creator does not follow or replace a link, dangling or not, and leaves nothing when it fails', async () => {
  await using host = await createEmptyRoot();
  await host.link('/run/lock', '/elsewhere');
  assert.equal(await createHostRoot(host.root).createFile('/run/lock', 'x'), false);
  await host.remove('/run/lock');
  const root = createHostRoot(host.root, hookFileSystem(failAt('link', 'ENOSPC')));
  await assert.rejects(root.createFile('/run/lock', 'x'), { code: 'DiskFull' });
  assert.deepEqual(await host.list('/run'), []);
});

test('removing takes the link and not what it leads to, and what is absent is fine', async () => {
  await using host = await createEmptyRoot();
  await host.write('/foreign', 'foreign');
  await host.link('/link', '/foreign');
  const root = createHostRoot(host.root);
  await root.remove('/link');
  await root.remove('/link');
  await root.remove('/none/none');
  assert.deepEqual(await host.list('/'), ['foreign']);
  const refusing = createHostRoot(host.root, hookFileSystem(failAt('unlink', 'EROFS')));
  await assert.rejects(refusing.remove('/foreign'), { code: 'AnchorsReadOnly' });
});

test('removing a folder does not follow links out of it', async () => {
  await using machine = await createEmptyRoot();
  await using host = await createEmptyRoot();
  await machine.write('/folder/decoy', '');
  await host.write('/foreign/file', '');
  await host.write('/ours/deep/er/file', '');
  await host.link('/ours/relative', '../foreign');
  await host.link('/ours/deep/absolute', '/foreign');
  await host.link('/ours/out', machine.at('/folder'));
  await createHostRoot(host.root).removeFolder('/ours');
  assert.deepEqual(await host.list('/'), ['foreign']);
  assert.deepEqual(await host.list('/foreign'), ['file']);
  assert.deepEqual(await machine.list('/folder'), ['decoy']);
});

test('removing a folder that somebody made a link takes the link alone; a file in its place goes, nothing is fine', async () => {
  await using host = await createEmptyRoot();
  await host.write('/foreign/file', '');
  await host.link('/ours', '/foreign');
  await host.write('/file', '');
  const root = createHostRoot(host.root);
  for (const path of ['/ours', '/file', '/none']) await root.removeFolder(path);
  assert.deepEqual(await host.list('/'), ['foreign']);
  assert.deepEqual(await host.list('/foreign'), ['file']);
});

test('on a file system that is really full the old content stays, and it is DiskFull', async (t) => {
  const said = await onMountedTmpfs(
    t,
    'size=64k',
    `
    await root.writeFile('/file', 'before');
    const error = await root.writeFile('/file', 'x'.repeat(100_000)).catch((error) => error);
    const entries = await root.readFolder('/');
    say({ code: error.code, file: Buffer.from(await root.readFile('/file')).toString(), entries });
  `,
  );
  if (said !== undefined) {
    assert.deepEqual(said, { code: 'DiskFull', file: 'before', entries: [{ name: 'file', kind: 'file' }] });
  }
});

test('on a file system that is really read-only it is AnchorsReadOnly', async (t) => {
  const said = await onMountedTmpfs(
    t,
    'ro',
    `
    const error = await root.writeFile('/file', 'x').catch((error) => error);
    say({ code: error.code, message: error.message });
  `,
  );
  if (said !== undefined) {
    assert.equal(said.code, 'AnchorsReadOnly');
    assert.match(said.message, /^\/file .*EROFS/);
  }
});

test('in a folder that is really not ours to write it is AnchorsReadOnly', async (t) => {
  if (process.getuid?.() === 0) return t.skip('root may write everywhere');
  await using host = await createEmptyRoot();
  await host.write('/etc/file', 'before');
  await chmod(host.at('/etc'), 0o555);
  await assert.rejects(createHostRoot(host.root).writeFile('/etc/file', 'x'), { code: 'AnchorsReadOnly' });
  await chmod(host.at('/etc'), 0o755);
});

/** Runs the code with a `root` on a tmpfs, in a mount namespace that ends with it. Undefined, and skipped, where refused. */
async function onMountedTmpfs(
  t: TestContext,
  options: string,
  code: string,
): Promise<{ code: string; message: string } | undefined> {
  await using host: EmptyRoot = await createEmptyRoot();
  const namespace = process.getuid?.() === 0 ? ['--mount'] : ['--map-root-user', '--mount'];
  const mount = `mount -t tmpfs -o ${options} none ${host.root}`;
  const refused = await execute('unshare', [...namespace, 'sh', '-c', mount]).then(() => undefined, String);
  if (refused !== undefined) {
    t.skip(`mounting is not permitted here, and only injected errors are tested: ${refused.split('\n').at(-2)}`);
    return undefined;
  }
  const module = `
    import { createHostRoot } from '${import.meta.resolve('../../agent/host/root.ts')}';
    const root = createHostRoot('${host.root}');
    const say = (value) => console.log(JSON.stringify(value));
    ${code}`;
  const script = `${mount} && exec "$0" --input-type=module -e "$1"`;
  const { stdout } = await execute('unshare', [...namespace, 'sh', '-c', script, process.execPath, module]);
  return JSON.parse(stdout) as { code: string; message: string };
}

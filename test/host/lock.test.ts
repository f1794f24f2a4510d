import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, readlink } from 'node:fs/promises';
import { test } from 'node:test';
import { type HostLock, type LockOwner, lockHost } from '../../agent/host/lock.ts';
import { createHostRoot } from '../../agent/host/root.ts';
import { hookFileSystem } from '../support/hooked-file-system.ts';
import { createEmptyRoot, type EmptyRoot } from '../support/sandbox.ts';

const folder = '/var/lib/node-trust-agent';
const path = `${folder}/lock`;

test('a second holder is refused with the PID of the first, and is let in after its release', async () => {
  await using host = await createEmptyRoot();
  const root = createHostRoot(host.root);
  const lock = await lockHost(root);
  const message = `another agent holds this host: PID ${process.pid} (${path})`;
  await assert.rejects(lockHost(root), { code: 'HostLocked', message });
  await lock.release();
  await (await lockHost(root)).release();
  assert.deepEqual(await host.list(folder), []);
});

test('the lock of another living process holds, and is free once that is dead, however it died', async () => {
  await using host = await createEmptyRoot();
  const module = `
    import { lockHost } from ${JSON.stringify(import.meta.resolve('../../agent/host/lock.ts'))};
    import { createHostRoot } from ${JSON.stringify(import.meta.resolve('../../agent/host/root.ts'))};
    await lockHost(createHostRoot(${JSON.stringify(host.root)}));
    console.log('locked');
    setInterval(() => {}, 1e6);`;
  const other = spawn(process.execPath, ['--input-type=module', '-e', module]);
  await once(other.stdout, 'data');
  const root = createHostRoot(host.root);
  await assert.rejects(lockHost(root), { code: 'HostLocked', message: new RegExp(`PID ${other.pid} `) });
  other.kill('SIGKILL');
  await once(other, 'exit');
  await lockHost(root);
  assert.equal((await ownerOf(host)).pid, process.pid);
});

test('the lock of a PID that is used again, of another boot, or of nobody is taken over', async () => {
  await using host = await createEmptyRoot();
  const root = createHostRoot(host.root);
  await lockHost(root);
  const own = await ownerOf(host);
  for (const content of [
    JSON.stringify({ ...own, startedAt: '1' }),
    JSON.stringify({ ...own, bootId: 'another' }),
    JSON.stringify({ ...own, pid: await deadPid() }),
    '',
    '{',
    'null',
    '{"pid":"x"}',
    '\0',
  ]) {
    await host.write(path, content);
    const lock = await lockHost(root);
    assert.deepEqual(await ownerOf(host), own, content);
    await lock.release();
    assert.deepEqual(await host.list(folder), [], content);
  }
});

test('an owner in another PID namespace holds while there are processes in it', async (t) => {
  await using host = await createEmptyRoot();
  const root = createHostRoot(host.root);
  const container = spawn('unshare', ['--user', '--map-root-user', '--fork', '--pid', 'cat'], { stdio: 'pipe' });
  t.after(() => container.kill('SIGKILL'));
  // What cat says shows that its namespace is there.
  container.stdin.write('there');
  await once(container.stdout, 'data');
  const children = await readFile(`/proc/${container.pid}/task/${container.pid}/children`, 'utf8');
  const pidNamespace = await readlink(`/proc/${children.trim()}/ns/pid`);
  await lockHost(root);
  await host.write(path, JSON.stringify({ ...(await ownerOf(host)), pid: 1, pidNamespace }));
  await assert.rejects(lockHost(root), { code: 'HostLocked' });
  container.stdin.end();
  await once(container, 'close');
  await lockHost(root);
});

test('of many that want a free lock, or that of a dead process, exactly one gets it', async () => {
  await using host = await createEmptyRoot();
  const root = createHostRoot(host.root);
  await lockHost(root);
  const dead = JSON.stringify({ ...(await ownerOf(host)), pid: await deadPid() });
  for (let round = 0; round < 8; round += 1) {
    await host.remove(path);
    if (round % 2 === 0) await host.write(path, dead);
    const tries = await Promise.allSettled(Array.from({ length: 12 }, () => lockHost(root)));
    assert.equal(tries.filter(({ status }) => status === 'fulfilled').length, 1, `round ${round}`);
    assert.deepEqual(await host.list(folder), ['lock']);
  }
});

test('a slow taker does not get the lock as well when others try between its calls, from whichever on', async () => {
  for (let stop = 0, isStopped = true; isStopped; stop += 1) {
    await using host = await createEmptyRoot();
    const root = createHostRoot(host.root);
    await lockHost(root);
    await host.write(path, JSON.stringify({ ...(await ownerOf(host)), pid: await deadPid() }));
    const held: HostLock[] = [];
    const take = async (taker: typeof root): Promise<void> => void held.push(await lockHost(taker));
    let calls = 0;
    const slow = hookFileSystem(async () => {
      calls += 1;
      if (calls > stop) await take(root).catch(() => {});
    });
    await take(createHostRoot(host.root, slow)).catch(() => {});
    isStopped = calls > stop;
    assert(held.length <= 1, `stopped before call ${stop}, ${held.length} have the lock`);
    if (stop > 60) assert.fail('it never ends');
  }
});

test('a taker that died while it took over does not lock the host for ever', async () => {
  await using host = await createEmptyRoot();
  const root = createHostRoot(host.root);
  await lockHost(root);
  const dead = JSON.stringify({ ...(await ownerOf(host)), pid: await deadPid() });
  await host.write(path, dead);
  await host.write(`${path}.takeover`, dead);
  await host.write(`${path}.takeover.takeover`, dead);
  const lock = await lockHost(root);
  assert.deepEqual(await host.list(folder), ['lock']);
  await lock.release();
});

test('a lock that somebody has removed is held no more, nor by whoever had it when another takes it', async () => {
  await using host = await createEmptyRoot();
  const root = createHostRoot(host.root);
  const lock = await lockHost(root);
  assert.equal(await lock.isHeld(), true);
  const foreign = JSON.stringify({ ...(await ownerOf(host)), pid: 1 });
  await host.remove(folder);
  assert.equal(await lock.isHeld(), false);
  await host.write(path, foreign);
  assert.equal(await lock.isHeld(), false);
});

test('a release takes away the own lock only', async () => {
  await using host = await createEmptyRoot();
  const root = createHostRoot(host.root);
  const lock = await lockHost(root);
  const foreign = JSON.stringify({ ...(await ownerOf(host)), pid: 1 });
  await host.write(path, foreign);
  await lock.release();
  assert.equal(await host.read(path), foreign);
  await host.remove(path);
  await lock.release();
});

test('a lock is whole from its first moment, and nothing else is left beside it', async () => {
  await using host = await createEmptyRoot();
  let seen: unknown;
  const fs = hookFileSystem(async (call) => {
    if (call === 'unlink TEMP') seen = await ownerOf(host);
  });
  await lockHost(createHostRoot(host.root, fs));
  assert.deepEqual(seen, await ownerOf(host));
  assert.deepEqual(await host.list(folder), ['lock']);
});

async function ownerOf(host: EmptyRoot): Promise<LockOwner> {
  return JSON.parse(await host.read(path)) as LockOwner;
}

async function deadPid(): Promise<number> {
  const child = execFile('true');
  const { pid } = child;
  await once(child, 'exit');
  assert(pid !== undefined);
  return pid;
}

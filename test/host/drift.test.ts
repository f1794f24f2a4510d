import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { chmod, mkdir, rename, unlink } from 'node:fs/promises';
import { test } from 'node:test';
import { createDriftWatch } from '../../agent/host/drift.ts';
import { createHostRoot } from '../../agent/host/root.ts';
import { createEmptyRoot, type EmptyRoot } from '../support/sandbox.ts';

const anchors = '/usr/local/share/ca-certificates';
const bundle = '/etc/ssl/certs/ca-certificates.crt';
const invocation = '/run/systemd/units/invocation:containerd.service';

const changes: Readonly<Record<string, (host: EmptyRoot) => Promise<unknown>>> = {
  'a file in a sub-folder comes': (host) => host.write(`${anchors}/sub/new.crt`, ''),
  'a file is replaced by rename': async (host) => {
    await host.write('/new', 'new');
    await rename(host.at('/new'), host.at(`${anchors}/one.crt`));
  },
  'the folder goes': (host) => host.remove(anchors),
  'the folder comes again': (host) => mkdir(host.at(anchors)),
  'a file comes into the folder that came again': (host) => host.write(`${anchors}/again.crt`, ''),
  'a dangling link comes': (host) => host.link(`${anchors}/dangling.crt`, '/none'),
  'the runtime is another process': async (host) => {
    await host.link('/run/systemd/units/.new', 'another-id');
    await rename(host.at('/run/systemd/units/.new'), host.at(invocation));
  },
  'the runtime is stopped': (host) => unlink(host.at(invocation)),
  'the bundle is replaced by rename': async (host) => {
    await host.write('/new', 'new');
    await rename(host.at('/new'), host.at(bundle));
  },
  'the bundle goes and comes again': (host) => host.remove(bundle).then(() => host.write(bundle, 'again')),
};

test('each change of anchors, bundle and runtime pokes, from the moment it watches, and many at a time poke once', async () => {
  await using host = await createHost();
  const pokes = new EventEmitter();
  let count = 0;
  await using watch = createDriftWatch(createHostRoot(host.root), () => {
    count += 1;
    pokes.emit('poke');
  });
  await watch.cover([anchors, bundle, invocation]);
  for (const [what, change] of Object.entries(changes)) {
    const poked = once(pokes, 'poke', { signal: AbortSignal.timeout(4_000) });
    await change(host);
    await poked.catch(() => assert.fail(`no poke when ${what}`));
  }
  const poked = once(pokes, 'poke');
  const before = count;
  for (let index = 0; index < 50; index += 1) await host.write(`${anchors}/many-${index}.crt`, '');
  await poked;
  assert(count - before <= 2, `${count - before} pokes`); // two where the machine is slow
});

test('a folder behind an absolute link is watched where the host has it', async () => {
  await using machine = await createEmptyRoot();
  await using host = await createEmptyRoot();
  await machine.write('/folder/file', '');
  await host.write(machine.at('/folder/file'), '');
  await host.link('/link', machine.at('/folder'));
  const pokes = new EventEmitter();
  await using watch = createDriftWatch(createHostRoot(host.root), () => pokes.emit('poke'));
  await watch.cover(['/link']);
  const poked = once(pokes, 'poke');
  await host.write(machine.at('/folder/new'), '');
  await poked;
});

test('what is changed while it is deaf is no drift, and what is changed after that is', async () => {
  await using host = await createHost();
  const [pokes, others] = [new EventEmitter(), new EventEmitter()];
  let count = 0;
  await using watch = createDriftWatch(createHostRoot(host.root), () => {
    count += 1;
    pokes.emit('poke');
  });
  await using witness = createDriftWatch(createHostRoot(host.root), () => others.emit('poke'));
  for (const each of [watch, witness]) await each.cover([anchors, bundle]);
  const witnessed = once(others, 'poke');
  const deafness = watch.deafen();
  await host.write(`${anchors}/ours.crt`, '');
  await host.write(bundle, 'ours');
  await witnessed;
  await watch.mark();
  deafness[Symbol.dispose]();
  const poked = once(pokes, 'poke');
  await host.write(`${anchors}/theirs.crt`, '');
  await poked;
  assert.equal(count, 1);
});

test('a folder that cannot be listed is no drift again and again', async () => {
  await using host = await createHost();
  await mkdir(host.at(`${anchors}/closed`), { mode: 0 });
  for (const path of ['/', anchors, bundle]) await chmod(host.at(path), 0o777);
  let count = 0;
  const others = new EventEmitter();
  await using watch = createDriftWatch(createHostRoot(host.root), () => void (count += 1));
  await using witness = createDriftWatch(createHostRoot(host.root), () => others.emit('poke'));
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) process.seteuid?.(65_534); // root would be let in
  using _rootAgain = { [Symbol.dispose]: () => void (isRoot && process.seteuid?.(0)) };
  await watch.cover([anchors]);
  await witness.cover([bundle]);
  await watch.mark();
  watch.deafen()[Symbol.dispose]();
  for (const content of ['theirs', 'again']) {
    const witnessed = once(others, 'poke');
    await host.write(bundle, content);
    await witnessed; // the second comes after whatever the first may have met on its way
  }
  assert.equal(count, 0);
});

test('covering again is nothing new, and after the end nobody is poked', async () => {
  await using host = await createHost();
  const pokes: string[] = [];
  const watch = createDriftWatch(createHostRoot(host.root), () => void pokes.push('poke'));
  await watch.cover([anchors]);
  await watch.cover([anchors]);
  await host.write(`${anchors}/new.crt`, '');
  await watch[Symbol.asyncDispose]();
  const other = new EventEmitter();
  await using second = createDriftWatch(createHostRoot(host.root), () => other.emit('poke'));
  await second.cover([anchors]);
  const poked = once(other, 'poke');
  await chmod(host.at(`${anchors}/one.crt`), 0o600);
  await host.write(`${anchors}/newer.crt`, '');
  await poked;
  assert.deepEqual(pokes, []);
});

test('paths that are missing are covered without an error', async () => {
  await using host = await createEmptyRoot();
  await using watch = createDriftWatch(createHostRoot(host.root), () => {});
  await watch.cover([anchors, bundle]);
});

async function createHost(): Promise<EmptyRoot> {
  const host = await createEmptyRoot();
  await host.write(`${anchors}/one.crt`, '');
  await host.write(bundle, '');
  await host.link(invocation, 'first-id');
  return host;
}

import assert from 'node:assert/strict';
import { lstat, mkdir, readlink, realpath } from 'node:fs/promises';
import { test } from 'node:test';
import fc from 'fast-check';
import { createPathResolver, type PathResolver } from '../../agent/host/path-resolver.ts';
import { createEmptyRoot, type EmptyRoot } from '../support/sandbox.ts';

const resolverOf = ({ root }: EmptyRoot): PathResolver => createPathResolver(root, { lstat, readlink });

test('an absolute link leads to a place below the host root', async () => {
  await using host = await createEmptyRoot();
  await host.link('/etc/ssl/certs', '/var/lib/certs');
  assert.equal(await resolverOf(host).resolve('/etc/ssl/certs/one.pem'), '/var/lib/certs/one.pem');
});

test('a relative link starts where the link really is', async () => {
  await using host = await createEmptyRoot();
  await mkdir(host.at('/usr/lib/ssl'), { recursive: true });
  await host.link('/usr/lib/ssl/certs', '../../../etc/ssl/certs');
  await host.link('/opt/ssl', '/usr/lib/ssl');
  assert.equal(await resolverOf(host).resolve('/opt/ssl/certs/one.pem'), '/etc/ssl/certs/one.pem');
});

test('.. at the root stays at the root, in a path and in a link', async () => {
  await using host = await createEmptyRoot();
  await host.link('/etc/out', '../../../../../../etc/passwd');
  await host.link('/etc/up', '/..');
  const { resolve } = resolverOf(host);
  assert.equal(await resolve('/../../etc/shadow'), '/etc/shadow');
  assert.equal(await resolve('/etc/out'), '/etc/passwd');
  assert.equal(await resolve('/etc/up/../x'), '/x');
});

test('.. after a link leads above its target and not above the link', async () => {
  await using host = await createEmptyRoot();
  await mkdir(host.at('/var/lib/certs'), { recursive: true });
  await host.link('/etc/certs', '/var/lib/certs');
  assert.equal(await resolverOf(host).resolve('/etc/certs/../x'), '/var/lib/x');
});

test('a chain of 40 links is followed, one of 41 is StoreUnreadable, as Linux has it', async () => {
  await using host = await createEmptyRoot();
  await host.write('/link-0', '');
  for (let number = 1; number <= 41; number += 1) await host.link(`/link-${number}`, `link-${number - 1}`);
  assert.equal(await resolverOf(host).resolve('/link-40'), '/link-0');
  await assert.rejects(resolverOf(host).resolve('/link-41'), { code: 'StoreUnreadable' });
});

test('a loop of links, a link to itself and one that grows are StoreUnreadable and name the path', async () => {
  await using host = await createEmptyRoot();
  await host.link('/one', '/two');
  await host.link('/two', '/one');
  await host.link('/self', 'self');
  await host.link('/grows', 'grows/grows/grows');
  for (const path of ['/one', '/self', '/grows', '/one/more']) {
    await assert.rejects(
      resolverOf(host).resolve(path),
      ({ code, message }) => code === 'StoreUnreadable' && message.startsWith(`${path} `),
    );
  }
});

test('a dangling link resolves to the place that is missing', async () => {
  await using host = await createEmptyRoot();
  await host.link('/etc/certs', '/nowhere/certs');
  assert.equal(await resolverOf(host).resolve('/etc/certs'), '/nowhere/certs');
});

test('wherever the kernel stays inside, it is of the same opinion', async () => {
  const name = fc.constantFrom('a', 'b', 'c');
  const part = fc.oneof({ weight: 3, arbitrary: name }, fc.constant('..'), fc.constant('.'));
  const path = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
  const link = fc.record({ at: fc.tuple(name, name).map((names) => names.join('/')), target: path });
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(link, { maxLength: 4 }),
      fc.array(path, { minLength: 5, maxLength: 5 }),
      async (links, paths) => {
        await using host = await createEmptyRoot();
        for (const folder of ['a/a', 'b/c', 'c/b']) await mkdir(host.at(folder), { recursive: true });
        for (const { at, target } of links) await host.link(at, target).catch(() => {});
        for (const path of paths) {
          const kernel = await realpath(host.at('/') + path).catch(() => '');
          if (kernel !== host.root && !kernel.startsWith(`${host.root}/`)) continue;
          compared += 1;
          assert.equal(await resolverOf(host).resolve(path), kernel.slice(host.root.length) || '/');
        }
      },
    ),
    { numRuns: 60 },
  );
  assert(compared > 50, `compared ${compared} paths only`);
});

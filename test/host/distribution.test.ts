import assert from 'node:assert/strict';
import { test } from 'node:test';
import { detectDistribution, parseOsRelease } from '../../agent/host/distribution.ts';
import { createHostRoot } from '../../agent/host/root.ts';
import { createEmptyRoot } from '../support/sandbox.ts';

const etc = '/etc/os-release';
const usr = '/usr/lib/os-release';

interface Detected {
  readonly family?: string;
  readonly evidence?: string;
  readonly code?: string;
  readonly message?: string;
}

async function detect(
  files: Readonly<Record<string, string>>,
  links: Readonly<Record<string, string>> = {},
): Promise<Detected> {
  await using host = await createEmptyRoot();
  for (const [path, content] of Object.entries(files)) await host.write(path, content);
  for (const [path, target] of Object.entries(links)) await host.link(path, target);
  return await detectDistribution(createHostRoot(host.root)).catch((error: unknown) => error as Detected);
}

test('Debian and Ubuntu are known by their ID, and the evidence says where it was found', async () => {
  const debian = await detect({ [etc]: 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n' });
  assert.equal(debian.family, 'debian');
  assert.equal(debian.evidence, '/etc/os-release: ID=debian VERSION_ID=12');
  const ubuntu = await detect({ [etc]: 'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n' });
  assert.equal(ubuntu.family, 'debian');
  assert.equal(ubuntu.evidence, '/etc/os-release: ID=ubuntu ID_LIKE="debian" VERSION_ID=24.04');
});

test('a derivative is known by ID_LIKE, wherever in the list its parent stands', async () => {
  for (const like of ['debian', 'ubuntu debian', 'unheard-of ubuntu', '  debian ']) {
    assert.equal((await detect({ [etc]: `ID=mint\nID_LIKE="${like}"\n` })).family, 'debian', like);
  }
});

test('quotes and escapes are taken off, comments and what is no assignment do not count', async () => {
  for (const line of ['ID="debian"', "ID='debian'", 'ID=debian\r', '# ID=talos\n\nID=debian', 'ID="deb\\ian"']) {
    assert.equal((await detect({ [etc]: `NAME=x\n${line}\n` })).family, 'debian', line);
  }
  const facts = parseOsRelease('NAME="A \\"B\\" \\$C"\nEMPTY=\nID==x\n=y\nlower=z\nLAST=1\nLAST=2');
  assert.deepEqual(
    facts,
    new Map([
      ['NAME', 'A "B" $C'],
      ['EMPTY', ''],
      ['ID', '=x'],
      ['LAST', '2'],
    ]),
  );
});

test('/usr/lib/os-release answers where the one in /etc is missing or dangles, and a link between them is followed', async () => {
  assert.match((await detect({ [usr]: 'ID=debian\n' })).evidence ?? '', /^\/usr\/lib\/os-release: ID=debian/);
  assert.equal((await detect({ [usr]: 'ID=debian\n' }, { [etc]: '/none' })).family, 'debian');
  assert.match(
    (await detect({ [usr]: 'ID=debian\n' }, { [etc]: '../usr/lib/os-release' })).evidence ?? '',
    /^\/etc\/os-release/,
  );
});

test('a distribution that nobody knows is UnsupportedDistribution and is named', async () => {
  for (const [content, evidence] of [
    ['ID=gentoo\nVERSION_ID=2.15\n', 'ID=gentoo VERSION_ID=2.15'],
    ['ID=rhel\nID_LIKE="fedora"\n', 'ID=rhel ID_LIKE="fedora" VERSION_ID='],
    ['ID=debianish\n', 'ID=debianish VERSION_ID='],
    ['', 'ID=linux VERSION_ID='],
  ] as const) {
    const { code, message } = await detect({ [etc]: content });
    assert.deepEqual(
      [code, message],
      ['UnsupportedDistribution', `no trust store is known for this host: /etc/os-release: ${evidence}`],
    );
  }
});

test('a distribution that is closed by design is refused with its own way to add a CA, whatever it is like', async () => {
  const closed = [
    ['talos', 'TrustedRootsConfig'],
    ['bottlerocket', 'settings.pki'],
    ['cos', 'containerd'],
  ] as const;
  for (const [id, instead] of closed) {
    const { code, message } = await detect({ [etc]: `ID=${id}\nID_LIKE=debian\nVERSION_ID=1\n` });
    assert.equal(code, 'UnsupportedDistribution');
    assert.match(message ?? '', new RegExp(`ID=${id} .*${instead}`));
  }
});

test('without an os-release the answer names both places', async () => {
  const { code, message } = await detect({});
  assert.equal(code, 'UnsupportedDistribution');
  assert.match(message ?? '', /neither \/etc\/os-release nor \/usr\/lib\/os-release exists/);
});

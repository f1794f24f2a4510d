// What the boot makes of good files: anchors, the tool's runs, the list of its own, the record for the agent.

import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { createFileSource } from '../../agent/host/boot.ts';
import { createFactsFile } from '../../agent/host/facts.ts';
import { createHostRoot } from '../../agent/host/root.ts';
import type { SourceMemory } from '../../agent/trust/desired.ts';
import { createCertificate, type TestCertificate } from '../support/certificates.ts';
import { assertTrusted, anchors as debianAnchors, nameOf, trustOf } from '../support/debian.ts';
import { bundleOf, parse } from '../support/host-steps.ts';
import { pass, present } from '../support/passes.ts';
import { createSandbox, type Sandbox } from '../support/sandbox.ts';
import {
  allShells,
  type BootNode,
  bash,
  createBootNode,
  dash,
  debian,
  families,
  findProgram,
  input,
  linkPrograms,
  list,
  listOurs,
  needed,
  record,
  type Shell,
  snapshot,
  state,
  under,
  write,
} from './boot-node.ts';

const [one, two, three] = ['One', 'Two', 'Three'].map((subject) => createCertificate({ subject })) as [
  TestCertificate,
  TestCertificate,
  TestCertificate,
];

function filesOf({ family }: BootNode, ...certificates: readonly TestCertificate[]): readonly string[] {
  return certificates.map((certificate) => `${nameOf(certificate)}${family.suffix}`).sort();
}

async function assertBooted({ boot }: Shell, node: BootNode, code = 0): Promise<readonly string[]> {
  const ran = await boot(node);
  assert.equal(ran.code, code, ran.said);
  for (const line of ran.log) assert.match(line, /^node-trust-boot: /);
  return ran.log;
}

for (const [name, family] of Object.entries(families)) {
  const shells = name === 'debian' ? allShells : [family.sh];
  const title = `on ${name} the anchors are the agent's, byte for byte, and its own tool is run once`;
  const body = async (shell: Shell): Promise<void> => {
    await using node = await createBootNode(family);
    await write(node, one, two);
    const log = await assertBooted(shell, node);
    assert.deepEqual(log, ['node-trust-boot: certificates trusted: 2, written: 2, removed: 0']);
    assert.deepEqual(await node.anchors(), filesOf(node, one, two));
    for (const certificate of [one, two]) {
      const path = `${family.anchors}/${nameOf(certificate)}${family.suffix}`;
      assert.equal(await node.read(path), parse(certificate).pem);
      assert.match((await node.snapshot()).get(path) ?? '', /^\d+ 33188 /, 'mode 0644');
      assert((await node.read(family.bundle)).includes(certificate.pem));
    }
    assert.deepEqual(await node.calls(), [family.call]);
    assert.equal(await node.read(list), `${[one, two].map(nameOf).sort().join('\n')}\n`);
  };
  under(title, body, shells);
}

under('os-release is looked for below /usr/lib, too', async (shell) => {
  await using node = await createBootNode();
  await node.remove('/etc/os-release');
  await node.write('/usr/lib/os-release', debian.release);
  await write(node, one);
  await assertBooted(shell, node);
});

under('a second boot runs no tool and changes no file', async (shell) => {
  await using node = await createBootNode();
  await write(node, one, two);
  await assertBooted(shell, node);
  const before = await node.snapshot();
  assert.deepEqual(await assertBooted(shell, node), ['node-trust-boot: nothing to do, all of the file is in place: 2']);
  assert.deepEqual(await node.snapshot(), before);
  assert.equal((await node.calls()).length, 1);
});

under('the same certificate twice is installed once', async (shell) => {
  await using node = await createBootNode();
  await write(node, one, two, one);
  await assertBooted(shell, node);
  assert.deepEqual(await node.anchors(), filesOf(node, one, two));
});

under('text, blank lines and any wrapping around and in ten certificates are fine', async (shell) => {
  await using node = await createBootNode();
  const ten = Array.from({ length: 10 }, (_, index) => createCertificate({ subject: `CA ${index}` }));
  const [first, ...others] = ten.map(({ pem }) => pem);
  const rewrapped = first?.replaceAll(/(?<=[A-Za-z0-9+/]{20})\n(?=[A-Za-z0-9+/=]+\n)/g, '').replace('-\n', '- \n\n  ');
  await node.write('/etc/node-trust/certificates.pem', `Corp CAs\n\n${rewrapped}${others.join('\n# next: é\n')}`);
  await assertBooted(shell, node);
  assert.deepEqual(await node.anchors(), filesOf(node, ...ten));
  assert.equal(await node.read(`${debian.anchors}/${nameOf(ten[0] ?? one)}.crt`), first);
});

under('an anchor that was changed or lost is written again, and a bundle without it rebuilt', async (shell) => {
  await using node = await createBootNode();
  await write(node, one, two);
  await assertBooted(shell, node);
  const path = `${debian.anchors}/${nameOf(one)}.crt`;
  await node.write(path, `${one.pem}\n`);
  await assertBooted(shell, node);
  assert.equal(await node.read(path), one.pem);
  await node.remove(path);
  await assertBooted(shell, node);
  assert.equal(await node.read(path), one.pem);
  await node.write(debian.bundle, two.pem);
  await assertBooted(shell, node);
  assert((await node.read(debian.bundle)).includes(one.pem));
  assert.equal((await node.calls()).length, 4);
});

under('a link in the place of an anchor is replaced, and what it leads to is left alone', async (shell) => {
  await using node = await createBootNode();
  await node.write('/elsewhere', one.pem);
  const path = `${debian.anchors}/${nameOf(one)}.crt`;
  await node.link(path, node.at('/elsewhere'));
  await write(node, one);
  await assertBooted(shell, node);
  assert.match((await node.snapshot()).get(path) ?? '', /^\d+ 33188 /);
});

for (const [title, content] of [
  ['missing', undefined],
  ['empty', ''],
  ['blank', ' \n\n\t\n'],
] as const) {
  under(`a file that is ${title} is nothing to install, and takes nothing away`, async (shell) => {
    await using node = await createBootNode();
    if (content !== undefined) await node.write('/etc/node-trust/certificates.pem', content);
    const untouched = await node.snapshot();
    assert.match((await assertBooted(shell, node)).join('\n'), /^node-trust-boot: nothing to install: .*$/);
    assert.deepEqual(await node.snapshot(), untouched);
    await write(node, one);
    await assertBooted(shell, node);
    if (content === undefined) await node.remove('/etc/node-trust/certificates.pem');
    else await node.write('/etc/node-trust/certificates.pem', content);
    const before = await node.snapshot();
    await assertBooted(shell, node);
    assert.deepEqual(await node.snapshot(), before);
  });
}

under('what left the file since an earlier boot is removed, and nothing else is', async (shell) => {
  await using node = await createBootNode();
  await node.write(`${debian.anchors}/${nameOf(three)}.crt`, three.pem); // not the boot's
  await node.write(`${debian.anchors}/corp.crt`, three.pem);
  await write(node, one, two);
  await assertBooted(shell, node);
  await write(node, two);
  const log = await assertBooted(shell, node);
  assert.deepEqual(log, ['node-trust-boot: certificates trusted: 1, written: 0, removed: 1']);
  assert.deepEqual(await node.anchors(), filesOf(node, two, three));
  assert(!(await node.read(debian.bundle)).includes(one.pem));
  assert.equal(await node.read(list), `${nameOf(two)}\n`);
  assert.deepEqual(await node.calls(), ['update-ca-certificates', 'update-ca-certificates --fresh']);
  assert((await node.list(debian.anchors)).includes('corp.crt'));
});

under('what left the file stays while the cluster wants it, by the records of the agent', async (shell) => {
  await using node = await createBootNode();
  await write(node, one, two, three);
  await assertBooted(shell, node);
  const facts = createFactsFile(createHostRoot(node.root));
  const remembered = (source: string, ...certificates: readonly TestCertificate[]): SourceMemory => ({
    source,
    certificates: certificates.map(({ pem }) => ({ entry: 'ca.pem', pem })),
    observed: '',
    onDelete: 'grace',
  });
  await facts.update({ local: remembered('file', one, two, three), source: remembered('secret', two) });
  await write(node, three);
  await assertBooted(shell, node);
  assert.deepEqual(await node.anchors(), filesOf(node, two, three));
  await facts.update({ source: remembered('secret') });
  await assertBooted(shell, node);
  assert.deepEqual(await node.anchors(), filesOf(node, three));
  assert.equal(await node.read(list), `${nameOf(three)}\n`);
});

for (const [title, records] of [
  ['are torn', '{"version": 1'],
  ['are of a newer agent', '{\n  "version": 2,\n  "source": {}\n}\n'],
] as const) {
  under(`with records of the agent that ${title} nothing is removed until they are gone`, async (shell) => {
    await using node = await createBootNode();
    await write(node, one, two);
    await assertBooted(shell, node);
    await node.write(state, records);
    await write(node, two);
    await assertBooted(shell, node);
    assert.deepEqual(await node.anchors(), filesOf(node, one, two));
    assert.equal((await node.calls()).length, 1);
    await node.remove(state);
    await assertBooted(shell, node);
    assert.deepEqual(await node.anchors(), filesOf(node, two));
  });
}

under('what stands in the file is on the list, whoever has installed it', async (shell) => {
  await using node = await createBootNode();
  await node.write(`${debian.anchors}/${nameOf(one)}.crt`, one.pem); // by an agent that follows the file
  await write(node, one, two);
  await assertBooted(shell, node);
  await write(node, two);
  await assertBooted(shell, node);
  assert.deepEqual(await node.anchors(), filesOf(node, two));
});

under('a list with other lines than names removes no other file', async (shell) => {
  await using node = await createBootNode();
  await node.write(`${debian.anchors}/corp.crt`, three.pem);
  await node.write('/etc/precious.crt', '');
  await node.write(list, 'corp\n../../../../etc/precious\n*\n\nnode-trust-\n');
  await write(node, one);
  await assertBooted(shell, node);
  assert.deepEqual(await node.list(debian.anchors), ['corp.crt', `${nameOf(one)}.crt`]);
  assert.equal(await node.read('/etc/precious.crt'), '');
});

for (const [fault, code, calls] of [
  ['fails', 'ToolFailed', 2],
  ['fails-once', 'ToolFailed', 2],
  ['hangs-once', 'ToolTimedOut', 2],
  ['idles', 'StoreIncomplete', 2],
] as const) {
  under(`a tool that ${fault} leaves no addition behind, and the next boot makes it good`, async (shell) => {
    await using node = await createBootNode();
    await write(node, one);
    await assertBooted(shell, node);
    const before = await readStore(node);
    await write(node, one, two);
    await node.breakTool(fault);
    const { code: exit, log } = await shell.boot(node, { NODE_TRUST_TIMEOUT: '1' });
    assert.equal(exit, 3);
    assert.match(log[0] ?? '', new RegExp(`^node-trust-boot: ${code}: `));
    assert.match(log.at(-1) ?? '', /taken away again; run this again/);
    assert.deepEqual(await readStore(node), before);
    assert.equal((await node.calls()).length, 1 + calls);
    if (!fault.endsWith('-once')) await node.mendTool();
    await assertBooted(shell, node);
    assert.deepEqual(await node.anchors(), filesOf(node, one, two));
  });
}

async function readStore(node: BootNode): Promise<readonly unknown[]> {
  return [await node.anchors(), await node.read(node.family.bundle), await node.read(list)];
}

under('an anchor that was mended stays when the tool fails: it was there before', async (shell) => {
  await using node = await createBootNode();
  await node.write(`${debian.anchors}/${nameOf(one)}.crt`, `${one.pem}\n`);
  await write(node, one, two);
  await node.breakTool('fails-once');
  await assertBooted(shell, node, 3);
  assert.deepEqual(await node.anchors(), filesOf(node, one));
});

under('a removal that the tool did not carry out is carried out by the next boot', async (shell) => {
  await using node = await createBootNode();
  await write(node, one, two);
  await assertBooted(shell, node);
  await write(node, two);
  await node.breakTool('fails');
  await assertBooted(shell, node, 3);
  assert((await node.read(debian.bundle)).includes(one.pem));
  await node.mendTool();
  await assertBooted(shell, node);
  assert(!(await node.read(debian.bundle)).includes(one.pem));
});

/** The programs that the script needs, of this machine, but for timeout(1). */
async function linkNeeded(timeout?: string): Promise<string> {
  const others = needed.filter((name) => name !== 'timeout');
  const programs = new Map(await Promise.all(others.map(async (name) => [name, await findProgram(name)] as const)));
  const names = timeout === undefined ? others : needed;
  return linkPrograms(names, (name) => programs.get(name) ?? timeout ?? '/nowhere');
}

const lackTimeout = async ({ boot }: Shell): Promise<void> => {
  await using node = await createBootNode();
  await write(node, one);
  const { code, log } = await boot(node, { PATH: await linkNeeded() });
  assert.deepEqual([code, log], [3, ['node-trust-boot: ToolMissing: timeout is not installed; install it']]);
  assert.deepEqual(await node.anchors(), []);
};
under('a program of the shell that is missing is named before anything is done', lackTimeout, [dash, bash]);

const oldTimeout = async ({ boot }: Shell): Promise<void> => {
  await using node = await createBootNode();
  const text = `[ "$1" != -k ] || exit 1\nexec ${await findProgram('timeout')} "$@"`;
  await node.write('/fake/timeout', `#!/bin/sh\n${text}\n`, 0o755);
  const path = { PATH: await linkNeeded(node.at('/fake/timeout')) };
  await write(node, one);
  await node.breakTool('hangs-once');
  const { code, said } = await boot(node, { ...path, NODE_TRUST_TIMEOUT: '1' });
  assert.deepEqual([code, said.startsWith('node-trust-boot: ToolTimedOut: ')], [3, true], said);
  assert.equal((await boot(node, path)).code, 0);
};
under('a tool that hangs is ended by a timeout(1) that cannot kill, too', oldTimeout, [dash, bash]);

under('what cannot be written half-way takes back what was', async (shell) => {
  await using node = await createBootNode();
  const [first, second] = [one, two].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1)) as [
    TestCertificate,
    TestCertificate,
  ];
  await node.write(`${debian.anchors}/${nameOf(second)}.crt/inner`, '');
  await write(node, first, second);
  assert.match((await assertBooted(shell, node, 3))[0] ?? '', /: AnchorsReadOnly: .* cannot be written; /);
  assert.deepEqual(await node.anchors(), filesOf(node, second), 'the folder in its place, and no temporary file');
  assert.equal(await node.read(debian.bundle), await node.read('/fake/distribution.pem'));
});

for (const [title, spoil, message] of [
  [
    'an unknown distribution',
    (node: BootNode) => node.write('/etc/os-release', 'ID=talos\nID_LIKE="*"\n'),
    /UnsupportedDistribution: .*"talos ?"; /,
  ],
  ['no os-release', (node: BootNode) => node.remove('/etc/os-release'), /UnsupportedDistribution: /],
  [
    'a tool that is missing',
    (node: BootNode) => node.remove(debian.tool),
    /ToolMissing: update-ca-certificates .*; install/,
  ],
  [
    'an anchors folder that cannot be made',
    (node: BootNode) => node.write('/usr/local', ''),
    /AnchorsReadOnly: .*; make/,
  ],
  ['a file that is a folder', (node: BootNode) => replaceByFolder(node), /SourceUnavailable: .*; make/],
] as const) {
  under(`${title} is told with what to do, and nothing is changed`, async (shell) => {
    await using node = await createBootNode();
    await write(node, one);
    await spoil(node);
    assert.match((await assertBooted(shell, node, 3))[0] ?? '', message);
    assert.deepEqual(await node.anchors(), []);
    await assert.rejects(node.read(record), { code: 'ENOENT' });
    await assert.rejects(node.read(list), { code: 'ENOENT' });
  });
}

async function replaceByFolder(node: BootNode): Promise<void> {
  await node.remove('/etc/node-trust/certificates.pem');
  await node.write('/etc/node-trust/certificates.pem/inner', '');
}

const id = '0123456789abcdef0123456789abcdef';
for (const [activeState, invocationId, mark] of [
  ['inactive', '', 'stopped'],
  ['inactive', id, 'stopped'],
  ['failed', id, 'stopped'],
  ['active', id, id],
  ['active', '', 'unknown'],
  ['activating', id, 'unknown'],
] as const) {
  under(
    `the record says ${mark} of a runtime that is ${activeState} with ${invocationId || 'no'} ID`,
    async (shell) => {
      await using node = await createBootNode();
      await node.sayRuntime(activeState, invocationId);
      await node.write(`${debian.anchors}/${nameOf(three)}.crt`, three.pem);
      await node.write(`${debian.anchors}/node-trust-0123456789abcdef.crt`, three.pem); // not what its name says
      await write(node, one, two);
      await assertBooted(shell, node);
      assert.equal(await node.read(record), await recordOf(node, [one, two, three], mark));
    },
  );
}

async function recordOf(node: BootNode, certificates: readonly TestCertificate[], mark: string): Promise<string> {
  const { ino, size, ctimeMs } = await stat(node.at(node.family.bundle));
  const { digest } = bundleOf(certificates);
  return `version 1\nbundle ${digest}\nstore ${ino}.${size}.${Math.floor(ctimeMs / 1000)}\nbefore ${mark}\nafter ${mark}\n`;
}

under('a node without systemctl is one whose runtime is unknown', async (shell) => {
  await using node = await createBootNode();
  await node.remove('/usr/bin/systemctl');
  await write(node, one);
  await assertBooted(shell, node);
  assert.equal(await node.read(record), await recordOf(node, [one], 'unknown'));
});

under('with all in place, a record is made for a runtime that is stopped, and for no other', async (shell) => {
  await using node = await createBootNode();
  await write(node, one);
  await assertBooted(shell, node);
  await node.remove('/run'); // a reboot
  await node.sayRuntime('active', id);
  await assertBooted(shell, node);
  await assert.rejects(node.read(record), { code: 'ENOENT' });
  await node.sayRuntime('inactive', id);
  await assertBooted(shell, node);
  assert.equal(await node.read(record), await recordOf(node, [one], 'stopped'));
});

/** The distribution's own tool, as an administrator of the sandbox would redirect it. */
async function createDebianNode(): Promise<Sandbox> {
  const node = await createSandbox({ roots: 2 });
  await node.write(
    debian.tool,
    `#!/bin/sh
exec /usr/sbin/update-ca-certificates "$@" --etccertsdir '${node.at('/etc/ssl/certs')}' \
  --localcertsdir ../../../usr/local/share/ca-certificates --certsdir ../../../usr/share/ca-certificates \
  --certsconf '${node.at('/etc/ca-certificates.conf')}' --hooksdir '${node.at('/etc/ca-certificates/update.d')}' >/dev/null
`,
    0o755,
  );
  return node;
}

const withRealTool = async (shell: Shell): Promise<void> => {
  await using node = await createDebianNode();
  const before = await node.read(debian.bundle);
  await write(node, one, two);
  assert.equal((await shell.boot(node)).code, 0);
  await assertTrusted(node, [one, two]);
  const untouched = await snapshot(node);
  assert.equal((await shell.boot(node)).code, 0);
  // The fake systemctl notes that it was asked.
  for (const [path, facts] of await snapshot(node))
    if (!path.startsWith('/run/sandbox') && !path.startsWith('/tmp')) assert.equal(facts, untouched.get(path), path);
  await write(node, two);
  assert.equal((await shell.boot(node)).code, 0);
  await assertTrusted(node, [two]);
  assert.deepEqual(await trustOf(node, one), { byFile: false, byFolder: false });
  assert.deepEqual(await listOurs(node, debianAnchors), [`${nameOf(two)}.crt`]);
  assert.deepEqual(await listOurs(node, '/etc/ssl/certs'), [`${nameOf(two)}.pem`]);
  assert((await node.read(debian.bundle)).startsWith(before));
};
under('the real tool of Debian trusts what the boot installs, and no more what left the file', withRealTool, [dash]);

const handOver = async (shell: Shell): Promise<void> => {
  await using node = await createDebianNode();
  await node.runtime.systemctl('stop', 'containerd.service');
  await write(node, one, two);
  assert.equal((await shell.boot(node)).code, 0);
  await node.runtime.systemctl('start', 'containerd.service');
  const source = createFileSource(createHostRoot(node.root), '/etc/node-trust/certificates.pem');
  const { status, steps } = await pass(node, { kind: 'absent' }, { local: source });
  assert.equal(status.state, 'Synced', status.message);
  assert.deepEqual(
    steps.map(({ kind }) => kind),
    ['await-healthy', 'note-loaded'],
  );
};
under(
  'the agent takes over what the boot has installed: it neither writes the store nor restarts the runtime',
  handOver,
  [dash],
);

const leaveFile = async (shell: Shell): Promise<void> => {
  await using node = await createDebianNode();
  await node.runtime.systemctl('stop', 'containerd.service');
  await write(node, one, two, three);
  assert.equal((await shell.boot(node)).code, 0);
  await node.runtime.systemctl('start', 'containerd.service');
  const local = createFileSource(createHostRoot(node.root), input);
  assert.equal((await pass(node, present(two), { local })).status.state, 'Synced');

  await write(node, three);
  await node.remove('/run/node-trust-agent').catch(() => {}); // a reboot
  await node.runtime.systemctl('stop', 'containerd.service');
  assert.equal((await shell.boot(node)).code, 0);
  await node.runtime.systemctl('start', 'containerd.service');
  await assertTrusted(node, [two, three]);
  assert(!(await node.read(debian.bundle)).includes(one.pem));
  assert(!(await node.runtime.trustPool()).includes(one.pem), 'before any agent comes');
  // Whatever the file says by now, the agent brings back nothing that has left it.
  await node.write(input, 'broken');
  assert.equal((await pass(node, present(two), { local })).status.reason, 'NoCertificate');
  await assertTrusted(node, [two, three]);
  await write(node, three);
  assert.equal((await pass(node, present(two), { local })).status.state, 'Synced');
  assert(!(await node.read(debian.bundle)).includes(one.pem));
  assert.equal((await node.runtime.calls()).filter((call) => call.startsWith('restart')).length, 1, 'at its making');
};
under('after an agent, too, what left the file is gone with the next boot, but for what the cluster wants', leaveFile, [
  dash,
]);

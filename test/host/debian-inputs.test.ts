import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { createHostCommands } from '../../agent/host/commands.ts';
import { listInputs } from '../../agent/host/debian-inputs.ts';
import { createDebianStore } from '../../agent/host/debian-store.ts';
import { createHostRoot } from '../../agent/host/root.ts';
import { createCertificate, encodePem, type TestCertificate } from '../support/certificates.ts';
import { anchors, assertTrusted, createNode, digestTree } from '../support/debian.ts';
import { parse, reach } from '../support/host-steps.ts';
import { createEmptyRoot, updateStore } from '../support/sandbox.ts';

const { signal } = new AbortController();
const execute = promisify(execFile);
const create = (subject: string): TestCertificate => createCertificate({ subject });
const conf = '/etc/ca-certificates.conf';
const distribution = '/usr/share/ca-certificates';

test('a host without any folder has no inputs', async () => {
  await using host = await createEmptyRoot();
  assert.deepEqual(await listInputs(createHostRoot(host.root)), []);
});

test('the inputs are those that the tool’s own `sed` and `find` would name', async () => {
  await using host = await createEmptyRoot();
  for (const name of ['a.crt', 'sub/deep/er/b.crt', '.hidden.crt', 'with blank.crt', 'd.pem', 'README']) {
    await host.write(`${anchors}/${name}`, '');
  }
  await host.write('/opt/file', '');
  await host.write('/opt/folder/inside.crt', '');
  await host.link(`${anchors}/link.crt`, '../../../../opt/file');
  await host.link(`${anchors}/folder`, '../../../../opt/folder');
  await host.link(`${anchors}/folder.crt`, '../../../../opt/folder');
  await host.link(`${anchors}/sub/loop`, '..');
  await host.link(`${anchors}/other-loop`, '.');
  await host.link(`${anchors}/dangling.crt`, '/none');
  await execute('mkfifo', [host.at(`${anchors}/fifo.crt`)]);
  await host.link(`${anchors}/link-to-fifo.crt`, 'fifo.crt');
  await host.link(`${anchors}/link-to-itself.crt`, 'link-to-itself.crt');
  const find = await execute('find', ['-L', host.at(anchors), '-type', 'f', '-name', '*.crt']).catch((error) => error);
  const found = String(find.stdout)
    .trimEnd()
    .split('\n')
    .map((path) => path.slice(host.root.length));
  assert.equal(found.length, 7);

  await host.write(
    conf,
    '# comment\n!no.crt\n\nmozilla/yes.crt\n \tblanks.crt \nwith blank.crt\nwindows.crt\r\n #name.crt',
  );
  const selected = ['mozilla/yes.crt', 'blanks.crt', 'with blank.crt', 'windows.crt\r', '#name.crt'];
  const inputs = await listInputs(createHostRoot(host.root));
  assert.deepEqual(inputs.toSorted(), [...found, ...selected.map((name) => `${distribution}/${name}`)].toSorted());
});

test('foreign anchors of any name and kind survive all that we do, and stay trusted', async () => {
  await using node = await createNode();
  const names = ['with blank.crt', 'paren(these).crt', 'com,ma.crt', 'ümläut-证书.crt', '-dash.crt', '.hidden.crt'];
  names.push('quo\'te".crt', 'sub/folder/nested.crt', 'node-trust-.crt', 'node-trust-0123456789ABCDEF.crt');
  const foreign = names.map(create);
  for (const [index, name] of names.entries()) await node.write(`${anchors}/${name}`, foreign[index]?.pem ?? '');
  const linked = [create('Linked'), create('In a linked folder')];
  await node.write('/opt/linked', linked[0]?.pem ?? '');
  await node.link(`${anchors}/linked.crt`, '../../../../opt/linked');
  await node.write('/opt/folder/inside.crt', linked[1]?.pem ?? '');
  await node.link(`${anchors}/folder`, '../../../../opt/folder');
  await node.link(`${anchors}/dangling.crt`, '/none');
  await node.link(`${anchors}/masked.crt`, '/dev/null');
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
  'a file of the distribution': { path: `${distribution}/bad.crt`, selected: 'bad.crt', content: broken },
  'a file selected with blanks': { path: `${distribution}/bad.crt`, selected: ' bad.crt \t', content: broken },
} as const;

test('with a bad foreign block nothing is changed, neither to add nor to withdraw, and its file is named', async () => {
  for (const [what, input] of Object.entries(brokenInputs)) {
    await using node = await createNode();
    const more = create('More');
    await node.write('real' in input ? input.real : input.path, input.content);
    if ('real' in input) await node.link(`${anchors}/link`, '../../../../opt');
    if ('selected' in input) await node.write(conf, `${await node.read(conf)}${input.selected}\n`);
    const before = await digestTree(node);
    const store = createDebianStore(createHostRoot(node.root), await createHostCommands(node.root));
    const expected = (error: { readonly code?: unknown; readonly message: string }): boolean =>
      error.code === 'StoreBrokenBefore' && error.message.startsWith(`${input.path} was broken before us: line `);
    await assert.rejects(store.stage([parse(more)], [], signal), expected, what);
    await assert.rejects(store.rebuild({ certificates: [] }, signal), expected, what);
    assert.deepEqual(await digestTree(node), before, what);
  }
});

test('a bad file that the distribution does not select, or that is no .crt, is nobody’s problem', async () => {
  await using node = await createNode();
  await node.write(`${distribution}/bad.crt`, broken);
  await node.write(`${anchors}/bad.pem`, broken);
  await node.write(conf, `${await node.read(conf)}!bad.crt\n#bad.crt\nmissing.crt\n`);
  await reach(node, [create('Ours')]);
});

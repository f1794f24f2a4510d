import assert from 'node:assert/strict';
import * as fs from 'node:fs/promises';
import { test } from 'node:test';
import { createHostCommands } from '../../agent/host/commands.ts';
import { createDebianStore } from '../../agent/host/debian-store.ts';
import { createHostRoot } from '../../agent/host/root.ts';
import type { TrustStore } from '../../agent/host/trust-store.ts';
import { anchorName } from '../../agent/trust/observation.ts';
import { createCertificate, type TestCertificate } from '../support/certificates.ts';
import {
  anchors,
  assertTrusted,
  bundle,
  certs,
  createNode,
  digestHost,
  nameOf,
  tool,
  trustOf,
} from '../support/debian.ts';
import { parse, reach } from '../support/host-steps.ts';
import type { EmptyRoot } from '../support/sandbox.ts';
import { until } from '../support/until.ts';

const { signal } = new AbortController();
const create = (subject: string): TestCertificate => createCertificate({ subject });

test('staging touches neither store nor anchors and leaves nothing behind, whether it succeeds or not', async () => {
  await using node = await createNode();
  const [ours, foreign, leaving] = [create('Ours'), create('Foreign'), create('Leaving')];
  await node.write(`${anchors}/foreign.crt`, foreign.pem);
  await reach(node, [leaving]);
  await node.write('/var/lib/node-trust-agent/stage/store/left-over', 'of a stage that was cut off');
  await node.write(tool, '', 0o644);
  await node.remove(tool);
  const store = await storeOf(node);
  const before = await digestHost(node);
  await store.stage([parse(ours)], [anchorName(parse(leaving).fingerprint)], signal);
  assert.deepEqual(await digestHost(node), before);
  assert.deepEqual(await node.list('/var/lib/node-trust-agent'), ['state.json']);
  for (const [script, code] of failingTools(parse(ours).pem)) {
    await node.write(tool, script, 0o755);
    await assert.rejects(store.stage([parse(ours)], [], signal), { code }, script);
    assert.deepEqual(await node.list('/var/lib/node-trust-agent'), ['state.json'], script);
    await node.remove(tool);
    assert.deepEqual(await digestHost(node), before, script);
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
  const failures: readonly (readonly [string, RegExp])[] = [
    [drop(ours.pem), /line \d+: this block does not load as a certificate$/],
    [onBundle('sed -i "/Ours/d" "$bundle"; echo "-----BEGIN CERTIFICATE-----" >> "$bundle"'), /is incomplete: line/],
    [empty, new RegExp(`it lacks CN=Ours \\(${parse(ours).fingerprint.slice(0, 16)}\\)`)],
    [onBundle(`cp '${node.at(anchors)}/${nameOf(ours)}.crt' "$bundle"`), /it lacks what is in .*foreign\.crt/],
  ];
  for (const [script, message] of failures) {
    await node.write(tool, script, 0o755);
    await assert.rejects(store.rebuild([parse(ours)], [], signal), { code: 'StoreIncomplete', message }, script);
  }
});

test('a tool that ends well and keeps a withdrawn certificate is ToolFailed, in the pass after that too', async () => {
  await using node = await createNode();
  const [ours, stays] = [create('Ours'), create('Stays')];
  await reach(node, [ours, stays]);
  await node.write(tool, `#!/bin/sh\ncase "$2" in *stage*) exec ${tool} "$@" ;; esac\n`, 0o755);
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
  await until(() => node.read('/pid').catch(() => ''));
  t.mock.timers.tick(119_999);
  t.mock.timers.tick(1);
  await told;
  assert.equal(await node.read(bundle), before);
  assert.deepEqual(await node.list('/var/lib/node-trust-agent'), []);
});

test('a run of somebody else’s that tears the bundle is made good for by another run, and three of them are told', async () => {
  await using node = await createNode();
  const ours = create('Ours');
  const tear = (times: number): string =>
    onBundle(`echo >> ${node.at('/tmp/runs')}; [ "$(wc -l < ${node.at('/tmp/runs')})" -gt ${times} ] || : > "$bundle"`);
  const store = await storeOf(node);
  await store.writeAnchor(parse(ours));
  await node.write('/tmp/runs', '');
  await node.write(tool, tear(2), 0o755);
  await store.rebuild([parse(ours)], [], signal);
  await assertTrusted(node, [ours]);
  await node.write('/tmp/runs', '');
  await node.write(tool, tear(9), 0o755);
  await assert.rejects(store.rebuild([parse(ours)], [], signal), { code: 'StoreIncomplete', retry: 'transient' });
  assert.equal(await node.read('/tmp/runs'), '\n\n\n');
});

test('what a killed run left behind does not get into the bundle', async () => {
  await using node = await createNode();
  const [ours, stranger] = [create('Ours'), create('Stranger')];
  await node.write(`${bundle}.new`, stranger.pem);
  await reach(node, [ours]);
  await assertTrusted(node, [ours]);
  assert.deepEqual(await trustOf(node, stranger), { byFile: false, byFolder: false });
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
    ['#!/none\n', 'ToolMissing'],
  ];
}

test('where a hook feeds the key store of Java, a withdrawal warns of what stays in it', async () => {
  await using node = await createNode();
  await node.write('/etc/ca-certificates/update.d/jks-keystore', '#!/bin/sh\n', 0o755);
  assert.deepEqual((await reach(node, [create('Ours')])).warnings, []);
  assert.match(
    String((await reach(node, [])).warnings),
    /^what was taken away stays in the key store of Java: keytool -delete/,
  );
});

test('a tool that fails on a full disk is told as that, whatever words it has for it', async () => {
  await using node = await createNode();
  await node.write(tool, '#!/bin/sh\nexit 4\n', 0o755);
  const full = { ...fs, statfs: () => Promise.resolve({ bfree: 10, bsize: 4096 }) } as unknown as typeof fs;
  const store = createDebianStore(createHostRoot(node.root, full), await createHostCommands(node.root));
  await assert.rejects(store.rebuild([], [], signal), { code: 'DiskFull', message: /\/etc\/ssl\/certs/ });
});

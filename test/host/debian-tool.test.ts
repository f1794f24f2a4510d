import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import * as fs from 'node:fs/promises';
import { test } from 'node:test';
import { promisify } from 'node:util';
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
import { openSandbox, parse, reach } from '../support/host-steps.ts';
import { type EmptyRoot, toolOptions } from '../support/sandbox.ts';
import { hurry, until } from '../support/until.ts';

const execute = promisify(execFile);
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
  await assert.rejects(store.rebuild({ certificates: [ours, more].map(parse) }, signal), {
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
    await assert.rejects(
      store.rebuild({ certificates: [parse(ours)] }, signal),
      { code: 'StoreIncomplete', message },
      script,
    );
  }
});

test('what a hook could not be told of others is told again as well, as it is by then', async () => {
  await using node = await createNode();
  const [ours, comes, goes] = [create('Ours'), create('Comes'), create('Goes')];
  await node.write(`${anchors}/goes.crt`, goes.pem);
  await reach(node, [ours]);
  await node.write(`${anchors}/comes.crt`, comes.pem);
  await node.remove(`${anchors}/goes.crt`);
  const hook = '/etc/ca-certificates/update.d/hook';
  await node.write(hook, '#!/bin/sh\nexit 3\n', 0o755);
  const next = create('Next');
  await reach(node, [ours, next]);
  await reach(node, [next]);
  await node.write(hook, `#!/bin/sh\ncat > '${node.at('/told')}'\n`, 0o755);
  const host = await openSandbox(node, 'optional');
  assert.deepEqual(await host.retell(signal), []);
  const lines = (await node.read('/told')).trimEnd().split('\n').sort();
  const path = (name: string): string => `${node.at(certs)}/${name}.pem`;
  const expected = [`+${path('comes')}`, `+${path(nameOf(next))}`, `-${path('goes')}`, `-${path(nameOf(ours))}`];
  assert.deepEqual(lines, expected.sort());
});

test('an anchor of ours that somebody installs while the tool runs is taken out, and the rebuild with it does not count', async () => {
  await using node = await createNode();
  const [ours, atBoot] = [create('Ours'), create('At Boot')];
  const path = node.at(`${anchors}/${nameOf(atBoot)}.crt`);
  await node.write('/tmp/at-boot', atBoot.pem);
  const once = `[ -e '${node.at('/tmp/done')}' ] || cp '${node.at('/tmp/at-boot')}' '${path}'; touch '${node.at('/tmp/done')}'`;
  const script = `#!/bin/sh\ncase "$*" in *--certbundle*) ${once} ;; esac\nexec ${tool} "$@"\n`;
  await node.write(tool, script, 0o755);
  const { steps } = await reach(node, [ours]);
  assert.deepEqual(steps.slice(-3), ['remove-anchor', 'rebuild-store', 'note-after']);
  assert.equal(steps.filter((kind) => kind === 'rebuild-store' || kind === 'note-after').length, 2);
  assert(!(await node.read(bundle)).includes(atBoot.pem));
});

test('a tool that ends well and keeps a withdrawn certificate is ToolFailed, in the pass after that too', async () => {
  await using node = await createNode();
  const [ours, stays] = [create('Ours'), create('Stays')];
  await reach(node, [ours, stays]);
  await node.write('/tmp/kept', await node.read(bundle));
  const keep = `case "$2" in *stage*) ;; *) cp '${node.at('/tmp/kept')}' "$bundle" ;; esac`;
  await node.write(tool, onBundle(keep), 0o755);
  for (let pass = 0; pass < 2; pass += 1) {
    await assert.rejects(reach(node, [stays]), { code: 'ToolFailed', message: new RegExp(parse(ours).fingerprint) });
  }
  await node.remove(tool);
  await reach(node, [stays]);
  assert.deepEqual(await trustOf(node, ours), { byFile: false, byFolder: false });
});

test('an old bundle that somebody puts back while hooks are told is made good for by another run, and three of them are told', async () => {
  await using node = await createNode();
  const [ours, stays, ofHook] = [create('Ours'), create('Stays'), create('Of A Hook')];
  await reach(node, [ours, stays]);
  await node.write('/tmp/old', await node.read(bundle));
  await node.write('/tmp/of-hook', ofHook.pem);
  await node.remove(`${anchors}/${nameOf(ours)}.crt`);
  const store = await storeOf(node);
  const rebuild = async (times: number): Promise<string> => {
    const putBack = `[ "$(wc -l < '${node.at('/tmp/runs')}')" -gt ${times} ] || cp '${node.at('/tmp/old')}' '${node.at(bundle)}'`;
    const hook = `#!/bin/sh\necho >> '${node.at('/tmp/runs')}'\n${putBack}\ncat '${node.at('/tmp/of-hook')}' >> '${node.at(bundle)}'\n`;
    await node.write('/tmp/runs', '');
    await node.write('/etc/ca-certificates/update.d/hook', hook, 0o755);
    const wish = { certificates: [parse(stays)], withdrawn: [anchorName(parse(ours).fingerprint)] };
    return (await store.rebuild(wish, signal)).version;
  };
  await assert.rejects(rebuild(9), {
    code: 'ToolFailed',
    retry: 'transient',
    message: new RegExp(`what is in no file: ${parse(ours).fingerprint}$`),
  });
  assert.equal(await node.read('/tmp/runs'), '\n\n\n');
  assert.equal(await rebuild(2), await store.version());
  assert.deepEqual(await trustOf(node, ours), { byFile: false, byFolder: false });
  await assertTrusted(node, [stays]);
  assert((await node.read(bundle)).endsWith(ofHook.pem), 'what a hook adds stays');
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
  await store.rebuild({ certificates: [parse(ours)] }, signal);
  await assertTrusted(node, [ours]);
  await node.write('/tmp/runs', '');
  await node.write(tool, tear(9), 0o755);
  await assert.rejects(store.rebuild({ certificates: [parse(ours)] }, signal), {
    code: 'StoreIncomplete',
    retry: 'transient',
  });
  assert.equal(await node.read('/tmp/runs'), '\n\n\n');
});

test('what a killed run left behind does not get into the bundle, and stays where it is', async () => {
  await using node = await createNode();
  const [ours, stranger] = [create('Ours'), create('Stranger')];
  await node.write(`${bundle}.new`, stranger.pem);
  await reach(node, [ours]);
  await assertTrusted(node, [ours]);
  assert.deepEqual(await trustOf(node, stranger), { byFile: false, byFolder: false });
  assert.equal(await node.read(`${bundle}.new`), stranger.pem);
});

test('what a killed run left behind goes with a certificate that was taken away, since Go would find it there', async () => {
  await using node = await createNode();
  const [stays, goes] = [create('Stays'), create('Goes')];
  await reach(node, [stays, goes]);
  await node.write(`${bundle}.new`, goes.pem.slice(0, -40) + stays.pem + goes.pem);
  await reach(node, [stays]);
  await assert.rejects(node.read(`${bundle}.new`), { code: 'ENOENT' });
});

/** The real tool, that does this when its bundle is made and not yet in its place. */
async function interruptedTool(script: string): Promise<string> {
  const text = await fs.readFile(tool, 'utf8');
  const changed = text.replace(/^ *chmod 0644 "\$TEMPBUNDLE"$/m, `${script}\n$&`);
  assert.notEqual(changed, text);
  return changed;
}

test('a run of somebody else’s that is in its middle while ours is made comes to its end', async () => {
  await using node = await createNode();
  const [ours, foreign] = [create('Ours'), create('Foreign')];
  await node.write(`${anchors}/foreign.crt`, foreign.pem);
  const gate = node.at('/tmp/gate');
  await node.write(
    '/tmp/theirs',
    await interruptedTool(`: > '${node.at('/tmp/paused')}'; read -r go < '${gate}'`),
    0o755,
  );
  await execute('mkfifo', [gate]);
  const theirs = execute(node.at('/tmp/theirs'), toolOptions(node.root));
  await until(() => node.list('/tmp').then((names) => names.includes('paused')));
  await reach(node, [ours]);
  await assertTrusted(node, [ours, foreign]);
  await node.write('/tmp/gate', 'go\n');
  await theirs;
  await reach(node, [ours]);
  await assertTrusted(node, [ours, foreign]);
});

test('a run of somebody else’s that writes without an end is waited for as long as one of ours, and told', async (t) => {
  await using node = await createNode();
  const before = await node.read(bundle);
  await node.write(`${bundle}.new`, 'a part');
  hurry(t);
  await assert.rejects((await storeOf(node)).rebuild({ certificates: [] }, signal), {
    code: 'ToolTimedOut',
    message: /of somebody else writes .*\.new without an end/,
  });
  assert.equal(await node.read(bundle), before);
});

test('a run of somebody else’s that comes in the middle of ours takes nothing away from it', async () => {
  await using node = await createNode();
  const [ours, foreign] = [create('Ours'), create('Foreign')];
  await node.write(`${anchors}/foreign.crt`, foreign.pem);
  const theirs = [tool, ...toolOptions(node.root)].map((word) => `'${word}'`).join(' ');
  const log = `>> '${node.at('/runs')}'`;
  await node.write(
    tool,
    await interruptedTool(`case "$ETCCERTSDIR" in *stage*) ;; *) ${theirs} ${log} ;; esac`),
    0o755,
  );
  await reach(node, [ours]);
  await assertTrusted(node, [ours, foreign]);
  assert.equal((await node.read('/runs')).match(/done\.$/gm)?.length, 1, 'ours was made once');
});

test('a file that somebody removes while ours is made costs another run, and no failure', async () => {
  await using node = await createNode();
  const [ours, foreign] = [create('Ours'), create('Foreign')];
  await node.write(`${anchors}/foreign.crt`, foreign.pem);
  const remove = `case "$ETCCERTSDIR" in *stage*) ;; *) rm -f '${node.at(anchors)}/foreign.crt' ;; esac`;
  await node.write(tool, await interruptedTool(remove), 0o755);
  await reach(node, [ours]);
  await assertTrusted(node, [ours]);
  assert.deepEqual(await trustOf(node, foreign), { byFile: false, byFolder: false });
});

test('hooks are told of what has come and of what has gone, when the bundle is new, and not while staging', async () => {
  await using node = await createNode();
  const [ours, other, goes] = [create('Ours'), create('Foreign'), create('Goes')];
  await reach(node, [goes]);
  await node.write(`${anchors}/foreign.crt`, other.pem);
  const hook = `#!/bin/sh\ncat >> '${node.at('/told')}'\ncp '${node.at(bundle)}' '${node.at('/seen')}'\n`;
  await node.write('/etc/ca-certificates/update.d/hook', hook, 0o755);
  await node.write('/etc/ca-certificates/update.d/not-executable', hook);
  await (await storeOf(node)).stage([parse(ours)], [], signal);
  await assert.rejects(node.read('/told'));
  await reach(node, [ours]);
  const lines = (await node.read('/told')).trimEnd().split('\n').sort();
  assert.deepEqual(
    lines,
    [
      `+${node.at(certs)}/foreign.pem`,
      `+${node.at(certs)}/${nameOf(ours)}.pem`,
      `-${node.at(certs)}/${nameOf(goes)}.pem`,
    ].sort(),
  );
  assert.equal(await node.read('/seen'), await node.read(bundle));
});

test('a hook that fails is a warning, and the others are told; one need not listen', async () => {
  await using node = await createNode();
  const hooks = '/etc/ca-certificates/update.d';
  await node.write(`${hooks}/a-deaf`, '#!/bin/sh\nexec <&-\n', 0o755);
  await node.write(`${hooks}/b-fails`, '#!/bin/sh\necho no key store >&2\nexit 3\n', 0o755);
  await node.write(`${hooks}/c-listens`, `#!/bin/sh\ncat > '${node.at('/told')}'\n`, 0o755);
  const ours = create('Ours');
  const { warnings } = await reach(node, [ours]);
  assert.equal(warnings.length, 1);
  assert.match(String(warnings), /a hook of update-ca-certificates .*b-fails.*exit code 3: no key store/);
  assert.match(await node.read('/told'), new RegExp(nameOf(ours)));
});

async function storeOf({ root }: EmptyRoot): Promise<TrustStore> {
  return createDebianStore(createHostRoot(root), await createHostCommands(root));
}

/** A tool that works and then does this to the bundle that it has made. */
function onBundle(script: string): string {
  const find =
    'name=ca-certificates.crt\nlast=\nfor word; do [ "$last" != --certbundle ] || name=$word; last=$word; done';
  return `#!/bin/sh\nset -eu\n${tool} "$@"\n${find}\nbundle="$2/$name"\n${script}\n`;
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

test('a tool that fails on a full disk is told as that, whatever words it has for it', async () => {
  await using node = await createNode();
  await node.write(tool, '#!/bin/sh\nexit 4\n', 0o755);
  const full = { ...fs, statfs: () => Promise.resolve({ bfree: 10, bsize: 4096 }) } as unknown as typeof fs;
  const store = createDebianStore(createHostRoot(node.root, full), await createHostCommands(node.root));
  await assert.rejects(store.rebuild({ certificates: [] }, signal), { code: 'DiskFull', message: /\/etc\/ssl\/certs/ });
});

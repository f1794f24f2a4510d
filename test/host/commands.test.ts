import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { type Commands, createHostCommands, runForPerson } from '../../agent/host/commands.ts';
import { createEmptyRoot, type EmptyRoot } from '../support/sandbox.ts';
import { until } from '../support/until.ts';

const { signal } = new AbortController();
const limits = { timeoutMs: 60_000 };

test('what a program prints and that it ended well is the answer', async () => {
  await using host = await createHost({ speak: 'echo out; echo err >&2; cat' });
  assert.deepEqual(await host.commands.run('speak', [], limits, signal), { exitCode: 0, stdout: 'out', stderr: 'err' });
});

test('a program that fails is ToolFailed with the last lines of its standard error, else of its output', async () => {
  await using host = await createHost({
    complain: 'echo out; printf "early\\nfirst\\n\\n last. \\nthe end.\\n" >&2; exit 3',
    print: 'echo out; exit 4',
    keep: 'exit 5',
    chatter: 'printf %01000d 0 >&2; exit 6',
    die: 'kill -TERM $$',
  });
  const messages = await Promise.all(
    Object.keys(host.programs).map(async (name) => (await failureOf(host, name)).message),
  );
  assert.deepEqual(messages, [
    'complain failed: exit code 3: first; last; the end',
    'print failed: exit code 4: out',
    'keep failed: exit code 5: it printed nothing',
    `chatter failed: exit code 6: ${'0'.repeat(400)}`,
    'die failed: ended by SIGTERM',
  ]);
});

test('a program that cannot be started is ToolMissing with the reason', async () => {
  await using host = await createHost({});
  await host.write('/usr/bin/not-executable', '#!/bin/sh\n', 0o644);
  await host.write('/usr/bin/no-interpreter', '#!/none/sh\n', 0o755);
  for (const [name, reason] of [
    ['not-there', 'ENOENT'],
    ['not-executable', 'EACCES'],
    ['no-interpreter', 'ENOENT'],
  ] as const) {
    const { code, message } = await failureOf(host, name);
    assert.deepEqual([code, message], ['ToolMissing', `${name} could not be started: ${reason}`]);
  }
  const { code, message } = await failureOf(host, 'echo', ['x'.repeat(200_000)]);
  assert.deepEqual([code, message], ['ToolMissing', 'echo could not be started: E2BIG']);
});

test('a program that does not end in time is killed with its children and theirs', async () => {
  await using host = await createHost({
    linger: `trap '' TERM INT HUP
      sh -c 'trap "" TERM; sleep 600 & echo $! > "$0"/grandchild; wait' "$1" &
      until [ -s "$1"/grandchild ]; do sleep 0.01; done
      echo $$ > "$1"/leader; echo last words; wait`,
  });
  const { code, message } = await failureOf(host, 'linger', [host.root], { timeoutMs: 700 });
  assert.equal(code, 'ToolTimedOut');
  assert.equal(message, 'linger did not end within 0.7 s and was killed; last words: last words');
  for (const name of ['leader', 'grandchild']) await untilGone(Number(await host.read(`/${name}`)));
});

test('the children of a program that failed are killed, those of one that ended well are left alone', async () => {
  const leaveBehind = 'sleep 600 > "$1"/out 2>&1 & echo $! > "$1"/child';
  await using host = await createHost({ fail: `${leaveBehind}; exit 1`, succeed: leaveBehind });
  await failureOf(host, 'fail', [host.root]);
  await untilGone(Number(await host.read('/child')));
  await host.commands.run('succeed', [host.root], limits, signal);
  const child = Number(await host.read('/child'));
  assert(await isRunning(child));
  process.kill(child, 'SIGKILL');
});

test('a program that ended is not waited for because a child keeps its output open', { timeout: 10_000 }, async () => {
  const leaveBehind = 'echo said; setsid sleep 600 & echo $! > "$1"/child';
  await using host = await createHost({ fail: `${leaveBehind}; exit 1`, succeed: leaveBehind });
  assert.match((await failureOf(host, 'fail', [host.root])).message, /said/);
  process.kill(Number(await host.read('/child')), 'SIGKILL');
  assert.equal((await host.commands.run('succeed', [host.root], limits, signal)).stdout, 'said');
  process.kill(Number(await host.read('/child')), 'SIGKILL');
});

test('a program that prints without end is stopped with bounded memory, and so is the child that keeps its output open', async () => {
  await using host = await createHost({ flood: 'sleep 600 & echo $! > "$1"/child; exec yes' });
  const before = process.memoryUsage().rss;
  const { code, message } = await failureOf(host, 'flood', [host.root]);
  const grownBy = process.memoryUsage().rss - before;
  assert.deepEqual([code, message], ['ToolFailed', 'flood failed: it printed more than 1048576 bytes and was stopped']);
  assert(grownBy < 100 * 1024 * 1024, `grew by ${grownBy} bytes`);
  await untilGone(Number(await host.read('/child')));
});

test('a program that runs when the signal aborts may come to its end', async () => {
  await using host = await createHost({ last: 'until [ -e "$1"/go ]; do sleep 0.01; done; echo ended' });
  const controller = new AbortController();
  const running = host.commands.run('last', [host.root], limits, controller.signal);
  controller.abort();
  await host.write('/go', '');
  assert.equal((await running).stdout, 'ended');
  assert.equal((await host.commands.run('last', [host.root], limits, controller.signal)).stdout, 'ended');
});

test('a program that does not end within 5 s after the signal aborted is killed, and the reason is told', async (t) => {
  await using host = await createHost({ hang: 'echo $$ > "$1"/pid.new; mv "$1"/pid.new "$1"/pid; exec sleep 600' });
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const controller = new AbortController();
  const failing = failureOf(host, 'hang', [host.root], limits, controller.signal);
  const pid = Number(await until(() => host.read('/pid').catch(() => '')));
  t.mock.timers.tick(5_000);
  controller.abort();
  t.mock.timers.tick(4_999);
  assert(await isRunning(pid));
  t.mock.timers.tick(1);
  const { code, message } = await failing;
  assert.deepEqual([code, message], ['ToolFailed', 'hang failed: ended by SIGKILL, since the agent is stopping']);
});

test('a program gets a small environment of its own and nothing of the agent’s', async () => {
  await using host = await createHost({});
  const { stdout } = await host.commands.run('env', [], limits, signal);
  assert.deepEqual(stdout.split('\n').toSorted(), [
    'HOME=/',
    'LANG=C.UTF-8',
    'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  ]);
});

test('arguments reach the program as they are, past no shell', async () => {
  await using host = await createHost({ tell: `printf '<%s>' "$@"` });
  const args = ['$(touch pwned)', '`id`', '; exit 9', '*', 'a  b', `'"`, 'two\nlines', '', '--', '-n', 'ä'];
  const { stdout } = await host.commands.run('tell', args, limits, signal);
  assert.equal(stdout, args.map((arg) => `<${arg}>`).join(''));
});

test('a sandbox runs its own programs, /usr/sbin first, and else those of the machine', async () => {
  await using host = await createHost({ openssl: 'echo from the sandbox', both: 'echo from /usr/bin' });
  await host.write('/usr/sbin/both', '#!/bin/sh\necho from /usr/sbin\n', 0o755);
  assert.equal(host.commands.way, 'sandbox');
  assert.equal(host.commands.pathOf('/etc/ssl'), `${host.root}/etc/ssl`);
  const said = async (name: string): Promise<string> => (await host.commands.run(name, [], limits, signal)).stdout;
  assert.equal(await said('openssl'), 'from the sandbox');
  assert.equal(await said('both'), 'from /usr/sbin');
  assert.match(await said('uname'), /^Linux/);
});

test('a sandbox without a systemctl has none, whatever the machine has', async () => {
  await using host = await createHost({});
  const { code, message } = await failureOf(host, 'systemctl', ['--version']);
  assert.deepEqual([code, message], ['ToolMissing', `systemctl could not be started: none in ${host.root}/usr/bin`]);
});

test('the root of this machine needs no detour', async () => {
  for (const path of ['/', '/proc/self/root', '/usr/..']) {
    const commands = await createHostCommands(path);
    assert.equal(commands.way, 'directly');
    assert.equal(commands.pathOf('/etc/ssl'), '/etc/ssl');
    assert.match((await commands.run('uname', [], limits, signal)).stdout, /^Linux/);
  }
});

/** A small machine as a pod with hostPID sees it: PID 1 has a root of its own, which is mounted in ours. */
const podScript = `set -eu
host=$1 node=$2 module=$3
mount -t tmpfs none "$host"
cd "$host"
mkdir usr proc dev old
mkfifo ended
mount --rbind /usr usr
mount --rbind /dev dev
for link in bin sbin lib lib64; do ln -s "usr/$link" "$link"; done
echo of the host > marker
(
  exec 3> ended
  until [ "$(cat /proc/1/comm)" = cat ]; do :; done
  exec "$node" --input-type=module -e "$module"
) &
exec unshare --mount sh -c 'cd "$0"; mount -t proc proc proc; pivot_root . old; exec cat < ended' "$host"`;

test('from a pod, the programs of the host run in the namespaces of its first process', async (t) => {
  await using folder = await createEmptyRoot();
  const module = `
    import { createHostCommands } from ${JSON.stringify(import.meta.resolve('../../agent/host/commands.ts'))};
    const commands = await createHostCommands(${JSON.stringify(folder.root)});
    const { signal } = new AbortController();
    const run = (program, ...args) => commands.run(program, args, { timeoutMs: 10_000 }, signal)
      .then(({ stdout }) => stdout, ({ code, message }) => [code, message]);
    console.log(JSON.stringify([
      commands.way,
      commands.pathOf('/etc/ssl'),
      await run('cat', '/marker'),
      await run('printf', '<%s>', '$(id)', 'a b', '--help'),
      await run('cat', '/proc/1/comm'),
      await run('sh', '-c', 'echo no >&2; exit 3'),
      (await run('not-there')).at(0),
      (await run('/marker')).at(0),
    ]));`;
  const asRoot = process.getuid?.() === 0 ? [] : ['--map-root-user'];
  const namespaces = [
    ...asRoot,
    '--mount',
    '--uts',
    '--ipc',
    '--net',
    '--pid',
    '--fork',
    '--kill-child',
    '--mount-proc',
  ];
  const pod = spawn('unshare', [...namespaces, 'sh', '-c', podScript, 'sh', folder.root, process.execPath, module]);
  try {
    const [stdout, stderr] = await Promise.all([text(pod.stdout), text(pod.stderr)]);
    if (/Operation not permitted|Permission denied/.test(stderr) && stdout === '') {
      return t.skip(`namespaces are not permitted here: ${stderr.trim()}`);
    }
    assert.deepEqual(JSON.parse(stdout || JSON.stringify(stderr)), [
      'nsenter',
      '/etc/ssl',
      'of the host',
      '<$(id)><a b><--help>',
      'cat',
      ['ToolFailed', 'sh failed: exit code 3: no'],
      'ToolMissing',
      'ToolMissing',
    ]);
  } finally {
    pod.kill('SIGKILL');
  }
});

interface Host extends EmptyRoot {
  readonly programs: Readonly<Record<string, string>>;
  readonly commands: Commands;
}

/** A sandbox with these shell scripts as its programs. */
async function createHost(programs: Readonly<Record<string, string>>): Promise<Host> {
  const empty = await createEmptyRoot();
  for (const [name, script] of Object.entries(programs)) {
    await empty.write(`/usr/bin/${name}`, `#!/bin/sh\n${script}\n`, 0o755);
  }
  return { ...empty, programs, commands: await createHostCommands(empty.root) };
}

async function failureOf(
  { commands }: Host,
  program: string,
  args: readonly string[] = [],
  { timeoutMs } = limits,
  aborted: AbortSignal = signal,
): Promise<{ readonly code: unknown; readonly message: string }> {
  return commands.run(program, args, { timeoutMs }, aborted).then(
    () => assert.fail(`${program} ended well`),
    (error: unknown) => error as { readonly code: unknown; readonly message: string },
  );
}

async function isRunning(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  const state = stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
  return state !== '' && state !== 'Z' && state !== 'X';
}

async function untilGone(pid: number): Promise<void> {
  assert(pid > 1, `${pid} is not a process`);
  await until(async () => !(await isRunning(pid)));
}

test('a program for a person finds their environment, and its exit code is an answer', async () => {
  await using host = await createHost({ fail: 'echo "$OWN $HOME"; echo why >&2; exit 4' });
  const env = { PATH: `${host.at('/usr/bin')}:/usr/bin:/bin`, OWN: 'own', HOME: '/home' };
  const answer = await runForPerson('fail', [], { env, ...limits }, signal);
  assert.deepEqual(answer, { exitCode: 4, stdout: 'own /home', stderr: 'why' });
  await assert.rejects(runForPerson('not-there', [], { env, ...limits }, signal), { code: 'ToolMissing' });
});

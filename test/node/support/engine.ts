// The Docker engine of the suite: is one answering, and on a CI machine without one, Debian's own, started here and stopped
// again. Every container of the suite carries a label by which it is removed, however the run ends.

import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, openSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** One for all the test files of a run: they inherit it, so that the run can clean up after a file that was killed. */
const runLabel = 'node-trust-agent.run';
// oxlint-disable-next-line node/no-process-env -- the one thing that a run tells its test files
const env = process.env;
env['NODE_TRUST_TEST_RUN'] ??= `${process.pid}-${Date.now()}`;
export const labels: Readonly<Record<string, string>> = { [runLabel]: env['NODE_TRUST_TEST_RUN'] };

/** Which containerd the nodes get; `run.ts` sets it. */
export const containerdLine = env['NODE_TRUST_TEST_CONTAINERD'] ?? '1.7';

export async function docker(...args: readonly string[]): Promise<string> {
  const { stdout } = await run('docker', args, { maxBuffer: 64 * 1024 * 1024 });
  return stdout.trim();
}

/** With its output where the user sees it: what takes minutes must not be silent. */
export async function show(program: string, ...args: readonly string[]): Promise<void> {
  const child = spawn(program, args, { stdio: ['ignore', process.stderr, process.stderr] });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${program} ${args[0] ?? ''} failed with exit code ${code}; its output is above`);
}

export async function isProgram(name: string): Promise<boolean> {
  return run('sh', ['-c', 'command -v "$1"', 'sh', name]).then(
    () => true,
    () => false,
  );
}

/** The bridge's address on this machine: servers of a test listen there, containers find them there. */
export function bridgeGateway(): Promise<string> {
  return docker('network', 'inspect', 'bridge', '--format', '{{(index .IPAM.Config 0).Gateway}}');
}

/** The containers of this run, with their volumes. Synchronous: it is called while a process ends, too. */
export function removeContainers(): void {
  const filter = `label=${runLabel}=${labels[runLabel]}`;
  const ids = execFileSync('docker', ['ps', '-aq', '--filter', filter], { encoding: 'utf8' })
    .split('\n')
    .filter(Boolean);
  if (ids.length > 0) execFileSync('docker', ['rm', '-f', '-v', ...ids], { stdio: 'ignore' });
}

export interface Engine extends AsyncDisposable {
  readonly kind: 'engine';
}

export type EngineSearch = Engine | { readonly kind: 'none'; readonly why: string; readonly remedy: string };

/**
 * Root is needed to reach containerd's socket inside a node. With CI=true, as root on Debian, what lacks is installed and
 * started; disposing stops what was started.
 */
export async function findEngine(): Promise<EngineSearch> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) {
    return { kind: 'none', why: 'it needs root on Linux', remedy: 'run it as root' };
  }
  if (await answers()) return { kind: 'engine', [Symbol.asyncDispose]: () => Promise.resolve() };
  if (env['CI'] !== 'true' || !existsSync('/etc/debian_version')) {
    const remedy = 'start dockerd, or on Debian set CI=true to have docker.io installed and started';
    return { kind: 'none', why: 'no Docker engine answers', remedy };
  }
  await install('docker', 'docker.io');
  if (await answers()) return { kind: 'engine', [Symbol.asyncDispose]: () => Promise.resolve() };
  return startEngine();
}

/** By apt, where the program is not there. */
export async function install(program: string, ...packages: readonly string[]): Promise<void> {
  if (await isProgram(program)) return;
  await show('apt-get', '-qq', 'update');
  await show('apt-get', '-qq', 'install', '-y', '--no-install-recommends', ...packages);
}

async function startEngine(): Promise<Engine> {
  const log = join(tmpdir(), `node-trust-dockerd-${process.pid}.log`);
  const output = openSync(log, 'a');
  // A session of its own: Ctrl-C must not end it before the containers are removed.
  const dockerd = spawn('dockerd', [], { detached: true, stdio: ['ignore', output, output] });
  const ended = once(dockerd, 'exit');
  const patience = Date.now() + 60_000;
  while (!(await answers())) {
    if (dockerd.exitCode !== null || Date.now() > patience)
      throw new Error(`dockerd does not answer; its log is ${log}`);
  }
  return {
    kind: 'engine',
    async [Symbol.asyncDispose]() {
      stopGently(dockerd);
      await ended;
    },
  };
}

function stopGently(child: ChildProcess): void {
  if (child.exitCode === null) child.kill('SIGTERM');
}

function answers(): Promise<boolean> {
  return run('docker', ['version', '--format', '{{.Server.Version}}']).then(
    () => true,
    () => false,
  );
}

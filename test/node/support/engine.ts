// The Docker engine of the suite: is one answering, and on a CI machine without one, Debian's own, started here and stopped
// again. Every container of the suite carries a label by which it is removed, however the run ends.

import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, rmSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { install, mayInstall } from '../../support/packages.ts';

const run = promisify(execFile);

const runLabel = 'node-trust-agent.run';
const runVariable = 'NODE_TRUST_TEST_RUN';
// oxlint-disable-next-line node/no-process-env -- what a run tells its test files, and CI=true
const env = process.env;
const isWholeRun = env[runVariable] === undefined;
/** One for all the test files of a run: they inherit it, so that the run can clean up after a file that was killed. */
const runId = (env[runVariable] ??= `${process.pid}-${Date.now()}`);
export const labels: Readonly<Record<string, string>> = { [runLabel]: runId };

/** Which containerd the nodes get. */
const containerdVariable = 'NODE_TRUST_TEST_CONTAINERD';
export const containerdLine = env[containerdVariable] ?? '1.7';
/** For the test files of a run on one line of containerd. */
export const environmentFor = (line: string): NodeJS.ProcessEnv => ({ ...env, [containerdVariable]: line });

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

/**
 * The bridge's address on this machine: servers of a test listen there, containers find them there. The machine is asked, since
 * the engine itself does not tell it at its first start.
 */
export async function bridgeGateway(): Promise<string> {
  const format = '{{index .Options "com.docker.network.bridge.name"}}';
  const bridge = await docker('network', 'inspect', 'bridge', '--format', format);
  const address = networkInterfaces()[bridge]?.find(({ family }) => family === 'IPv4')?.address;
  if (address === undefined)
    throw new Error(`the bridge of the Docker engine, ${bridge}, has no address on this machine`);
  return address;
}

/** The containers of this run, with their volumes. Synchronous: it is called while a process ends, too. */
export function removeContainers(): void {
  const list = ['ps', '-aq', '--filter', `label=${runLabel}=${runId}`];
  const ids = execFileSync('docker', list, { encoding: 'utf8' }).split('\n').filter(Boolean);
  if (ids.length > 0) execFileSync('docker', ['rm', '-f', '-v', ...ids], { stdio: 'ignore' });
}

/** For a test file that is run by itself, and interrupted. */
export function removeContainersAtExit(): void {
  if (!isWholeRun || process.listeners('exit').includes(removeContainers)) return;
  process.once('exit', removeContainers);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
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
  const found: Engine = { kind: 'engine', [Symbol.asyncDispose]: () => Promise.resolve() };
  if (await answers()) return found;
  if (!mayInstall()) {
    const remedy = 'start dockerd, or on Debian set CI=true to have docker.io installed and started';
    return { kind: 'none', why: 'no Docker engine answers', remedy };
  }
  if (!(await isProgram('dockerd'))) await install('docker.io');
  return (await answers()) ? found : startEngine();
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
      if (dockerd.exitCode === null) dockerd.kill('SIGTERM');
      await ended;
      rmSync(log);
    },
  };
}

function answers(): Promise<boolean> {
  return run('docker', ['version', '--format', '{{.Server.Version}}']).then(
    () => true,
    () => false,
  );
}

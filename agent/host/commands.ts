// Programs of the host, run without a shell: directly on a machine, through nsenter from the pod, or, for a sandbox,
// the sandbox's own program and else the machine's. Time and output are bounded; what is killed is killed with all its
// children. `execa` is imported here only.

import { stat } from 'node:fs/promises';
import { constants } from 'node:os';
import { posix } from 'node:path';
import { execa } from 'execa';
import { AgentError } from '../errors.ts';

export interface CommandOutput {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Limits {
  readonly timeoutMs: number;
  /** For standard input; without it, that is at its end. */
  readonly input?: string;
}

export interface Commands {
  /** How the programs are run, for logs and evidence. */
  readonly way: 'directly' | 'nsenter' | 'sandbox';
  /** The path under which a program that is run here finds a path of the host. */
  pathOf(hostPath: string): string;
  /**
   * Throws `ToolMissing`, `ToolTimedOut`, or `ToolFailed` for an exit code that is not 0.
   * When the signal aborts, the program has {@link graceMs} to come to its end before it is killed: a store's tool
   * that is cut off in the middle leaves more to mend than one that ends.
   */
  run(program: string, args: readonly string[], limits: Limits, signal: AbortSignal): Promise<CommandOutput>;
}

const graceMs = 5_000;
/** For what a program has printed and nobody has read yet when it ends. */
const outputGraceMs = 500;
const maxOutputBytes = 1024 * 1024;
const hostPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** `-t 1`: the host's first process; mount, UTS, IPC, network and PID namespaces are entered (nsenter(1)). */
const nsenter = ['nsenter', '-t', '1', '-m', '-u', '-i', '-n', '-p', '--'] as const;

/**
 * Which way leads to the host whose root is at `rootPath`: our own root is our own machine; the root of PID 1 that is not
 * ours is the host of this pod; any other folder is a sandbox.
 */
export async function createHostCommands(rootPath: string): Promise<Commands> {
  if (await sameFolder(rootPath, '/')) return createCommands('directly', rootPath);
  if (await sameFolder(rootPath, '/proc/1/root')) return createCommands('nsenter', rootPath);
  return createCommands('sandbox', rootPath);
}

function createCommands(way: Commands['way'], rootPath: string): Commands {
  const root = posix.resolve(rootPath);
  return {
    way,
    pathOf: (path) => (way === 'sandbox' ? root + path : path),
    async run(program, args, limits, signal) {
      const [file, ...rest] = way === 'nsenter' ? [...nsenter, program, ...args] : [await locate(program), ...args];
      return execute({ program, file, args: rest, ...limits }, signal);
    },
  };

  /** A sandbox brings its own programs. Its service manager is never the machine's. */
  async function locate(program: string): Promise<string> {
    if (way !== 'sandbox') return program;
    for (const folder of ['/usr/sbin', '/usr/bin']) {
      const own = root + posix.join(folder, program);
      if (await isFile(own)) return own;
    }
    if (program === 'systemctl')
      throw new AgentError('ToolMissing', { tool: program, evidence: `none in ${root}/usr/bin` });
    return program;
  }
}

/**
 * A program of the machine for the person at it, with their environment, in which it finds its own settings. Its exit code is an
 * answer, whatever it is. Throws `ToolMissing`, `ToolTimedOut`, or `ToolFailed` for one that a signal has ended.
 */
export function runForPerson(
  program: string,
  args: readonly string[],
  person: { readonly env: Readonly<Record<string, string | undefined>>; readonly timeoutMs: number },
  signal: AbortSignal,
): Promise<CommandOutput> {
  return execute({ program, file: program, args, ...person, anyExitCode: true }, signal);
}

interface Invocation extends Limits {
  readonly program: string;
  readonly file: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly anyExitCode?: boolean;
}

interface Ended {
  readonly exitCode?: number | undefined;
  readonly signal?: string | undefined;
  readonly code?: string | undefined;
  readonly isMaxBuffer: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

async function execute(invocation: Invocation, signal: AbortSignal): Promise<CommandOutput> {
  const {
    program,
    file,
    args,
    timeoutMs,
    input,
    env = { PATH: hostPath, LANG: 'C.UTF-8', HOME: '/' },
    anyExitCode = false,
  } = invocation;
  const child = execa(file, args, {
    env,
    extendEnv: false,
    ...(input === undefined ? { stdin: 'ignore' } : { input }),
    detached: true, // a process group of its own, so that its children can be ended with it
    cleanup: false,
    reject: false,
    maxBuffer: maxOutputBytes,
    encoding: 'utf8',
  });
  const kill = (): void => killGroup(child.pid);
  let isLate = false;
  const deadline = setTimeout(() => {
    isLate = true;
    kill();
  }, timeoutMs);
  const grace: { timer?: NodeJS.Timeout; output?: NodeJS.Timeout } = {};
  const onAbort = (): void => {
    grace.timer = setTimeout(kill, graceMs);
  };
  // The children of a program that failed end with it. Whoever of them keeps its output open, in a session of its own or
  // after a success, does not keep us waiting.
  child.once('exit', (exitCode) => {
    if (exitCode !== 0) kill();
    grace.output = setTimeout(() => {
      child.stdout.destroy();
      child.stderr.destroy();
    }, outputGraceMs);
  });
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    const result = await child;
    const { exitCode, stdout, stderr, isMaxBuffer } = result;
    const isAnswer = exitCode === 0 || (anyExitCode && exitCode !== undefined && !isMaxBuffer);
    if (isAnswer) return { exitCode, stdout, stderr };
    throw failure(result);
  } finally {
    clearTimeout(deadline);
    clearTimeout(grace.timer);
    clearTimeout(grace.output);
    signal.removeEventListener('abort', onAbort);
  }

  function failure(result: Ended): AgentError {
    if (child.pid === undefined) {
      return new AgentError('ToolMissing', { tool: program, evidence: result.code ?? 'no process came of it' });
    }
    const said = oneLine(result.stderr) || oneLine(result.stdout) || 'it printed nothing';
    if (result.isMaxBuffer) {
      return new AgentError('ToolFailed', {
        tool: program,
        evidence: `it printed more than ${maxOutputBytes} bytes and was stopped`,
      });
    }
    // nsenter(1) answers 127 for a program that is not there and 126 for one that cannot be run; so may a program.
    if (file === nsenter[0] && said.startsWith('nsenter: failed to execute')) {
      return new AgentError('ToolMissing', { tool: program, evidence: said });
    }
    if (result.exitCode === undefined && isLate) {
      return new AgentError('ToolTimedOut', {
        tool: program,
        evidence: `did not end within ${timeoutMs / 1000} s and was killed; last words: ${said}`,
      });
    }
    if (result.exitCode === undefined) {
      const name = result.signal ?? 'a signal';
      return new AgentError('ToolFailed', {
        tool: program,
        evidence: `ended by ${name}${signal.aborted ? ', since the agent is stopping' : ''}`,
      });
    }
    return new AgentError('ToolFailed', { tool: program, evidence: `exit code ${result.exitCode}: ${said}` });
  }
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, constants.signals.SIGKILL);
  } catch {
    // Nobody is left in the group.
  }
}

/** One line for a message: the last three that a program said, since neither the first nor the last is always the point. */
function oneLine(output: string): string {
  const lines = output.split('\n').map((line) => line.trim().replace(/\.$/, ''));
  return lines
    .filter((line) => line !== '')
    .slice(-3)
    .join('; ')
    .slice(0, 400);
}

async function sameFolder(one: string, other: string): Promise<boolean> {
  try {
    const [a, b] = await Promise.all([stat(one, { bigint: true }), stat(other, { bigint: true })]);
    return a.dev === b.dev && a.ino === b.ino;
  } catch {
    return false; // /proc/1/root may be refused to an ordinary user
  }
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}

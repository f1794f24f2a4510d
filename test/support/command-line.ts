// Runs node-trust as a person does, through the launcher, and keeps what it printed.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { Command, Terminal } from '../../agent/cli/command.ts';

export const launcher = fileURLToPath(new URL('../../node-trust', import.meta.url));

export interface CommandResult {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** In this process: a hundred times as fast. */
export async function runCommand(
  command: Command,
  argv: readonly string[],
  input: string | Uint8Array = '',
): Promise<CommandResult> {
  const printed = { out: '', err: '' };
  const terminal: Terminal = {
    out: (text) => void (printed.out += text),
    err: (text) => void (printed.err += text),
    readInput: () => Promise.resolve(Buffer.from(input)),
    isTty: false,
    columns: Number.POSITIVE_INFINITY,
    env: {},
  };
  return { code: await command.run(argv, terminal, new AbortController().signal), ...printed };
}

/** `env` comes on top of this process's own environment. */
export async function nodeTrust(
  args: readonly string[],
  input: string | Uint8Array = '',
  meanwhile: (kill: (signal: 'SIGINT' | 'SIGTERM') => void) => Promise<void> = () => Promise.resolve(),
  env: Readonly<Record<string, string>> = {},
): Promise<CommandResult> {
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const child = spawn('env', [...variables, launcher, ...args], { stdio: 'pipe' });
  child.stdin.on('error', () => {}); // a command that reads nothing closes it
  child.stdin.end(input);
  const closed = once(child, 'close');
  const collected = Promise.all([buffer(child.stdout), buffer(child.stderr), closed]);
  await meanwhile((signal) => void child.kill(signal));
  const [out, err, [code]] = await collected;
  return { code: code as number | null, out: out.toString(), err: err.toString() };
}

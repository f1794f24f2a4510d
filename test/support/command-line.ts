// Runs node-trust as a person does, through the launcher, and keeps what it printed.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

const launcher = fileURLToPath(new URL('../../node-trust', import.meta.url));

export interface CommandResult {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export async function nodeTrust(
  args: readonly string[],
  input: string | Uint8Array = '',
  meanwhile: (kill: (signal: 'SIGINT' | 'SIGTERM') => void) => Promise<void> = () => Promise.resolve(),
): Promise<CommandResult> {
  const child = spawn(launcher, args, { stdio: 'pipe' });
  child.stdin.on('error', () => {}); // a command that reads nothing closes it
  child.stdin.end(input);
  const closed = once(child, 'close');
  const collected = Promise.all([buffer(child.stdout), buffer(child.stderr), closed]);
  await meanwhile((signal) => void child.kill(signal));
  const [out, err, [code]] = await collected;
  return { code: code as number | null, out: out.toString(), err: err.toString() };
}

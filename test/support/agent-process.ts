// The agent as users run it: a process of its own, started by the launcher's entry, its log lines kept.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const source = fileURLToPath(new URL('../../agent/main.ts', import.meta.url));

export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

export interface AgentProcess extends AsyncDisposable {
  readonly pid: number;
  readonly log: readonly LogLine[];
  /** The first line that is so, also if it was written before. Rejects when the process ends without it. */
  said(predicate: (line: LogLine, index: number) => boolean): Promise<LogLine>;
  kill(signal: 'SIGTERM' | 'SIGKILL'): void;
  /** How it ended. */
  readonly ended: Promise<{ readonly code: number | null; readonly signal: string | null; readonly stderr: string }>;
}

export function startAgent(
  args: readonly string[],
  onLine: (line: string) => void = () => {},
  [program, ...entry]: readonly [string, ...string[]] = [process.execPath, source],
  env: Readonly<Record<string, string>> = {},
): AgentProcess {
  const child: ChildProcess = spawn(program, [...entry, 'run', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    // oxlint-disable-next-line node/no-process-env -- passed on
    env: { ...process.env, ...env },
  });
  const log: LogLine[] = [];
  const waiting = new Set<() => void>();
  const look = (): void => {
    for (const check of waiting) check();
  };
  let stderr = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  if (child.stdout === null) throw new TypeError('the agent has no standard output');
  createInterface(child.stdout).on('line', (line) => {
    onLine(line);
    log.push(JSON.parse(line) as LogLine);
    look();
  });
  let hasEnded = false;
  const ended = once(child, 'close').then(([code, signal]: unknown[]) => {
    hasEnded = true;
    look();
    return { code: code as number | null, signal: signal as string | null, stderr };
  });
  return {
    pid: child.pid ?? 0,
    log,
    said: (predicate) =>
      new Promise((resolve, reject) => {
        const check = (): void => {
          const found = log.find(predicate);
          if (found === undefined && !hasEnded) return;
          waiting.delete(check);
          if (found !== undefined) resolve(found);
          else
            reject(
              new Error(
                `the agent ended without saying it: ${stderr}${log.map((line) => JSON.stringify(line)).join('\n')}`,
              ),
            );
        };
        waiting.add(check);
        check();
      }),
    kill: (signal) => void child.kill(signal),
    ended,
    async [Symbol.asyncDispose]() {
      if (!hasEnded) child.kill('SIGKILL');
      await ended;
    },
  };
}

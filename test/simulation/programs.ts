// Programs as one process of the agent runs them: on the node, which goes on with them when the process dies, within their
// time-out, and killed some time after the signal has aborted.

import { AgentError } from '../../agent/errors.ts';
import type { Commands } from '../../agent/host/commands.ts';
import { never } from './agent-files.ts';
import type { Clock, Owner } from './clock.ts';
import type { Program } from './node.ts';

export interface ProgramsOptions {
  readonly clock: Clock;
  readonly process: Owner;
  /** Before and after; never resolves for the dead. */
  point(call: string): Promise<void>;
  start(program: string, args: readonly string[]): Program;
  /** It failed, or was killed after its time. */
  onFailed(program: string): void;
}

/** One reason for all, since to make one costs more than the call. */
const over = new Error('the program has ended');

/** As agent/host/commands.ts gives a program to end by itself. */
const graceMs = 5_000;

export function createPrograms(options: ProgramsOptions): Commands {
  const { clock, process, point, start, onFailed } = options;

  async function waitForAbort(signal: AbortSignal, done: AbortSignal): Promise<'aborted'> {
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve(), { once: true, signal: done });
    });
    await clock.pause(graceMs, process, done).catch(never);
    return 'aborted';
  }

  return {
    way: 'directly',
    pathOf: (path) => path,
    async run(program, args, { timeoutMs }, signal) {
      await point(`run ${[program, ...args].join(' ')}`);
      const { end, kill } = start(program, args);
      const done = new AbortController();
      const late = clock.pause(timeoutMs, process, done.signal).then(() => 'late' as const, never);
      const outcome = await Promise.race([end, late, waitForAbort(signal, done.signal)]);
      done.abort(over);
      if (outcome === 'late' || outcome === 'aborted') kill();
      if (outcome === 'late' || (outcome !== 'aborted' && outcome.exitCode !== 0)) onFailed(program);
      await point(`${program} ended`);
      if (outcome === 'late') throw new AgentError('ToolTimedOut', { tool: program, evidence: 'killed' });
      if (outcome === 'aborted' || outcome.exitCode !== 0)
        throw new AgentError('ToolFailed', { tool: program, evidence: 'it failed' });
      return { exitCode: 0, stdout: outcome.stdout, stderr: '' };
    },
  };
}

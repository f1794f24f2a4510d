// The container runtime as a unit of systemd. Which process of it runs is told by the unit's InvocationID: a restart by
// anybody, a crash and a reboot give a new one, daemon-reload does not (systemd.exec(5), sd_id128_get_invocation(3)).
// PID 1 keeps the ID as a link below /run/systemd/units while the unit is not inactive; where a glance is enough, no program
// is run. Another runtime is one more row of the table.

import { setTimeout as delay } from 'node:timers/promises';
import { AgentError } from '../errors.ts';
import type { RuntimeFacts, RuntimeMark, RuntimeObservation } from '../trust/observation.ts';
import type { Commands } from './commands.ts';
import type { HostRoot } from './root.ts';

export interface Runtime {
  readonly facts: RuntimeFacts;
  /** What changes when another process of it runs. */
  readonly watched: readonly string[];
  /**
   * A glance runs no program where PID 1's link is there, which it is for a unit on its way up or down, too: enough for a
   * pass with nothing to do. To ask is to know that the unit is active.
   */
  observe(look: 'glance' | 'ask', signal: AbortSignal): Promise<RuntimeObservation>;
  /** Who runs at this moment, asked of the service manager itself. */
  mark(signal: AbortSignal): Promise<RuntimeMark>;
  /** The InvocationID of the unit once it is active; one that is on its way is waited for. Throws `RuntimeUnknown`. */
  identify(signal: AbortSignal): Promise<string>;
  /** Restarts the unit and answers once it is active again. Throws `RuntimeUnhealthy`, `RuntimeUnknown`, `Tool…`. */
  restart(signal: AbortSignal): Promise<void>;
}

const runtimes = [{ unit: 'containerd.service' }] as const;

/** Where systemd looks for units, of those folders that packages and administrators use (systemd.unit(5)). */
const unitFolders = [
  '/etc/systemd/system',
  '/run/systemd/system',
  '/usr/local/lib/systemd/system',
  '/usr/lib/systemd/system',
  '/lib/systemd/system',
];
const askTimeoutMs = 10_000;
/** Longer than systemd's defaults for stopping and starting, 90 s each, so that systemd and not we cut it off. */
const restartTimeoutMs = 200_000;
const settleMs = 30_000;
const askEveryMs = 250;

/** Throws `NoServiceManager` or `RuntimeNotFound`. Booted with systemd is what sd_booted(3) says it is. */
export async function detectRuntime(root: HostRoot, commands: Commands): Promise<Runtime> {
  if ((await root.readFolder('/run/systemd/system')) === 'absent') {
    throw new AgentError('NoServiceManager', { evidence: 'there is no /run/systemd/system' });
  }
  for (const { unit } of runtimes) {
    for (const folder of unitFolders) {
      const entries = await root.readFolder(folder);
      if (entries !== 'absent' && entries.some(({ name }) => name === unit))
        return createSystemdRuntime(unit, root, commands);
    }
  }
  const units = runtimes.map(({ unit }) => unit).join(', ');
  throw new AgentError('RuntimeNotFound', { evidence: `none of ${units} in ${unitFolders.join(', ')}` });
}

/** A host whose store is all there is to it: nothing to ask, nothing to restart. */
export function createNoRuntime(reason: string): Runtime {
  const none = (): Promise<never> => Promise.reject(new AgentError('RuntimeNotFound', { evidence: reason }));
  return {
    facts: { kind: 'none', reason },
    watched: [],
    observe: () => Promise.resolve({ kind: 'none' }),
    mark: () => Promise.resolve('unknown'),
    identify: none,
    restart: none,
  };
}

function createSystemdRuntime(unit: string, root: HostRoot, commands: Commands): Runtime {
  const invocationLink = `/run/systemd/units/invocation:${unit}`;

  async function ask(signal: AbortSignal): Promise<RuntimeObservation> {
    let output: string;
    try {
      const properties = 'LoadState,ActiveState,SubState,InvocationID';
      ({ stdout: output } = await commands.run(
        'systemctl',
        ['show', '-p', properties, unit],
        { timeoutMs: askTimeoutMs },
        signal,
      ));
    } catch (error) {
      if (!(error instanceof AgentError)) throw error;
      return { kind: 'unknown', unit, evidence: error.message };
    }
    const facts = new Map(
      output.split('\n').map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    );
    const [load, active, invocationId] = [facts.get('LoadState'), facts.get('ActiveState'), facts.get('InvocationID')];
    if (load === undefined || active === undefined) {
      return { kind: 'unknown', unit, evidence: 'systemctl show printed no state' };
    }
    const state = `its state is ${load}, ${active} (${facts.get('SubState') ?? ''})`;
    if (load === 'loaded' && active === 'active' && invocationId) return { kind: 'running', unit, invocationId };
    // A unit on its way up or down has a process, or will have one in a moment, of which nothing is known yet.
    const settled = active === 'inactive' || active === 'failed';
    return { kind: settled ? 'stopped' : 'unknown', unit, evidence: state };
  }

  /** What systemctl complains of, or nothing. The unit itself is the judge: a lost connection to PID 1 proves nothing. */
  async function tell(verb: 'reset-failed' | 'restart', signal: AbortSignal): Promise<string> {
    try {
      await commands.run('systemctl', [verb, unit], { timeoutMs: restartTimeoutMs }, signal);
      return '';
    } catch (error) {
      if (error instanceof AgentError && (error.code === 'ToolFailed' || error.code === 'ToolTimedOut'))
        return error.message;
      throw error;
    }
  }

  /** A unit on its way, up after a crash or somebody's restart, is given some time to arrive; so is a bus that does not answer. */
  async function settle(signal: AbortSignal): Promise<RuntimeObservation> {
    const patience = performance.now() + settleMs;
    for (;;) {
      const seen = await ask(signal);
      if (seen.kind !== 'unknown' || performance.now() > patience) return seen;
      await delay(askEveryMs, undefined, { signal });
    }
  }

  async function identify(signal: AbortSignal): Promise<string> {
    const seen = await settle(signal);
    if (seen.kind === 'running') return seen.invocationId;
    throw new AgentError('RuntimeUnknown', { unit, evidence: seen.kind === 'none' ? 'it is gone' : seen.evidence });
  }

  return {
    facts: { kind: 'unit', unit },
    watched: [invocationLink],
    async observe(look, signal) {
      const invocationId = look === 'glance' ? await root.readLink(invocationLink) : undefined;
      return invocationId ? { kind: 'running', unit, invocationId } : ask(signal);
    },
    async mark(signal) {
      const seen = await ask(signal);
      if (seen.kind === 'running') return seen.invocationId;
      return seen.kind === 'stopped' ? 'stopped' : 'unknown';
    },
    identify,
    async restart(signal) {
      const before = await identify(signal);
      // Somebody's restarts count against the unit's start limit: ours would stop it and then not be allowed to start it.
      await tell('reset-failed', signal);
      signal.throwIfAborted(); // told to end, it begins nothing more
      const complaint = await tell('restart', signal);
      const after = await settle(signal);
      if (after.kind === 'running' && after.invocationId !== before) return;
      if (after.kind === 'unknown') throw new AgentError('RuntimeUnknown', { unit, evidence: after.evidence });
      const state = after.kind === 'stopped' ? after.evidence : 'it is the same process as before its restart';
      throw new AgentError('RuntimeUnhealthy', { unit, evidence: `${state}${complaint && `; ${complaint}`}` });
    },
  };
}

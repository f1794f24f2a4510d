// The container runtime as a unit of systemd. Which process of it runs is told by the unit's InvocationID: a restart by
// anybody, a crash and a reboot give a new one, daemon-reload does not (systemd.exec(5), sd_id128_get_invocation(3)).
// PID 1 keeps the ID as a link below /run/systemd/units while the unit is not inactive; where a glance is enough, no program
// is run. Another runtime is one more row of the table.

import { setTimeout as delay } from 'node:timers/promises';
import { AgentError } from '../errors.ts';
import type { RuntimeFacts, RuntimeMark, RuntimeObservation } from '../trust/observation.ts';
import type { Commands } from './commands.ts';
import { createHealth } from './health.ts';
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
  /**
   * Restarts the unit, in whatever state it is; resolves once another process than before is active. Throws
   * `RuntimeUnhealthy`, `RuntimeUnknown`, `Tool…`.
   */
  restart(before: RuntimeMark, signal: AbortSignal): Promise<void>;
  /** What the kubelet complains of, or undefined. */
  findKubeletFault(signal: AbortSignal): Promise<string | undefined>;
  /**
   * Answers with the InvocationID once the unit is active and the node can do its work with it, by the kubelet's word as well
   * unless it is excused. Throws `RuntimeUnhealthy` after the health time-out, `RuntimeUnknown`.
   */
  awaitHealthy(isKubeletExcused: boolean, signal: AbortSignal): Promise<string>;
}

const runtimes = [{ unit: 'containerd.service', socket: '/run/containerd/containerd.sock' }] as const;

type RuntimeRow = (typeof runtimes)[number];

/** Where systemd looks for units, of those folders that packages and administrators use (systemd.unit(5)). */
const unitFolders = [
  '/etc/systemd/system',
  '/run/systemd/system',
  '/usr/local/lib/systemd/system',
  '/usr/lib/systemd/system',
  '/lib/systemd/system',
];
/** With these a restart leaves the shims, and so the containers, alone (systemd.kill(5)); containerd's own unit says `process`. */
const gentleKillModes: ReadonlySet<string> = new Set(['process', 'none']);
const askTimeoutMs = 10_000;
/** Longer than systemd's defaults for stopping and starting, 90 s each, so that systemd and not we cut it off. */
const restartTimeoutMs = 200_000;
/** Before it is said that a unit cannot be named. */
const settleMs = 30_000;
const askEveryMs = 250;

export interface HealthWaits {
  readonly healthTimeoutMs: number;
  /** The kubelet's, if there is one. */
  readonly healthz: string | undefined;
}

type Answer = Exclude<RuntimeObservation, { kind: 'none' }> | OnItsWay;
interface OnItsWay {
  readonly kind: 'on-its-way';
  readonly unit: string;
  readonly evidence: string;
}

/** Throws `NoServiceManager` or `RuntimeNotFound`. Booted with systemd is what sd_booted(3) says it is. */
export async function detectRuntime(root: HostRoot, commands: Commands, waits: HealthWaits): Promise<Runtime> {
  if ((await root.readFolder('/run/systemd/system')) === 'absent') {
    throw new AgentError('NoServiceManager', { evidence: 'there is no /run/systemd/system' });
  }
  for (const row of runtimes) {
    for (const folder of unitFolders) {
      const entries = await root.readFolder(folder);
      if (entries !== 'absent' && entries.some(({ name }) => name === row.unit))
        return createSystemdRuntime(row, root, commands, waits);
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
    findKubeletFault: () => Promise.resolve(undefined),
    awaitHealthy: none,
  };
}

function createSystemdRuntime(
  { unit, socket }: RuntimeRow,
  root: HostRoot,
  commands: Commands,
  { healthTimeoutMs, healthz }: HealthWaits,
): Runtime {
  const health = createHealth(root, socket, healthz);
  const invocationLink = `/run/systemd/units/invocation:${unit}`;

  async function ask(signal: AbortSignal): Promise<Answer> {
    let output: string;
    try {
      const properties = 'LoadState,ActiveState,SubState,InvocationID,KillMode';
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
    const killMode = facts.get('KillMode');
    if (killMode !== undefined && !gentleKillModes.has(killMode)) {
      return { kind: 'unknown', unit, evidence: `its KillMode is ${killMode}: a restart would end its containers` };
    }
    if (load === 'loaded' && active === 'active' && invocationId) return { kind: 'running', unit, invocationId };
    const settled = active === 'inactive' || active === 'failed';
    return { kind: settled ? 'stopped' : 'on-its-way', unit, evidence: state };
  }

  async function mark(signal: AbortSignal): Promise<RuntimeMark> {
    const seen = await ask(signal);
    if (seen.kind === 'running') return seen.invocationId;
    return seen.kind === 'stopped' ? 'stopped' : 'unknown';
  }

  /** What systemctl complains of, or nothing. The unit itself is the judge: a lost connection to PID 1 proves nothing. */
  async function tell(verb: 'reset-failed' | 'restart', signal: AbortSignal): Promise<string> {
    try {
      const timeoutMs = verb === 'restart' ? restartTimeoutMs : askTimeoutMs;
      await commands.run('systemctl', [verb, unit], { timeoutMs }, signal);
      return '';
    } catch (error) {
      if (error instanceof AgentError && (error.code === 'ToolFailed' || error.code === 'ToolTimedOut'))
        return error.message;
      throw error;
    }
  }

  /** A unit on its way, up after a crash or somebody's restart, is given some time to arrive; so is a bus that does not answer. */
  async function settle(patienceMs: number, signal: AbortSignal): Promise<Answer> {
    const end = performance.now() + patienceMs;
    for (;;) {
      const seen = await ask(signal);
      if (seen.kind === 'running' || seen.kind === 'stopped' || performance.now() > end) return seen;
      await delay(askEveryMs, undefined, { signal });
    }
  }

  /** Not to know is no verdict; to be down, or on its way for so long, is one. */
  function unhealthy(seen: Answer, evidence: string): AgentError {
    return new AgentError(seen.kind === 'unknown' ? 'RuntimeUnknown' : 'RuntimeUnhealthy', { unit, evidence });
  }

  async function identify(signal: AbortSignal): Promise<string> {
    const seen = await settle(settleMs, signal);
    if (seen.kind === 'running') return seen.invocationId;
    throw new AgentError('RuntimeUnknown', { unit, evidence: seen.evidence });
  }

  return {
    facts: { kind: 'unit', unit },
    watched: [invocationLink],
    async observe(look, signal) {
      const invocationId = look === 'glance' ? await root.readLink(invocationLink) : undefined;
      if (invocationId) return { kind: 'running', unit, invocationId };
      const seen = await ask(signal);
      // A unit on its way up or down has a process, or will have one in a moment, of which nothing is known yet.
      return seen.kind === 'on-its-way' ? { ...seen, kind: 'unknown' } : seen;
    },
    mark,
    identify,
    async restart(before, signal) {
      // Somebody's restarts count against the unit's start limit: ours would stop it and then not be allowed to start it.
      await tell('reset-failed', signal);
      signal.throwIfAborted(); // told to end, it begins nothing more
      const complaint = await tell('restart', signal);
      const after = await settle(healthTimeoutMs, signal);
      if (after.kind === 'running' && after.invocationId !== before) return;
      const state = after.kind === 'running' ? 'it is the same process as before its restart' : after.evidence;
      throw unhealthy(after, `${state}${complaint && `; ${complaint}`}`);
    },
    findKubeletFault: health.findKubeletFault,
    async awaitHealthy(isKubeletExcused, signal) {
      const end = performance.now() + healthTimeoutMs;
      for (;;) {
        const seen = await ask(signal);
        const fault = seen.kind === 'running' ? await health.findFault(isKubeletExcused, signal) : seen.evidence;
        if (seen.kind === 'running' && fault === undefined) return seen.invocationId;
        if (fault !== undefined && performance.now() > end) throw unhealthy(seen, fault);
        await delay(askEveryMs, undefined, { signal });
      }
    },
  };
}

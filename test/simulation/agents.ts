// Processes of the real agent in the simulated world: started, told to end, killed at any of their calls. The world that
// agent/agent.ts takes as its parameter is made here, one for each process.

import type { AgentConfig, AgentWorld } from '../../agent/agent.ts';
import { runAgent } from '../../agent/agent.ts';
import { errorText } from '../../agent/errors.ts';
import { bootFile } from '../../agent/host/boot.ts';
import { openHost } from '../../agent/host/host.ts';
import { lockHost } from '../../agent/host/lock.ts';
import { createHostRoot } from '../../agent/host/root.ts';
import type { Log } from '../../agent/log.ts';
import { createAgentFiles, never } from './agent-files.ts';
import type { Clock } from './clock.ts';
import { type Cluster, nodeName, poolLabel, secretName } from './cluster.ts';
import { watchDrift } from './drift-watch.ts';
import type { Node, Program } from './node.ts';
import { createPrograms } from './programs.ts';
import type { Suspect } from './promises/court.ts';
import { restartIntervalMs } from './promises/restarts.ts';
import { graceMs } from './promises/wanted.ts';
import type { Promises } from './promises.ts';
import type { Random } from './random.ts';
import { type Actor, actors } from './stand-ins.ts';
import { bundlePath } from './store-tool.ts';
import { bundledPrints } from './store-views.ts';

export interface AgentProcess extends Suspect {
  readonly hasEnded: boolean;
  /** The moment of its last rebuild of the store. */
  rebuildsSince: number;
  terminate(): void;
  kill(): void;
}

export interface AgentsOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly node: Node;
  readonly cluster: Cluster;
  readonly promises: Promises;
  readonly isPooled: boolean;
  readonly spreadMs: number;
  readonly hasFile: boolean;
  /** What the agent says and does, for the trace. */
  note(line: string): void;
  /** Before and after each call of a living process. */
  onCall(isWrite: boolean): void;
  onRebuild(): void;
  /** It changes the host, runs a program, or writes to the cluster. */
  onWork(): void;
  onEnd(): void;
}

export interface Agents {
  start(): AgentProcess;
  living(): readonly AgentProcess[];
  /** The runtime is being restarted by an agent. */
  isRestarting(): boolean;
}

/** Longer than the daemon's own, so that an idle hour is soon over. */
const pollIntervalMs = 10 * 60_000;
const healthTimeoutMs = 60_000;

export function createAgents(options: AgentsOptions): Agents {
  const { clock, random, node, cluster, promises, note, onCall } = options;
  let pids = 100;
  let restarts = 0;
  let living: readonly (AgentProcess & Actor)[] = [];

  function start(): AgentProcess {
    const ending = new AbortController();
    const state = { isDead: false, hasEnded: false };
    const process: AgentProcess & Actor = {
      pid: (pids += 1),
      get isDead() {
        return state.isDead;
      },
      get hasEnded() {
        return state.hasEnded;
      },
      beganAt: 0,
      readsSinceUnanswered: Number.POSITIVE_INFINITY,
      lookedAt: 0,
      stagedAt: 0,
      changedAt: 0,
      rebuildsSince: 0,
      isEnding: false,
      hasMissed: false,
      told: [],
      hasSeenLabel: !options.isPooled,
      unlabelledSinceMs: undefined,
      hasLeft: false,
      isMember: !options.isPooled,
      pause: (milliseconds, signal) => clock.pause(milliseconds, process, signal),
      after: (milliseconds, run) => void clock.after(milliseconds, process, run),
      elapsedMs: () => clock.elapsedMs(),
      random: () => random.next(),
      findCriFault: () => node.services.findCriFault(),
      bootId: node.bootId,
      livingPids: () => living.map(({ pid }) => pid),
      terminate() {
        process.isEnding = true;
        ending.abort();
      },
      kill() {
        state.isDead = true;
        living = living.filter((other) => other !== process);
        clock.bury();
      },
    };
    const end = (): void => {
      if (state.isDead) return;
      state.hasEnded = true;
      process.kill();
      options.onEnd();
    };
    living = [...living, process];
    actors.run(process, () => {
      runAgent(configOf(options), logOf(process), ending.signal, createWorld(process)).then(end, (error: unknown) => {
        if (!state.isDead) promises.breaks('the agent does not crash', errorText(error));
        end();
      });
    });
    return process;
  }

  function logOf(process: AgentProcess & Actor): Log {
    const tell = (
      fields: { readonly step?: string; readonly state?: string; readonly message?: string },
      text: string,
    ): void => {
      const said = fields.step ?? (fields.state === undefined ? text : `${fields.state}: ${fields.message ?? ''}`);
      if (!process.isDead) note(`agent ${process.pid}: ${said}`);
    };
    return { debug: () => {}, info: tell, warn: tell, error: tell } as unknown as Log;
  }

  function createWorld(process: AgentProcess & Actor): AgentWorld {
    const caller = {
      passes(call: string, isWrite: boolean) {
        if (!process.isDead) onCall(isWrite);
        if (!process.isDead && isWrite)
          note(`agent ${process.pid} ${call.replaceAll(/\.node-trust-[0-9a-f]+\.tmp/g, 'TEMP')}`);
        return !process.isDead;
      },
      reads(path: string, content: Buffer | undefined) {
        if (path === bootFile) promises.fileServed(process, content?.toString('latin1'));
      },
      changing(call: string, path: string, change: () => void) {
        options.onWork();
        const before = call === 'rename' && path === bundlePath ? bundledPrints(node.disk) : undefined;
        promises.changing(process, call, path, change);
        if (before !== undefined) promises.rebuilt(process, process.rebuildsSince, before);
      },
    };
    const root = createHostRoot('/', createAgentFiles(node.disk, caller));
    const point = async (call: string): Promise<void> => {
      if (!caller.passes(call, true)) await never();
    };
    const client = cluster.connect({
      get isDead() {
        return process.isDead;
      },
      point,
      onServed: (served) => promises.served(process, served),
      onNodeServed: (isEnabled) => promises.nodeServed(process, options.isPooled ? isEnabled : true),
      onRecorded: (reason, message) => promises.recorded(process, reason, message),
      onFailed: () => promises.unanswered(process),
      onPatched(annotations) {
        note(
          `the Node says ${annotations['node-trust-agent/state']} ${annotations['node-trust-agent/reason']}: ${annotations['node-trust-agent/message']}`,
        );
        options.onWork();
        promises.patched(process, annotations);
      },
    });
    const now = (): Date => clock.wall();
    const commands = createPrograms({
      clock,
      process,
      point,
      start: (program, args) => startProgram(process, program, args),
      onFailed(program) {
        if (program !== 'systemctl') promises.toolFailed();
      },
    });
    return {
      client,
      root,
      openHost: () => openHost({ root, runtime: 'required', now, commands, healthTimeoutMs }),
      lockHost: () => lockHost(root),
      watchDrift: (onDrift) =>
        watchDrift({
          clock,
          disk: node.disk,
          owner: process,
          onMark: () => void (process.lookedAt = promises.moment()),
          onDrift,
        }),
      serveEndpoints: () => Promise.resolve({ url: 'simulated', [Symbol.asyncDispose]: () => Promise.resolve() }),
      now,
      random: () => random.next(),
      sleep: (milliseconds, signal) => clock.pause(milliseconds, process, signal).catch(() => {}),
    };
  }

  /** With what it means to the judge. */
  function startProgram(process: AgentProcess, program: string, args: readonly string[]): Program {
    options.onWork();
    if (args.includes('--certbundle')) {
      process.rebuildsSince = promises.moment();
      options.onRebuild();
    }
    if (args.includes('--etccertsdir')) process.stagedAt = promises.moment();
    if (args[0] === 'restart') promises.restarting(process);
    const started = node.start(program, args);
    if (args[0] === 'restart') {
      restarts += 1;
      void started.end.then(() => (restarts -= 1));
    }
    return started;
  }

  return { start, living: () => living, isRestarting: () => restarts > 0 };
}

function configOf({ isPooled, spreadMs, hasFile }: AgentsOptions): AgentConfig {
  return {
    nodeName,
    kubeconfig: undefined,
    secret: { namespace: 'kube-system', name: secretName },
    file: hasFile ? bootFile : undefined,
    uninstalls: false,
    hostRoot: '/',
    enabledBy: isPooled ? poolLabel : undefined,
    pollIntervalMs,
    spreadMs,
    deletionGraceMs: graceMs,
    healthTimeoutMs,
    restartIntervalMs,
    admission: { maxCertificates: 10, allowNonCa: false },
    listen: { host: '127.0.0.1', port: 0 },
    leaveConfirmMs: 10_000,
  };
}

// The daemon of one node: puts the parts together, makes passes until it is told to end or its Node has left the pool.
// What a pass does is in node-pass.ts and reconcile.ts; when one is made, in loop.ts.

import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { type Endpoints, serveEndpoints } from './endpoints.ts';
import { errorText } from './errors.ts';
import { createFileSource } from './host/boot.ts';
import { createDriftWatch, type DriftWatch } from './host/drift.ts';
import { stateFolder } from './host/facts.ts';
import { type Host, openHost } from './host/host.ts';
import { type HostLock, lockHost } from './host/lock.ts';
import { createHostRoot, type HostRoot } from './host/root.ts';
import { createKubeClient, type KubeClient } from './kube/client.ts';
import { loadClusterAccess } from './kube/cluster-access.ts';
import { createOwnNode } from './kube/own-node.ts';
import { createSecretSource } from './kube/secret-source.ts';
import { watchSecret } from './kube/secret-watch.ts';
import { createStatusWriter } from './kube/status-writer.ts';
import type { Log } from './log.ts';
import { createLoop, type LoopOptions } from './loop.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { createNodePass, type NodePass } from './node-pass.ts';
import { createPool, type PoolLabel } from './pool.ts';
import type { PassContext } from './reconcile.ts';

export interface AgentConfig {
  readonly nodeName: string;
  /** Undefined: the pod's ServiceAccount, else what kubectl would use. */
  readonly kubeconfig: string | undefined;
  readonly secret: { readonly namespace: string; readonly name: string };
  /** The machine's own certificates beside the Secret's: a path below the host's root. */
  readonly file: string | undefined;
  readonly hostRoot: string;
  /** Instead of following anything, takes all of the cluster's off the host and all of ours off the Node, and then waits. */
  readonly uninstalls: boolean;
  /** Undefined: every node is enabled. */
  readonly enabledBy: PoolLabel | undefined;
  readonly pollIntervalMs: number;
  readonly spreadMs: number;
  readonly deletionGraceMs: number;
  /** For the runtime to serve again after a restart. */
  readonly healthTimeoutMs: number;
  /** Least time between two restarts of the runtime, but to undo one. */
  readonly restartIntervalMs: number;
  readonly admission: PassContext['admission'];
  readonly listen: { readonly host: string; readonly port: number };
  /** Between the two reads that prove that a Node has left its pool. */
  readonly leaveConfirmMs: number;
}

/** What the agent works on and by: the machine and the cluster, or a simulation of both. */
export interface AgentWorld extends Pick<LoopOptions, 'now' | 'random' | 'sleep'> {
  readonly client: KubeClient;
  readonly root: HostRoot;
  openHost(): Promise<Host>;
  lockHost(): Promise<HostLock>;
  watchDrift(onDrift: () => void): DriftWatch;
  serveEndpoints(health: Health): Promise<Endpoints>;
}

type Health = Omit<Parameters<typeof serveEndpoints>[0], 'host' | 'port'>;

/** Throws KubeError for a kubeconfig that cannot be used. */
async function createWorld({
  kubeconfig,
  hostRoot,
  listen,
  healthTimeoutMs,
  uninstalls,
}: AgentConfig): Promise<AgentWorld> {
  const now = (): Date => new Date();
  const root = createHostRoot(hostRoot);
  return {
    client: createKubeClient(await loadClusterAccess(kubeconfig)),
    root,
    openHost: () => openHost({ root, runtime: uninstalls ? 'optional' : 'required', now, healthTimeoutMs }),
    lockHost: () => lockHost(root),
    watchDrift: (onDrift) => createDriftWatch(root, onDrift),
    serveEndpoints: (health) => serveEndpoints({ ...listen, ...health }),
    now,
    random: Math.random,
    sleep,
  };
}

/** A pass that takes longer than this hangs in something that has no time-out of its own. */
const maxPassMs = 10 * 60_000;
/** The deletion grace is longer by up to this share of it, by node, so that a fleet does not let go in the same second. */
const graceJitter = 0.2;
/** For the one question that a SIGTERM without any change of label costs; with a step's grace it must end within 10 s. */
const farewellReadMs = 4_000;
/** For taking the trust away in what a pod has left of its grace period, after its Node has left the pool. */
export const farewellMs = 90_000;

/**
 * Resolves when the signal aborts or the Node has left its pool.
 * Throws KubeError for a kubeconfig that cannot be used, and what listen(2) says of the address.
 */
export async function runAgent(
  config: AgentConfig,
  log: Log,
  signal: AbortSignal,
  simulated?: AgentWorld,
): Promise<void> {
  await using cleanup = new AsyncDisposableStack();
  const world = simulated ?? (await createWorld(config));
  const { client, root, now, random, sleep } = world;
  const node = createOwnNode({ client, name: config.nodeName });
  const pool = createPool({ node, label: config.enabledBy, confirmMs: config.leaveConfirmMs });
  const metrics = createMetrics();
  const share = shareOf(config.nodeName);
  let lock: HostLock | undefined;
  cleanup.defer(() => lock?.release());

  const nodePass: NodePass = createNodePass({
    uninstalls: config.uninstalls,
    source: createSecretSource({ client, ...config.secret }),
    local: config.file === undefined ? undefined : createFileSource(root, config.file),
    // The lock is taken with the first pass and kept while it is there; everything else of the host is looked at anew each time.
    async openHost() {
      const host = await world.openHost();
      if ((await lock?.isHeld()) !== true) {
        lock = await world.lockHost();
        await host.sweep();
      }
      await drift.cover(config.file === undefined ? host.watched : [...host.watched, config.file]);
      return {
        ...host,
        async observe(look, signalOfPass) {
          await drift.mark();
          return host.observe(look, signalOfPass);
        },
      };
    },
    node,
    pool,
    writer: createStatusWriter(node, now),
    metrics,
    log,
    now,
    graceMs: config.deletionGraceMs * (1 + graceJitter * share),
    restartDelayMs: config.spreadMs * share,
    restartIntervalMs: config.uninstalls ? 0 : config.restartIntervalMs, // nobody comes back to keep it
    admission: config.admission,
  });
  const watched = watchPass(config.uninstalls, async (reasons, passSignal) => {
    using _deaf = drift.deafen();
    return await nodePass(reasons, passSignal);
  });
  const loop = createLoop({
    pass: watched.pass,
    pollIntervalMs: config.pollIntervalMs,
    now,
    random,
    sleep,
  });
  const drift = cleanup.use(world.watchDrift(() => loop.poke('drift')));
  const endpoints = cleanup.use(await world.serveEndpoints(healthOf(watched, metrics)));
  log.info({ node: node.name, server: client.server, hostRoot: root.path, listen: endpoints.url }, 'agent started');

  const ending = new AbortController();
  const running = AbortSignal.any([signal, ending.signal]);
  const onTrouble = ({ evidence }: { readonly evidence: string }): void => log.warn({ evidence }, 'watch interrupted');
  const watching = watchSecret({ client, ...config.secret, onEvent: loop.poke, onTrouble }, running);
  try {
    await loop.run(running);
  } catch (error) {
    if (!signal.aborted) throw error; // a pass that was told to end says so in this way
  } finally {
    ending.abort();
    await watching;
  }
  if (config.uninstalls && !signal.aborted) await waitUninstalled();
  else if (signal.aborted && lock !== undefined && config.enabledBy !== undefined) await sayFarewell();
  log.info({}, 'agent ended');

  /** A pod of a DaemonSet that ends is started again, so it stays until somebody deletes it, ready as a sign of what is done. */
  async function waitUninstalled(): Promise<void> {
    await lock?.release();
    lock = undefined;
    const left = await root.readFolder(stateFolder);
    if (left !== 'absent' && left.length === 0) await root.removeFolder(stateFolder);
    log.info({}, 'uninstalled: nothing of the cluster is on this host, and nothing of ours on its Node');
    await sleep(2 ** 31 - 1, signal);
  }

  /** A label that goes away ends the pod, too: told to end, the agent looks whether it was this, and if so ends its work. */
  async function sayFarewell(): Promise<void> {
    const first = await node.read(AbortSignal.timeout(farewellReadMs)).catch(() => undefined);
    if (first === undefined) return; // an API server that does not answer proves nothing
    const patience = AbortSignal.timeout(farewellMs);
    try {
      if ((await pool.judge(first, patience)) !== 'left') return;
      // No other agent comes to say on the Node what was done here.
      for (let pauseMs = 500; ; pauseMs *= 2) {
        const next = await watched.pass(['left the pool'], patience);
        if (next.kind === 'end') return;
        await sleep(Math.max(pauseMs, next.kind === 'back-off' ? (next.retryAfterMs ?? 0) : 0), patience);
      }
    } catch (error) {
      log.error({ evidence: errorText(error) }, 'leaving the pool was not finished');
    }
  }
}

interface WatchedPass {
  readonly pass: NodePass;
  /** What is wrong, or undefined. */
  hanging(): string | undefined;
  unproven(): string | undefined;
}

/** The first pass that ends proves that this agent works; where it uninstalls, the last one does. */
function watchPass(uninstalls: boolean, inner: NodePass): WatchedPass {
  let since: number | undefined;
  let hasEnded = false;
  return {
    async pass(reasons, signal) {
      since = performance.now();
      try {
        const next = await inner(reasons, signal);
        hasEnded ||= !uninstalls || next.kind === 'end';
        return next;
      } finally {
        since = undefined;
      }
    },
    hanging: () => (since !== undefined && performance.now() - since > maxPassMs ? 'a pass hangs' : undefined),
    unproven: () =>
      hasEnded ? undefined : uninstalls ? 'not everything is taken away yet' : 'the first pass has not ended',
  };
}

function healthOf({ hanging, unproven }: WatchedPass, metrics: Metrics): Health {
  const render = async () => ({ contentType: metrics.contentType, text: await metrics.render() });
  return { live: hanging, ready: unproven, metrics: render };
}

async function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  await delay(milliseconds, undefined, { signal }).catch(() => {}); // rejects for the abort alone
}

/** From 0 to 1, always the same for a name, evenly spread over names. */
function shareOf(nodeName: string): number {
  return createHash('sha256').update(nodeName).digest().readUInt32BE() / 2 ** 32;
}

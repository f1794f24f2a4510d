// A host as a pass sees it: one observation, and one executor for each kind of step. The executors are a mapped type, so
// that a new kind of step does not compile before somebody executes it. Knows Linux, and nothing of Kubernetes.

import { posix } from 'node:path';
import { AgentError } from '../errors.ts';
import type { BundleDigest } from '../trust/bundle.ts';
import type { StorePlaces } from '../trust/drift.ts';
import {
  type AnchorName,
  anchorName,
  anchorNames,
  type Observation,
  type RuntimeFacts,
  type RuntimeMark,
  type RuntimeRecord,
  type StoreObservation,
  timeOf,
  trustedNow,
} from '../trust/observation.ts';
import type { Step } from '../trust/plan.ts';
import { withdraw } from '../trust/provenance.ts';
import { readAksLeftovers } from './aks-leftovers.ts';
import { bootRecord, readBootList, withBoot } from './boot.ts';
import { type Commands, createHostCommands } from './commands.ts';
import { detectDistribution } from './distribution.ts';
import { createFactsFile, type FactsFile, stageFolder, stateFolder } from './facts.ts';
import { kubeletHealthz } from './health.ts';
import { type HostRoot, isTemporary } from './root.ts';
import { createNoRuntime, detectRuntime, type Runtime } from './runtime.ts';
import type { Untold } from './trust-store.ts';

export interface Host {
  /** For people: the bundle's path and how the distribution was recognized. */
  readonly store: string;
  readonly runtime: RuntimeFacts;
  readonly places: StorePlaces;
  readonly keepsNonCa: boolean;
  readonly watched: readonly string[];
  readonly facts: FactsFile;
  /** The anchors that stood in the machine's own file at its last boot; undefined where no boot has installed it. */
  readBootList(): Promise<ReadonlySet<AnchorName> | undefined>;
  /** Certificates that lie there from AKS's retired preview, with their files. */
  readLeftovers(): ReturnType<typeof readAksLeftovers>;
  /** Tells the hooks that could not be told of a rebuild; answers with warnings. */
  retell(signal: AbortSignal): Promise<readonly string[]>;
  /** Removes what an agent that was killed has left half-made; for the holder of the lock. */
  sweep(): Promise<void>;
  /** A glance does for a pass with nothing to do; a proof asks the service manager. */
  observe(look: 'glance' | 'ask', signal: AbortSignal): Promise<Observation>;
  /**
   * Answers with warnings, or that the host is not any more what the step was planned for, and nothing was done. A step is
   * begun only while the signal is not aborted, and then ended.
   */
  apply(step: Step, signal: AbortSignal): Promise<readonly string[] | 'outdated'>;
}

export interface HostOptions {
  readonly root: HostRoot;
  /** Whether a host without a service manager or runtime is an error, or a host whose store is all there is to it. */
  readonly runtime: 'required' | 'optional';
  readonly now: () => Date;
  /** For the runtime to be active and to serve, after a restart. */
  readonly healthTimeoutMs: number;
  /** Where missing, found out from where the root is. */
  readonly commands?: Commands;
  /** Where missing, the default of the kubelet of this machine, which is none of a sandbox's business. */
  readonly healthz?: string;
}

/** Throws `UnsupportedDistribution`, `NoServiceManager`, `RuntimeNotFound`. */
export async function openHost(options: HostOptions): Promise<Host> {
  const { root, runtime: demand, now, healthTimeoutMs } = options;
  if ((await root.readFolder('/')) === 'absent')
    throw new AgentError('UnsupportedDistribution', { evidence: `there is no folder ${root.path}` });
  const commands = options.commands ?? (await createHostCommands(root.path));
  const distribution = await detectDistribution(root);
  const store = distribution.createStore(root, commands);
  const healthz = options.healthz ?? (commands.way === 'sandbox' ? undefined : kubeletHealthz);
  const runtime = await detectRuntime(root, commands, { healthTimeoutMs, healthz }).catch((error: unknown) =>
    withoutRuntime(error, demand),
  );
  const facts = createFactsFile(root);
  /** The process that was found to serve. Whoever is started after it is asked again. */
  let served: string | undefined;
  /** Who ran before our restart, until it is known what the process after it has loaded. */
  let restartedFrom: RuntimeMark | undefined;

  const execute: { readonly [K in Step['kind']]: Executor<K> } = {
    'stage-store': ({ certificates, without }, signal) => store.stage(certificates, without, signal),
    'note-before': async ({ bundle }, signal) => {
      const kubelet = await findKubeletFault(signal);
      const rebuild = { bundle, at: now().toISOString(), before: await runtime.mark(signal) };
      const { loaded, restarted, rebuild: last } = (await facts.read()).runtime;
      await root.remove(bootRecord);
      await noteRuntime({
        rebuild,
        kubelet,
        // A process that loads the store at its first use may load this one: what is noted of it is good for its own bundle only.
        ...(loaded?.bundle !== bundle && { loaded: undefined }),
        // A restart for an earlier rebuild is none for this one; when it was still counts.
        ...(last?.bundle !== bundle && restarted && { restarted: timeOf(restarted) }),
      });
    },
    'write-anchor': async ({ certificate }) => {
      const { proven = [], added = [], withdrawn = [] } = await facts.read();
      const name = anchorName(certificate.fingerprint);
      if (!proven.includes(name) && !added.includes(name)) await facts.update({ added: [...added, name] });
      await store.writeAnchor(certificate); // before the note: what is wanted, not there and not withdrawn was taken by somebody else
      await facts.update({ withdrawn: withdraw({ withdrawn: withdrawn.filter((known) => known !== name) }, []) });
    },
    unindex: ({ names }, signal) => store.unindex(names, signal),
    'remove-anchor': async ({ name }) => {
      await facts.update({ withdrawn: withdraw(await facts.read(), [name]) });
      await store.removeAnchor(name);
    },
    'rebuild-store': async ({ withdrawn, ...step }, signal) => {
      // With what earlier rebuilds have taken away, since nobody knows how far one got that failed or was cut off.
      const { withdrawn: earlier = [], untold: left = [] } = await facts.read();
      const wish = { ...step, withdrawn: [...new Set([...earlier, ...withdrawn])], untold: left };
      const { version, warnings, untold, isOutdated } = await store.rebuild(wish, signal);
      await noteUntold(untold);
      if (isOutdated) return 'outdated';
      await noteRebuild({ version });
      return [...warnings, ...untold.warnings];
    },
    reindex: (_, signal) => store.reindex(signal),
    'note-after': async (_, signal) => noteRebuild({ after: await runtime.mark(signal) }),
    'restart-runtime': async ({ bundle, stale }, signal) => {
      const kubelet = await findKubeletFault(signal);
      // In this order: whoever is another process than this one was started when the store was so already.
      const version = await store.version();
      const before = await runtime.mark(signal);
      if (stale !== undefined && before !== stale) return 'outdated';
      await noteRuntime({ restarted: { bundle, at: now().toISOString(), before, version }, kubelet });
      restartedFrom = before;
      await runtime.restart(before, signal);
      return kubelet === undefined ? [] : [`${kubelet} before the runtime is restarted: it is not waited for`];
    },
    'await-healthy': async (_, signal) => {
      const { kubelet } = (await facts.read()).runtime;
      served = await runtime.awaitHealthy(kubelet !== undefined, signal);
    },
    'note-loaded': async ({ unit, bundle, version }, signal) => {
      const invocationId = await runtime.identify(signal);
      const { runtime: known, withdrawn = [] } = await facts.read();
      if (invocationId !== served && invocationId !== known.loaded?.invocationId) return 'outdated';
      const observed = await store.observe(withdrawn);
      const found = observed.version;
      const { rebuild, rewritten } = await withBoot(known, root, found);
      // A plan with a rebuild has its own on record: what the boot unit has built meanwhile, and recorded, is another store.
      const isUntouched = found === (version ?? known.rebuild?.version);
      // Where the store is written at each start of the unit, a second restart would show no more than the first: it counts
      // if the store is whole.
      const isKnown = isUntouched || (rewritten === bundle && isWhole(bundle, observed));
      const isSame = known.loaded?.invocationId === invocationId;
      const ofOthers = anchorNames(observed.stillTrusted);
      const besides = (isSame ? known.loaded?.besides : ofOthers) ?? [];
      const isOurStart = restartedFrom !== undefined && invocationId !== restartedFrom;
      restartedFrom = undefined;
      await noteRuntime({
        ...(isKnown && { rebuild, loaded: { invocationId, bundle, version: found, besides } }),
        ...(isOurStart && { rewritten: isUntouched ? undefined : bundle }),
      });
      if (isKnown) await root.remove(bootRecord);
      return isKnown ? [] : [`somebody wrote the store meanwhile: what ${unit} loaded is not known`];
    },
    'await-runtime': async (_, signal) => {
      await runtime.identify(signal);
    },
  };

  /** Before anything is changed, that is no fault of what comes; before something is undone, what was noted first counts. */
  async function findKubeletFault(signal: AbortSignal): Promise<string | undefined> {
    const { undoing, runtime: known } = await facts.read();
    return undoing === undefined ? runtime.findKubeletFault(signal) : known.kubelet;
  }

  async function noteUntold({ names }: Untold): Promise<void> {
    await facts.update({ untold: names.length === 0 ? undefined : names });
  }

  async function noteRebuild(change: Partial<NonNullable<Observation['record']['rebuild']>>): Promise<void> {
    const { rebuild } = (await facts.read()).runtime;
    if (rebuild !== undefined) await noteRuntime({ rebuild: { ...rebuild, ...change } });
  }

  async function noteRuntime(
    change: { readonly [K in keyof RuntimeRecord]?: RuntimeRecord[K] | undefined },
  ): Promise<void> {
    const { runtime: record } = await facts.read();
    const known = Object.entries({ ...record, ...change }).filter(([, value]) => value !== undefined);
    await facts.update({ runtime: Object.fromEntries(known) as RuntimeRecord });
  }

  return {
    store: `${store.places.bundlePath} (${distribution.evidence})`,
    places: store.places,
    runtime: runtime.facts,
    keepsNonCa: distribution.keepsNonCa,
    watched: [...store.watched, ...runtime.watched],
    facts,
    async sweep() {
      for (const folder of [...store.folders, stateFolder]) {
        const entries = await root.readFolder(folder);
        const left = entries === 'absent' ? [] : entries.filter(({ name }) => isTemporary(name));
        for (const { name } of left) await root.remove(posix.join(folder, name));
      }
      await root.removeFolder(stageFolder);
    },
    readBootList: () => readBootList(root),
    readLeftovers: () => readAksLeftovers(root),
    async retell(signal) {
      const { untold: left } = await facts.read();
      if (left === undefined) return [];
      const untold = await store.retell(left, signal);
      await noteUntold(untold);
      return untold.warnings;
    },
    async observe(look, signal) {
      const { runtime: known, withdrawn = [] } = await facts.read();
      const observed = await store.observe(withdrawn);
      const record = await withBoot(known, root, observed.version);
      return { store: observed, runtime: await runtime.observe(look, signal), record };
    },
    async apply(step, signal) {
      signal.throwIfAborted();
      const executor: (step: never, signal: AbortSignal) => Promise<readonly string[] | 'outdated' | void> =
        execute[step.kind];
      return (await executor(step as never, signal)) ?? [];
    },
  };
}

type Executor<K extends Step['kind']> = (
  step: Extract<Step, { kind: K }>,
  signal: AbortSignal,
) => Promise<readonly string[] | 'outdated' | void>;

function withoutRuntime(error: unknown, demand: HostOptions['runtime']): Runtime {
  const isMissing =
    error instanceof AgentError && (error.code === 'NoServiceManager' || error.code === 'RuntimeNotFound');
  if (demand === 'optional' && isMissing) return createNoRuntime(error.message);
  throw error;
}

function isWhole(bundle: BundleDigest, store: StoreObservation): boolean {
  return trustedNow({ store }, []).bundle === bundle && store.returned.length === 0;
}

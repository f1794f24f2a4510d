// A host as a pass sees it: one observation, and one executor for each kind of step. The executors are a mapped type, so
// that a new kind of step does not compile before somebody executes it. Knows Linux, and nothing of Kubernetes.

import { AgentError } from '../errors.ts';
import type { Observation, RuntimeFacts } from '../trust/observation.ts';
import type { Step } from '../trust/plan.ts';
import { createHostCommands } from './commands.ts';
import { detectDistribution } from './distribution.ts';
import { createFactsFile, type FactsFile, stateFolder } from './facts.ts';
import type { HostRoot } from './root.ts';
import { createNoRuntime, detectRuntime, type Runtime } from './runtime.ts';

export interface Host {
  /** For people: the bundle's path and how the distribution was recognized. */
  readonly store: string;
  readonly runtime: RuntimeFacts;
  readonly keepsNonCa: boolean;
  readonly watched: readonly string[];
  readonly facts: FactsFile;
  /** Removes what an agent that was killed has left half-made; for the holder of the lock. */
  sweep(): Promise<void>;
  /** A glance does for a pass with nothing to do; a proof asks the service manager. */
  observe(look: 'glance' | 'ask', signal: AbortSignal): Promise<Observation>;
  /** Answers with warnings. A step is begun only while the signal is not aborted, and then ended. */
  apply(step: Step, signal: AbortSignal): Promise<readonly string[]>;
}

export interface HostOptions {
  readonly root: HostRoot;
  /** Whether a host without a service manager or runtime is an error, or a host whose store is all there is to it. */
  readonly runtime: 'required' | 'optional';
  readonly now: () => Date;
}

/** Throws `UnsupportedDistribution`, `NoServiceManager`, `RuntimeNotFound`. */
export async function openHost({ root, runtime: demand, now }: HostOptions): Promise<Host> {
  const commands = await createHostCommands(root.path);
  const distribution = await detectDistribution(root);
  const store = distribution.createStore(root, commands);
  const runtime = await detectRuntime(root, commands).catch((error: unknown) => withoutRuntime(error, demand));
  const facts = createFactsFile(root);

  const execute: { readonly [K in Step['kind']]: Executor<K> } = {
    'stage-store': ({ certificates, without }, signal) => store.stage(certificates, without, signal),
    'note-before': async ({ bundle }, signal) => {
      const rebuild = { bundle, at: now().toISOString(), before: await runtime.mark(signal) };
      await noteRuntime({ rebuild });
    },
    'write-anchor': ({ certificate }) => store.writeAnchor(certificate),
    unindex: ({ names }, signal) => store.unindex(names, signal),
    'remove-anchor': ({ name }) => store.removeAnchor(name),
    'rebuild-store': async ({ certificates, withdrawn }, signal) => {
      const { version, warnings } = await store.rebuild(certificates, withdrawn, signal);
      await noteRebuild({ version });
      return warnings;
    },
    reindex: (_, signal) => store.reindex(signal),
    'note-after': async (_, signal) => noteRebuild({ after: await runtime.mark(signal) }),
    'restart-runtime': (_, signal) => runtime.restart(signal),
    'note-loaded': async ({ unit, bundle, version }, signal) => {
      const invocationId = await runtime.identify(signal);
      const expected = version ?? (await facts.read()).runtime.rebuild?.version;
      const found = await store.version();
      if (found !== expected) return [`somebody wrote the store meanwhile: what ${unit} loaded is not known`];
      await noteRuntime({ loaded: { invocationId, bundle, version: found } });
      return [];
    },
    'await-runtime': async (_, signal) => {
      await runtime.identify(signal);
    },
  };

  async function noteRebuild(change: Partial<NonNullable<Observation['record']['rebuild']>>): Promise<void> {
    const { rebuild } = (await facts.read()).runtime;
    if (rebuild !== undefined) await noteRuntime({ rebuild: { ...rebuild, ...change } });
  }

  async function noteRuntime(change: Partial<Observation['record']>): Promise<void> {
    const { runtime: record } = await facts.read();
    await facts.update({ runtime: { ...record, ...change } });
  }

  return {
    store: `${store.bundlePath} (${distribution.evidence})`,
    runtime: runtime.facts,
    keepsNonCa: distribution.keepsNonCa,
    watched: [...store.watched, ...runtime.watched],
    facts,
    async sweep() {
      await store.sweep();
      await root.sweep(stateFolder);
    },
    async observe(look, signal) {
      const { runtime: record } = await facts.read();
      return { store: await store.observe(), runtime: await runtime.observe(look, signal), record };
    },
    async apply(step, signal) {
      signal.throwIfAborted();
      const executor: (step: never, signal: AbortSignal) => Promise<readonly string[] | void> = execute[step.kind];
      return (await executor(step as never, signal)) ?? [];
    },
  };
}

type Executor<K extends Step['kind']> = (
  step: Extract<Step, { kind: K }>,
  signal: AbortSignal,
) => Promise<readonly string[] | void>;

function withoutRuntime(error: unknown, demand: HostOptions['runtime']): Runtime {
  const isMissing =
    error instanceof AgentError && (error.code === 'NoServiceManager' || error.code === 'RuntimeNotFound');
  if (demand === 'optional' && isMissing) return createNoRuntime(error.message);
  throw error;
}

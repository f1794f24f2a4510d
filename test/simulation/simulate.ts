// The simulation's command: many schedules over all cores, one schedule told as a story, or the list of planted defects with
// the number of schedules that it took to find each. Exits 1 where a promise is broken, or a defect is not found.

import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { loadWith } from './loader.ts';
import { mutations } from './mutations.ts';

/** A schedule that broke a promise, and the story of its shortest form. */
export interface Failure {
  readonly seed: number;
  readonly story: readonly string[];
}

export interface Findings {
  readonly schedules: number;
  readonly failures: readonly Failure[];
  /** Over the traces of all. */
  readonly trace: string;
}

export interface Task {
  readonly from: number;
  readonly to: number;
  readonly mutation: string | undefined;
  /** After so many failures it is enough. */
  readonly enough: number;
  readonly shrinks: boolean;
}

const usage = `npm run simulate -- [--runs N] [--from SEED] | --seed N [--calls] [--mutation NAME] | --mutations [--runs N]\n`;

/** A killed agent never cleans up after itself: what its signals hold stays in the memory of the worker, half a megabyte a schedule. */
const mostOfWorker = 1_000;

/** Splits the seeds over all cores. */
export async function simulateMany(task: Task, onFailure: (failure: Failure) => void = () => {}): Promise<Findings> {
  const runs = task.to - task.from;
  const share = Math.min(mostOfWorker, Math.max(50, Math.ceil(runs / availableParallelism())));
  const shares = Array.from({ length: Math.ceil(runs / share) }, (_, index) => task.from + index * share);
  const found = new Map<number, Findings>();
  const failures: Failure[] = [];
  const runNext = async (): Promise<void> => {
    for (let from = shares.shift(); from !== undefined && failures.length < task.enough; from = shares.shift()) {
      const findings = await runWorker({ ...task, from, to: Math.min(task.to, from + share) });
      found.set(from, findings);
      failures.push(...findings.failures);
      for (const failure of findings.failures) onFailure(failure);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, runNext));
  const inOrder = [...found].sort(([one], [other]) => one - other).map(([, findings]) => findings);
  return {
    schedules: inOrder.reduce((sum, { schedules }) => sum + schedules, 0),
    failures,
    trace: inOrder.map(({ trace }) => trace).join(' '),
  };
}

/** In a process of its own, since a defect is planted once for all. */
export function runWorker(task: Task): Promise<Findings> {
  return new Promise((resolve, reject) => {
    const worker = fork(import.meta.filename, ['--worker']);
    worker.once('message', (findings) => resolve(findings as Findings));
    worker.once('exit', (code) => reject(new Error(`a worker ended with ${code} and without an answer`)));
    worker.send(task);
  });
}

async function work({ from, to, mutation, enough, shrinks }: Task): Promise<Findings> {
  loadWith(mutations.find(({ name }) => name === mutation));
  const [{ simulate }, { drawSchedule }, { shrink }, { createHash }] = await Promise.all([
    import('./world.ts'),
    import('./draw.ts'),
    import('./schedule.ts'),
    import('node:crypto'),
  ]);
  const traces = createHash('sha256');
  const failures: Failure[] = [];
  let seed = from;
  for (; seed < to && failures.length < enough; seed += 1) {
    const schedule = drawSchedule(seed);
    const { broken, story, trace } = await simulate(schedule);
    traces.update(trace);
    if (broken === undefined) continue;
    if (!shrinks) failures.push({ seed, story });
    else {
      const shortest = await shrink(
        schedule,
        async (shorter) => (await simulate(shorter)).broken?.promise === broken.promise,
      );
      failures.push({ seed, story: (await simulate(shortest)).story });
    }
  }
  return { schedules: seed - from, failures, trace: traces.digest('hex') };
}

async function runSeeds(from: number, runs: number): Promise<boolean> {
  const startedAt = performance.now();
  const task = { from, to: from + runs, mutation: undefined, enough: 10, shrinks: true };
  const { schedules, failures } = await simulateMany(task, ({ seed, story }) =>
    print(`\nseed ${seed}, as short as it gets:\n${story.join('\n')}\n`),
  );
  print(
    `${schedules} schedules in ${((performance.now() - startedAt) / 1000).toFixed(1)} s, ${failures.length} broke a promise\n`,
  );
  return failures.length === 0;
}

async function runMutations(runs: number): Promise<boolean> {
  const waiting = [...mutations];
  let isGood = true;
  const runNext = async (): Promise<void> => {
    for (let mutation = waiting.shift(); mutation !== undefined; mutation = waiting.shift()) {
      const { name } = mutation;
      const { schedules, failures } = await runWorker({
        from: 1,
        to: 1 + runs,
        mutation: name,
        enough: 1,
        shrinks: false,
      });
      const [first] = failures;
      isGood &&= first !== undefined;
      const broke = first?.story.find((line) => line.includes('BROKEN: '))?.replace(/.*BROKEN: /, '');
      print(
        `${broke === undefined ? 'NOT FOUND' : String(schedules).padStart(9)}  ${name}${broke === undefined ? '' : ` (${broke})`}\n`,
      );
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, runNext));
  return isGood;
}

async function tellOne(seed: number, tellsCalls: boolean, mutation: string | undefined): Promise<boolean> {
  loadWith(mutations.find(({ name }) => name === mutation));
  const [{ simulate }, { drawSchedule }] = await Promise.all([import('./world.ts'), import('./draw.ts')]);
  const { broken, story, trace } = await simulate(drawSchedule(seed), tellsCalls);
  print(
    `${story.join('\n')}\nseed ${seed}: ${broken === undefined ? 'every promise was kept' : broken.promise}; trace ${trace.slice(0, 16)}\n`,
  );
  return broken === undefined;
}

function print(text: string): void {
  process.stdout.write(text);
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string' },
      calls: { type: 'boolean', default: false },
      runs: { type: 'string', default: '2000' },
      from: { type: 'string', default: '1' },
      mutation: { type: 'string' },
      mutations: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const runs = Number(values.runs);
  if (values.help) print(usage);
  else if (values.mutations) return (await runMutations(runs)) ? 0 : 1;
  else if (values.seed !== undefined)
    return (await tellOne(Number(values.seed), values.calls, values.mutation)) ? 0 : 1;
  else return (await runSeeds(Number(values.from), runs)) ? 0 : 1;
  return 0;
}

if (process.argv[2] === '--worker') {
  process.once('disconnect', () => process.exit()); // nobody waits for it any more
  process.once('message', (task) => {
    void work(task as Task).then((findings) => process.send?.(findings, () => process.disconnect?.()));
  });
} else if (import.meta.main) process.exitCode = await main();

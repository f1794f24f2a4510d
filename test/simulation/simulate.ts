// The simulation's command: many schedules over all cores, one schedule told as a story, or the list of planted defects with
// the number of schedules that it took to find each. Exits 1 where a promise is broken, or a defect is not found.

import { fork } from 'node:child_process';
import { availableParallelism, constants } from 'node:os';
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

const usage = `npm run simulate -- [--runs N] [--from SEED]
    Many schedules, over all cores: 2,000 from seed 1 where nothing is said. What breaks a promise is told in its shortest form.
npm run simulate -- --seed N [--calls] [--mutation NAME]
    The schedule of one seed, told as a story from 2026-06-01T00:00Z on: with each call of the agent, or with a defect of
    test/simulation/mutations.ts, as in --seed 2 --mutation 'a rejected set is installed'.
npm run simulate -- --mutations [--runs N]
    How many schedules, from seed 1 on, it takes to find each of these defects.
It ends with 1 where a promise is broken or a defect is not found, with 2 where it was called wrongly.
`;

interface Call {
  readonly seed: number | undefined;
  readonly calls: boolean;
  readonly mutation: string | undefined;
  readonly mutations: boolean;
  readonly runs: number;
  readonly from: number;
  readonly help: boolean;
}

/** A killed agent never cleans up after itself: what its signals hold stays in the memory of the worker, half a megabyte a schedule. */
const mostOfWorker = 1_000;

/** Splits the seeds over all cores. */
export async function simulateMany(
  task: Task,
  onShare: (findings: Findings, schedulesSoFar: number) => void = () => {},
): Promise<Findings> {
  const runs = task.to - task.from;
  const share = Math.min(mostOfWorker, Math.max(50, Math.ceil(runs / availableParallelism())));
  const shares = Array.from({ length: Math.ceil(runs / share) }, (_, index) => task.from + index * share);
  const found = new Map<number, Findings>();
  const failures: Failure[] = [];
  let schedules = 0;
  const runNext = async (): Promise<void> => {
    for (let from = shares.shift(); from !== undefined && failures.length < task.enough; from = shares.shift()) {
      const findings = await runWorker({ ...task, from, to: Math.min(task.to, from + share) });
      found.set(from, findings);
      failures.push(...findings.failures);
      schedules += findings.schedules;
      onShare(findings, schedules);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, runNext));
  const inOrder = [...found].sort(([one], [other]) => one - other).map(([, findings]) => findings);
  return {
    schedules,
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
  const { schedules, failures } = await simulateMany(task, (share, soFar) => {
    for (const { seed, story } of share.failures) print(`\nseed ${seed}, as short as it gets:\n${story.join('\n')}\n`);
    if (soFar % 10_000 === 0) process.stderr.write(`${soFar} of ${runs}\n`);
  });
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
    `${story.join('\n')}\nseed ${seed}: ${broken === undefined ? 'every promise was kept' : `BROKEN: ${broken.promise}`}; trace ${trace.slice(0, 16)}\n`,
  );
  return broken === undefined;
}

function print(text: string): void {
  process.stdout.write(text);
}

/** Throws a TypeError that says what is wrong with the call. */
function readCall(): Call {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string' },
      calls: { type: 'boolean', default: false },
      runs: { type: 'string' },
      from: { type: 'string' },
      mutation: { type: 'string' },
      mutations: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const { seed, mutation, calls, runs, from } = values;
  if (seed !== undefined && (runs !== undefined || from !== undefined))
    throw new TypeError('--seed plays one schedule: without --runs and --from');
  if (values.mutations && (seed !== undefined || from !== undefined))
    throw new TypeError('--mutations begins at seed 1: without --seed and --from');
  if (seed === undefined && (calls || mutation !== undefined))
    throw new TypeError('--calls and --mutation need a --seed');
  if (mutation !== undefined && !mutations.some(({ name }) => name === mutation))
    throw new TypeError(
      `no planted defect is called '${mutation}'; there are:\n${mutations.map(({ name }) => `  ${name}`).join('\n')}`,
    );
  return {
    ...values,
    mutation,
    seed: seed === undefined ? undefined : readWhole('seed', seed, 0),
    runs: readWhole('runs', runs ?? '2000', 1),
    from: readWhole('from', from ?? '1', 0),
  };
}

function readWhole(flag: string, text: string, least: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw new TypeError(`--${flag} is a whole number, ${least} at least, and not '${text}'`);
}

async function main(): Promise<number> {
  let call: Call;
  try {
    call = readCall();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    process.stderr.write(`${error.message}\n\n${usage}`);
    return 2;
  }
  const { seed, calls, mutation, runs, from } = call;
  if (call.help) print(usage);
  else if (call.mutations) return (await runMutations(runs)) ? 0 : 1;
  else if (seed !== undefined) return (await tellOne(seed, calls, mutation)) ? 0 : 1;
  else return (await runSeeds(from, runs)) ? 0 : 1;
  return 0;
}

if (process.argv[2] === '--worker') {
  process.once('disconnect', () => process.exit()); // nobody waits for it any more
  process.once('message', (task) => {
    void work(task as Task).then((findings) => process.send?.(findings, () => process.disconnect?.()));
  });
} else if (import.meta.main) {
  process.stdout.once('error', () => process.exit(128 + constants.signals.SIGPIPE)); // nobody reads any more
  process.exitCode = await main();
}

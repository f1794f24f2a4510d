// A fake of the service manager with one unit, and of the runtime in it. Faithful: an InvocationID for each start, PID 1's link
// below /run/systemd/units while the unit is not inactive, activating and deactivating, auto-restart, the start limit and
// reset-failed, `show` with exit code 0. The runtime loads its trust pool once, when it starts or, as Go does, at its first
// use some time later, and keeps it; it serves its CRI some time after it is active, or never.

import { readCertificates } from './certificates.ts';
import type { Clock, Owner } from './clock.ts';
import type { Disk } from './disk.ts';
import type { Random } from './random.ts';
import { bundlePath, defaultPlaces, listInputs, storeFolder, type ToolRun } from './store-tool.ts';

export const unit = 'containerd.service';
/** Stays when the process ends, as the file of a socket does. */
const socket = '/run/containerd/containerd.sock';
const invocationLink = `/run/systemd/units/invocation:${unit}`;

export type StartTrouble =
  | 'fails'
  | 'fails and comes back'
  | 'is slow'
  | 'keeps its process'
  | 'dies again'
  | 'dies of a question'
  | 'never serves'
  | 'serves late';

export interface RuntimeProcess {
  readonly invocationId: string;
  /** What it loaded of the bundle and, as Go does, of the files beside it; undefined: nothing yet. */
  pool: { readonly bundle: ReadonlySet<string>; readonly beside: ReadonlySet<string> } | undefined;
  /** Its CRI has answered, or would have, that it is ready. */
  isReady: boolean;
}

export interface ServiceManager {
  readonly process: RuntimeProcess | undefined;
  readonly isActive: boolean;
  readonly isSettled: boolean;
  /** What the next starts do instead of working. */
  readonly troubles: StartTrouble[];
  systemctl(
    args: readonly string[],
    run: Pick<ToolRun, 'pause'>,
  ): Promise<{ readonly exitCode: number; readonly stdout: string }>;
  /** Why its CRI does not serve, or undefined. */
  findCriFault(): string | undefined;
  /** The process dies and is started again by the service manager. */
  die(): void;
  /** Who runs, as one who asks at this moment is told: an InvocationID, or `stopped`, or `unknown`. */
  mark(): string;
  /** Somebody starts it where it is down, and has it serve. */
  start(): void;
}

export interface ServiceOptions {
  readonly clock: Clock;
  readonly disk: Disk;
  readonly random: Random;
  /** With the boot all of it ends. */
  readonly boot: Owner;
  readonly loads: 'at start' | 'at first use';
  /** Another process, or none, from here on. */
  onChange(process: RuntimeProcess | undefined): void;
  /** The process is ready, for the first time. */
  onReady(): void;
  /** Whether what a process is noted to have loaded is in the bundle. */
  isWhole(): boolean;
  /** A start that does not work begins. */
  onTrouble(): void;
}

export function createServiceManager({
  clock,
  disk,
  random,
  boot,
  loads,
  onChange,
  onReady,
  isWhole,
  onTrouble,
}: ServiceOptions): ServiceManager {
  let active: 'active' | 'activating' | 'deactivating' | 'inactive' | 'failed' = 'inactive';
  let process: RuntimeProcess | undefined;
  let jobs: Promise<void> = Promise.resolve();
  let recentStarts: number[] = [];
  /** Dies a moment after its CRI has answered for the first time. */
  let fragile: RuntimeProcess | undefined;
  const troubles: StartTrouble[] = [];
  const pause = (milliseconds: number): Promise<void> => clock.pause(milliseconds, boot);
  disk.makeFolders('/run/systemd/units');
  disk.makeFolders('/run/systemd/system');

  function setLink(target: string | undefined): void {
    if (disk.find(invocationLink) !== undefined) disk.unlink(invocationLink);
    if (target !== undefined) disk.symlink(target, invocationLink);
  }

  function end(state: typeof active): void {
    process = undefined;
    active = state;
    setLink(undefined);
    onChange(undefined);
  }

  async function bringUp(): Promise<void> {
    const trouble = troubles.shift();
    if (trouble !== undefined) onTrouble();
    const now = clock.elapsedMs();
    recentStarts = [...recentStarts.filter((at) => now - at < 10_000), now];
    if (recentStarts.length > 5) return end('failed');
    const invocationId = Array.from({ length: 32 }, () => random.below(16).toString(16)).join('');
    const started: RuntimeProcess = { invocationId, pool: undefined, isReady: false };
    process = started;
    active = 'activating';
    setLink(invocationId);
    if (disk.find(socket) === undefined) disk.put(socket, '');
    onChange(started);
    if (loads === 'at start') clock.after(random.pick([0, 0, 120]), boot, () => load(started));
    await pause(trouble === 'is slow' ? 20_000 : 500);
    if (process !== started) return;
    if (trouble === 'fails' || trouble === 'fails and comes back') {
      end('failed');
      if (trouble === 'fails and comes back') clock.after(15_000, boot, start);
      return;
    }
    active = 'active';
    if (trouble !== 'never serves') clock.after(trouble === 'serves late' ? 40_000 : 200, boot, () => serve(started));
    if (loads === 'at first use') clock.after(random.pick([10, 3_000, 60_000]), boot, () => load(started));
    if (trouble === 'dies of a question') fragile = started;
    if (trouble === 'dies again') clock.after(random.pick([50, 5_000]), boot, die);
  }

  function serve(started: RuntimeProcess): void {
    if (process !== started || started.isReady) return;
    started.isReady = true;
    onReady();
  }

  /**
   * At its first use a process of which is noted what it loads may meet a bundle that somebody has damaged: the limit of
   * docs/adr/0004, which is not simulated.
   */
  function load(started: RuntimeProcess): void {
    if (process !== started || started.pool !== undefined) return;
    if (loads === 'at first use' && isDamaged()) {
      clock.after(1_000, boot, () => load(started));
      return;
    }
    const beside = disk.names(storeFolder).flatMap((name) => readCertificates(disk.read(`${storeFolder}/${name}`)));
    const bundle = readCertificates(disk.read(bundlePath));
    const printsOf = (certificates: typeof bundle): ReadonlySet<string> =>
      new Set(certificates.map(({ fingerprint }) => fingerprint));
    started.pool = { bundle: printsOf(bundle), beside: printsOf(beside) };
  }

  /** Whether an input is not in the bundle, or something that was proven. */
  function isDamaged(): boolean {
    const bundled = new Set(readCertificates(disk.read(bundlePath)).map(({ fingerprint }) => fingerprint));
    const wanted = listInputs(disk, defaultPlaces).flatMap((path) => readCertificates(disk.read(path)));
    return !isWhole() || wanted.some(({ fingerprint }) => !bundled.has(fingerprint));
  }

  async function restart(): Promise<void> {
    if (troubles[0] === 'keeps its process' && process !== undefined) {
      troubles.shift();
      onTrouble();
      return;
    }
    if (process !== undefined) {
      active = 'deactivating';
      await pause(random.pick([100, 1_700, 1_700, 9_000]));
    }
    process = undefined;
    await bringUp();
  }

  function queue(job: () => Promise<void>): Promise<void> {
    jobs = jobs.then(job);
    return jobs;
  }

  function start(): void {
    void queue(async () => {
      if (process === undefined) await bringUp();
    });
  }

  function die(): void {
    if (process === undefined) return;
    end('activating');
    clock.after(random.pick([100, 5_000]), boot, start);
  }

  return {
    get process() {
      return process;
    },
    get isActive() {
      return active === 'active';
    },
    get isSettled() {
      return active === 'active' && process?.pool !== undefined;
    },
    troubles,
    async systemctl([verb = ''], run) {
      await run.pause(10);
      if (verb === 'reset-failed') recentStarts = [];
      if (verb === 'restart') {
        await queue(restart);
        return { exitCode: active === 'active' ? 0 : 1, stdout: '' };
      }
      const id = process?.invocationId ?? '';
      const properties = { LoadState: 'loaded', ActiveState: active, SubState: active, InvocationID: id };
      const stdout = Object.entries(properties)
        .map(([name, value]) => `${name}=${value}\n`)
        .join('');
      return { exitCode: 0, stdout };
    },
    mark() {
      if (active === 'active' && process !== undefined) return process.invocationId;
      return active === 'inactive' || active === 'failed' ? 'stopped' : 'unknown';
    },
    findCriFault() {
      if (process === undefined) return 'CRI does not answer: connect ECONNREFUSED';
      if (!process.isReady) return 'CRI Status: RuntimeReady is false';
      if (process === fragile) clock.after(random.pick([5, 15]), boot, die);
      fragile = undefined;
      return undefined;
    },
    die,
    start() {
      start();
      void queue(() => Promise.resolve(process && serve(process)));
    },
  };
}

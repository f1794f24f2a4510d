// The simulated node: its disk with a Debian on it, its service manager, the programs that run on it, and its boot. A power failure
// ends all that runs, and a boot starts it anew from what the disk has kept: first its boot unit, where it has one, then the runtime.

import { posix } from 'node:path';
import { bootFile, bootRecord } from '../../agent/host/boot.ts';
import { type BootEnd, runBootScript } from './boot-script.ts';
import { certificate } from './certificates.ts';
import type { Clock, Owner } from './clock.ts';
import { createDisk, type Disk } from './disk.ts';
import { meddle, mendStore } from './meddling.ts';
import { losePower } from './power-failure.ts';
import type { Random } from './random.ts';
import type { FileContent, StoreMeddling } from './schedule.ts';
import { createServiceManager, type RuntimeProcess, type ServiceManager } from './service.ts';
import {
  anchorsFolder,
  bundlePath,
  rehash,
  storeFolder,
  type ToolRun,
  type ToolTrouble,
  updateStore,
} from './store-tool.ts';

export interface ProgramEnd {
  readonly exitCode: number | 'killed';
  readonly stdout: string;
}

export interface Program {
  readonly end: Promise<ProgramEnd>;
  kill(): void;
}

export interface Node {
  readonly disk: Disk;
  readonly services: ServiceManager;
  readonly bootId: string;
  /** What the next runs of the store's tool do instead of working. */
  readonly toolTroubles: ToolTrouble[];
  start(program: string, args: readonly string[]): Program;
  meddle(how: StoreMeddling): void;
  /** The machine's own file, durable at once. */
  writeFile(content: FileContent): void;
  /** Whoever has broken something puts it right. */
  mend(): void;
  powerFails(): void;
  /** Answers once the runtimes are being started. */
  boot(): Promise<void>;
  /** Somebody starts the boot unit again. */
  runBootUnit(): Promise<void>;
}

export interface NodeOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly loads: 'at start' | 'at first use';
  /** Whether what was proven is in the bundle. */
  isWhole(): boolean;
  /** The machine's own file is installed at each boot, and whenever somebody starts that unit. */
  readonly hasBootUnit: boolean;
  onRuntimeChange(process: RuntimeProcess | undefined): void;
  onRuntimeReady(): void;
  onBootRun(end: BootEnd): void;
  onMeddled(): void;
  /** A run of the store's tool, or a start of the runtime, that does not work begins. */
  onTrouble(): void;
}

/** What the machine's own file says. */
export function textOf(content: Exclude<FileContent, 'absent'>): string {
  return content === 'broken' ? 'broken\n' : content.map((name) => certificate(name).pem).join('\n');
}

/** As the script bounds its run of the tool. */
const bootToolMs = 15_000;

export function createNode({
  clock,
  random,
  loads,
  isWhole,
  hasBootUnit,
  onRuntimeChange,
  onRuntimeReady,
  onBootRun,
  onMeddled,
  onTrouble,
}: NodeOptions): Node {
  const disk = createDisk(clock);
  const toolTroubles: ToolTrouble[] = [];
  const bundles: Buffer[] = [];
  let boot = { isDead: false };
  let boots = 1;
  let services: ServiceManager;
  disk.onChange((path) => {
    if (path === bundlePath) bundles.push(disk.read(bundlePath) ?? Buffer.alloc(0));
  });
  furnish();
  services = createServices();

  function furnish(): void {
    disk.put('/etc/os-release', 'ID=debian\nVERSION_ID="12"\n');
    disk.put('/usr/sbin/update-ca-certificates', '#!/bin/sh\n');
    disk.put('/usr/lib/systemd/system/containerd.service', '[Service]\n');
    disk.makeFolders(storeFolder);
    disk.makeFolders('/var/lib');
    for (const name of ['mozilla-one', 'mozilla-two']) {
      disk.put(`/usr/share/ca-certificates/${name}.crt`, certificate(name).pem);
    }
    disk.put('/etc/ca-certificates.conf', '# chosen\nmozilla-one.crt\n!mozilla-none.crt\nmozilla-two.crt\n');
    disk.put(`${anchorsFolder}/admin.crt`, certificate('admin').pem);
    void updateStore([], { disk, pause: () => Promise.resolve(), trouble: undefined });
  }

  function createServices(): ServiceManager {
    return createServiceManager({
      clock,
      disk,
      random,
      boot,
      loads,
      isWhole,
      onChange: onRuntimeChange,
      onReady: onRuntimeReady,
      onTrouble,
    });
  }

  /** Nothing else of the machine waits for it, and nothing it does is the agent's. */
  async function runBootUnit(): Promise<void> {
    if (!hasBootUnit) return;
    onMeddled();
    const end = await runBootScript({
      disk,
      mark: () => services.mark(),
      async runTool() {
        const { end, kill } = start('update-ca-certificates', []);
        const late = clock.pause(bootToolMs, boot).then(() => 'late' as const);
        const outcome = await Promise.race([end, late]);
        if (outcome === 'late') kill();
        return outcome !== 'late' && outcome.exitCode === 0;
      },
    }).catch((error: unknown) => {
      if (!disk.isFull) throw error;
      return { hasRecord: false, removed: [], hasRetracted: false };
    });
    onMeddled();
    onBootRun(end);
  }

  function start(name: string, args: readonly string[]): Program {
    const booted = boot;
    const owner: { isKilled: boolean } & Owner = {
      isKilled: false,
      get isDead() {
        return this.isKilled || booted.isDead;
      },
    };
    const trouble = name === 'update-ca-certificates' ? toolTroubles.shift() : undefined;
    if (trouble !== undefined) onTrouble();
    const run: ToolRun = { disk, trouble, pause: (milliseconds) => clock.pause(milliseconds, owner) };
    return {
      end: execute(name, args, run),
      kill() {
        owner.isKilled = true;
      },
    };
  }

  async function execute(name: string, args: readonly string[], run: ToolRun): Promise<ProgramEnd> {
    if (name === 'systemctl') return services.systemctl(args, run);
    const end = name === 'openssl' ? await rehash(args[1] ?? storeFolder, run) : await updateStore(args, run);
    return { exitCode: end === 'killed' ? 'killed' : end === 'done' ? 0 : 1, stdout: '' };
  }

  function rebuild(): void {
    onMeddled();
    void start('update-ca-certificates', []).end.then(onMeddled);
  }

  return {
    disk,
    get services() {
      return services;
    },
    get bootId() {
      return `boot-${boots}`;
    },
    toolTroubles,
    start,
    meddle(how) {
      onMeddled();
      const restartRuntime = (): Promise<unknown> => start('systemctl', ['restart']).end.then(onMeddled);
      const earlier = bundles.length;
      meddle(how, { clock, random, disk, boot, bundles, rebuild, restartRuntime });
      bundles.length = earlier; // what somebody has put there himself is no old bundle
      onMeddled();
    },
    writeFile(content) {
      if (disk.isFull) return;
      if (content === 'absent') {
        if (disk.find(bootFile) !== undefined) disk.unlink(bootFile);
      } else disk.put(bootFile, textOf(content));
      const file = disk.find(bootFile);
      if (file?.kind === 'file') disk.syncFile(file);
      if (disk.find(posix.dirname(bootFile)) !== undefined) disk.sync(posix.dirname(bootFile));
    },
    mend() {
      disk.isFull = false;
      toolTroubles.length = 0;
      services.troubles.length = 0;
      services.start();
      mendStore(disk);
    },
    powerFails() {
      boot.isDead = true;
      clock.bury();
      losePower(disk, clock.elapsedMs(), random);
      for (const folder of ['/run/systemd/units', '/run/containerd', posix.dirname(bootRecord)])
        for (const name of disk.names(folder)) disk.unlink(`${folder}/${name}`);
    },
    async boot() {
      boot = { isDead: false };
      boots += 1;
      services = createServices();
      await runBootUnit();
      services.start();
    },
    runBootUnit,
  };
}

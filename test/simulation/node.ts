// The simulated node: its disk with a Debian on it, its service manager, the programs that run on it, and the people and
// packages that meddle with its store. A power failure ends all that runs and starts it anew from what the disk has kept.

import { posix } from 'node:path';
import { bootFile } from '../../agent/host/boot.ts';
import { certificate, ownNames, readCertificates } from './certificates.ts';
import type { Clock, Owner } from './clock.ts';
import { createDisk, type Disk } from './disk.ts';
import type { Random } from './random.ts';
import type { FileContent, StoreMeddling } from './schedule.ts';
import { createServiceManager, type ServiceManager } from './service.ts';
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
  boot(): void;
}

export interface NodeOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly loads: 'at start' | 'at first use';
  /** Whether what was proven is in the bundle. */
  isWhole(): boolean;
  onRuntimeChange(): void;
  onMeddled(): void;
  /** A run of the store's tool, or a start of the runtime, that does not work begins. */
  onTrouble(): void;
}

/** What the machine's own file says. */
export function textOf(content: Exclude<FileContent, 'absent'>): string {
  return content === 'broken' ? 'broken\n' : content.map((name) => certificate(name).pem).join('\n');
}

const brokenAnchor = `${anchorsFolder}/broken.crt`;
const addedAnchor = `${anchorsFolder}/added.crt`;
const borrowedAnchor = `${anchorsFolder}/borrowed.crt`;

export function createNode({
  clock,
  random,
  loads,
  isWhole,
  onRuntimeChange,
  onMeddled,
  onTrouble,
}: NodeOptions): Node {
  const disk = createDisk(clock);
  const toolTroubles: ToolTrouble[] = [];
  const bundles: Buffer[] = [];
  let boot = { isDead: false };
  let boots = 1;
  let services: ServiceManager;
  furnish();
  services = startServices();

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

  function startServices(): ServiceManager {
    const started = createServiceManager({
      clock,
      disk,
      random,
      boot,
      loads,
      isWhole,
      onChange: onRuntimeChange,
      onTrouble,
    });
    started.start();
    return started;
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
    if (end === 'done' && args.length === 0) bundles.push(disk.read(bundlePath) ?? Buffer.alloc(0));
    return { exitCode: end === 'killed' ? 'killed' : end === 'done' ? 0 : 1, stdout: '' };
  }

  function ownAnchors(): readonly string[] {
    return disk.names(anchorsFolder).filter((name) => name.startsWith('node-trust-'));
  }

  /** Through the disk's own cache, whole, and not synced. */
  function replace(path: string, content: Buffer): void {
    if (disk.isFull) return;
    const temporary = `${posix.dirname(path)}/.somebody`;
    disk.put(temporary, content);
    disk.rename(temporary, path);
  }

  function rebuild(): void {
    onMeddled();
    void start('update-ca-certificates', []).end.then(onMeddled);
  }

  function meddle(how: StoreMeddling): void {
    const [anchor] = ownAnchors();
    const bundle = disk.read(bundlePath) ?? Buffer.alloc(0);
    switch (how) {
      case 'removes an anchor of ours':
        if (anchor !== undefined) disk.unlink(`${anchorsFolder}/${anchor}`);
        return;
      case 'edits an anchor of ours':
        if (anchor !== undefined) replace(`${anchorsFolder}/${anchor}`, Buffer.from('edited\n'));
        return;
      case 'rebuilds the store':
        return rebuild();
      case 'leaves a link behind': {
        const name = `node-trust-${certificate(random.pick(ownNames)).fingerprint.slice(0, 16)}`;
        const link = `${storeFolder}/${name}.pem`;
        if (disk.find(link) === undefined) disk.symlink(`${anchorsFolder}/${name}.crt`, link);
        return;
      }
      case 'adds an anchor':
        replace(addedAnchor, Buffer.from(certificate('added').pem));
        return rebuild();
      case 'removes the anchor':
        if (disk.find(addedAnchor) !== undefined) disk.unlink(addedAnchor);
        return;
      case 'adds a certificate of ours under another name':
        replace(borrowedAnchor, Buffer.from(certificate(random.pick(['corp-old', 'proxy', 'lab'])).pem));
        return rebuild();
      case 'removes that again':
        if (disk.find(borrowedAnchor) !== undefined) disk.unlink(borrowedAnchor);
        return rebuild();
      case 'adds a broken anchor':
        return replace(brokenAnchor, Buffer.from('-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n'));
      case 'tears the bundle':
        return tear(bundle);
      case 'tears the bundle and mends it':
        tear(bundle);
        clock.after(random.pick([100, 2_000]), boot, rebuild);
        return;
      case 'restarts the runtime on a torn bundle and mends it':
        tear(bundle);
        void start('systemctl', ['restart']).end.then(rebuild).then(onMeddled);
        return;
      case 'brings back an old bundle':
        return replace(bundlePath, bundles.length === 0 ? bundle : random.pick(bundles));
      default:
        how satisfies never;
    }
  }

  function tear(bundle: Buffer): void {
    const [first] = readCertificates(bundle);
    replace(bundlePath, first === undefined ? Buffer.alloc(0) : Buffer.from(first.pem));
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
      meddle(how);
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
      for (const path of [brokenAnchor, addedAnchor, borrowedAnchor]) {
        if (disk.find(path) !== undefined && readCertificates(disk.read(path)).length === 0) disk.unlink(path);
      }
    },
    powerFails() {
      boot.isDead = true;
      clock.bury();
      disk.powerFails(random);
      for (const name of disk.names('/run/systemd/units')) disk.unlink(`/run/systemd/units/${name}`);
    },
    boot() {
      boot = { isDead: false };
      boots += 1;
      services = startServices();
    },
  };
}

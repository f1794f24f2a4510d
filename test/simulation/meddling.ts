// People, packages and configuration management that meddle with the store of the simulated node, and how they put right
// what they have broken. Nothing they write is synced.

import { posix } from 'node:path';
import { certificate, ownNames, readCertificates } from './certificates.ts';
import type { Clock, Owner } from './clock.ts';
import type { Disk } from './disk.ts';
import type { Random } from './random.ts';
import type { StoreMeddling } from './schedule.ts';
import { anchorsFolder, bundlePath, storeFolder } from './store-tool.ts';

const brokenAnchor = `${anchorsFolder}/broken.crt`;
const addedAnchor = `${anchorsFolder}/added.crt`;
const borrowedAnchor = `${anchorsFolder}/borrowed.crt`;

export interface MeddlingOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly disk: Disk;
  /** With the boot all of it ends. */
  readonly boot: Owner;
  /** What the bundle has been before. */
  readonly bundles: readonly Buffer[];
  rebuild(): void;
  restartRuntime(): Promise<unknown>;
}

export function meddle(how: StoreMeddling, options: MeddlingOptions): void {
  const { clock, random, disk, boot, bundles, rebuild, restartRuntime } = options;
  const anchor = disk.names(anchorsFolder).find((name) => name.startsWith('node-trust-'));
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
      return tear();
    case 'tears the bundle and mends it':
      tear();
      clock.after(random.pick([100, 2_000]), boot, rebuild);
      return;
    case 'restarts the runtime on a torn bundle and mends it':
      tear();
      void restartRuntime().then(rebuild);
      return;
    case 'brings back an old bundle':
      return replace(bundlePath, bundles.length === 0 ? bundle : random.pick(bundles));
    default:
      how satisfies never;
  }

  /** Through the disk's own cache, whole, and not synced. */
  function replace(path: string, content: Buffer): void {
    if (disk.isFull) return;
    const temporary = `${posix.dirname(path)}/.somebody`;
    disk.put(temporary, content);
    disk.rename(temporary, path);
  }

  function tear(): void {
    const [first] = readCertificates(bundle);
    replace(bundlePath, first === undefined ? Buffer.alloc(0) : Buffer.from(first.pem));
  }
}

/** Anchors that make the store unusable are taken away. */
export function mendStore(disk: Disk): void {
  for (const path of [brokenAnchor, addedAnchor, borrowedAnchor]) {
    if (disk.find(path) !== undefined && readCertificates(disk.read(path)).length === 0) disk.unlink(path);
  }
}

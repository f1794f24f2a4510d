// What is in the simulated store for one who looks from outside: whose certificates go into the bundle, and which are in it.

import { posix } from 'node:path';
import { readCertificates } from './certificates.ts';
import type { Disk } from './disk.ts';
import { anchorsFolder, bundlePath, defaultPlaces, listInputs, storeFolder } from './store-tool.ts';

export type Prints = ReadonlySet<string>;

const isOurs = (name: string): boolean => name.startsWith('node-trust-');

export function printsIn(disk: Disk, paths: readonly string[]): Prints {
  return new Set(paths.flatMap((path) => readCertificates(disk.read(path)).map(({ fingerprint }) => fingerprint)));
}

export function bundledPrints(disk: Disk): Prints {
  return printsIn(disk, [bundlePath]);
}

/** Of every file that is not ours and goes into the bundle. */
export function standingPrints(disk: Disk): Prints {
  return printsIn(
    disk,
    listInputs(disk, defaultPlaces).filter((path) => !isOurs(posix.basename(path))),
  );
}

/** Of every file that is not ours and has its link in the store's folder. */
export function linkedPrints(disk: Disk): Prints {
  const links = disk.names(storeFolder).filter((name) => name.endsWith('.pem') && !isOurs(name));
  return printsIn(
    disk,
    links.map((name) => `${storeFolder}/${name}`),
  );
}

export function anchorPathOf(print: string): string {
  return `${anchorsFolder}/node-trust-${print.slice(0, 16)}.crt`;
}

/** Whether our anchor of it lies there and holds it. */
export function hasAnchor(disk: Disk, print: string): boolean {
  return readCertificates(disk.read(anchorPathOf(print)))[0]?.fingerprint === print;
}

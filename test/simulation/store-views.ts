// What is in the simulated store for one who looks from outside: whose certificates go into the bundle, and which are in it.

import { createHash } from 'node:crypto';
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

export function anchorNameOf(print: string): string {
  return `node-trust-${print.slice(0, 16)}`;
}

export function anchorPathOf(print: string): string {
  return `${anchorsFolder}/${anchorNameOf(print)}.crt`;
}

/** Of our files in the folder of local certificates, whatever they hold. */
export function ownAnchors(disk: Disk): Prints {
  const names = disk.names(anchorsFolder).filter(isOurs);
  return printsIn(
    disk,
    names.map((name) => `${anchorsFolder}/${name}`),
  );
}

/** Whether our anchor of it lies there and holds it. */
export function hasAnchor(disk: Disk, print: string): boolean {
  return readCertificates(disk.read(anchorPathOf(print)))[0]?.fingerprint === print;
}

/** As docs/architecture.md has it: SHA-256 over the sorted fingerprints, each followed by one LF. */
export function digestOf(prints: Prints): string {
  const lines = [...prints].sort().map((print) => `${print}\n`);
  return `sha256:${createHash('sha256').update(lines.join('')).digest('hex')}`;
}

/** Which file the bundle is, as the agent names it: another one whenever anybody has written it. */
export function bundleVersion(disk: Disk): string {
  const file = disk.find(bundlePath);
  return file?.kind === 'file' ? `${file.ino}.${file.content.length}.${file.changed}` : 'absent';
}

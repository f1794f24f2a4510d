// What an agent changes on the host, at each single change: only files of ours, one agent at a time, nothing that was not
// admitted or was taken away, and no moment in which trust that was there is gone.

import { posix } from 'node:path';
import { bootRecord } from '../../../agent/host/boot.ts';
import { nameOf, readCertificates } from '../certificates.ts';
import { anchorsFolder, bundlePath, defaultPlaces, listInputs, lookUp, storeFolder } from '../store-tool.ts';
import { linkedPrints } from '../store-views.ts';
import type { Additions } from './additions.ts';
import { type Court, readRecords, recordsPath, type Suspect } from './court.ts';
import type { Proof } from './proof.ts';
import type { Repairs } from './repairs.ts';
import type { Restarts } from './restarts.ts';
import type { Wanted } from './wanted.ts';

const ownFiles = [
  /^\/var\/lib\/node-trust-agent(\/|$)/,
  /^\/run\/node-trust-agent\/boot$/,
  /^\/usr\/local\/share\/ca-certificates\/(node-trust-[0-9a-f]{16}\.crt|\.node-trust-[0-9a-f]{12}\.tmp)$/,
  /^\/etc\/ssl\/certs\/(node-trust-[0-9a-f]{16}\.pem|\.node-trust-[0-9a-f]{12}\.tmp|[0-9a-f]{8}\.\d+|ca-certificates\.crt(\.new)?)$/,
  /^\/etc\/ssl\/certs$/,
];

export interface ChangesOptions {
  readonly court: Court;
  readonly wanted: Wanted;
  readonly proof: Proof;
  readonly restarts: Restarts;
  readonly additions: Additions;
  readonly repairs: Repairs;
  /** The agent has taken away its records, with the last of its trust. */
  onForgotten(): void;
}

/** What is called around each change of the host by an agent. */
export type JudgeChange = (suspect: Suspect, call: string, path: string, change: () => void) => void;

export function createChanges(options: ChangesOptions): JudgeChange {
  const { court, wanted, proof, restarts, additions, repairs, onForgotten } = options;
  const { disk, breaks } = court;
  let holder: Suspect | undefined;

  /** What was written by this name, whatever somebody has made of it. */
  const printNamed = (name: string): string | undefined =>
    [...wanted.everGood].find((print) => name === `node-trust-${print.slice(0, 16)}.crt`);
  const isEmptyBundle = (path: string): boolean => path === bundlePath && listInputs(disk, defaultPlaces).length === 0;

  function judgeAnchor(suspect: Suspect, call: string, path: string): void {
    const name = posix.basename(path);
    const print = call === 'unlink' ? printNamed(name) : readCertificates(disk.read(path))[0]?.fingerprint;
    proof.anchorChanges(call, print);
    suspect.changedAt = court.moment();
    const mayTouch = suspect.isMember || wanted.isLeaving;
    if (!mayTouch) breaks('outside of the pool nothing changes', `${call} ${path}`);
    if (print === undefined) return;
    if (call === 'unlink') {
      if (!wanted.desired.has(print)) {
        wanted.withdrawn.add(print);
        restarts.isCaused();
      } else if (proof.isKept(print)) breaks('no news is no change', `the anchor of ${nameOf(print)} was removed`);
      return;
    }
    additions.written(print);
    repairs.writes(suspect, path, print);
    if (!wanted.everGood.has(print))
      breaks('a bad set never reaches the host', `the anchor of ${nameOf(print)} was written`);
    if (wanted.withdrawn.has(print)) breaks('withdrawn means gone', `the anchor of ${nameOf(print)} was written again`);
  }

  return (suspect, call, path, change) => {
    if (call === 'fsync') {
      wanted.syncs(path);
      return change();
    }
    if (call === 'rename' && path === recordsPath) {
      wanted.notes(suspect, change);
      const { version: _version, runtime: { restarted: _restarted, ...runtime } = {}, ...others } = readRecords(disk);
      if (Object.keys({ ...runtime, ...others }).length === 0) onForgotten();
      proof.noted();
      return restarts.noted();
    }
    if (call === 'unlink' && path === bootRecord) restarts.bootForgotten();
    if (call === 'unlink' && path === recordsPath) onForgotten();
    if (!ownFiles.some((own) => own.test(path)) && !isEmptyBundle(path)) breaks('only own files', `${call} ${path}`);
    const inStore = path.startsWith(`${storeFolder}/`);
    const inAnchors = path.startsWith(`${anchorsFolder}/`);
    if (!inStore && !inAnchors) return change();
    wanted.acts(suspect);
    wanted.leaves(suspect);
    const isNaming = call === 'rename' || call === 'unlink' || call === 'link';
    if (!isNaming) return change();
    if (holder !== undefined && !holder.isDead && holder !== suspect) breaks('one agent at a time', `${call} ${path}`);
    holder = suspect;
    // A bundle that somebody has torn down to one certificate is a file like any other to `openssl rehash`, which links it.
    const before = lookUp(disk, storeFolder, path === bundlePath ? posix.basename(bundlePath) : undefined);
    const standing = linkedPrints(disk);
    change();
    const name = posix.basename(path);
    if (call === 'rename' && path === bundlePath) repairs.writes(suspect, path, undefined);
    if (inAnchors && !name.startsWith('.')) judgeAnchor(suspect, call, path);
    const after = lookUp(disk, storeFolder);
    for (const print of before) {
      if (after.has(print) || !(standing.has(print) || proof.isKept(print))) continue;
      breaks(
        'no moment without trust that was there',
        `${nameOf(print)} is not found by a look-up after ${call} ${path}`,
      );
    }
  };
}

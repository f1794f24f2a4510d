// Synced is proof: what the Node says is compared with what is in the bundle and what the running process has really loaded,
// and a proof that nothing has happened to since outlives a power failure.

import { nameOf, readCertificates } from '../certificates.ts';
import { storeFolder } from '../store-tool.ts';
import { bundledPrints, digestOf, hasAnchor, type Prints, standingPrints } from '../store-views.ts';
import { type Court, readRecords, recordsPath, type Suspect } from './court.ts';
import type { Wanted } from './wanted.ts';

export interface Proof {
  /** The certificates of the last Synced, the process that had them, and when the host was looked at for it. */
  readonly last:
    | { readonly named: Prints; readonly invocationId: string; readonly by: Suspect; readonly at: number }
    | undefined;
  /** The store was another since, or a rebuild to another was begun: a process that loads at its first use may have that. */
  readonly hasChangedSince: boolean;
  /** Proven once, and still desired: nothing but its source takes it away. */
  isKept(print: string): boolean;
  /** All that is noted as loaded and is still desired is in the bundle, and nothing of ours that has come back with an old one. */
  isWhole(): boolean;
  /** The bundle holds something of ours that is not desired and is in nobody's file: an old one has come back. */
  hasReturned(): boolean;
  /** The Node says Synced: answers with the certificates, if that is true. */
  synced(suspect: Suspect, annotations: Readonly<Record<string, string | null>>): Prints | undefined;
  anchorChanges(call: string, print: string | undefined): void;
  /** Its records are others now. */
  noted(): void;
  /** Something else is desired. */
  wantedChanges(): void;
  /** The agent itself has written the bundle: what others write they do not sync. */
  rebuilt(bundle: Prints, startedAt: number): void;
  /** What was proven may not be so any more. */
  ends(): void;
  /** The records say nothing of it any more. */
  forget(): void;
  booted(): void;
}

export function createProof(court: Court, wanted: Wanted): Proof {
  const { disk, runtime, breaks, exempt } = court;
  let last: Proof['last'];
  /** What a process is noted to have loaded. */
  let loaded: Prints = new Set();
  let isNoted = false;
  /** Those of the last Synced that no source has wanted at some time since. */
  const left = new Set<string>();
  let hasChangedSince = false;
  let rebuiltAt = 0;
  /** The certificates of a Synced that nothing has happened to since. */
  let proven: Prints | undefined;

  function findLie(suspect: Suspect, named: Prints, digest: string | null | undefined): string | undefined {
    const { desired, everGood, isDesiredBy } = wanted;
    const names = (prints: Iterable<string>): string => [...prints].map(nameOf).join(', ') || 'nothing';
    if (digest !== digestOf(named)) return `the bundle's digest is not that of ${names(named)}`;
    if (!isDesiredBy(suspect, named)) return `it names ${names(named)}, and the source said ${names(desired)}`;
    const bundle = bundledPrints(disk);
    for (const print of named) if (!bundle.has(print)) return `${nameOf(print)} is not in the bundle`;
    const { process, isActive } = runtime();
    if (named.size > 0 && !isActive) return 'the runtime does not run';
    if (named.size > 0 && process?.isReady === false) return 'the runtime has never served its CRI';
    const pool = process?.pool ?? { bundle, beside: bundle };
    for (const print of named) if (!pool.bundle.has(print)) return `the runtime did not load ${nameOf(print)}`;
    if (process === undefined) return undefined;
    const beside = readCertificates(disk.read(`${storeFolder}/.somebody`)).map(({ fingerprint }) => fingerprint);
    const foreign = new Set([...standingPrints(disk), ...beside]);
    for (const print of everGood) {
      const isLoaded = pool.bundle.has(print) || pool.beside.has(print);
      if (isLoaded && !named.has(print) && !foreign.has(print) && !exempt.has(print))
        return `the runtime still trusts ${nameOf(print)}, which was taken away`;
    }
    return undefined;
  }

  function hasReturned(): boolean {
    const [bundle, standing] = [bundledPrints(disk), standingPrints(disk)];
    return [...wanted.everGood].some(
      (print) => bundle.has(print) && !wanted.desired.has(print) && !standing.has(print),
    );
  }

  return {
    get last() {
      return last;
    },
    get hasChangedSince() {
      return hasChangedSince;
    },
    isKept: (print) => wanted.desired.has(print) && last?.named.has(print) === true && !left.has(print),
    isWhole() {
      const bundle = bundledPrints(disk);
      const isThere = (print: string): boolean => !wanted.desired.has(print) || bundle.has(print);
      return !(isNoted && hasReturned()) && [...loaded].every(isThere);
    },
    hasReturned,
    synced(suspect, annotations) {
      const named = namedIn(annotations['node-trust-agent/details']);
      const lie = findLie(suspect, named, annotations['node-trust-agent/bundle']);
      const { process } = runtime();
      if (lie === undefined && process !== undefined) {
        last = { named, invocationId: process.invocationId, by: suspect, at: suspect.lookedAt };
        hasChangedSince = false;
        left.clear();
      }
      if (lie === undefined) proven = rebuiltAt > court.disturbedAt ? named : undefined;
      else if (suspect.lookedAt > court.disturbedAt) breaks('Synced is proof', lie);
      return lie === undefined ? named : undefined;
    },
    anchorChanges(call, print) {
      proven = undefined;
      if (print !== undefined && (call === 'unlink' || last?.named.has(print) !== true)) hasChangedSince = true;
    },
    noted() {
      const { rebuild: { bundle } = {}, loaded: noted } = readRecords(disk).runtime ?? {};
      isNoted = noted !== undefined;
      if (noted === undefined) loaded = new Set();
      else if (noted.bundle === digestOf(wanted.desired)) loaded = wanted.desired;
      if (last !== undefined && bundle !== undefined && bundle !== digestOf(last.named)) hasChangedSince = true;
    },
    wantedChanges() {
      proven = undefined;
      for (const print of last?.named ?? []) if (!wanted.desired.has(print)) left.add(print);
    },
    rebuilt(bundle, startedAt) {
      if (startedAt >= court.disturbedAt) rebuiltAt = court.moment();
      // Without what it leaves to somebody who fights over it, say.
      if ([...(last?.named ?? [])].some((print) => !bundle.has(print))) hasChangedSince = true;
    },
    ends() {
      proven = undefined;
    },
    forget() {
      last = undefined;
    },
    booted() {
      if (proven === undefined) return;
      const bundle = bundledPrints(disk);
      const standing = standingPrints(disk);
      const lost = [...proven].find((print) => !bundle.has(print) || !hasAnchor(disk, print));
      if (lost !== undefined) breaks('Synced outlives a power failure', `${nameOf(lost)} is lost`);
      const back = [...wanted.withdrawn].find(
        (print) => bundle.has(print) && !standing.has(print) && !exempt.has(print),
      );
      if (back !== undefined) breaks('withdrawn means gone', `${nameOf(back)} is back after a power failure`);
      if (proven.size > 0 && !isJson(disk.read(recordsPath)))
        breaks('Synced outlives a power failure', "the agent's records are lost");
    },
  };
}

function namedIn(details: string | null | undefined): Prints {
  const parsed = JSON.parse(details ?? '{}') as { readonly certificates?: readonly { readonly fingerprint: string }[] };
  return new Set((parsed.certificates ?? []).map(({ fingerprint }) => fingerprint));
}

function isJson(content: Buffer | undefined): boolean {
  try {
    return typeof JSON.parse(content?.toString('utf8') ?? '') === 'object';
  } catch {
    return false;
  }
}

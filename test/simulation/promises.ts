// The promises of the agent, judged from outside: by what the API server has told it, what it does to the disk, and what is
// really in the bundle and in the runtime. Safety is judged at each change and each status; convergence in convergence.ts.
// The first broken promise is kept; nothing is thrown into the agent.

import { createHash } from 'node:crypto';
import { posix } from 'node:path';
import { certificate, nameOf, readCertificates } from './certificates.ts';
import type { Clock } from './clock.ts';
import { nodeName, type Served } from './cluster.ts';
import type { Disk } from './disk.ts';
import type { RuntimeProcess } from './service.ts';
import { anchorsFolder, bundlePath, defaultPlaces, listInputs, lookUp, storeFolder } from './store-tool.ts';

export const stateFolder = '/var/lib/node-trust-agent';
export const graceMs = 10 * 60_000;
/** Longer by a share that a hash of the node's name gives. */
const longestGraceMs = graceMs * (1 + (0.2 * createHash('sha256').update(nodeName).digest().readUInt32BE()) / 2 ** 32);
const recordsPath = `${stateFolder}/state.json`;
const leaveConfirmMs = 10_000;

export interface Broken {
  readonly promise: string;
  readonly seen: string;
}

/** A process of the agent, as it is judged. */
export interface Suspect {
  readonly isDead: boolean;
  /** The moment in which it last began to look at the host. */
  lookedAt: number;
  hasSeenLabel: boolean;
  /** Since when it has been told that the label is gone. */
  unlabelledSinceMs: number | undefined;
  isMember: boolean;
  /** NotFound in a row. */
  absences: number;
  /** The first of them. */
  absentSince: { readonly wallMs: number; readonly elapsedMs: number };
  /** What it was told and has not acted upon, in order: lost where it dies before. */
  told: (() => void)[];
}

export interface Promises {
  readonly broken: Broken | undefined;
  /** What the host is to trust, by what the agent was told: fingerprints. */
  readonly desired: ReadonlySet<string>;
  /** The part of it that the machine's own file wants. */
  readonly ofFile: ReadonlySet<string>;
  /** All that an admitted set has ever named. */
  readonly everGood: ReadonlySet<string>;
  /** Of every file that is not ours and has its link in the store's folder. */
  linkedPrints(): ReadonlySet<string>;
  /** Whether what was proven is in the bundle. */
  isWhole(): boolean;
  /** Certificates whose trust may have come from, or be lost track of by, somebody else. */
  readonly exempt: Set<string>;
  breaks(promise: string, seen: string): void;
  served(suspect: Suspect, served: Served): void;
  /** The machine's own file, as an agent has read it; undefined: it is not there. */
  fileServed(suspect: Suspect, text: string | undefined): void;
  nodeServed(suspect: Suspect, isEnabled: boolean | undefined): void;
  changing(suspect: Suspect, call: string, path: string, change: () => void): void;
  /** Each is later than all before it. */
  moment(): number;
  /** The agent has put a new bundle in the place of one with these; its run of the tool began at this moment. */
  rebuilt(startedAt: number, before: ReadonlySet<string>): void;
  /** A run of the tool has failed, or nothing can be noted on a full disk: what was added is tried again, and may cost a restart again. */
  toolFailed(): void;
  restarting(suspect: Suspect): void;
  patched(suspect: Suspect, annotations: Readonly<Record<string, string | null>>): void;
  /** Somebody other than the agent has changed the store, the runtime, or the agent's own memory. */
  disturbed(): void;
  booted(): void;
  /** The agent has lost, by no fault of its own, what it knew of certificates that were taken away. */
  forgetWithdrawn(): void;
}

export interface PromisesOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  onBroken(broken: Broken): void;
  readonly runtime: () => { readonly process: RuntimeProcess | undefined; readonly isActive: boolean };
}

/** What an agent was told and has kept in mind. */
interface Believed {
  readonly desired: ReadonlySet<string>;
  readonly ofSecret: ReadonlySet<string>;
  readonly ofFile: ReadonlySet<string>;
  readonly fileGoneSinceMs: number | undefined;
  readonly onDelete: 'grace' | 'remove';
  readonly goneSinceMs: number | undefined;
  readonly isLeaving: boolean;
}

const ownFiles = [
  /^\/var\/lib\/node-trust-agent(\/|$)/,
  /^\/run\/node-trust-agent\/boot$/,
  /^\/usr\/local\/share\/ca-certificates\/(node-trust-[0-9a-f]{16}\.crt|\.node-trust-[0-9a-f]{12}\.tmp)$/,
  /^\/etc\/ssl\/certs\/(node-trust-[0-9a-f]{16}\.pem|\.node-trust-[0-9a-f]{12}\.tmp|[0-9a-f]{8}\.\d+|ca-certificates\.crt(\.new)?)$/,
  /^\/etc\/ssl\/certs$/,
];

export function createPromises({ disk, clock, runtime, onBroken }: PromisesOptions): Promises {
  let broken: Broken | undefined;
  let desired: ReadonlySet<string> = new Set();
  let ofSecret: ReadonlySet<string> = new Set();
  let ofFile: ReadonlySet<string> = new Set();
  let fileGoneSinceMs: number | undefined;
  let onDelete: 'grace' | 'remove' = 'grace';
  let goneSinceMs: number | undefined;
  let isLeaving = false;
  let leaver: Suspect | undefined;
  /** What is lost if the power fails now: what the agent keeps in mind is not synced yet. */
  let unsynced: { readonly before: Believed; readonly text: string | undefined } | undefined;
  let holder: Suspect | undefined;
  let moments = 0;
  let disturbedAt = 0;
  let isRetryDue = false;
  /** When the agent itself has last written the bundle: what others write they do not sync. */
  let rebuiltAt = 0;
  /** A change of what is desired or of the boot, and a disturbance, that no restart has answered yet. */
  let hasCause = true;
  let answeredUntil = -1;
  /** What was added and cannot be brought into use is being taken away again. */
  let isUndoing = false;
  /** The certificates of the last Synced, and the process that had them. */
  let lastProof:
    | { readonly named: ReadonlySet<string>; readonly invocationId: string; readonly by: Suspect }
    | undefined;
  /** Those of it that were withdrawn since. */
  const left = new Set<string>();
  /** Who asked for the last restart, and what ran then. */
  let lastRestart: { readonly by: Suspect; readonly invocationId: string | undefined } | undefined;
  /** The store was another since: a process that loads at its first use may have that. */
  let hasChangedSince = false;
  /** The certificates of a Synced that nothing has happened to since. */
  let proven: ReadonlySet<string> | undefined;
  const everGood = new Set<string>();
  const withdrawn = new Set<string>();
  const exempt = new Set<string>();

  function breaks(promise: string, seen: string): void {
    if (broken !== undefined) return;
    broken = { promise, seen };
    onBroken(broken);
  }

  const isDesired = (prints: ReadonlySet<string> | undefined): boolean =>
    prints?.size === desired.size && [...prints].every((print) => desired.has(print));

  /** Proven once, and still desired: nothing but its source takes it away. */
  const isKept = (print: string): boolean =>
    desired.has(print) && lastProof?.named.has(print) === true && !left.has(print);

  /** Of the Secret. */
  function desire(next: ReadonlySet<string>): void {
    desireAll(next, ofFile);
  }

  function desireAll(secret: ReadonlySet<string>, file: ReadonlySet<string>): void {
    const next = new Set([...secret, ...file]);
    if (!isDesired(next)) [hasCause, proven] = [true, undefined];
    [ofSecret, ofFile, desired] = [secret, file, next];
  }

  /** All of the cluster's; a file that is gone has no grace then. */
  function leave(): void {
    desireAll(new Set(), fileGoneSinceMs === undefined ? ofFile : new Set());
  }

  function served(suspect: Suspect, said: Served): void {
    suspect.absences = said.kind === 'absent' ? suspect.absences + 1 : 0;
    if (suspect.absences === 1) suspect.absentSince = { wallMs: clock.wall().getTime(), elapsedMs: clock.elapsedMs() };
    const isGone = said.kind === 'empty' || suspect.absences >= 2;
    const at = clock.wall().getTime();
    // The read that confirms follows at once, and the clock may be set between the two.
    const { wallMs, elapsedMs } = suspect.absentSince;
    const since = suspect.absences >= 2 && clock.elapsedMs() - elapsedMs < 5_000 ? wallMs : at;
    suspect.told.push(() => believe(said, isGone, at, since));
  }

  function fileServed(suspect: Suspect, text: string | undefined): void {
    const at = clock.wall().getTime();
    suspect.told.push(() => believeFile(text, at));
  }

  function believeFile(text: string | undefined, now: number): void {
    const isGone = text === undefined;
    const prints = new Set(readCertificates(Buffer.from(text ?? '')).map(({ fingerprint }) => fingerprint));
    fileGoneSinceMs = isGone ? Math.min(fileGoneSinceMs ?? now, now) : undefined;
    if (fileGoneSinceMs !== undefined && now < fileGoneSinceMs + longestGraceMs - 1_000) return;
    if (prints.size === 0 && !isGone) return; // broken: its last good set stays
    for (const print of prints) {
      everGood.add(print);
      withdrawn.delete(print);
    }
    desireAll(ofSecret, prints);
  }

  /** What it noted of leaving counts once it has let go of the last good set as well: until then it may be taken back. */
  function hasForgotten(): boolean {
    const records = JSON.parse(disk.read(recordsPath)?.toString() ?? '{}') as { source?: { certificates: unknown[] } };
    return records.source?.certificates.length === 0;
  }

  /** It keeps in mind what it was told before it acts upon it. */
  function acts(suspect: Suspect): void {
    for (const believes of suspect.told.splice(0)) believes();
  }

  function believe(said: Served, isGone: boolean, now: number, since: number): void {
    if (said.kind !== 'failure' && said.kind !== 'absent' && said.kind !== 'empty') goneSinceMs = undefined;
    if ('onDelete' in said) onDelete = said.onDelete;
    if (said.kind === 'good') {
      const prints = new Set(said.names.map((name) => certificate(name).fingerprint));
      for (const print of prints) {
        everGood.add(print);
        withdrawn.delete(print);
      }
      desire(prints);
    }
    if (!isGone) return;
    goneSinceMs = Math.min(goneSinceMs ?? since, now);
    if (onDelete === 'remove' || now >= goneSinceMs + longestGraceMs - 1_000) desire(new Set());
  }

  function nodeServed(suspect: Suspect, isEnabled: boolean | undefined): void {
    suspect.told = []; // what it has not kept in mind in its last pass it has not taken up
    if (isEnabled === true) {
      suspect.hasSeenLabel = true;
      if (leaver === undefined || leaver.isDead || leaver === suspect) isLeaving = false;
    }
    suspect.isMember = isEnabled ?? suspect.hasSeenLabel;
    if (isEnabled !== false) {
      suspect.unlabelledSinceMs = undefined;
      return;
    }
    const now = clock.elapsedMs();
    suspect.unlabelledSinceMs ??= now;
    if (!suspect.hasSeenLabel || now - suspect.unlabelledSinceMs < leaveConfirmMs) return;
    suspect.told.push(() => {
      isLeaving = true;
      leaver = suspect;
    });
  }

  function changing(suspect: Suspect, call: string, path: string, change: () => void): void {
    if (call === 'fsync' && path === stateFolder) unsynced = undefined;
    if (call === 'fsync') return change();
    if (call === 'rename' && path === recordsPath) {
      const before = { desired, ofSecret, ofFile, fileGoneSinceMs, onDelete, goneSinceMs, isLeaving };
      acts(suspect);
      change();
      if (isLeaving && !suspect.isMember && hasForgotten()) leave();
      unsynced = { before, text: disk.read(recordsPath)?.toString() };
      return;
    }
    if (call === 'unlink' && path === recordsPath) forgetWithdrawn(); // with the last of its trust
    if (!ownFiles.some((own) => own.test(path)) && !isEmptyBundle(path)) breaks('only own files', `${call} ${path}`);
    const inStore = path.startsWith(`${storeFolder}/`);
    const inAnchors = path.startsWith(`${anchorsFolder}/`);
    if (!inStore && !inAnchors) return change();
    acts(suspect);
    if (isLeaving && !suspect.isMember) leave();
    const isNaming = call === 'rename' || call === 'unlink' || call === 'link';
    if (!isNaming) return change();
    if (holder !== undefined && !holder.isDead && holder !== suspect) breaks('one agent at a time', `${call} ${path}`);
    holder = suspect;
    const before = lookUp(disk, storeFolder);
    const standing = linkedPrints();
    change();
    const name = posix.basename(path);
    const goes = call === 'unlink' ? printNamed(name.replace(/pem$/, 'crt')) : undefined;
    if (goes !== undefined && desired.has(goes) && !isKept(goes)) isUndoing = true;
    if (inAnchors && !name.startsWith('.'))
      judgeAnchor(suspect, call, path, call === 'unlink' ? printNamed(name) : printOf(path));
    const after = lookUp(disk, storeFolder);
    for (const print of before) {
      if (after.has(print) || !(standing.has(print) || isKept(print))) continue;
      breaks(
        'no moment without trust that was there',
        `${nameOf(print)} is not found by a look-up after ${call} ${path}`,
      );
    }
  }

  function judgeAnchor(suspect: Suspect, call: string, path: string, print: string | undefined): void {
    proven = undefined;
    const mayTouch = suspect.isMember || isLeaving;
    if (!mayTouch) breaks('outside of the pool nothing changes', `${call} ${path}`);
    if (print === undefined) return;
    if (call === 'unlink' || lastProof?.named.has(print) !== true) hasChangedSince = true;
    if (call === 'unlink') {
      if (!desired.has(print)) {
        withdrawn.add(print);
        left.add(print);
        hasCause = true;
      } else if (isKept(print)) breaks('no news is no change', `the anchor of ${nameOf(print)} was removed`);
      return;
    }
    if (!everGood.has(print)) breaks('a bad set never reaches the host', `the anchor of ${nameOf(print)} was written`);
    if (withdrawn.has(print)) breaks('withdrawn means gone', `the anchor of ${nameOf(print)} was written again`);
  }

  const printOf = (path: string): string | undefined => readCertificates(disk.read(path))[0]?.fingerprint;
  /** What was written by this name, whatever somebody has made of it. */
  const printNamed = (name: string): string | undefined =>
    [...everGood].find((print) => name === `node-trust-${print.slice(0, 16)}.crt`);
  const isEmptyBundle = (path: string): boolean => path === bundlePath && listInputs(disk, defaultPlaces).length === 0;

  /** Of every file that is not ours and goes into the bundle. */
  function standingPrints(): ReadonlySet<string> {
    const foreign = listInputs(disk, defaultPlaces).filter((path) => !posix.basename(path).startsWith('node-trust-'));
    return new Set(foreign.flatMap((path) => readCertificates(disk.read(path)).map(({ fingerprint }) => fingerprint)));
  }

  function forgetWithdrawn(): void {
    lastProof = undefined;
    for (const print of everGood) if (!desired.has(print)) exempt.add(print);
  }

  function linkedPrints(): ReadonlySet<string> {
    const links = disk.names(storeFolder).filter((name) => name.endsWith('.pem') && !name.startsWith('node-trust-'));
    return new Set(
      links.flatMap((name) =>
        readCertificates(disk.read(`${storeFolder}/${name}`)).map(({ fingerprint }) => fingerprint),
      ),
    );
  }

  function bundled(): ReadonlySet<string> {
    return new Set(readCertificates(disk.read(bundlePath)).map(({ fingerprint }) => fingerprint));
  }

  function patched(suspect: Suspect, annotations: Readonly<Record<string, string | null>>): void {
    const state = annotations['node-trust-agent/state'];
    if (state === 'Failed') return; // perhaps it could not keep in mind what it was told
    acts(suspect);
    if (state === 'Disabled' && isLeaving) leave();
    if (state !== 'Synced') return;
    const named = namedIn(annotations['node-trust-agent/details']);
    const lie = findLie(named, annotations['node-trust-agent/bundle']);
    const { process } = runtime();
    if (lie === undefined && process !== undefined) {
      lastProof = { named, invocationId: process.invocationId, by: suspect };
      hasChangedSince = false;
      left.clear();
    }
    if (lie === undefined) proven = rebuiltAt > disturbedAt ? named : undefined;
    else if (suspect.lookedAt > disturbedAt) breaks('Synced is proof', lie);
  }

  function findLie(named: ReadonlySet<string>, digest: string | null | undefined): string | undefined {
    const names = (prints: Iterable<string>): string => [...prints].map(nameOf).join(', ') || 'nothing';
    if (digest !== digestOf(named)) return `the bundle's digest is not that of ${names(named)}`;
    if (named.size !== desired.size || [...named].some((print) => !desired.has(print)))
      return `it names ${names(named)}, and the source said ${names(desired)}`;
    const bundle = bundled();
    for (const print of named) if (!bundle.has(print)) return `${nameOf(print)} is not in the bundle`;
    const { process, isActive } = runtime();
    if (named.size > 0 && !isActive) return 'the runtime does not run';
    const pool = process?.pool ?? { bundle, beside: bundle };
    for (const print of named) if (!pool.bundle.has(print)) return `the runtime did not load ${nameOf(print)}`;
    if (process === undefined) return undefined;
    const beside = readCertificates(disk.read(`${storeFolder}/.somebody`)).map(({ fingerprint }) => fingerprint);
    const foreign = new Set([...standingPrints(), ...beside]);
    for (const print of everGood) {
      const isLoaded = pool.bundle.has(print) || pool.beside.has(print);
      if (isLoaded && !named.has(print) && !foreign.has(print) && !exempt.has(print))
        return `the runtime still trusts ${nameOf(print)}, which was taken away`;
    }
    return undefined;
  }

  return {
    get broken() {
      return broken;
    },
    get desired() {
      return desired;
    },
    get ofFile() {
      return ofFile;
    },
    everGood,
    linkedPrints,
    isWhole: () => [...(lastProof?.named ?? [])].every((print) => !isKept(print) || bundled().has(print)),
    exempt,
    breaks,
    served,
    fileServed,
    nodeServed,
    changing,
    moment: () => (moments += 1),
    rebuilt(startedAt, before) {
      if (startedAt < disturbedAt) return;
      rebuiltAt = moments += 1;
      const [after, standing] = [bundled(), standingPrints()];
      for (const print of before) {
        if (standing.has(print) && !after.has(print)) breaks("others' trust stays", `${nameOf(print)} left the bundle`);
      }
    },
    toolFailed() {
      isRetryDue = true;
    },
    restarting(suspect) {
      acts(suspect);
      const isUndone = isUndoing;
      isUndoing = false;
      if (isUndone || runtime().process === undefined) return; // what is down is not disturbed
      // One that comes after a rebuild which was begun and cut off cannot know that it did nothing.
      const isProven = lastProof?.by === suspect && runtime().process?.invocationId === lastProof.invocationId;
      if (isProven && isDesired(lastProof?.named) && !hasChangedSince)
        breaks('the runtime is disturbed only when it must be', 'a restart of a process that has loaded all');
      const { invocationId } = runtime().process ?? {};
      const hasHappened = lastRestart?.by.isDead !== true || lastRestart.invocationId !== invocationId;
      lastRestart = { by: suspect, invocationId };
      if (!hasCause && disturbedAt <= answeredUntil && !isRetryDue && hasHappened)
        breaks('the runtime is disturbed only when it must be', 'a restart, and nothing has changed since the last');
      if (!hasCause && disturbedAt <= answeredUntil) isRetryDue = false;
      hasCause = false;
      answeredUntil = suspect.lookedAt; // what came after that look may want another
    },
    patched,
    disturbed() {
      disturbedAt = moments += 1;
      for (const print of standingPrints()) exempt.add(print);
      proven = undefined;
    },
    forgetWithdrawn,
    booted() {
      hasCause = true;
      if (unsynced !== undefined && unsynced.text !== disk.read(recordsPath)?.toString())
        ({ desired, ofSecret, ofFile, fileGoneSinceMs, onDelete, goneSinceMs, isLeaving } = unsynced.before);
      unsynced = undefined;
      if (proven === undefined) return;
      const lost = [...proven].find((print) => !bundled().has(print) || !hasAnchor(print));
      if (lost !== undefined) breaks('Synced outlives a power failure', `${nameOf(lost)} is lost`);
      const back = [...withdrawn].find(
        (print) => bundled().has(print) && !standingPrints().has(print) && !exempt.has(print),
      );
      if (back !== undefined) breaks('withdrawn means gone', `${nameOf(back)} is back after a power failure`);
      if (proven.size > 0 && !isJson(disk.read(`${stateFolder}/state.json`)))
        breaks('Synced outlives a power failure', "the agent's records are lost");
    },
  };

  function hasAnchor(print: string): boolean {
    return printOf(`${anchorsFolder}/node-trust-${print.slice(0, 16)}.crt`) === print;
  }
}

/** As docs/architecture.md has it: SHA-256 over the sorted fingerprints, each followed by one LF. */
function digestOf(prints: ReadonlySet<string>): string {
  const lines = [...prints].sort().map((print) => `${print}\n`);
  return `sha256:${createHash('sha256').update(lines.join('')).digest('hex')}`;
}

function namedIn(details: string | null | undefined): ReadonlySet<string> {
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

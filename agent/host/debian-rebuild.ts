// The store of Debian and Ubuntu, built for real. update-ca-certificates(8) takes no lock, and its temporary file has the
// bundle's name with `.new`: of two runs at once, apt's and ours, one takes it away from the other, which fails, or publishes a
// part of it. So ours makes a bundle of another name, in a folder of ours, which takes the real one's place when it has been read
// and is whole. Its hooks run after that, since some read the bundle, and are told of what has left as well.

import { posix } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { AgentError } from '../errors.ts';
import type { Certificate, Fingerprint } from '../trust/certificate.ts';
import { type AnchorName, anchorName, anchorNames } from '../trust/observation.ts';
import { type HookParts, linkOf, tellHooks } from './debian-hooks.ts';
import { anchorPath, type Input, isOurs, readInputs, refuseBroken, unfinishedPath } from './debian-inputs.ts';
import type { StageParts } from './debian-stage.ts';
import { stageFolder } from './facts.ts';
import {
  type BundleReading,
  findFault,
  type Rebuild,
  type Rebuilt,
  readBundle,
  readBundleFile,
} from './trust-store.ts';

export interface RebuildParts extends StageParts, HookParts {
  /** Options that lead the tool to the store, where it is not at its own place. */
  readonly places: Readonly<Record<string, string>>;
}

const tool = 'update-ca-certificates';
const toolRuns = 3;
/** The tool adds a certificate every 10 ms or so. */
const stillMs = 1_000;
/** Of a run of ours, and how long somebody else's is waited for. */
export const toolTimeoutMs = 120_000;
const builtBundle = `${stageFolder}/ca-certificates.crt`;

/** Throws `StoreBrokenBefore`, `StoreIncomplete`, `Tool…`. */
export async function rebuildDebianStore(parts: RebuildParts, wish: Rebuild, signal: AbortSignal): Promise<Rebuilt> {
  const { root, bundlePath } = parts;
  const { certificates, withdrawn = [], leftAlone = [] } = wish;
  refuseBroken((await readInputs(root)).filter(({ path }) => !isOurs(path)));
  const before = await readBundleFile(root, bundlePath);
  const { version, after, untold, used } = await rebuildWhole(parts, wish, signal);
  const gone = [...before.fingerprints].filter((fingerprint) => !after.fingerprints.has(fingerprint));
  const left = gone.filter((fingerprint) => !withdrawn.includes(anchorName(fingerprint)));
  const ofOthers = left.length === 0 ? [] : [`certificates whose own file is gone left the bundle: ${enumerate(left)}`];
  const known = new Set([...anchorNames(certificates), ...leftAlone].map(anchorPath));
  const isOutdated = used.some(({ path }) => isOurs(path) && !known.has(path));
  return { version, warnings: ofOthers, untold, isOutdated };
}

interface Whole extends Pick<Rebuilt, 'version' | 'untold'> {
  readonly after: BundleReading;
  readonly used: readonly Input[];
}

/**
 * Others change files while the tool reads them, and their own run may replace the bundle just after ours. Staging has shown that
 * it is not for the certificates' sake, so the tool is run again, and later tried again.
 */
async function rebuildWhole(parts: RebuildParts, wish: Rebuild, signal: AbortSignal): Promise<Whole> {
  const { root, bundlePath, storeFolder } = parts;
  const { certificates, withdrawn = [], untold: earlier = [] } = wish;
  const linkedBefore = await root.readLinks(storeFolder);
  // Ours are told each time, since nobody knows what a run that was cut off has told.
  const ours = [...anchorNames(certificates), ...withdrawn].map(linkOf);
  for (let run = 1; ; run += 1) {
    const leftOver = await awaitOthers(parts, signal);
    const built = await build(parts, signal);
    const inputs = await readInputs(root);
    const made = readBundle(built);
    let fault = findMissing(made, certificates, inputs);
    let stuck = findStuck([...made.fingerprints], inputs);
    if (fault === undefined && stuck.length === 0) {
      await root.writeFile(bundlePath, built);
      await removeLeftover(parts, leftOver, withdrawn);
      const linked = await root.readLinks(storeFolder);
      const changed = [...new Set([...linkedBefore.keys(), ...linked.keys()])].filter(
        (name) => linkedBefore.get(name) !== linked.get(name),
      );
      const untold = await tellHooks(parts, [...earlier, ...changed, ...ours], signal);
      const version = await root.versionOf(bundlePath);
      const after = await readBundleFile(root, bundlePath);
      fault = findMissing(after, certificates, inputs);
      // Hooks may add what is in no file; what was taken away comes with an old bundle that somebody has put back.
      const returned = [...after.fingerprints].filter((print) => withdrawn.includes(anchorName(print)));
      stuck = returned.length === 0 ? [] : findStuck(returned, await readInputs(root));
      if (fault === undefined && stuck.length === 0) return { version, after, untold, used: inputs };
    }
    if (run < toolRuns) continue;
    if (fault !== undefined)
      throw new AgentError('StoreIncomplete', { path: bundlePath, evidence: fault }, { retry: 'transient' });
    throw new AgentError('ToolFailed', { tool, evidence: `its bundle holds what is in no file: ${enumerate(stuck)}` });
  }
}

/** What the tool took from nowhere would never be taken away; or its file was removed while the tool ran. */
function findStuck(fingerprints: readonly Fingerprint[], inputs: readonly Input[]): readonly Fingerprint[] {
  const held = new Set(inputs.flatMap((input) => [...input.fingerprints]));
  return fingerprints.filter((fingerprint) => !held.has(fingerprint));
}

function findMissing(
  bundle: BundleReading,
  certificates: readonly Certificate[],
  inputs: readonly Input[],
): string | undefined {
  const lacking = inputs.flatMap(({ path, fingerprints }) =>
    [...fingerprints].every((fingerprint) => bundle.fingerprints.has(fingerprint)) ? [] : [path],
  );
  return (
    findFault(bundle, certificates) ?? (lacking.length > 0 ? `it lacks what is in ${lacking.join(', ')}` : undefined)
  );
}

/** The new bundle. The tool takes its name relative to the store, and makes none where it has not a single input. */
async function build(parts: RebuildParts, signal: AbortSignal): Promise<Uint8Array> {
  const { root, storeFolder, places, placeOf, runTool } = parts;
  await root.removeFolder(stageFolder);
  try {
    await root.makeFolder(stageFolder);
    await root.makeFolder(storeFolder);
    const relative = posix.relative(await root.resolve(storeFolder), await root.resolve(builtBundle));
    const hooks = await placeOf(`${stageFolder}/no-hooks`);
    await runTool({ ...places, '--certbundle': relative, '--hooksdir': hooks }, signal);
    const bytes = await root.readFile(builtBundle);
    return bytes === 'absent' ? new Uint8Array() : bytes;
  } finally {
    await root.removeFolder(stageFolder);
  }
}

/**
 * While somebody's run is at work its temporary file grows: two that make the index at once fail over each other's links. One that
 * does not grow is likely of a run that was killed: answers with its version. Throws `ToolTimedOut`.
 */
async function awaitOthers({ root, bundlePath }: RebuildParts, signal: AbortSignal): Promise<string> {
  const path = unfinishedPath(bundlePath);
  const end = performance.now() + toolTimeoutMs;
  for (let before = ''; ; ) {
    const seen = await root.versionOf(path);
    if (seen === 'absent' || seen === before) return seen;
    if (performance.now() > end)
      throw new AgentError('ToolTimedOut', { tool, evidence: `of somebody else writes ${path} without an end` });
    before = seen;
    await delay(stillMs, undefined, { signal });
  }
}

/** Programs of Go load what a run that was killed has left like any other file there: with it, withdrawn would not be gone. */
async function removeLeftover(
  { root, bundlePath }: RebuildParts,
  version: string,
  withdrawn: readonly AnchorName[],
): Promise<void> {
  const path = unfinishedPath(bundlePath);
  if (version === 'absent' || withdrawn.length === 0) return;
  const { fingerprints } = await readBundleFile(root, path);
  const holdsWithdrawn = [...fingerprints].some((fingerprint) => withdrawn.includes(anchorName(fingerprint)));
  // Nobody has written to it while all of ours was made.
  if (holdsWithdrawn && (await root.versionOf(path)) === version) await root.remove(path);
}

/** As many as a person reads. */
function enumerate(items: readonly string[]): string {
  const more = items.length > 5 ? ` and ${items.length - 5} more` : '';
  return items.slice(0, 5).join(', ') + more;
}

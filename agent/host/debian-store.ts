// The trust store of Debian and Ubuntu (update-ca-certificates(8)): anchors are *.crt files, one certificate each; the
// tool concatenates them into one bundle and links each by the hash of its subject for look-ups by folder (CApath).
// The tool exits 0 whatever it made, takes no lock, and does not mend the hash links of what it did not add itself, so
// everything here is judged by reading back. In a sandbox it is redirected by its own options, with the inputs given
// relative to the store, so that the links it makes are right from every point of view.

import { posix } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { AgentError } from '../errors.ts';
import { type Certificate, type Fingerprint, parseCanonicalPem } from '../trust/certificate.ts';
import {
  type Anchor,
  type AnchorName,
  anchorName,
  parseAnchorName,
  type StoreObservation,
} from '../trust/observation.ts';
import type { Commands } from './commands.ts';
import { createDebianIndex } from './debian-index.ts';
import { anchorPath, anchorsFolder, distributionFolder, listInputs, selectionFile } from './debian-inputs.ts';
import { stateFolder } from './facts.ts';
import type { HostRoot } from './root.ts';
import { type BundleReading, type Rebuilt, readBundleFile, type TrustStore } from './trust-store.ts';

const tool = 'update-ca-certificates';
const toolTimeoutMs = 120_000;
const toolRuns = 3;
/** The tool adds a certificate every 10 ms or so. */
const leftoverMs = 1_000;
const storeFolder = '/etc/ssl/certs';
const hooksFolder = '/etc/ca-certificates/update.d';
const bundlePath = `${storeFolder}/ca-certificates.crt`;
const stageFolder = `${stateFolder}/stage`;

export function createDebianStore(root: HostRoot, commands: Commands): TrustStore {
  const index = createDebianIndex(root, commands, storeFolder);

  async function observe(): Promise<StoreObservation> {
    const version = await root.versionOf(bundlePath); // before the content: what is written in between is another one
    const anchors = await readAnchors();
    const links = await root.readLinks(storeFolder);
    const { fingerprints, broken } = await readBundleFile(root, bundlePath);
    return {
      anchors,
      derived: [...links.keys()].flatMap((name) => parseAnchorName(name, '.pem') ?? []),
      version,
      bundle: broken === undefined ? fingerprints : new Set(),
      indexed: await index.read(anchors, links),
    };
  }

  async function readAnchors(): Promise<readonly Anchor[]> {
    const entries = await root.readFolder(anchorsFolder);
    if (entries === 'absent') return [];
    const names = entries.flatMap(({ name, kind }) => {
      const anchor = kind === 'folder' ? undefined : parseAnchorName(name, '.crt');
      return anchor === undefined ? [] : [{ name: anchor, kind }];
    });
    return Promise.all(names.map(async ({ name, kind }) => ({ name, certificate: await readAnchor(name, kind) })));
  }

  async function readAnchor(name: AnchorName, kind: string): Promise<Certificate | undefined> {
    const bytes = kind === 'file' ? await root.readFile(anchorPath(name)) : 'absent';
    const certificate = bytes === 'absent' ? undefined : parseCanonicalPem(Buffer.from(bytes).toString('latin1'));
    return certificate !== undefined && anchorName(certificate.fingerprint) === name ? certificate : undefined;
  }

  /**
   * The distribution's own certificates are read, not staged: they take the tool twenty times as long as the local ones,
   * and they are what the real bundle is made of already.
   */
  async function stage(
    certificates: readonly Certificate[],
    without: readonly AnchorName[],
    signal: AbortSignal,
  ): Promise<void> {
    const leaving = new Set(without.map(anchorPath));
    const inputs = (await listInputs(root)).filter((path) => !leaving.has(path) && !isOurs(path));
    await refuseBroken(inputs);
    await root.removeFolder(stageFolder);
    try {
      await root.makeFolder(`${stageFolder}/store`);
      await root.writeFile(`${stageFolder}/selection`, '');
      for (const certificate of certificates) {
        await root.writeFile(`${stageFolder}/local/${anchorName(certificate.fingerprint)}.crt`, certificate.pem);
      }
      const local = inputs.filter((path) => path.startsWith(anchorsFolder));
      for (const [index, path] of local.entries()) {
        const bytes = await root.readFile(path);
        if (bytes !== 'absent') await root.writeFile(`${stageFolder}/local/foreign-${index}.crt`, bytes);
      }
      await runTool(
        {
          '--etccertsdir': commands.pathOf(`${stageFolder}/store`),
          '--localcertsdir': commands.pathOf(`${stageFolder}/local`),
          '--certsconf': commands.pathOf(`${stageFolder}/selection`),
          '--hooksdir': commands.pathOf(`${stageFolder}/no-hooks`),
        },
        signal,
      );
      const staged = `${stageFolder}/store/ca-certificates.crt`;
      const fault = findFault(await readBundleFile(root, staged), certificates);
      if (fault !== undefined) throw new AgentError('StoreIncomplete', { path: staged, evidence: fault });
    } finally {
      await root.removeFolder(stageFolder);
    }
  }

  /** One block that does not load makes the whole bundle unloadable, so the tool is not even started. */
  async function refuseBroken(inputs: readonly string[]): Promise<void> {
    for (const path of inputs) {
      const { broken } = await readBundleFile(root, path);
      if (broken !== undefined) {
        throw new AgentError('StoreBrokenBefore', { path, evidence: `line ${broken.line}: ${broken.evidence}` });
      }
    }
  }

  /**
   * The tool takes no lock and has one temporary name: a run of somebody else's at the same time tears the bundle. Staging has
   * shown that it is not for the certificates' sake, so the tool is run again, and later tried again.
   */
  async function rebuildWhole(certificates: readonly Certificate[], signal: AbortSignal) {
    for (let run = 1; ; run += 1) {
      await removeLeftover(signal);
      await runTool(commands.way === 'sandbox' ? redirected : {}, signal);
      const inputs = await listInputs(root);
      // Without a single input the tool leaves the bundle as it was.
      if (inputs.length === 0) await root.writeFile(bundlePath, '');
      const version = await root.versionOf(bundlePath);
      const after = await readBundleFile(root, bundlePath);
      const readings = await Promise.all(inputs.map((path) => readBundleFile(root, path)));
      const lacking = inputs.filter((_, index) =>
        [...(readings[index]?.fingerprints ?? [])].some((fingerprint) => !after.fingerprints.has(fingerprint)),
      );
      const fault =
        findFault(after, certificates) ??
        (lacking.length > 0 ? `it lacks what is in ${lacking.join(', ')}` : undefined);
      if (fault === undefined) return { version, after, inputs, readings };
      if (run < toolRuns) continue;
      throw new AgentError('StoreIncomplete', { path: bundlePath, evidence: fault }, { retry: 'transient' });
    }
  }

  /** A run that was killed leaves its temporary file, and the next one appends to it. One that grows is somebody's at work. */
  async function removeLeftover(signal: AbortSignal): Promise<void> {
    const path = `${bundlePath}.new`;
    for (let seen = await root.readFile(path); seen !== 'absent'; ) {
      await delay(leftoverMs, undefined, { signal });
      const now = await root.readFile(path);
      if (now !== 'absent' && Buffer.compare(now, seen) === 0) return root.remove(path);
      seen = now;
    }
  }

  async function rebuild(
    certificates: readonly Certificate[],
    withdrawn: readonly AnchorName[],
    signal: AbortSignal,
  ): Promise<Rebuilt> {
    await refuseBroken((await listInputs(root)).filter((path) => !isOurs(path)));
    const before = await readBundleFile(root, bundlePath);
    const { version, after, inputs, readings } = await rebuildWhole(certificates, signal);
    const holderOf = (fingerprint: Fingerprint): string | undefined =>
      inputs.find((_, index) => readings[index]?.fingerprints.has(fingerprint));
    const kept = [...before.fingerprints].filter((fingerprint) => after.fingerprints.has(fingerprint));
    const gone = [...before.fingerprints].filter((fingerprint) => !after.fingerprints.has(fingerprint));
    const stuck = kept.filter((fingerprint) => holderOf(fingerprint) === undefined);
    if (stuck.length > 0) {
      const evidence = `it left certificates in ${bundlePath} whose own file is gone: ${stuck.join(', ')}`;
      throw new AgentError('ToolFailed', { tool, evidence });
    }
    const isWithdrawn = (fingerprint: Fingerprint): boolean => withdrawn.includes(anchorName(fingerprint));
    const left = gone.filter((fingerprint) => !isWithdrawn(fingerprint));
    const warnings = [
      ...(left.length === 0 ? [] : [`certificates whose own file is gone left the bundle: ${enumerate(left)}`]),
      ...kept
        .filter(isWithdrawn)
        .map((print) => `${print} was taken away and is still trusted through ${holderOf(print)}`),
    ];
    return { version, warnings };
  }

  /** The inputs are given as the tool writes them into links: relative to the store, they hold inside the sandbox too. */
  const redirected = {
    '--etccertsdir': commands.pathOf(storeFolder),
    '--localcertsdir': posix.relative(storeFolder, anchorsFolder),
    '--certsdir': posix.relative(storeFolder, distributionFolder),
    '--certsconf': commands.pathOf(selectionFile),
    '--hooksdir': commands.pathOf(hooksFolder),
  };

  async function runTool(options: Readonly<Record<string, string>>, signal: AbortSignal): Promise<void> {
    await root.makeFolder(storeFolder);
    await commands.run(tool, Object.entries(options).flat(), { timeoutMs: toolTimeoutMs }, signal);
  }

  return {
    bundlePath,
    watched: [anchorsFolder, bundlePath],
    observe,
    version: () => root.versionOf(bundlePath),
    async sweep() {
      for (const folder of [anchorsFolder, storeFolder]) await root.sweep(folder);
      await root.removeFolder(stageFolder);
    },
    stage,
    writeAnchor: (certificate) => root.writeFile(anchorPath(anchorName(certificate.fingerprint)), certificate.pem),
    removeAnchor: (name) => root.remove(anchorPath(name)),
    unindex: index.remove,
    reindex: index.mend,
    rebuild,
  };
}

/** As many as a person reads. */
function enumerate(items: readonly string[]): string {
  const more = items.length > 5 ? ` and ${items.length - 5} more` : '';
  return items.slice(0, 5).join(', ') + more;
}

function isOurs(path: string): boolean {
  return posix.dirname(path) === anchorsFolder && parseAnchorName(posix.basename(path), '.crt') !== undefined;
}

/** What keeps a bundle from being loaded with all of these, or undefined. */
function findFault({ fingerprints, broken }: BundleReading, certificates: readonly Certificate[]): string | undefined {
  if (broken !== undefined) return `line ${broken.line}: ${broken.evidence}`;
  const lacking = certificates.filter(({ fingerprint }) => !fingerprints.has(fingerprint));
  const names = lacking.map(({ subject, fingerprint }) => `${subject} (${fingerprint.slice(0, 16)})`);
  return names.length === 0 ? undefined : `it lacks ${names.join(', ')}`;
}

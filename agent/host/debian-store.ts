// The trust store of Debian and Ubuntu (update-ca-certificates(8)): anchors are *.crt files, one certificate each; the
// tool concatenates them into one bundle and links each by the hash of its subject for look-ups by folder (CApath).
// The tool exits 0 whatever it made, takes no lock, and does not mend the hash links of what it did not add itself, so
// everything here is judged by reading back. In a sandbox it is redirected by its own options, with the inputs given
// relative to the store, so that the links it makes are right from every point of view.

import { posix } from 'node:path';
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
import { linkOf, tellHooks } from './debian-hooks.ts';
import { createDebianIndex } from './debian-index.ts';
import {
  anchorPath,
  anchorsFolder,
  distributionFolder,
  listInputs,
  readInputs,
  readLoose,
  selectionFile,
  unfinishedPath,
} from './debian-inputs.ts';
import { rebuildDebianStore, toolTimeoutMs } from './debian-rebuild.ts';
import { stageDebianStore } from './debian-stage.ts';
import { stateFolder } from './facts.ts';
import type { HostRoot } from './root.ts';
import { type BundleReading, readBundleFile, type TrustStore } from './trust-store.ts';

const tool = 'update-ca-certificates';
const toolPath = `/usr/sbin/${tool}`;
const storeFolder = '/etc/ssl/certs';
const bundlePath = `${storeFolder}/ca-certificates.crt`;
/** Less than a bundle and its copy take. */
const tightBytes = 512 * 1024;

export function createDebianStore(root: HostRoot, commands: Commands): TrustStore {
  const index = createDebianIndex(root, commands, storeFolder);

  async function observe(withdrawn: readonly AnchorName[]): Promise<StoreObservation> {
    const version = await root.versionOf(bundlePath); // before the content: what is written in between is another one
    const anchors = await readAnchors();
    const links = await root.readLinks(storeFolder);
    const { fingerprints, broken } = await readBundleFile(root, bundlePath);
    return {
      anchors,
      derived: await index.listOwn(),
      tool: await root.versionOf(toolPath),
      version,
      bundle: broken === undefined && !(await isTorn(links, fingerprints)) ? fingerprints : new Set(),
      indexed: await index.read(anchors, links),
      ...(await findReturned(fingerprints, new Set(withdrawn), anchors)),
    };
  }

  /**
   * What was taken away and is trusted: in the bundle, in what a killed run of the tool has left of one, or in a file that
   * somebody has put beside it; Go's programs load these as well. The inputs are many, and read only when there is something to
   * look for in them.
   */
  async function findReturned(
    bundle: ReadonlySet<Fingerprint>,
    withdrawn: ReadonlySet<AnchorName>,
    anchors: readonly Anchor[],
  ): Promise<Pick<StoreObservation, 'returned' | 'stillTrusted'>> {
    const own = new Set(anchors.map(({ name }) => name));
    const isSuspect = (print: Fingerprint): boolean => withdrawn.has(anchorName(print)) && !own.has(anchorName(print));
    const loose = withdrawn.size === 0 ? [] : await readLoose(root, storeFolder, bundlePath);
    const isLeftover = ({ path }: { readonly path: string }): boolean => path === unfinishedPath(bundlePath);
    const ofLoose = loose
      .filter((file) => !isLeftover(file))
      .flatMap(({ path, fingerprints }) =>
        [...fingerprints].filter(isSuspect).map((fingerprint) => ({ fingerprint, path })),
      );
    const leftover = loose.find(isLeftover)?.fingerprints ?? [];
    const suspects = [...new Set([...bundle, ...leftover])].filter(isSuspect);
    if (suspects.length === 0) return { returned: [], stillTrusted: ofLoose };
    const inputs = await readInputs(root);
    const holders = suspects.map((fingerprint) => ({
      fingerprint,
      path: inputs.find(({ fingerprints }) => fingerprints.has(fingerprint))?.path,
    }));
    const ofInputs = holders.flatMap(({ fingerprint, path }) => (path === undefined ? [] : [{ fingerprint, path }]));
    return {
      returned: holders.flatMap(({ fingerprint, path }) => (path === undefined ? [fingerprint] : [])),
      stillTrusted: [...ofInputs, ...ofLoose],
    };
  }

  /**
   * Two runs of the tool at once write one temporary file, and the later one may take a part of it for the bundle. It links
   * what it puts in, so a file that is linked and lacks was lost; one that it has not taken up yet has no link, and
   * while it is at work its temporary file is there.
   */
  async function isTorn(links: ReadonlyMap<string, string>, bundled: ReadonlySet<Fingerprint>): Promise<boolean> {
    const targets = new Set([...links.values()].map((target) => posix.resolve(storeFolder, target)));
    const linked = (await listInputs(root)).filter((path) => targets.has(path));
    const read = (paths: readonly string[]): Promise<readonly BundleReading[]> =>
      Promise.all(paths.map((path) => readBundleFile(root, path)));
    // A file of the distribution holds one certificate; of the local ones, each may hold more.
    const local = await read(linked.filter((path) => path.startsWith(`${anchorsFolder}/`)));
    const least = linked.length - local.length + local.reduce((sum, { fingerprints }) => sum + fingerprints.size, 0);
    if (least <= bundled.size || (await root.readFile(unfinishedPath(bundlePath))) !== 'absent') return false;
    const readings = await read(linked);
    return readings.some(({ fingerprints }) => [...fingerprints].some((fingerprint) => !bundled.has(fingerprint)));
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

  /** The inputs are given as the tool writes them into links: relative to the store, they hold inside the sandbox too. */
  async function redirect(): Promise<Readonly<Record<string, string>>> {
    await root.makeFolder(storeFolder);
    const store = await root.resolve(storeFolder);
    return {
      '--etccertsdir': commands.pathOf(store),
      '--localcertsdir': posix.relative(store, await root.resolve(anchorsFolder)),
      '--certsdir': posix.relative(store, await root.resolve(distributionFolder)),
      '--certsconf': await placeOf(selectionFile),
    };
  }

  /** Where a program finds it; links are followed here, since those of a sandbox would lead the program out of it. */
  async function placeOf(path: string): Promise<string> {
    return commands.pathOf(await root.resolve(path));
  }

  async function runTool(options: Readonly<Record<string, string>>, signal: AbortSignal): Promise<void> {
    await root.makeFolder(storeFolder);
    try {
      await commands.run(tool, Object.entries(options).flat(), { timeoutMs: toolTimeoutMs }, signal);
    } catch (error) {
      // The tool says so in the words of whatever program of it failed.
      for (const path of [storeFolder, stateFolder]) {
        if ((await root.freeBytes(path)) < tightBytes) throw new AgentError('DiskFull', { path }, { cause: error });
      }
      throw error;
    }
  }

  const parts = { root, commands, storeFolder, bundlePath, placeOf, runTool };
  return {
    places: { bundlePath, anchorPath, linkPath: (name) => posix.join(storeFolder, linkOf(name)) },
    watched: [anchorsFolder, bundlePath],
    folders: [anchorsFolder, storeFolder],
    observe,
    version: () => root.versionOf(bundlePath),
    stage: (certificates, without, signal) => stageDebianStore(parts, certificates, without, signal),
    writeAnchor: (certificate) => root.writeFile(anchorPath(anchorName(certificate.fingerprint)), certificate.pem),
    removeAnchor: (name) => root.remove(anchorPath(name)),
    unindex: index.remove,
    reindex: index.mend,
    rebuild: async (wish, signal) => {
      const places = commands.way === 'sandbox' ? await redirect() : {};
      return rebuildDebianStore({ ...parts, places }, wish, signal);
    },
    retell: (names, signal) => tellHooks(parts, names, signal),
  };
}

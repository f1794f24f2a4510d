// The new store of Debian and Ubuntu, built beside the real one and verified before anything on the host changes: what is
// broken or would be lost is found here.

import { posix } from 'node:path';
import { AgentError } from '../errors.ts';
import type { Certificate } from '../trust/certificate.ts';
import { type AnchorName, anchorName } from '../trust/observation.ts';
import {
  anchorPath,
  anchorsFolder,
  distributionFolder,
  isOurs,
  readInputs,
  refuseBroken,
  selectionFile,
} from './debian-inputs.ts';
import { stageFolder } from './facts.ts';
import type { HostRoot } from './root.ts';
import { findFault, readBundleFile } from './trust-store.ts';

export interface StageParts {
  readonly root: HostRoot;
  readonly bundlePath: string;
  /** Where a program finds a path of the host. */
  placeOf(path: string): Promise<string>;
  /** Runs update-ca-certificates(8) with these options. */
  runTool(options: Readonly<Record<string, string>>, signal: AbortSignal): Promise<void>;
}

/**
 * The distribution's own certificates are read, not staged: they take the tool twenty times as long as the local ones,
 * and they are what the real bundle is made of already.
 */
export async function stageDebianStore(
  parts: StageParts,
  certificates: readonly Certificate[],
  without: readonly AnchorName[],
  signal: AbortSignal,
): Promise<void> {
  const { root, placeOf, runTool } = parts;
  const leaving = new Set(without.map(anchorPath));
  const inputs = await readInputs(root);
  const foreign = inputs.filter(({ path }) => !leaving.has(path) && !isOurs(path));
  refuseBroken(foreign);
  const own = new Set([...inputs.flatMap(({ path }) => (isOurs(path) ? path : [])), ...certificates.map(pathOf)]);
  if (foreign.every(({ fingerprints }) => fingerprints.size === 0)) await refuseLoss(parts, own);
  await root.removeFolder(stageFolder);
  try {
    await root.makeFolder(`${stageFolder}/store`);
    await root.writeFile(`${stageFolder}/selection`, '');
    for (const certificate of certificates) {
      await root.writeFile(`${stageFolder}/local/${posix.basename(pathOf(certificate))}`, certificate.pem);
    }
    const local = foreign.filter(({ path }) => path.startsWith(anchorsFolder));
    for (const [index, { path }] of local.entries()) {
      const bytes = await root.readFile(path);
      if (bytes !== 'absent') await root.writeFile(`${stageFolder}/local/foreign-${index}.crt`, bytes);
    }
    await runTool(
      {
        '--etccertsdir': await placeOf(`${stageFolder}/store`),
        '--localcertsdir': await placeOf(`${stageFolder}/local`),
        '--certsconf': await placeOf(`${stageFolder}/selection`),
        '--hooksdir': await placeOf(`${stageFolder}/no-hooks`),
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

function pathOf({ fingerprint }: Pick<Certificate, 'fingerprint'>): string {
  return anchorPath(anchorName(fingerprint));
}

/** Where no foreign file holds a certificate, those of the bundle came by another way, and the tool would lose all of them. */
async function refuseLoss({ root, bundlePath }: StageParts, own: ReadonlySet<string>): Promise<void> {
  const { fingerprints } = await readBundleFile(root, bundlePath);
  const lost = [...fingerprints].filter((fingerprint) => !own.has(pathOf({ fingerprint })));
  if (lost.length === 0) return;
  const places = `${distributionFolder} that ${selectionFile} selects, or of ${anchorsFolder}`;
  const evidence = `it holds ${lost.length} certificates, and no file of ${places}, does: a rebuild would lose them`;
  throw new AgentError('StoreBrokenBefore', { path: bundlePath, evidence });
}

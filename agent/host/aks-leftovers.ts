// What the retired preview of AKS has left on a node: anchors named aks-custom-*, and the folder that its script has copied
// them from. They are somebody else's, so they are read and never touched. docs/migrating-from-aks.md

import { posix } from 'node:path';
import type { Fingerprint } from '../trust/certificate.ts';
import { anchorsFolder } from './debian-inputs.ts';
import type { HostRoot } from './root.ts';
import { readBundleFile } from './trust-store.ts';

const sourceFolder = '/opt/certs';

/** A file of the preview's and a certificate in it, once for each. A file that cannot be read says nothing. */
export async function readAksLeftovers(
  root: HostRoot,
): Promise<readonly { readonly path: string; readonly fingerprint: Fingerprint }[]> {
  const anchors = await listFiles(root, anchorsFolder);
  const sources = await listFiles(root, sourceFolder);
  const paths = [...anchors.filter((path) => posix.basename(path).startsWith('aks-custom-')), ...sources];
  const found = paths.map(async (path) => {
    const { fingerprints } = await readBundleFile(root, path).catch(() => ({ fingerprints: [] }));
    return [...fingerprints].map((fingerprint) => ({ path, fingerprint }));
  });
  return (await Promise.all(found)).flat();
}

async function listFiles(root: HostRoot, folder: string): Promise<readonly string[]> {
  const entries = await root.readFolder(folder);
  if (entries === 'absent') return [];
  return entries.filter(({ kind }) => kind === 'file').map(({ name }) => posix.join(folder, name));
}

// The index of Debian's trust store: links by which a certificate is found in the folder (hash-links.ts), to files there
// that are links to the anchors. Nobody's certificate that stays is out of it for a moment when one of ours goes.

import { posix } from 'node:path';
import { AgentError } from '../errors.ts';
import type { Fingerprint } from '../trust/certificate.ts';
import { type Anchor, type AnchorName, anchorName, parseAnchorName } from '../trust/observation.ts';
import type { Commands } from './commands.ts';
import { anchorPath, anchorsFolder } from './debian-inputs.ts';
import { closeGaps, parseHashLink } from './hash-links.ts';
import type { HostRoot } from './root.ts';
import { readBundleFile } from './trust-store.ts';

export interface DebianIndex {
  /** Which of the anchors are found by a look-up. `links` are the folder's. */
  read(anchors: readonly Anchor[], links: ReadonlyMap<string, string>): Promise<ReadonlySet<Fingerprint>>;
  /** What here is ours: a link to an anchor of ours, there or not, and a copy of one in its place. */
  listOwn(): Promise<readonly AnchorName[]>;
  remove(names: readonly AnchorName[], signal: AbortSignal): Promise<void>;
  /** Throws `ToolMissing` or `ToolTimedOut`. */
  mend(signal: AbortSignal): Promise<void>;
}

const rehashTimeoutMs = 120_000;

export function createDebianIndex(root: HostRoot, commands: Commands, folder: string): DebianIndex {
  /**
   * A look-up tries HASH.0, HASH.1 and so on until one is missing. The link need not lead to our own file: of two files
   * with the same certificate, openssl-rehash(1) links one.
   */
  async function read(anchors: readonly Anchor[], links: ReadonlyMap<string, string>): Promise<Set<Fingerprint>> {
    const reachable = new Set<string>();
    for (const [name, target] of links) if (await isReachable(name)) reachable.add(target);
    const indexed = new Set<Fingerprint>();
    const pending = new Set<Fingerprint>();
    for (const { name, certificate } of anchors) {
      if (certificate === undefined) continue;
      const isFound = reachable.has(`${name}.pem`) && (await isLinked(name));
      (isFound ? indexed : pending).add(certificate.fingerprint);
    }
    if (pending.size === 0) return indexed;
    for (const target of reachable) {
      const { fingerprints } = await readBundleFile(root, posix.resolve(folder, target));
      if (fingerprints.size !== 1) continue; // a link by the hash of one of them leads to no other
      for (const fingerprint of fingerprints) if (pending.has(fingerprint)) indexed.add(fingerprint);
    }
    return indexed;
  }

  async function listOwn(): Promise<readonly AnchorName[]> {
    const entries = await root.readFolder(folder);
    const own = (entries === 'absent' ? [] : entries).map(async ({ name: file, kind }) => {
      const name = parseAnchorName(file, '.pem');
      if (name === undefined) return [];
      const isOurs = kind === 'link' ? await isLinked(name) : kind === 'file' && (await isCopy(name));
      return isOurs ? [name] : [];
    });
    return (await Promise.all(own)).flat();
  }

  async function isCopy(name: AnchorName): Promise<boolean> {
    const { fingerprints } = await readBundleFile(root, posix.join(folder, `${name}.pem`));
    return [...fingerprints].some((fingerprint) => anchorName(fingerprint) === name);
  }

  async function isLinked(name: AnchorName): Promise<boolean> {
    return (await root.resolve(posix.join(folder, `${name}.pem`))) === (await root.resolve(anchorPath(name)));
  }

  /** HASH.N counts only where HASH.0 to HASH.N-1 lead to a certificate: there a look-up ends. */
  async function isReachable(link: string): Promise<boolean> {
    const parsed = parseHashLink(link);
    for (let earlier = 0; earlier < (parsed?.number ?? 0); earlier += 1) {
      const { fingerprints } = await readBundleFile(root, posix.join(folder, `${parsed?.hash}.${earlier}`));
      if (fingerprints.size === 0) return false;
    }
    return parsed !== undefined;
  }

  /** The links for look-ups go first, without a gap before those that stay; then the links they led to. */
  async function remove(names: readonly AnchorName[], signal: AbortSignal): Promise<void> {
    const leaving = new Set(names.map((name) => `${name}.pem`));
    await closeIndex(leaving);
    for (const link of leaving) await root.remove(posix.join(folder, link));
    await rehash(signal);
  }

  async function mend(signal: AbortSignal): Promise<void> {
    const entries = await root.readFolder(anchorsFolder);
    for (const { name: file } of entries === 'absent' ? [] : entries) {
      const name = parseAnchorName(file, '.crt');
      if (name === undefined || (await isLinked(name))) continue;
      await root.writeLink(posix.join(folder, `${name}.pem`), await linkTarget(name));
    }
    await closeIndex(new Set());
    await rehash(signal);
  }

  /** As the store's tool writes it, or it would write it anew; in a sandbox it is told a relative folder. */
  async function linkTarget(name: AnchorName): Promise<string> {
    if (commands.way !== 'sandbox') return anchorPath(name);
    return posix.relative(await root.resolve(folder), await root.resolve(anchorPath(name)));
  }

  /** Takes out of the index what leads to these, and what leads to no certificate. */
  async function closeIndex(leaving: ReadonlySet<string>): Promise<void> {
    const links = await root.readLinks(folder);
    const gone = new Set<string>();
    for (const [name, target] of links) {
      if (parseHashLink(name) === undefined) continue;
      const heir = leaving.has(target) ? await findHeir(target, leaving, links) : undefined;
      if (heir !== undefined) await root.writeLink(posix.join(folder, name), heir);
      else if (leaving.has(target) || (await leadsToNone(target))) gone.add(name);
    }
    for (const move of closeGaps(links.keys(), (name) => gone.has(name))) {
      if (move.kind === 'remove') await root.remove(posix.join(folder, move.name));
      else await moveLink(posix.join(folder, move.from), posix.join(folder, move.to));
    }
  }

  /** It is at both places for a moment: a look-up that is on its way along the chain must meet it at one of them. */
  async function moveLink(from: string, to: string): Promise<void> {
    const target = await root.readLink(from);
    if (target !== undefined) await root.writeLink(to, target);
    await root.remove(from);
  }

  /** Somebody else's file with the same certificate that is not in the index, since of two such files one is enough. */
  async function findHeir(
    target: string,
    leaving: ReadonlySet<string>,
    links: ReadonlyMap<string, string>,
  ): Promise<string | undefined> {
    const indexed = new Set(links.values());
    for (const name of links.keys()) {
      if (leaving.has(name) || indexed.has(name) || !name.endsWith('.pem')) continue;
      const { fingerprints } = await readBundleFile(root, posix.join(folder, name));
      for (const fingerprint of fingerprints) if (`${anchorName(fingerprint)}.pem` === target) return name;
    }
    return undefined;
  }

  async function leadsToNone(target: string): Promise<boolean> {
    const { fingerprints } = await readBundleFile(root, posix.resolve(folder, target));
    return fingerprints.size === 0;
  }

  /** It exits 1 for a dangling link of anybody's and has then still done all the rest: the read-back is the judge. */
  async function rehash(signal: AbortSignal): Promise<void> {
    try {
      await commands.run(
        'openssl',
        ['rehash', commands.pathOf(await root.resolve(folder))],
        { timeoutMs: rehashTimeoutMs },
        signal,
      );
    } catch (error) {
      if (!(error instanceof AgentError) || error.code !== 'ToolFailed') throw error;
    }
  }

  return { read, listOwn, remove, mend };
}

// The one way to the host's files. Paths are the host's own (`/etc/ssl/certs`); the root they live under is `/` on a
// machine, `/host` in the pod, a folder in a sandbox. Links are followed by path-resolver.ts alone, so nothing leads
// outside. What is written is whole or not there, and durable. Failures leave as an AgentError with the host's path.

import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import * as nodeFs from 'node:fs/promises';
import { posix } from 'node:path';
import { errorCode, isAbsent, readFailure, writeFailure } from './file-failure.ts';
import { createPathResolver } from './path-resolver.ts';

export type FileSystem = Pick<
  typeof nodeFs,
  'link' | 'lstat' | 'mkdir' | 'open' | 'readdir' | 'readlink' | 'rename' | 'rmdir' | 'statfs' | 'symlink' | 'unlink'
>;

export interface FolderEntry {
  readonly name: string;
  readonly kind: 'file' | 'folder' | 'link' | 'other';
}

export interface HostRoot {
  /** Where the root is on this machine. */
  readonly path: string;
  /** The host path behind all symbolic links. The last component may be absent, a dangling link's target too. */
  resolve(path: string): Promise<string>;
  /** Follows links; a folder or a special file is `StoreUnreadable`. */
  readFile(path: string): Promise<Uint8Array | 'absent'>;
  /** Inode, size and time of change (stat(2)) of the file behind links: another answer whenever it was written or replaced. */
  versionOf(path: string): Promise<string>;
  /** The target as it is written in the link itself; undefined where there is no link. */
  readLink(path: string): Promise<string | undefined>;
  readFolder(path: string): Promise<readonly FolderEntry[] | 'absent'>;
  /** The links directly in a folder, name to target as written; what is not a link is left out. */
  readLinks(folder: string): Promise<ReadonlyMap<string, string>>;
  /** Whole or not at all, durable when it returns: temporary file beside it, fsync, rename, fsync of the folder. */
  writeFile(path: string, bytes: Uint8Array | string, mode?: number): Promise<void>;
  /** Makes the link, or has the one that is there lead to this target from one moment to the next. Durable. */
  writeLink(path: string, target: string): Promise<void>;
  /** Creates the file, or answers false where one exists. Never half-written. */
  createFile(path: string, bytes: string): Promise<boolean>;
  /** Removes a file or the link itself, never what a link leads to; absent is fine. Durable when it returns. */
  remove(path: string): Promise<void>;
  /** Removes a folder of ours with all it holds, without following links out of it. */
  removeFolder(path: string): Promise<void>;
  makeFolder(path: string): Promise<void>;
  /** On the file system of this folder, for whoever is root. */
  freeBytes(folder: string): Promise<number>;
}

/** A leading dot and no known suffix: no trust store's tool takes a half-written file for a certificate. */
const temporaryName = (): string => `.node-trust-${randomBytes(6).toString('hex')}.tmp`;
export const isTemporary = (name: string): boolean => /^\.node-trust-[0-9a-f]{12}\.tmp$/.test(name);

/** Bundles are about 250 KB; nothing we read is honestly larger than this. */
const maxFileBytes = 32 * 1024 * 1024;

export function createHostRoot(rootPath: string, fs: FileSystem = nodeFs): HostRoot {
  const { root, onMachine, resolve, resolveParent, linkTarget } = createPathResolver(rootPath, fs);
  const durable = new Set<string>(); // folders whose own folder was synced since they have been there

  async function readFile(path: string): Promise<Uint8Array | 'absent'> {
    const real = await resolve(path);
    try {
      // O_NONBLOCK: a FIFO in a store folder must not hang us. O_NOFOLLOW: a link that came since is not followed.
      const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
      await using file = await fs.open(onMachine(real), flags);
      const stat = await file.stat();
      if (!stat.isFile()) throw new Error('not a regular file');
      if (stat.size > maxFileBytes) throw new Error(`larger than ${maxFileBytes} bytes`);
      return await file.readFile();
    } catch (error) {
      if (isAbsent(error)) return 'absent';
      throw readFailure(path, error);
    }
  }

  async function versionOf(path: string): Promise<string> {
    try {
      const { ino, size, ctimeNs } = await fs.lstat(onMachine(await resolve(path)), { bigint: true });
      return `${ino}.${size}.${ctimeNs}`;
    } catch (error) {
      if (isAbsent(error)) return 'absent';
      throw readFailure(path, error);
    }
  }

  async function readLink(path: string): Promise<string | undefined> {
    return linkTarget(await resolveParent(path));
  }

  async function readFolder(path: string): Promise<readonly FolderEntry[] | 'absent'> {
    const real = await resolve(path);
    try {
      const entries = await fs.readdir(onMachine(real), { withFileTypes: true });
      return entries.map((entry) => ({ name: entry.name, kind: entryKind(entry) }));
    } catch (error) {
      if (isAbsent(error)) return 'absent';
      throw readFailure(path, error);
    }
  }

  async function readLinks(folder: string): Promise<ReadonlyMap<string, string>> {
    const real = await resolve(folder);
    const entries = await readFolder(real);
    const links = (entries === 'absent' ? [] : entries).map(async ({ name, kind }) => {
      const target = kind === 'link' ? await linkTarget(posix.join(real, name)) : undefined;
      return target === undefined ? [] : [[name, target] as const];
    });
    return new Map((await Promise.all(links)).flat());
  }

  async function writeFile(path: string, bytes: Uint8Array | string, mode = 0o644): Promise<void> {
    await publish(path, (temporary) => writeDurably(temporary, bytes, mode), replace);
  }

  async function writeLink(path: string, target: string): Promise<void> {
    await publish(path, (temporary) => fs.symlink(target, temporary), replace);
  }

  async function replace(temporary: string, real: string): Promise<true> {
    await fs.rename(temporary, real);
    return true;
  }

  async function createFile(path: string, bytes: string): Promise<boolean> {
    return publish(path, (temporary) => writeDurably(temporary, bytes, 0o644), create);
  }

  async function create(temporary: string, real: string): Promise<boolean> {
    try {
      await fs.link(temporary, real);
      return true;
    } catch (error) {
      if (errorCode(error) === 'EEXIST') return false;
      throw error;
    } finally {
      await fs.unlink(temporary);
    }
  }

  /** Makes something under a temporary name, gives it its own, and answers what that said. */
  async function publish<Answer>(
    path: string,
    make: (temporary: string) => Promise<void>,
    name: (temporary: string, real: string) => Promise<Answer>,
  ): Promise<Answer> {
    const real = await resolveParent(path);
    const folder = posix.dirname(real);
    const temporary = onMachine(posix.join(folder, temporaryName()));
    try {
      await makeFolders(folder);
      await make(temporary);
      const answer = await name(temporary, onMachine(real));
      await syncFolder(folder);
      return answer;
    } catch (error) {
      await fs.unlink(temporary).catch(() => {});
      throw writeFailure(path, error);
    }
  }

  async function writeDurably(temporary: string, bytes: Uint8Array | string, mode: number): Promise<void> {
    await using file = await fs.open(temporary, 'wx', mode);
    await file.writeFile(bytes);
    await file.chmod(mode);
    await file.sync();
  }

  async function remove(path: string): Promise<void> {
    const real = await resolveParent(path);
    try {
      await fs.unlink(onMachine(real));
      await syncFolder(posix.dirname(real));
    } catch (error) {
      if (!isAbsent(error)) throw writeFailure(path, error);
    }
  }

  async function removeFolder(path: string): Promise<void> {
    const isLink = (await readLink(path)) !== undefined;
    const entries = isLink ? 'absent' : await readFolder(path);
    if (entries === 'absent') return remove(path); // nothing, or something else in its place
    for (const entry of entries) {
      const inside = posix.join(path, entry.name);
      await (entry.kind === 'folder' ? removeFolder(inside) : remove(inside));
    }
    try {
      await fs.rmdir(onMachine(await resolveParent(path)));
    } catch (error) {
      throw writeFailure(path, error);
    }
  }

  async function makeFolder(path: string): Promise<void> {
    try {
      await makeFolders(await resolve(path));
    } catch (error) {
      throw writeFailure(path, error);
    }
  }

  async function freeBytes(folder: string): Promise<number> {
    const { bfree, bsize } = await fs.statfs(onMachine(await resolve(folder)));
    return bfree * bsize;
  }

  /** A new folder is durable once the folder that names it is; who made one that is there may have been killed before that. */
  async function makeFolders(folder: string): Promise<void> {
    const made = await fs.mkdir(onMachine(folder), { recursive: true, mode: 0o755 });
    if (made === undefined && durable.has(folder)) return;
    const first = made ?? onMachine(folder);
    for (let at = folder; at !== '/' && onMachine(at).length >= first.length; at = posix.dirname(at)) {
      await syncFolder(posix.dirname(at));
    }
    durable.add(folder);
  }

  async function syncFolder(folder: string): Promise<void> {
    await using handle = await fs.open(onMachine(folder), 'r');
    await handle.sync();
  }

  return {
    path: root,
    resolve,
    readFile,
    versionOf,
    readLink,
    readFolder,
    readLinks,
    writeFile,
    writeLink,
    createFile,
    remove,
    removeFolder,
    makeFolder,
    freeBytes,
  };
}

function entryKind(entry: {
  isFile(): boolean;
  isDirectory(): boolean;
  isSymbolicLink(): boolean;
}): FolderEntry['kind'] {
  if (entry.isSymbolicLink()) return 'link';
  if (entry.isDirectory()) return 'folder';
  return entry.isFile() ? 'file' : 'other';
}

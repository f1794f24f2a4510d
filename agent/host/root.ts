// The one way to the host's files. Paths are the host's own (`/etc/ssl/certs`); the root they live under is `/` on a
// machine, `/host` in the pod, a folder in a sandbox. Every symbolic link is followed as the host itself would follow
// it, re-rooted here: most links on a node are absolute, and from the pod the kernel would lead them into the
// container's own files. `..` at the root stays at the root, as in chroot(2), so nothing leads outside.
// Failures leave as an AgentError with the host's path.

import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import * as nodeFs from 'node:fs/promises';
import { posix } from 'node:path';
import { AgentError, errorText } from '../errors.ts';

export type FileSystem = Pick<
  typeof nodeFs,
  'lstat' | 'mkdir' | 'open' | 'readdir' | 'readlink' | 'rename' | 'rmdir' | 'unlink'
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
  /** The target as it is written in the link itself; undefined where there is no link. */
  readLink(path: string): Promise<string | undefined>;
  readFolder(path: string): Promise<readonly FolderEntry[] | 'absent'>;
  /** The links directly in a folder, name to target as written; what is not a link is left out. */
  readLinks(folder: string): Promise<ReadonlyMap<string, string>>;
  /** Whole or not at all, durable when it returns: temporary file beside it, fsync, rename, fsync of the folder. */
  writeFile(path: string, bytes: Uint8Array | string, mode?: number): Promise<void>;
  /** Creates the file, or answers false where one exists. Never half-written. */
  createFile(path: string, bytes: string): Promise<boolean>;
  /** Moves a file within its folder, durably. An absent one is fine. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file or the link itself, never what a link leads to; absent is fine. Durable when it returns. */
  remove(path: string): Promise<void>;
  /** Removes a folder of ours with all it holds, without following links out of it. */
  removeFolder(path: string): Promise<void>;
  makeFolder(path: string): Promise<void>;
}

/** As many links as Linux follows in one path before it says ELOOP (path_resolution(7)). */
const maxLinks = 40;
/** Bundles are about 250 KB; nothing we read is honestly larger than this. */
const maxFileBytes = 32 * 1024 * 1024;

export function createHostRoot(rootPath: string, fs: FileSystem = nodeFs): HostRoot {
  const root = posix.resolve(rootPath);
  const onMachine = (path: string): string => (root === '/' ? path : root + path);

  async function resolve(path: string): Promise<string> {
    let done = '/';
    let pending = components(path);
    let links = 0;
    for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
      if (next === '..') {
        done = posix.dirname(done);
        continue;
      }
      const candidate = posix.join(done, next);
      const target = await linkTarget(candidate);
      if (target === undefined) {
        done = candidate;
        continue;
      }
      links += 1;
      if (links > maxLinks) throw new AgentError('StoreUnreadable', { path, evidence: 'too many symbolic links' });
      if (target.startsWith('/')) done = '/';
      pending = [...components(target), ...pending];
    }
    return done;
  }

  async function linkTarget(path: string): Promise<string | undefined> {
    try {
      const stat = await fs.lstat(onMachine(path));
      return stat.isSymbolicLink() ? await fs.readlink(onMachine(path)) : undefined;
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw readFailure(path, error);
    }
  }

  /** Where the folder really is, and the last component not followed. */
  async function resolveParent(path: string): Promise<string> {
    return posix.join(await resolve(posix.dirname(path)), posix.basename(path));
  }

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
    const names = entries === 'absent' ? [] : entries.filter(({ kind }) => kind === 'link').map(({ name }) => name);
    const links = await Promise.all(
      names.map(async (name) => [name, await linkTarget(posix.join(real, name))] as const),
    );
    return new Map(links.flatMap(([name, target]) => (target === undefined ? [] : [[name, target]])));
  }

  async function writeFile(path: string, bytes: Uint8Array | string, mode = 0o644): Promise<void> {
    await writeWith(path, bytes, mode, async (temporary, real) => {
      await fs.rename(onMachine(temporary), onMachine(real));
      return true;
    });
  }

  async function createFile(path: string, bytes: string): Promise<boolean> {
    return writeWith(path, bytes, 0o644, async (temporary, real) => {
      try {
        await nodeFs.link(onMachine(temporary), onMachine(real));
        return true;
      } catch (error) {
        if (errorCode(error) === 'EEXIST') return false;
        throw error;
      } finally {
        await fs.unlink(onMachine(temporary));
      }
    });
  }

  async function writeWith(
    path: string,
    bytes: Uint8Array | string,
    mode: number,
    publish: (temporary: string, real: string) => Promise<boolean>,
  ): Promise<boolean> {
    const real = await resolveParent(path);
    const folder = posix.dirname(real);
    // A leading dot and no known suffix: no trust store's tool takes a half-written file for a certificate.
    const temporary = posix.join(folder, `.node-trust-${randomBytes(6).toString('hex')}.tmp`);
    try {
      await fs.mkdir(onMachine(folder), { recursive: true });
      await using file = await fs.open(onMachine(temporary), 'wx', mode);
      await file.writeFile(bytes);
      await file.chmod(mode);
      await file.sync();
      const published = await publish(temporary, real);
      await syncFolder(folder);
      return published;
    } catch (error) {
      await fs.unlink(onMachine(temporary)).catch(() => {});
      throw writeFailure(path, error);
    }
  }

  async function rename(from: string, to: string): Promise<void> {
    const [realFrom, realTo] = [await resolveParent(from), await resolveParent(to)];
    try {
      await fs.rename(onMachine(realFrom), onMachine(realTo));
      await syncFolder(posix.dirname(realTo));
    } catch (error) {
      if (!isAbsent(error)) throw writeFailure(from, error);
    }
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
    const entries = await readFolder(path);
    if (entries === 'absent') return;
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
      await fs.mkdir(onMachine(await resolve(path)), { recursive: true, mode: 0o755 });
    } catch (error) {
      throw writeFailure(path, error);
    }
  }

  async function syncFolder(folder: string): Promise<void> {
    await using handle = await fs.open(onMachine(folder), 'r');
    await handle.sync();
  }

  return {
    path: root,
    resolve,
    readFile,
    readLink,
    readFolder,
    readLinks,
    writeFile,
    createFile,
    rename,
    remove,
    removeFolder,
    makeFolder,
  };
}

function components(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
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

function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

function isAbsent(error: unknown): boolean {
  return errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR';
}

function readFailure(path: string, error: unknown): AgentError {
  return error instanceof AgentError
    ? error
    : new AgentError('StoreUnreadable', { path, evidence: errorText(error) }, { cause: error });
}

function writeFailure(path: string, error: unknown): AgentError {
  if (error instanceof AgentError) return error;
  const code = errorCode(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') return new AgentError('DiskFull', { path }, { cause: error });
  return new AgentError('AnchorsReadOnly', { path, evidence: errorText(error) }, { cause: error });
}

// The disk of the simulated node, as the kernel shows it, with what of it is on the platter and how to undo what is not
// (power-failure.ts). Links are followed at the end of a path only.

import { posix } from 'node:path';
import type { Clock } from './clock.ts';
import { type DiskNode, type FileNode, type FolderNode, setNames, visit } from './disk-node.ts';

export type DiskFault = 'ENOENT' | 'EEXIST' | 'ENOTDIR' | 'ENOTEMPTY' | 'ENOSPC' | 'EISDIR' | 'ELOOP';

export interface Disk {
  /** No data can be written. */
  isFull: boolean;
  readonly top: FolderNode;
  find(path: string): DiskNode | undefined;
  /** The file behind links. */
  read(path: string): Buffer | undefined;
  names(path: string): readonly string[];
  create(path: string): FileNode;
  write(file: FileNode, content: Buffer): void;
  link(existing: string, path: string): void;
  symlink(target: string, path: string): void;
  rename(from: string, to: string): void;
  unlink(path: string): void;
  makeFolders(path: string): string | undefined;
  removeFolder(path: string): void;
  sync(path: string): void;
  syncFile(file: FileNode): void;
  /** A file of somebody who does not care: written whole, with its folders. */
  put(path: string, content: string | Buffer): void;
  syncAll(): void;
  /** Told after each change of names or content below this path. */
  onChange(listener: (path: string) => void): () => void;
}

/** Without a stack, which costs more than the call: most of what an agent looks for is not there. */
export function failWith(code: DiskFault, call: string): Error {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  const error = Object.assign(new Error(`${code}: ${call}`), { code });
  Error.stackTraceLimit = stackTraceLimit;
  return error;
}

const split = new Map<string, readonly string[]>();

/** Few paths are asked for often. */
function partsOf(path: string): readonly string[] {
  const before = split.get(path);
  if (before !== undefined) return before;
  const parts = path.split('/').filter((part) => part !== '');
  if (split.size < 10_000) split.set(path, parts);
  return parts;
}

export function createDisk(clock: Clock): Disk {
  let inodes = 1;
  let ticks = 0n;
  let listeners: ((path: string) => void)[] = [];
  const stamp = (): bigint => BigInt(clock.wall().getTime()) * 1_000_000n + (ticks += 1n);
  const newFolder = (): FolderNode => ({
    kind: 'folder',
    ino: (inodes += 1),
    changed: stamp(),
    children: new Map(),
    journal: [],
  });
  const top = newFolder();

  function find(path: string): DiskNode | undefined {
    let node: DiskNode | undefined = top;
    for (const part of partsOf(path)) {
      if (node?.kind !== 'folder') return undefined;
      node = node.children.get(part);
    }
    return node;
  }

  function folderOf(path: string): FolderNode {
    const folder = find(posix.dirname(path));
    if (folder === undefined) throw failWith('ENOENT', path);
    if (folder.kind !== 'folder') throw failWith('ENOTDIR', path);
    return folder;
  }

  function name(folder: FolderNode, changes: readonly (readonly [string, DiskNode | undefined])[], path: string): void {
    const before = changes.map(([child]) => [child, folder.children.get(child)] as const);
    folder.journal.push({ sinceMs: clock.elapsedMs(), before });
    setNames(folder, changes);
    folder.changed = stamp();
    tell(path);
  }

  function tell(path: string): void {
    for (const listener of listeners) listener(path);
  }

  const disk: Disk = {
    isFull: false,
    top,
    find,
    read(path) {
      let at = path;
      for (let links = 0; links < 8; links += 1) {
        const node = find(at);
        if (node?.kind === 'file') return node.content;
        if (node?.kind !== 'link') return undefined;
        at = posix.resolve(posix.dirname(at), node.target);
      }
      return undefined;
    },
    names(path) {
      const node = find(path);
      return node?.kind === 'folder' ? [...node.children.keys()].sort() : [];
    },
    create(path) {
      const folder = folderOf(path);
      if (folder.children.has(posix.basename(path))) throw failWith('EEXIST', path);
      const unsynced = { durable: Buffer.alloc(0), sinceMs: clock.elapsedMs() };
      const file: FileNode = { kind: 'file', ino: (inodes += 1), content: Buffer.alloc(0), changed: stamp(), unsynced };
      name(folder, [[posix.basename(path), file]], path);
      return file;
    },
    write(file, content) {
      if (disk.isFull && content.length > file.content.length) throw failWith('ENOSPC', 'write');
      file.unsynced ??= { durable: file.content, sinceMs: clock.elapsedMs() };
      file.content = content;
      file.changed = stamp();
    },
    link(existing, path) {
      const node = find(existing);
      const folder = folderOf(path);
      if (node === undefined) throw failWith('ENOENT', existing);
      if (folder.children.has(posix.basename(path))) throw failWith('EEXIST', path);
      name(folder, [[posix.basename(path), node]], path);
    },
    symlink(target, path) {
      const folder = folderOf(path);
      if (folder.children.has(posix.basename(path))) throw failWith('EEXIST', path);
      name(folder, [[posix.basename(path), { kind: 'link', ino: (inodes += 1), target, changed: stamp() }]], path);
    },
    rename(from, to) {
      const folder = folderOf(to);
      const node = find(from);
      if (node === undefined) throw failWith('ENOENT', from);
      if (folderOf(from) !== folder) throw new Error('no program here moves a file to another folder');
      if (node.kind === 'file') node.changed = stamp();
      name(
        folder,
        [
          [posix.basename(from), undefined],
          [posix.basename(to), node],
        ],
        to,
      );
    },
    unlink(path) {
      const folder = folderOf(path);
      const node = folder.children.get(posix.basename(path));
      if (node === undefined) throw failWith('ENOENT', path);
      if (node.kind === 'folder') throw failWith('EISDIR', path);
      name(folder, [[posix.basename(path), undefined]], path);
    },
    makeFolders(path) {
      let first: string | undefined;
      let at = '';
      for (const part of partsOf(path)) {
        at += `/${part}`;
        const node = find(at);
        if (node !== undefined && node.kind !== 'folder') throw failWith('EEXIST', at);
        if (node !== undefined) continue;
        first ??= at;
        name(folderOf(at), [[part, newFolder()]], at);
      }
      return first;
    },
    removeFolder(path) {
      const node = find(path);
      if (node === undefined) throw failWith('ENOENT', path);
      if (node.kind !== 'folder') throw failWith('ENOTDIR', path);
      if (node.children.size > 0) throw failWith('ENOTEMPTY', path);
      name(folderOf(path), [[posix.basename(path), undefined]], path);
    },
    sync(path) {
      const node = find(path);
      if (node?.kind === 'folder') node.journal.length = 0;
      else if (node?.kind === 'file') node.unsynced = undefined;
    },
    syncFile(file) {
      file.unsynced = undefined;
    },
    put(path, content) {
      disk.makeFolders(posix.dirname(path));
      const node = find(path);
      if (node?.kind === 'link') disk.unlink(path);
      const file = node?.kind === 'file' ? node : disk.create(path);
      disk.write(file, Buffer.from(content));
      tell(path);
    },
    syncAll() {
      visit(top, (node) => {
        if (node.kind === 'folder') node.journal.length = 0;
        else if (node.kind === 'file') node.unsynced = undefined;
      });
    },
    onChange(listener) {
      listeners.push(listener);
      return () => {
        listeners = listeners.filter((other) => other !== listener);
      };
    },
  };
  return disk;
}

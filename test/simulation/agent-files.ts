// The disk as one process of the agent sees it: Node's own calls, as far as agent/host/root.ts makes them. Before and after
// each of them something may happen to the world or to the process; a dead process never hears of an answer again.

import { constants } from 'node:fs';
import type { FileSystem } from '../../agent/host/root.ts';
import { type Disk, failWith } from './disk.ts';
import type { DiskNode, FileNode } from './disk-node.ts';

export interface Caller {
  /** Counted; answers false where the process does not live to see it. */
  passes(call: string, isWrite: boolean): boolean;
  /** What it has read; undefined: there is nothing. */
  reads(path: string, content: Buffer | undefined): void;
  /** Around a change of the host by this process. */
  changing(call: string, path: string, change: () => void): void;
}

export function createAgentFiles(disk: Disk, caller: Caller): FileSystem {
  /** What is asked of the disk. */
  async function ask<T>(call: string, answer: () => T): Promise<T> {
    if (!caller.passes(call, false)) return never();
    return answer();
  }

  async function change(call: string, path: string, make: () => void): Promise<void> {
    if (!caller.passes(`${call} ${path}`, true)) return never();
    caller.changing(call, path, make);
    if (!caller.passes(`${call} ${path} done`, true)) return never();
  }

  function find(path: string): DiskNode {
    const node = disk.find(path);
    if (node === undefined) {
      caller.reads(path, undefined);
      throw failWith('ENOENT', path);
    }
    return node;
  }

  async function open(path: string, flags: string | number): Promise<object> {
    if (flags === 'wx') {
      let file: FileNode | undefined;
      await change('create', path, () => {
        file = disk.create(path);
      });
      if (file === undefined) throw new TypeError('a file was created');
      return handleOf(file, path);
    }
    return ask('open', () => {
      const node = find(path);
      if (node.kind === 'link') throw failWith('ELOOP', path);
      if (node.kind === 'folder' && typeof flags === 'number' && (flags & constants.O_DIRECTORY) !== 0)
        return handleOf(node, path);
      return handleOf(node, path);
    });
  }

  function handleOf(node: FileNode | Extract<DiskNode, { kind: 'folder' }>, path: string): object {
    const fileOf = (): FileNode => {
      if (node.kind === 'folder') throw failWith('EISDIR', path);
      return node;
    };
    return {
      stat: () =>
        ask('fstat', () => ({
          isFile: () => node.kind === 'file',
          size: node.kind === 'file' ? node.content.length : 0,
        })),
      readFile: () =>
        ask('read', () => {
          caller.reads(path, fileOf().content);
          return fileOf().content;
        }),
      async writeFile(bytes: Uint8Array | string) {
        const content = Buffer.from(bytes as Uint8Array);
        await change('write', path, () => disk.write(fileOf(), content.subarray(0, content.length / 2)));
        await change('write', path, () => disk.write(fileOf(), content));
      },
      chmod: () => change('chmod', path, () => {}),
      sync: () => change('fsync', path, () => (node.kind === 'file' ? disk.syncFile(node) : disk.sync(path))),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }

  const files = {
    open,
    lstat: (path: string) =>
      ask('lstat', () => {
        const node = find(path);
        const size = node.kind === 'file' ? node.content.length : 0;
        return {
          isSymbolicLink: () => node.kind === 'link',
          ino: BigInt(node.ino),
          size: BigInt(size),
          ctimeNs: node.changed,
        };
      }),
    readlink: (path: string) =>
      ask('readlink', () => {
        const node = find(path);
        return node.kind === 'link' ? node.target : '';
      }),
    readdir: (path: string) =>
      ask('readdir', () => {
        const node = find(path);
        if (node.kind !== 'folder') throw failWith('ENOTDIR', path);
        return [...node.children].map(([name, { kind }]) => ({
          name,
          isFile: () => kind === 'file',
          isDirectory: () => kind === 'folder',
          isSymbolicLink: () => kind === 'link',
        }));
      }),
    statfs: () => ask('statfs', () => ({ bfree: disk.isFull ? 0 : 1_000_000, bsize: 4096 })),
    link: (from: string, to: string) => change('link', to, () => disk.link(from, to)),
    symlink: (target: string, path: string) => change('symlink', path, () => disk.symlink(target, path)),
    rename: (from: string, to: string) => change('rename', to, () => disk.rename(from, to)),
    unlink: (path: string) => change('unlink', path, () => disk.unlink(path)),
    rmdir: (path: string) => change('rmdir', path, () => disk.removeFolder(path)),
    async mkdir(path: string) {
      if (disk.find(path)?.kind === 'folder') return ask('mkdir', () => undefined);
      let first: string | undefined;
      await change('mkdir', path, () => {
        first = disk.makeFolders(path);
      });
      return first;
    },
  };
  return files as unknown as FileSystem;
}

/** What a call of a dead process answers. */
export function never(): Promise<never> {
  return new Promise(() => {});
}

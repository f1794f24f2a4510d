// Follows the host's symbolic links as the host itself would, re-rooted at the host root: most links on a node are
// absolute, and from the pod the kernel would lead them into the container's own files. `..` at the root stays at the
// root, as in chroot(2), so nothing leads outside. Reads links only, never what is behind them.

import type * as nodeFs from 'node:fs/promises';
import { posix } from 'node:path';
import { AgentError } from '../errors.ts';
import { isAbsent, readFailure } from './file-failure.ts';

export interface PathResolver {
  /** Where the root is on this machine. */
  readonly root: string;
  /** A path of the host, as this machine's file system calls want it. Resolve it first: the kernel follows links too. */
  onMachine(path: string): string;
  /** The host path behind all links. The last component may be absent, a dangling link's target too. */
  resolve(path: string): Promise<string>;
  /** Where the folder of this path really is, and the last component not followed. */
  resolveParent(path: string): Promise<string>;
  /** The target as it is written in the link; undefined where there is no link. Its folder is resolved already. */
  linkTarget(path: string): Promise<string | undefined>;
}

/** As many links as Linux follows in one path before it says ELOOP (path_resolution(7)). */
const maxLinks = 40;

export function createPathResolver(rootPath: string, fs: Pick<typeof nodeFs, 'lstat' | 'readlink'>): PathResolver {
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
      const candidate = done === '/' ? `/${next}` : `${done}/${next}`;
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

  async function resolveParent(path: string): Promise<string> {
    return posix.join(await resolve(posix.dirname(path)), posix.basename(path));
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

  return { root, onMachine, resolve, resolveParent, linkTarget };
}

function components(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

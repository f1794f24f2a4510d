// Wakes the agent when somebody else touches the store. It decides nothing: the next pass looks for itself. The agent's own
// writes are no drift: while a pass is made nothing is heard, and after it only what differs from how the pass has last seen it.
// `chokidar` is imported here only. Links are not followed: what is elsewhere is not watched, the poll finds it.

import { once } from 'node:events';
import { lstat, readdir } from 'node:fs/promises';
import { posix } from 'node:path';
import { type FSWatcher, watch } from 'chokidar';
import type { HostRoot } from './root.ts';

/** A package's script touches many files; they make one poke. */
const settleMs = 300;

export interface DriftWatch extends AsyncDisposable {
  /** Watches these files and folders from now on; again the same is nothing new. */
  cover(paths: readonly string[]): Promise<void>;
  /** Whoever holds it works on the store, and nothing is heard; then, what differs from how the store was last looked at. */
  deafen(): Disposable;
  /** The store is about to be looked at: what changes from here on is drift. */
  mark(): Promise<void>;
}

export function createDriftWatch(root: HostRoot, onDrift: () => void): DriftWatch {
  let watcher: FSWatcher | undefined;
  let timer: NodeJS.Timeout | undefined;
  let watched: readonly string[] = [];
  /** The store as it was last looked at. */
  let settled = '';
  let isDeaf = false;

  function poke(): void {
    // Not put off by what comes meanwhile: somebody who writes all the time must not keep it waiting for ever.
    timer ??= setTimeout(() => {
      timer = undefined;
      look().catch(onDrift); // what cannot be looked at here is for the pass to find out
    }, settleMs);
  }

  async function look(): Promise<void> {
    if (isDeaf) return;
    const before = settled;
    const now = await fingerprint(watched);
    if (isDeaf || settled !== before || now === before) return;
    settled = now;
    onDrift();
  }

  /** The path itself, a link perhaps, and what it leads to. */
  async function placesOf(path: string): Promise<readonly string[]> {
    const folder = await root.resolve(posix.dirname(path));
    return [posix.join(folder, posix.basename(path)), await root.resolve(path)];
  }

  return {
    async cover(paths) {
      if (watcher !== undefined) return;
      // A path that leads nowhere is for whoever reads it to complain of.
      const places = await Promise.all(paths.map((path) => placesOf(path).catch(() => [])));
      const onMachine = places.flat().map((path) => posix.join(root.path, path));
      watched = onMachine;
      const ignored = (path: string): boolean => !onMachine.some((own) => isWithin(path, own) || isWithin(own, path));
      // The folders above: one that is removed and comes again is seen from there only.
      watcher = watch(onMachine.map(posix.dirname), { ignored, ignoreInitial: true, followSymlinks: false });
      watcher.on('all', poke);
      // A link that leads nowhere, as systemd's do that hold an ID, is told of in no other way.
      watcher.on('raw', (_event, name, details) => {
        const { watchedPath } = details as { readonly watchedPath: string };
        if (!ignored(posix.join(watchedPath, name))) poke();
      });
      // Watching is a convenience: the poll finds what it misses.
      watcher.on('error', () => {});
      await once(watcher, 'ready').catch(() => {});
    },
    deafen() {
      isDeaf = true;
      return {
        [Symbol.dispose]() {
          isDeaf = false;
          poke();
        },
      };
    },
    async mark() {
      settled = await fingerprint(watched).catch(() => '');
    },
    async [Symbol.asyncDispose]() {
      clearTimeout(timer);
      await watcher?.close();
    },
  };
}

/** Names, inodes, sizes and times of change: what a write, a removal or a replacement changes. */
async function fingerprint(paths: readonly string[]): Promise<string> {
  const facts = paths.map(async (path): Promise<string> => {
    const stat = await lstat(path, { bigint: true }).catch(() => undefined);
    if (stat === undefined) return `${path} absent`;
    const own = `${path} ${stat.ino} ${stat.size} ${stat.mode} ${stat.ctimeNs}`;
    if (!stat.isDirectory()) return own;
    const names = await readdir(path).catch((): string[] => []); // one that cannot be listed has not changed by that
    return `${own}\n${await fingerprint(names.sort().map((name) => posix.join(path, name)))}`;
  });
  return (await Promise.all(facts)).join('\n');
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

// Wakes the agent when somebody else touches the store. It decides nothing: the next pass looks for itself.
// `chokidar` is imported here only. Links are not followed: what is elsewhere is not watched, the poll finds it.

import { once } from 'node:events';
import { posix } from 'node:path';
import { type FSWatcher, watch } from 'chokidar';
import type { HostRoot } from './root.ts';

/** A package's script touches many files; they make one poke. */
const settleMs = 300;

export interface DriftWatch extends AsyncDisposable {
  /** Watches these files and folders from now on; again the same is nothing new. */
  cover(paths: readonly string[]): Promise<void>;
}

export function createDriftWatch(root: HostRoot, onDrift: () => void): DriftWatch {
  let watcher: FSWatcher | undefined;
  let timer: NodeJS.Timeout | undefined;

  function poke(): void {
    clearTimeout(timer);
    timer = setTimeout(onDrift, settleMs);
  }

  /** The path itself, a link perhaps, and what it leads to. */
  async function placesOf(path: string): Promise<readonly string[]> {
    const folder = await root.resolve(posix.dirname(path));
    return [posix.join(folder, posix.basename(path)), await root.resolve(path)];
  }

  return {
    async cover(paths) {
      if (watcher !== undefined) return;
      const places = await Promise.all(paths.map(placesOf));
      const onMachine = places.flat().map((path) => posix.join(root.path, path));
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
    async [Symbol.asyncDispose]() {
      clearTimeout(timer);
      await watcher?.close();
    },
  };
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

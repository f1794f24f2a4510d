// A fake of agent/host/drift.ts, without the machine's file system: told of changes below what is covered, deaf during a pass, and
// then silent about what is as the pass has last seen it.

import { posix } from 'node:path';
import type { DriftWatch } from '../../agent/host/drift.ts';
import type { Clock, Owner } from './clock.ts';
import type { Disk } from './disk.ts';
import type { DiskNode } from './disk-node.ts';

export interface DriftWatchOptions {
  readonly clock: Clock;
  readonly disk: Disk;
  readonly owner: Owner;
  /** The store is about to be looked at. */
  onMark(): void;
  onDrift(): void;
}

const settleMs = 300;

export function watchDrift(options: DriftWatchOptions): DriftWatch {
  const { clock, disk, owner, onMark, onDrift } = options;
  let watched: readonly string[] = [];
  let settled = '';
  let isDeaf = false;
  let isPending = false;
  const look = (): string => watched.map((path) => fingerprint(disk, path)).join('\n');
  const poke = (): void => {
    if (isPending || owner.isDead) return;
    isPending = true;
    clock.after(settleMs, owner, () => {
      isPending = false;
      const now = isDeaf ? settled : look();
      if (now === settled) return;
      settled = now;
      onDrift();
    });
  };
  const stop = disk.onChange((path) => {
    if (watched.some((own) => path === own || path.startsWith(`${own}/`))) poke();
  });
  return {
    cover(paths) {
      watched = paths;
      return Promise.resolve();
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
    mark() {
      onMark();
      settled = look();
      return Promise.resolve();
    },
    [Symbol.asyncDispose]() {
      stop();
      return Promise.resolve();
    },
  };
}

function fingerprint(disk: Disk, path: string): string {
  const facts = (name: string, node: DiskNode | undefined): string =>
    node === undefined
      ? `${name} absent`
      : `${name} ${node.ino} ${node.kind === 'file' ? node.content.length : ''} ${node.changed}`;
  const node = disk.find(path);
  const inside =
    node?.kind === 'folder' ? [...node.children].map(([name, child]) => facts(posix.join(path, name), child)) : [];
  return [facts(path, node), ...inside].join('\n');
}

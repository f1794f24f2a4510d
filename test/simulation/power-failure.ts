// What a power failure makes of a disk: a file that was not synced is whole, torn, empty, or as it was; names in a folder that
// was not synced are kept up to some moment and lost after it. What has lain for half a minute is written back by itself.

import type { Disk } from './disk.ts';
import { type FileNode, type FolderNode, setNames, visit } from './disk-node.ts';
import type { Random } from './random.ts';

const writtenBackMs = 30_000;

export function losePower(disk: Disk, elapsedMs: number, random: Random): void {
  const { top } = disk;
  const horizon = elapsedMs - writtenBackMs;
  disk.isFull = false;
  visit(top, (node) => {
    if (node.kind === 'folder') loseNames(node, horizon, random);
  });
  visit(top, (node) => {
    if (node.kind === 'file') loseContent(node, horizon, random);
  });
}

function loseNames(folder: FolderNode, horizon: number, random: Random): void {
  const firstYoung = folder.journal.findIndex(({ sinceMs }) => sinceMs > horizon);
  const young = firstYoung === -1 ? 0 : folder.journal.length - firstYoung;
  const kept = folder.journal.length - (young === 0 ? 0 : random.pick([0, young, random.below(young + 1)]));
  for (const { before } of folder.journal.slice(kept).reverse()) setNames(folder, before);
  folder.journal.length = 0;
}

function loseContent(file: FileNode, horizon: number, random: Random): void {
  const { unsynced, content } = file;
  file.unsynced = undefined;
  if (unsynced === undefined || unsynced.sinceMs <= horizon) return;
  const torn = content.subarray(0, random.below(content.length + 1));
  file.content = random.pick([content, torn, Buffer.alloc(0), unsynced.durable]);
}

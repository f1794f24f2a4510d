// The agent's records as an older version of it would read and write them: without what was added since.

import type { Disk } from './disk.ts';
import { recordsPath } from './promises/court.ts';

const newer: ReadonlySet<string> = new Set([
  'withdrawn',
  'held',
  'rewritten',
  'version',
  'proven',
  'added',
  'repairs',
  'retryMark',
  'restarted',
  'undoing',
  'untold',
]);

/** Answers whether there are records. */
export function forgetNewerFields(disk: Disk): boolean {
  const text = disk.read(recordsPath)?.toString('utf8');
  if (text === undefined) return false;
  const whole = JSON.parse(text, function (this: unknown, key, value: unknown) {
    const isTop = typeof this === 'object' && this !== null && 'runtime' in this;
    return newer.has(key) && !(key === 'version' && isTop) ? undefined : value;
  }) as object;
  disk.put(recordsPath, `${JSON.stringify(whole)}\n`);
  disk.syncAll();
  return true;
}

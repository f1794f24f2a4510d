// What was asked of the embedded API server and what it answered, in order, and a way to wait for it without sleeping.

import type { Verb } from './api-requests.ts';

export interface JournalEntry {
  readonly verb: Verb;
  readonly resource: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly user: string;
  /** HTTP status; 0 where there was no answer. A watch is entered when it is accepted. */
  readonly code: number;
  /** Of a list that was asked for in pages. */
  readonly limit?: number;
}

export interface Journal {
  readonly entries: readonly JournalEntry[];
  add(entry: JournalEntry): void;
  /** The `count`-th entry for which the predicate holds, also if it came before the call. */
  readonly seen: (predicate: (entry: JournalEntry) => boolean, count?: number) => Promise<JournalEntry>;
  /** Creates, updates, patches and deletes, refused ones too. */
  readonly writes: () => readonly JournalEntry[];
}

const patienceMs = 60_000;
const reads = new Set<Verb>(['get', 'list', 'watch']);

export function createJournal(): Journal {
  const entries: JournalEntry[] = [];
  const waiting = new Set<() => void>();

  return {
    entries,

    add(entry) {
      entries.push(entry);
      for (const look of waiting) look();
    },

    seen: (predicate, count = 1) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const found = entries.filter(predicate)[count - 1];
          if (found === undefined) return;
          waiting.delete(look);
          clearTimeout(timer);
          resolve(found);
        };
        const timer = setTimeout(() => {
          waiting.delete(look);
          const known = entries.map((entry) => JSON.stringify(entry)).join('\n');
          reject(new Error(`the embedded API server did not see it within ${patienceMs} ms, but:\n${known}`));
        }, patienceMs).unref(); // once the server is gone, nothing is worth waiting for
        waiting.add(look);
        look();
      }),

    writes: () => entries.filter(({ verb }) => !reads.has(verb)),
  };
}

// What the judges of single promises share: the world as it is seen from outside, and the order of what happens in it.

import type { RuntimeRecord } from '../../../agent/trust/observation.ts';
import type { Clock } from '../clock.ts';
import type { Disk } from '../disk.ts';
import type { RuntimeProcess } from '../service.ts';

export interface Broken {
  readonly promise: string;
  readonly seen: string;
}

/** A process of the agent, as it is judged. */
export interface Suspect {
  readonly isDead: boolean;
  /** The moment in which its pass began. */
  beganAt: number;
  /** How often it has read its Node since a request was not answered: what it could not tell then it tells later. */
  readsSinceUnanswered: number;
  /** The moment in which it last began to look at the host. */
  lookedAt: number;
  /** When it has last built a store to look at. */
  stagedAt: number;
  /** When it has last written or removed an anchor. */
  changedAt: number;
  /** It was told to end. */
  isEnding: boolean;
  hasSeenLabel: boolean;
  /** Since when it has been told that the label is gone. */
  unlabelledSinceMs: number | undefined;
  /** It has found it gone: an API server that it cannot ask afterwards takes that not back. */
  hasLeft: boolean;
  isMember: boolean;
  /** It was told in its pass that the Secret is not there, which the next read confirms. */
  hasMissed: boolean;
  /** What it was told and has not acted upon, in order: lost where it dies before. */
  told: (() => void)[];
}

export interface Court {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly runtime: () => { readonly process: RuntimeProcess | undefined; readonly isActive: boolean };
  breaks(promise: string, seen: string): void;
  /** Each is later than all before it. */
  moment(): number;
  /** When somebody other than the agent has last changed the store, the runtime, or the agent's own memory. */
  disturbedAt: number;
  /** When somebody else has last changed the store, or a power failure has. */
  meddledAt: number;
  /** When somebody has last set the wall clock. */
  clockSetAt: number;
  /** Certificates whose trust may have come from, or be lost track of by, somebody else. */
  readonly exempt: Set<string>;
}

export const stateFolder = '/var/lib/node-trust-agent';
export const recordsPath = `${stateFolder}/state.json`;

/** What the agent has on record of the runtime, its sources and a rollback that was begun; nothing where its file is torn or not there. */
export function readRecords(disk: Disk): {
  readonly version?: number;
  readonly runtime?: RuntimeRecord;
  readonly source?: { readonly certificates: readonly unknown[] };
  readonly local?: { readonly certificates: readonly unknown[] };
  readonly undoing?: unknown;
} {
  try {
    return JSON.parse(disk.read(recordsPath)?.toString() ?? '{}') as object;
  } catch {
    return {};
  }
}

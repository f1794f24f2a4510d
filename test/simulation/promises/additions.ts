// Additions roll back: where the Node says that the tool or the runtime has failed, nothing that was added since the runtime
// last came up is left on the host. What has been in use once is not judged here.

import { nameOf } from '../certificates.ts';
import { hasAnchor, ownAnchors, type Prints } from '../store-views.ts';
import type { Court, Suspect } from './court.ts';
import type { Wanted } from './wanted.ts';

export interface Additions {
  written(print: string): void;
  /** A process of the runtime says that it is ready: it may have what was written until now. */
  runtimeServes(): void;
  synced(named: Prints): void;
  failed(suspect: Suspect, reason: string): void;
  /** The records say nothing of it any more: the node has lived with what is there. */
  forget(): void;
}

/** After these nothing was added, or it was taken away; RolledBack says so itself. */
const undone: ReadonlySet<string> = new Set(['RuntimeUnhealthy', 'ToolFailed', 'ToolTimedOut', 'RolledBack']);

export function createAdditions(court: Court, wanted: Wanted): Additions {
  const { disk, breaks } = court;
  let inUse = new Set<string>();
  const added = new Set<string>();

  /** Whoever wrote it, the boot unit perhaps. */
  function arrive(): void {
    inUse = new Set([...inUse, ...added, ...ownAnchors(disk)]);
    added.clear();
  }

  return {
    written(print) {
      if (!inUse.has(print)) added.add(print);
    },
    runtimeServes: arrive,
    synced(named) {
      added.clear();
      inUse = new Set(named);
    },
    failed(suspect, reason) {
      if (!undone.has(reason) || suspect.lookedAt < court.disturbedAt) return;
      const left = [...added].find((print) => wanted.desired.has(print) && hasAnchor(disk, print));
      if (left !== undefined) breaks('additions roll back', `the Node says ${reason}, and ${nameOf(left)} is there`);
    },
    forget: arrive,
  };
}

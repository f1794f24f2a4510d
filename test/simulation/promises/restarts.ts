// The runtime is disturbed only when it must be: each restart by an agent has a cause that no restart has answered yet.

import type { Court, Suspect } from './court.ts';
import type { Proof } from './proof.ts';
import type { Wanted } from './wanted.ts';

export interface Restarts {
  restarting(suspect: Suspect): void;
  /** A change of what is desired, or a boot. */
  isCaused(): void;
  /** What was added and cannot be brought into use is being taken away again. */
  undoes(): void;
  /** What was added is tried again, and may cost a restart again. */
  isRetried(): void;
}

const promise = 'the runtime is disturbed only when it must be';

export function createRestarts(court: Court, wanted: Wanted, proof: Proof): Restarts {
  const { runtime, breaks } = court;
  let hasCause = true;
  /** Of all disturbances, which ones a restart has answered. */
  let answeredUntil = -1;
  let isUndoing = false;
  let isRetryDue = false;
  /** Who asked for the last restart, and what ran then. */
  let last: { readonly by: Suspect; readonly invocationId: string | undefined } | undefined;

  return {
    restarting(suspect) {
      wanted.acts(suspect);
      const isUndone = isUndoing;
      isUndoing = false;
      const invocationId = runtime().process?.invocationId;
      if (isUndone || invocationId === undefined) return; // what is down is not disturbed
      // One that comes after a rebuild which was begun and cut off cannot know that it did nothing.
      const isProven = proof.last?.by === suspect && invocationId === proof.last.invocationId;
      if (isProven && wanted.isDesired(proof.last?.named) && !proof.hasChangedSince)
        breaks(promise, 'a restart of a process that has loaded all');
      const hasHappened = last?.by.isDead !== true || last.invocationId !== invocationId;
      last = { by: suspect, invocationId };
      const isAnswered = !hasCause && court.disturbedAt <= answeredUntil;
      if (isAnswered && !isRetryDue && hasHappened)
        breaks(promise, 'a restart, and nothing has changed since the last');
      if (isAnswered) isRetryDue = false;
      hasCause = false;
      answeredUntil = suspect.lookedAt; // what came after that look may want another
    },
    isCaused() {
      hasCause = true;
    },
    undoes() {
      isUndoing = true;
    },
    isRetried() {
      isRetryDue = true;
    },
  };
}

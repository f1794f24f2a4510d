// Whether this Node is in the pool that the agent serves: the label named by --enabled-by. Leaving is a decision that
// takes trust away, so it needs proof: this process has seen the label on the same Node (by UID), and two reads some time
// apart agree that it is gone or different. A Node that is missing and an API that cannot be asked prove nothing.

import { setTimeout as delay } from 'node:timers/promises';
import type { NodeSnapshot, OwnNode } from './kube/own-node.ts';

export interface PoolLabel {
  readonly key: string;
  readonly value: string;
}

/**
 * `outside`: the label is not there and was not seen by this process either. `unknown`: it could not be found out. In both
 * cases nothing is added and nothing taken away.
 */
export type Membership = 'member' | 'outside' | 'unknown' | 'left';

export interface Pool {
  judge(first: NodeSnapshot, signal: AbortSignal): Promise<Membership>;
}

export interface PoolOptions {
  readonly node: OwnNode;
  /** Undefined: every node is a member. */
  readonly label: PoolLabel | undefined;
  /** Between the two reads. */
  readonly confirmMs: number;
}

export function createPool({ node, label, confirmMs }: PoolOptions): Pool {
  let seenOn: string | undefined;
  /** Found once, it needs no second proof, and an API that cannot be asked does not take it back. */
  let hasLeft = false;
  if (label === undefined) return { judge: () => Promise.resolve('member') };
  const has = (snapshot: NodeSnapshot): boolean =>
    snapshot.kind === 'present' && snapshot.labels.get(label.key) === label.value;

  return {
    async judge(first, signal) {
      if (first.kind === 'unavailable') return hasLeft ? 'left' : seenOn === undefined ? 'unknown' : 'member';
      if (first.kind === 'present' && has(first)) {
        seenOn = first.uid;
        hasLeft = false;
        return 'member';
      }
      if (first.kind === 'absent' || first.uid !== seenOn) return 'outside';
      if (hasLeft) return 'left';
      await delay(confirmMs, undefined, { signal });
      const second = await node.read(signal);
      if (second.kind !== 'present' || second.uid !== seenOn) return 'unknown';
      hasLeft = !has(second);
      return hasLeft ? 'left' : 'member';
    },
  };
}

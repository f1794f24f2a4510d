// Tells that the Secret may have changed, so that nobody has to wait for the next poll. It only pokes: what changed is
// found out by reading the source again, so a lost or doubled event does no harm. It goes on after every failure until
// it is aborted; while watching is forbidden it asks again only now and then, since polling still works.

import { setTimeout as delay } from 'node:timers/promises';
import type { KubeClient } from './client.ts';
import { KubeError, type KubeFailure } from './kube-error.ts';
import { secretsPath } from './secret-source.ts';
import type { WatchEvent } from './watch-stream.ts';

export interface SecretWatchOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly name: string;
  /** Something happened to the Secret, or may have while nobody watched. */
  readonly onEvent: (reason: string) => void;
  /** Watching does not work; told once until it works again or fails in another way. */
  readonly onTrouble: (trouble: KubeFailure) => void;
  /** The first pause; it doubles up to 30 times this. */
  readonly retryDelayMs?: number;
  readonly forbiddenRetryMs?: number;
}

// An API server sends a bookmark about every minute, so two missed ones and a bit mean a dead connection. The 30 s of
// client-node's own Watch would cut every quiet watch.
const longestSilenceMs = 150_000;
// As client-go's reflectors: five to ten minutes, so that a fleet spreads over the API servers again.
const minWatchS = 300;
const maxDoubling = 30;

/** Resolves when the signal aborts, never rejects. */
export async function watchSecret(options: SecretWatchOptions, signal: AbortSignal): Promise<void> {
  const { retryDelayMs = 1000, forbiddenRetryMs = 600_000 } = options;
  const watch = createWatch(options);
  for (let quietEnds = 0; !signal.aborted; ) {
    const end = await watch.untilItEnds(signal);
    quietEnds = end.gotEvents ? 0 : quietEnds + 1;
    if (end.startsOver) continue;
    const forbidden = end.failure?.kind === 'forbidden';
    const backoffMs = retryDelayMs * Math.min(2 ** Math.max(quietEnds - 1, 0), maxDoubling);
    const pauseMs = Math.max(forbidden ? forbiddenRetryMs : jittered(backoffMs), end.failure?.retryAfterMs ?? 0);
    // The only way this rejects is the abort that ends the loop.
    await delay(pauseMs, undefined, { signal }).catch(() => undefined);
  }
}

interface WatchEnd {
  readonly gotEvents: boolean;
  /** The place in history was lost: begin anew at once. */
  readonly startsOver: boolean;
  readonly failure: KubeFailure | undefined;
}

/** One watch after the other, each going on where the last one stopped. */
function createWatch({ client, namespace, name, onEvent, onTrouble }: SecretWatchOptions) {
  const object = `secret ${namespace}/${name}`;
  let resourceVersion: string | undefined;
  let mayHaveMissed = false;
  let toldTrouble: KubeFailure['kind'] | undefined;

  const tellTrouble = (failure: KubeFailure): void => {
    mayHaveMissed = true;
    if (toldTrouble === failure.kind) return;
    toldTrouble = failure.kind;
    onTrouble(failure);
  };

  return {
    async untilItEnds(signal: AbortSignal): Promise<WatchEnd> {
      let isOpen = false;
      let gotEvents = false;
      const onOpen = (): void => {
        isOpen = true;
        if (mayHaveMissed) onEvent(`${object} is watched again`);
        mayHaveMissed = false;
      };
      const onWatchEvent = (event: WatchEvent): void => {
        gotEvents = true;
        toldTrouble = undefined;
        resourceVersion = event.resourceVersion;
        if (event.kind !== 'BOOKMARK') onEvent(`${object} was ${event.kind.toLowerCase()}`);
      };
      try {
        const request = { ...watchRequest(namespace, name, resourceVersion), object };
        await client.watch(request, { maxSilenceMs: longestSilenceMs, onOpen, onEvent: onWatchEvent }, signal);
        toldTrouble = undefined;
        return { gotEvents, startsOver: false, failure: undefined };
      } catch (error) {
        if (signal.aborted) return { gotEvents, startsOver: false, failure: undefined };
        if (!(error instanceof KubeError)) throw error;
        const { failure } = error;
        const startsOver = failure.kind === 'expired' && resourceVersion !== undefined;
        if (startsOver) {
          resourceVersion = undefined;
          mayHaveMissed = true;
        } else if (!isOpen || !isCut(failure)) {
          tellTrouble(failure);
        }
        return { gotEvents, startsOver, failure };
      }
    },
  };
}

/** Open watches are cut by load balancers and rollouts all day; only not getting back is trouble. */
function isCut(failure: KubeFailure): boolean {
  return failure.kind === 'unreachable' || failure.kind === 'timed-out';
}

function watchRequest(namespace: string, name: string, resourceVersion: string | undefined) {
  const timeoutSeconds = String(minWatchS + Math.floor(Math.random() * minWatchS));
  // A Role with resourceNames allows to watch with this field selector only.
  const query = { watch: 'true', fieldSelector: `metadata.name=${name}`, allowWatchBookmarks: 'true', timeoutSeconds };
  return {
    verb: 'watch' as const,
    path: secretsPath(namespace),
    name,
    kind: 'Secret',
    query: resourceVersion === undefined ? query : { ...query, resourceVersion },
  };
}

function jittered(ms: number): number {
  return ms * (0.5 + Math.random() / 2);
}

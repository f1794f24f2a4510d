// A fake API server behind the agent's own KubeClient: one Secret and one Node. Faithful in what the agent can tell apart:
// answers go through the real translation of failures, a NotFound is a Status about that very name, a watch replays what was
// missed, is cut, falls silent or is refused with 410. Not there: HTTP, other objects, and conflicts.

import type { AnswerObject } from '../../agent/kube/answer-object.ts';
import type { KubeClient, KubeRequest, Watching } from '../../agent/kube/client.ts';
import type { Asked, KubeError } from '../../agent/kube/kube-error.ts';
import type { WatchEvent } from '../../agent/kube/watch-stream.ts';
import { type ApiFault, failureOf, server, silenceMs } from './api-failure.ts';
import type { Clock, Owner } from './clock.ts';
import { dataOf, type SecretContent } from './secret-content.ts';

export const nodeName = 'node-7';
export const secretName = 'custom-ca-trust-secret';
export const poolLabel = { key: 'node-trust-agent/enabled', value: 'true' } as const;
/** What the API server has told an agent of the Secret. */
export type Served = SecretContent | { readonly kind: 'absent' } | { readonly kind: 'failure' };

export interface Cluster {
  readonly secret: SecretContent | undefined;
  readonly annotations: ReadonlyMap<string, string>;
  readonly isEnabled: boolean;
  setSecret(content: SecretContent | undefined): void;
  enable(isEnabled: boolean): void;
  annotate(name: string, value: string): void;
  /** Undefined: all is well again. */
  breakDown(fault: ApiFault | undefined, scope: 'all' | 'secret'): void;
  /** The next read of the Secret meets an API server whose store lags. */
  lag(): void;
  /** Open watches fall silent, or go on after a history that is forgotten. */
  disturbWatches(how: 'cut' | 'mute' | 'expired'): void;
  connect(client: ClientOwner): KubeClient;
}

export interface ClientOwner extends Owner {
  /** Never resolves for the dead. */
  point(call: string): Promise<void>;
  onServed(served: Served): void;
  onNodeServed(isEnabled: boolean | undefined): void;
  onPatched(annotations: Readonly<Record<string, string | null>>): void;
  /** An event about the Node. */
  onRecorded(reason: string, message: string): void;
  /** A request that was not answered. */
  onFailed(): void;
}

interface OpenWatch {
  readonly owner: Owner;
  tell(event: WatchEvent): void;
  fail(error: KubeError): void;
}

export function createCluster(clock: Clock): Cluster {
  let secret: SecretContent | undefined;
  let version = 1;
  let isEnabled = true;
  let fault: ApiFault | undefined;
  let scope: 'all' | 'secret' = 'all';
  let lags = 0;
  let laggedAtMs = Number.NEGATIVE_INFINITY;
  let isExpired = false;
  let isMute = false;
  let watches: OpenWatch[] = [];
  const annotations = new Map<string, string>();

  async function fail(asked: Asked, owner: Owner, signal: AbortSignal): Promise<void> {
    const met = scope === 'all' || asked.object.startsWith('secret') ? fault : undefined;
    if (met === 'silent') await clock.pause(silenceMs, owner, signal);
    if (met !== undefined) throw failureOf(met, asked);
  }

  function answerSecret(request: KubeRequest, owner: ClientOwner): AnswerObject {
    const isLagging = lags > 0;
    if (isLagging) laggedAtMs = clock.elapsedMs();
    lags = Math.max(0, lags - 1);
    if (secret === undefined || isLagging) {
      owner.onServed({ kind: 'absent' });
      throw failureOf('not found', request);
    }
    owner.onServed(secret);
    return {
      kind: 'Secret',
      type: secret.kind === 'wrong type' ? 'kubernetes.io/tls' : 'Opaque',
      metadata: {
        name: secretName,
        resourceVersion: String(version),
        annotations:
          'onDelete' in secret && secret.onDelete === 'remove' ? { 'node-trust-agent/on-delete': 'remove' } : {},
      },
      data: dataOf(secret),
    };
  }

  function answerNode(owner: ClientOwner): AnswerObject {
    owner.onNodeServed(isEnabled);
    const labels = isEnabled ? { [poolLabel.key]: poolLabel.value } : {};
    return {
      kind: 'Node',
      metadata: { name: nodeName, uid: 'uid-7', labels, annotations: Object.fromEntries(annotations) },
    };
  }

  function patchNode(request: KubeRequest, owner: ClientOwner): AnswerObject {
    const { metadata } = request.body as { readonly metadata: { readonly annotations: Record<string, string | null> } };
    for (const [name, value] of Object.entries(metadata.annotations)) {
      if (value === null) annotations.delete(name);
      else annotations.set(name, value);
    }
    owner.onPatched(metadata.annotations);
    return { kind: 'Node', metadata: { name: nodeName } };
  }

  async function call(request: KubeRequest, owner: ClientOwner, signal: AbortSignal): Promise<AnswerObject> {
    signal.throwIfAborted();
    await owner.point(`api ${request.verb} ${request.kind}`);
    try {
      await fail(request, owner, signal);
    } catch (error) {
      if (request.kind === 'Secret') owner.onServed({ kind: 'failure' });
      if (request.kind === 'Node' && request.verb === 'get') owner.onNodeServed(undefined);
      owner.onFailed();
      throw error;
    }
    const answer = request.kind === 'Secret' ? answerSecret(request, owner) : answerOther(request, owner);
    await clock.pause(2, owner, signal);
    await owner.point(`api ${request.verb} ${request.kind} answered`);
    return answer;
  }

  function answerOther(request: KubeRequest, owner: ClientOwner): AnswerObject {
    if (request.verb === 'patch') return patchNode(request, owner);
    if (request.verb === 'get') return answerNode(owner);
    const { reason, message } = request.body as { readonly reason: string; readonly message: string };
    owner.onRecorded(reason, message);
    return { kind: 'Event', metadata: { name: request.name } };
  }

  async function watch(
    request: KubeRequest,
    watching: Watching,
    owner: ClientOwner,
    signal: AbortSignal,
  ): Promise<void> {
    signal.throwIfAborted();
    await fail(request, owner, signal);
    await clock.pause(2, owner, signal);
    const from = request.query?.['resourceVersion'];
    watching.onOpen();
    if (isExpired && from !== undefined) {
      isExpired = false;
      throw failureOf('expired', request);
    }
    if (from === undefined ? secret !== undefined : Number(from) < version) {
      watching.onEvent({ kind: 'MODIFIED', resourceVersion: String(version) });
    }
    isMute = false;
    let close = (): void => {};
    try {
      await new Promise<void>((resolve, reject) => {
        const cancel = clock.after(Number(request.query?.['timeoutSeconds'] ?? '300') * 1000, owner, resolve);
        const onAbort = (): void => reject(signal.reason);
        signal.addEventListener('abort', onAbort, { once: true });
        const open: OpenWatch = { owner, tell: watching.onEvent, fail: reject };
        watches.push(open);
        close = () => {
          cancel();
          signal.removeEventListener('abort', onAbort);
          watches = watches.filter((other) => other !== open);
        };
      });
    } finally {
      close();
    }
  }

  function changed(kind: WatchEvent['kind']): void {
    version += 1;
    const event = { kind, resourceVersion: String(version) };
    if (isMute || fault !== undefined) return;
    for (const { owner, tell } of watches) clock.after(20, owner, () => tell(event));
  }

  function cutWatches(): void {
    const asked: Asked = { verb: 'watch', object: 'secret', name: secretName };
    for (const { owner, fail: end } of watches) if (!owner.isDead) end(failureOf('cut off', asked));
  }

  return {
    get secret() {
      return secret;
    },
    annotations,
    get isEnabled() {
      return isEnabled;
    },
    setSecret(content) {
      const kind = content === undefined ? 'DELETED' : secret === undefined ? 'ADDED' : 'MODIFIED';
      secret = content;
      changed(kind);
    },
    enable(next) {
      isEnabled = next;
    },
    annotate: (name, value) => void annotations.set(name, value),
    breakDown(next, where) {
      [fault, scope] = [next, where];
      if (fault !== undefined && scope === 'all') cutWatches();
    },
    lag() {
      // Twice within the time that the agent takes to ask again is what it believes.
      if (clock.elapsedMs() - laggedAtMs > 5_000) lags = 1;
    },
    disturbWatches(how) {
      if (how === 'expired') isExpired = true;
      if (how === 'mute') isMute = true;
      else cutWatches();
    },
    connect: (owner) => ({
      server,
      call: (request, signal) => call(request, owner, signal),
      list: () => Promise.reject(new TypeError('no agent lists')),
      watch: (request, watching, signal) => watch(request, watching, owner, signal),
    }),
  };
}

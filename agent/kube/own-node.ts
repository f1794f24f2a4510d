// The agent's own Node, the only object it ever writes: reads labels and annotations, patches annotations, records
// events. A Node counts as absent only when the API server itself says NotFound of that name; everything else that
// goes wrong is "could not find out". Nothing here decides what is written.

import { randomUUID } from 'node:crypto';
import { type AnswerObject, metadataOf, textAt, textMapAt } from './answer-object.ts';
import type { KubeClient } from './client.ts';
import { KubeError } from './kube-error.ts';

export type NodeSnapshot =
  | {
      readonly kind: 'present';
      readonly uid: string;
      readonly labels: ReadonlyMap<string, string>;
      readonly annotations: ReadonlyMap<string, string>;
    }
  | { readonly kind: 'absent' }
  | { readonly kind: 'unavailable'; readonly evidence: string; readonly retryAfterMs?: number };

export interface NodeEvent {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  /** Cut after 1024 characters, the limit of the events API. */
  readonly message: string;
}

export interface OwnNode {
  readonly name: string;
  /** Never throws for a failing peer: that is `unavailable`. */
  read(signal: AbortSignal): Promise<NodeSnapshot>;
  /** Merge patch of annotations; null removes. Tries once more after a conflict. Throws KubeError. */
  annotate(annotations: Readonly<Record<string, string | null>>, signal: AbortSignal): Promise<void>;
  /** A core/v1 Event about this Node, which `kubectl describe node` shows. Throws KubeError. */
  recordEvent(event: NodeEvent, uid: string, signal: AbortSignal): Promise<void>;
}

const agentName = 'node-trust-agent';
// Events about objects without a namespace have to be in this one.
const eventNamespace = 'default';
const maxEventMessage = 1024;
// An object's name has at most 253 characters, a Node's own may use them all.
const maxEventNamePrefix = 200;

export function createOwnNode({ client, name }: { readonly client: KubeClient; readonly name: string }): OwnNode {
  const asked = { path: `/api/v1/nodes/${encodeURIComponent(name)}`, object: `node ${name}`, name, kind: 'Node' };

  const patch = (annotations: Readonly<Record<string, string | null>>, signal: AbortSignal) =>
    client.call({ verb: 'patch', ...asked, body: { metadata: { annotations } } }, signal);

  return {
    name,

    async read(signal) {
      try {
        return snapshotOf(await client.call({ verb: 'get', ...asked }, signal));
      } catch (error) {
        if (!(error instanceof KubeError)) throw error;
        const { kind, ...failure } = error.failure;
        return kind === 'not-found' ? { kind: 'absent' } : { ...failure, kind: 'unavailable' };
      }
    },

    async annotate(annotations, signal) {
      try {
        await patch(annotations, signal);
      } catch (error) {
        if (!(error instanceof KubeError) || error.failure.kind !== 'conflict') throw error;
        await patch(annotations, signal);
      }
    },

    async recordEvent(event, uid, signal) {
      const at = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
      const eventName = `${name.slice(0, maxEventNamePrefix)}.${randomUUID()}`;
      const body = {
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { name: eventName, namespace: eventNamespace },
        involvedObject: { apiVersion: 'v1', kind: 'Node', name, uid },
        type: event.type,
        reason: event.reason,
        message: event.message.slice(0, maxEventMessage),
        source: { component: agentName, host: name },
        reportingComponent: agentName,
        reportingInstance: name,
        firstTimestamp: at,
        lastTimestamp: at,
        count: 1,
      };
      const path = `/api/v1/namespaces/${eventNamespace}/events`;
      await client.call(
        { verb: 'create', path, object: `an event about node ${name}`, name: eventName, kind: 'Event', body },
        signal,
      );
    },
  };
}

function snapshotOf(node: AnswerObject): NodeSnapshot {
  const metadata = metadataOf(node);
  return {
    kind: 'present',
    uid: textAt(metadata, 'uid') ?? '',
    labels: textMapAt(metadata, 'labels'),
    annotations: textMapAt(metadata, 'annotations'),
  };
}

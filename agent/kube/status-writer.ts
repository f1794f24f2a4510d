// Puts a status onto the own Node: as annotations, and as an event when state, reason or bundle change. What the Node says
// already is not written again, so an idle pass writes nothing. An event that could not be told is told with what is written next.

import { annotationPrefix, formatAnnotations, type Status } from '../trust/status.ts';
import { KubeError, type KubeFailureKind } from './kube-error.ts';
import type { NodeEvent, NodeSnapshot, OwnNode } from './own-node.ts';

export interface StatusWriter {
  /** What the Node says now, as it was read. */
  see(snapshot: NodeSnapshot): void;
  /** Whether the Node says something else now, as far as is known. */
  isNews(status: Status): boolean;
  /** Throws KubeError. */
  write(status: Status, signal: AbortSignal): Promise<void>;
  /** Takes every annotation of ours off the Node, those that people have set among them. Throws KubeError. */
  clear(signal: AbortSignal): Promise<void>;
  /** An event of its own about the Node, now or as soon as its API server can be asked. Throws KubeError. */
  record(event: NodeEvent, signal: AbortSignal): Promise<void>;
}

/** An event that is refused will be refused again. */
const refusals: ReadonlySet<KubeFailureKind> = new Set(['forbidden', 'invalid', 'not-found', 'conflict']);
/** The last ones, of a long time without an API server. */
const maxUntold = 20;

/** A change of one of these is worth an event. */
const eventful: ReadonlySet<string> = new Set(['state', 'reason', 'bundle'].map((name) => annotationPrefix + name));

export function createStatusWriter(node: OwnNode, now: () => Date): StatusWriter {
  let seen: Extract<NodeSnapshot, { kind: 'present' }> | undefined;
  let untold: readonly NodeEvent[] = [];
  /** A write whose answer was lost may have been made: what the Node says is not known, and its event is owed if so. */
  let isDoubtful = false;
  let owed: NodeEvent | undefined;
  const tried = new Set<string>();
  const differences = (wanted: readonly (readonly [string, string | null])[]): readonly string[] =>
    wanted
      .filter(([name, value]) => isDoubtful || (seen?.annotations.get(name) ?? null) !== value)
      .map(([name]) => name);
  async function tell(signal: AbortSignal): Promise<void> {
    const uid = seen?.uid;
    if (uid === undefined) return;
    for (let [event] = untold; event !== undefined; [event] = untold) {
      const rest = untold.slice(1);
      try {
        await node.recordEvent(event, uid, signal);
      } catch (error) {
        if (error instanceof KubeError && refusals.has(error.failure.kind)) untold = rest;
        throw error;
      }
      untold = rest;
    }
  }

  async function record(event: NodeEvent, signal: AbortSignal): Promise<void> {
    untold = [...untold, event].slice(-maxUntold);
    await tell(signal);
  }

  return {
    isNews: (status) => differences(Object.entries(formatAnnotations(status))).length > 0,
    see(snapshot) {
      seen = snapshot.kind === 'present' ? snapshot : undefined;
      isDoubtful = false;
    },
    async clear(signal) {
      // A write whose answer was lost may have been made.
      const names = new Set([...tried, ...(seen?.annotations.keys() ?? [])]);
      const ours = [...names].filter((name) => name.startsWith(annotationPrefix));
      if (ours.length > 0) await node.annotate(Object.fromEntries(ours.map((name) => [name, null])), signal);
      tried.clear();
      if (seen !== undefined) seen = { ...seen, annotations: new Map() };
    },
    record,
    async write(status, signal) {
      if (seen === undefined) return; // No Node to write to, or nobody to ask: the pass goes on without.
      const { annotations } = seen;
      const wanted = Object.entries(formatAnnotations(status));
      const changed = differences(wanted);
      if (changed.length === 0) {
        const late = owed;
        owed = undefined;
        return late === undefined ? tell(signal) : record(late, signal);
      }
      const next = { ...Object.fromEntries(wanted), [`${annotationPrefix}updated-at`]: now().toISOString() };
      for (const name of Object.keys(next)) tried.add(name);
      const event = changed.some((name) => eventful.has(name)) ? eventOf(status) : undefined;
      owed = event;
      isDoubtful = true;
      await node.annotate(next, signal);
      isDoubtful = false;
      owed = undefined;
      const known = new Map([
        ...annotations,
        ...Object.entries(next).flatMap(([name, value]) => (value === null ? [] : [[name, value] as const])),
      ]);
      seen = { ...seen, annotations: known };
      return event === undefined ? tell(signal) : record(event, signal);
    },
  };
}

function eventOf({ state, reason, message }: Status): NodeEvent | undefined {
  if (state === 'Applying') return undefined;
  const type = state === 'Rejected' || state === 'Failed' ? 'Warning' : 'Normal';
  return { type, reason: reason || state, message };
}

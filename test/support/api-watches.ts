// The open watches of the embedded API server: which events each one gets, bookmarks, and the ways in which a watch
// ends: its time is up, its place in history is gone (an ERROR event even as the first word, as on the real server), or
// the connection is cut.

import type { Outgoing } from './api-outgoing.ts';
import { ApiError, type ApiRequest, fieldSelectorOf, labelSelectorOf, type Resource } from './api-requests.ts';
import type { ApiObject, ObjectStore } from './api-store.ts';
import { type Fields, isFields } from './api-validation.ts';

interface OpenWatch {
  readonly resource: Resource;
  readonly wantsBookmarks: boolean;
  readonly matches: (object: ApiObject) => boolean;
  readonly send: (type: string, object: unknown) => void;
  readonly end: () => void;
  readonly cut: () => void;
}

export function createWatches(store: ObjectStore, bookmarkIntervalMs: number) {
  const open = new Set<OpenWatch>();
  const waitingForNone = new Set<() => void>();

  store.onEvent(({ type, resource, object }) => {
    for (const watch of open) {
      if (watch.resource === resource && watch.matches(object)) watch.send(type, object);
    }
  });

  const bookmark = (): void => {
    for (const { resource, wantsBookmarks, send } of open) {
      const { kind, group } = resource;
      const apiVersion = group === '' ? 'v1' : `${group}/v1`;
      const metadata = { resourceVersion: String(store.version()), creationTimestamp: null };
      if (wantsBookmarks) send('BOOKMARK', { kind, apiVersion, metadata });
    }
  };
  const bookmarkTimer = setInterval(bookmark, bookmarkIntervalMs);
  bookmarkTimer.unref();

  return {
    /** Resolves when no client has one open. */
    allClosed: (): Promise<void> =>
      new Promise((resolve) => (open.size === 0 ? resolve() : waitingForNone.add(resolve))),

    start(request: ApiRequest, out: Outgoing, cut: () => void): void {
      const { resource, query } = request;
      out.writeHead(200, { 'content-type': 'application/json' });
      out.flushHeaders?.();
      const send = (type: string, object: unknown): void => void out.write(`${JSON.stringify({ type, object })}\n`);
      const matches = objectMatcher(request);
      try {
        for (const [type, object] of firstEvents(store, request)) if (matches(object)) send(type, object);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        send('ERROR', error.status);
        out.end();
        return;
      }
      const end = (): void => void out.end();
      const wantsBookmarks = query.get('allowWatchBookmarks') === 'true';
      const watch = { resource, wantsBookmarks, matches, send, end, cut };
      open.add(watch);
      const seconds = Number(query.get('timeoutSeconds') ?? 1800);
      const timer = setTimeout(end, seconds * 1000);
      out.on('close', () => {
        clearTimeout(timer);
        open.delete(watch);
        if (open.size === 0) for (const resolve of waitingForNone) resolve();
      });
    },

    bookmark,

    /** As when their time is up. */
    endAll: (): void => {
      for (const watch of open) watch.end();
    },

    /** As when a load balancer forgets them. */
    cutAll: (): void => {
      for (const watch of open) watch.cut();
    },

    stop: (): void => clearInterval(bookmarkTimer),
  };
}

/** No version or "0": what there is, as ADDED. A version: what changed after it. */
function firstEvents(
  store: ObjectStore,
  { resource, namespace, query }: ApiRequest,
): readonly (readonly [string, ApiObject])[] {
  const version = query.get('resourceVersion') ?? '';
  if (version === '' || version === '0') return store.list(resource, namespace).map((object) => ['ADDED', object]);
  const changes = store.since(Number(version)).filter((event) => event.resource === resource);
  return changes.map(({ type, object }) => [type, object]);
}

/** By namespace and selectors; a field is looked up by its path, whichever it is. */
export function objectMatcher({ namespace, query }: ApiRequest): (object: ApiObject) => boolean {
  const terms = [...fieldSelectorOf(query)];
  const labels = [...labelSelectorOf(query)];
  return (object) =>
    (namespace === undefined || object.metadata.namespace === namespace) &&
    terms.every(([path, wanted]) => (fieldAt(object, path) ?? '') === wanted) &&
    labels.every(([key, wanted]) => object.metadata.labels?.[key] === wanted);
}

function fieldAt(object: Fields, path: string): unknown {
  return path.split('.').reduce<unknown>((at, field) => (isFields(at) ? at[field] : undefined), object);
}

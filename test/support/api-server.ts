// An embedded API server for tests and the demo: real HTTP on 127.0.0.1 unless told otherwise, HTTPS with HTTP/2 where it
// gets a certificate.
// It is a fake. Faithful in: Secrets, Events, Leases, Nodes, Pods and DaemonSets with get, list, watch, create, update,
// merge patch and delete; paging, resourceVersions, conflicts, bookmarks, expiry; RBAC; Status objects and their wording;
// enough discovery for kubectl. Not faithful in: every namespace exists; nothing makes a DaemonSet's Pods; a later page
// shows what is there now, not at the first one's version; label selectors know equality alone; strategic merge patches
// are taken as plain ones; no server-side apply, dry run, deletecollection, tables, finalizers, managed fields or
// protobuf (which `kubectl create secret` sends, `kubectl apply` does not); only few fields are validated.

import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import { createSecureServer } from 'node:http2';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { discoveryDocument } from './api-discovery.ts';
import { createInjectedFailures, type Failure, type RequestMatch, sendFailure } from './api-failures.ts';
import { createJournal } from './api-journal.ts';
import { perform, readBody } from './api-operations.ts';
import { type Outgoing, send } from './api-outgoing.ts';
import {
  ApiError,
  admin,
  forbidden,
  isAllowed,
  noSuchResource,
  parseRequest,
  type Rule,
  resourceOfKind,
  status as statusOf,
  unauthorized,
} from './api-requests.ts';
import { type ApiObject, createObjectStore } from './api-store.ts';
import type { Fields } from './api-validation.ts';
import { createWatches } from './api-watches.ts';

export interface ApiUser {
  readonly name: string;
  readonly rules: readonly Rule[];
}

export interface ApiServerOptions {
  /** An address of this machine. */
  readonly host?: string;
  /** Bearer token to user. Default: the token `admin` may do everything. */
  readonly tokens?: Readonly<Record<string, ApiUser>>;
  /** PEM. `ca` is what a kubeconfig is told to trust, by default the certificate itself. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca?: string };
  /** The real server sends one about every minute. */
  readonly bookmarkIntervalMs?: number;
}

/** An object as a test writes it; the server fills in the rest. */
export interface ObjectInput extends Fields {
  readonly kind: string;
  readonly metadata: Fields & { readonly name: string; readonly namespace?: string };
}

/** Where an object is, for direct access. */
export interface ObjectPlace {
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
}

export type ApiServer = Awaited<ReturnType<typeof startApiServer>>;

export async function startApiServer(options: ApiServerOptions = {}) {
  const { host = '127.0.0.1' } = options;
  const store = createObjectStore();
  const watches = createWatches(store, options.bookmarkIntervalMs ?? 60_000);
  const failures = createInjectedFailures();
  const journal = createJournal();
  const users = new Map(Object.entries({ admin: { name: 'admin', rules: admin }, ...options.tokens }));
  const closing = new AbortController();

  const respond = async (incoming: Incoming, out: Outgoing): Promise<void> => {
    const url = new URL(incoming.url ?? '/', 'http://localhost');
    const document = incoming.method === 'GET' ? discoveryDocument(url.pathname) : undefined;
    if (document !== undefined) return send(out, 200, document);
    const request = parseRequest(incoming.method ?? '', url);
    if (request === undefined) return send(out, 404, noSuchResource().status);
    const user = userOf(users, incoming.headers.authorization);
    const cut = (): void => void incoming.socket.destroy();
    const note = (code: number, name = request.name): void => {
      const { verb, resource, namespace, query } = request;
      const limit = query.get('limit');
      const entry = { verb, resource: resource.plural, namespace, name, user: user?.name ?? '', code };
      journal.add(limit === null ? entry : { ...entry, limit: Number(limit) });
    };
    try {
      const failure = failures.take(request, user?.name ?? '');
      if (failure?.kind === 'delay') await delay(failure.delayMs, undefined, { signal: closing.signal });
      else if (failure !== undefined) return sendFailure(failure, request, out, cut, note);
      if (user === undefined) throw unauthorized();
      if (!isAllowed(user.rules, request)) throw forbidden(request, user.name);
      if (request.verb === 'watch') {
        watches.start(request, out, cut);
        return note(200);
      }
      const body = await readBody(request, incoming.headers['content-type'] ?? '', incoming);
      const { code, object } = perform(store, request, body);
      note(code, request.name ?? object.metadata.name);
      send(out, code, object);
    } catch (error) {
      if (closing.signal.aborted) return;
      const status = error instanceof ApiError ? error.status : statusOf(500, 'InternalError', String(error));
      note(status.code);
      send(out, status.code, status);
    }
  };

  const listener = (incoming: Incoming, out: Outgoing): void => {
    // Whatever goes wrong here is a client that went away while it was being answered.
    respond(incoming, out).catch(() => incoming.socket.destroy());
  };
  const server =
    options.tls === undefined
      ? createServer(listener)
      : createSecureServer({ cert: options.tls.cert, key: options.tls.key, allowHTTP1: true }, listener);
  const sockets = new Set<Socket>();
  const waitingForNone = new Set<() => void>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => {
      sockets.delete(socket);
      if (sockets.size === 0) for (const resolve of waitingForNone) resolve();
    });
  });
  server.on('sessionError', () => undefined);

  let port = 0;
  const listen = async (): Promise<void> => {
    server.listen(port, host);
    await once(server, 'listening');
    const address = server.address();
    port = typeof address === 'object' && address !== null ? address.port : 0;
  };
  const stopListening = async (): Promise<void> => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  await listen();
  const url = `${options.tls === undefined ? 'http' : 'https'}://${host}:${port}`;

  return {
    url,
    journal: journal.entries,
    /** Waits for the `count`-th request for which the predicate holds; past ones count. */
    seen: journal.seen,
    /** Every create, update, patch and delete that was asked for. */
    writes: journal.writes,

    /** Creates or replaces, past all authorization; raises the resourceVersion only where something changes. */
    put(object: ObjectInput): ApiObject {
      const { name, namespace } = object.metadata;
      const key = { resource: resourceOfKind(object.kind), namespace, name };
      return store.get(key) === undefined ? store.create(key.resource, namespace, object) : store.update(key, object);
    },
    get: ({ kind, namespace, name }: ObjectPlace): ApiObject | undefined =>
      store.get({ resource: resourceOfKind(kind), namespace, name }),
    list: (kind: string, namespace?: string): readonly ApiObject[] => store.list(resourceOfKind(kind), namespace),
    delete({ kind, namespace, name }: ObjectPlace): void {
      store.delete({ resource: resourceOfKind(kind), namespace, name });
    },

    /** A new token, or other rights for one that exists. */
    setToken: (token: string, user: ApiUser): void => void users.set(token, user),
    expireToken: (token: string): void => void users.delete(token),

    /** Until it was used `times` times or the returned function is called. */
    fail: (match: RequestMatch, failure: Failure, times = Number.POSITIVE_INFINITY): (() => void) =>
      failures.add(match, failure, times),

    /** Resolves when no client has a connection open. */
    disconnected: (): Promise<void> =>
      new Promise((resolve) => (sockets.size === 0 ? resolve() : waitingForNone.add(resolve))),
    /** Resolves when no client has a watch open. */
    watchesClosed: watches.allClosed,
    sendBookmarks: watches.bookmark,
    endWatches: watches.endAll,
    cutWatches: watches.cutAll,
    /** Forgets the changes up to now, so that a watch from an older version gets 410 Expired. */
    compact: store.compact,

    /** Connections are refused from now on, and open ones are gone. */
    refuse: stopListening,
    /** Listens again on the same port. */
    resume: listen,

    /** The text of a kubeconfig for one token. kubectl sends tokens over HTTPS alone. */
    kubeconfig(token = 'admin', ca = options.tls?.ca ?? options.tls?.cert): string {
      const trust =
        ca === undefined
          ? { 'insecure-skip-tls-verify': true }
          : { 'certificate-authority-data': Buffer.from(ca).toString('base64') };
      return JSON.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [{ name: 'embedded', cluster: { server: url, ...trust } }],
        users: [{ name: 'embedded', user: { token } }],
        contexts: [{ name: 'embedded', context: { cluster: 'embedded', user: 'embedded' } }],
        'current-context': 'embedded',
      });
    },

    async close(): Promise<void> {
      closing.abort();
      watches.stop();
      await stopListening();
    },
  };
}

/** What HTTP/1 and HTTP/2 have in common. */
interface Incoming extends AsyncIterable<Uint8Array> {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly socket: { destroy(): unknown };
}

/** Undefined for a token that is not or no more valid; without any token everybody is anonymous. */
function userOf(users: ReadonlyMap<string, ApiUser>, authorization: string | undefined): ApiUser | undefined {
  if (authorization === undefined) return { name: 'system:anonymous', rules: [] };
  return users.get(authorization.replace(/^Bearer /, ''));
}

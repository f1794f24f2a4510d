import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type AnswerObject, metadataOf, textAt } from '../../agent/kube/answer-object.ts';
import { createKubeClient, type KubeClient, type KubeRequest } from '../../agent/kube/client.ts';
import { KubeError, type KubeFailure } from '../../agent/kube/kube-error.ts';
import { accessFromKubeconfig } from '../../agent/kube/kubeconfig.ts';
import type { WatchEvent } from '../../agent/kube/watch-stream.ts';
import { selfSigned, startTestServer, writeKubeconfig } from '../support/api-fixture.ts';
import type { ApiServer, ApiServerOptions } from '../support/api-server.ts';

const getSecret: KubeRequest = {
  verb: 'get',
  path: '/api/v1/namespaces/kube-system/secrets/cas',
  object: 'secret kube-system/cas',
  name: 'cas',
  kind: 'Secret',
};
const watchSecrets: KubeRequest = {
  ...getSecret,
  verb: 'watch',
  path: '/api/v1/namespaces/kube-system/secrets',
  query: { watch: 'true', fieldSelector: 'metadata.name=cas' },
};
const secret = {
  kind: 'Secret',
  metadata: { name: 'cas', namespace: 'kube-system' },
  stringData: { 'ca.pem': 'SECRET' },
};

interface Setup {
  readonly server: ApiServer;
  readonly client: KubeClient;
  readonly host: string;
}

async function connect(t: TestContext, options: ApiServerOptions = {}, requestTimeoutMs = 5000): Promise<Setup> {
  const server = await startTestServer(t, options);
  server.put(secret);
  const client = createKubeClient(accessFromKubeconfig(writeKubeconfig(t, server.kubeconfig())), requestTimeoutMs);
  return { server, client, host: new URL(server.url).host };
}

async function failureOf(action: Promise<unknown>): Promise<KubeFailure> {
  const error: unknown = await action.then(
    () => assert.fail('it succeeded'),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof KubeError, String(error));
  assert.doesNotMatch(`${error.message} ${error.failure.evidence}`, /\n|SECRET|U0VDUkVU/);
  return error.failure;
}

test('an answer of the asked kind and name is returned', async (t) => {
  const { client, host } = await connect(t);
  const object = await client.call(getSecret, t.signal);
  assert.equal(object['kind'], 'Secret');
  assert.equal(client.server, host);
});

for (const [code, kind] of [
  [400, 'invalid'],
  [403, 'forbidden'],
  [409, 'conflict'],
  [410, 'expired'],
  [422, 'invalid'],
  [500, 'server-error'],
  [503, 'server-error'],
] as const) {
  test(`a Status with code ${code} is ${kind}, and the evidence names server, code and object`, async (t) => {
    const { server, client, host } = await connect(t);
    server.fail({ verb: 'get' }, { kind: 'status', code, message: 'why\nit failed' });
    const failure = await failureOf(client.call(getSecret, t.signal));
    assert.equal(failure.kind, kind);
    assert.ok(failure.evidence.startsWith(`${host} answered ${code} `), failure.evidence);
    assert.match(failure.evidence, /to get secret kube-system\/cas.*why it failed$/);
  });
}

test('a NotFound of this very name is not-found', async (t) => {
  const { server, client } = await connect(t);
  server.delete({ kind: 'Secret', namespace: 'kube-system', name: 'cas' });
  assert.equal((await failureOf(client.call(getSecret, t.signal))).kind, 'not-found');
});

test('a 404 that an API server did not say about this name is a server error', async (t) => {
  const { server, client } = await connect(t);
  server.fail({ verb: 'get' }, { kind: 'body', code: 404, body: '<html>SECRET not found</html>' }, 1);
  const proxy = await failureOf(client.call(getSecret, t.signal));
  assert.equal(proxy.kind, 'server-error');
  assert.match(proxy.evidence, /answered 404 .* did not come from an API server/);

  server.fail({ verb: 'get' }, { kind: 'status', code: 404, reason: 'Gone' }, 1);
  assert.equal((await failureOf(client.call(getSecret, t.signal))).kind, 'server-error');

  server.delete({ kind: 'Secret', namespace: 'kube-system', name: 'cas' });
  const other = await failureOf(client.call({ ...getSecret, name: 'other' }, t.signal));
  assert.equal(other.kind, 'server-error');
  assert.match(other.evidence, /not about this object/);

  const noRoute = await failureOf(client.call({ ...getSecret, path: '/api/v1/nothing/cas' }, t.signal));
  assert.equal(noRoute.kind, 'server-error');
});

test('a success that is not the asked object is a server error', async (t) => {
  const { server, client } = await connect(t);
  server.fail({ verb: 'get' }, { kind: 'body', code: 200, body: '<html>SECRET log in</html>' }, 1);
  const portal = await failureOf(client.call(getSecret, t.signal));
  assert.equal(portal.kind, 'server-error');
  assert.match(portal.evidence, /answered 200 to get secret kube-system\/cas with something that an API server/);
  server.fail({ verb: 'get' }, { kind: 'body', code: 200, body: '{"kind":"Pod","metadata":{"name":"cas"}}' }, 1);
  assert.equal((await failureOf(client.call(getSecret, t.signal))).kind, 'server-error');
  server.fail({ verb: 'get' }, { kind: 'body', code: 200, body: '{"kind":"Secret","metadata":{"name":"b"}}' }, 1);
  assert.equal((await failureOf(client.call(getSecret, t.signal))).kind, 'server-error');
});

test('a 429 is throttled with or without a Status, and Retry-After is read as seconds or as a date', async (t) => {
  const { server, client } = await connect(t);
  const throttle = async (retryAfter: string): Promise<KubeFailure> => {
    server.fail({}, { kind: 'body', code: 429, body: 'Too many requests', headers: { 'retry-after': retryAfter } }, 1);
    return failureOf(client.call(getSecret, t.signal));
  };
  const seconds = await throttle('7');
  assert.equal(seconds.kind, 'throttled');
  assert.equal(seconds.retryAfterMs, 7000);
  const date = await throttle(new Date(Date.now() + 60_000).toUTCString());
  assert.ok((date.retryAfterMs ?? 0) > 50_000 && (date.retryAfterMs ?? 0) <= 60_000, String(date.retryAfterMs));
  assert.equal((await throttle('Thu, 01 Jan 1970 00:00:00 GMT')).retryAfterMs, 0);
  assert.equal((await throttle('99999999')).retryAfterMs, 900_000);
  assert.equal((await throttle('soon')).retryAfterMs, undefined);

  server.fail({}, { kind: 'status', code: 429, headers: { 'retry-after': '1' } }, 1);
  assert.deepEqual((await failureOf(client.call(getSecret, t.signal))).retryAfterMs, 1000);
  server.fail({}, { kind: 'status', code: 503, headers: { 'retry-after': '2' } }, 1);
  assert.deepEqual((await failureOf(client.call(getSecret, t.signal))).retryAfterMs, 2000);
});

test('an expired token is unauthorized, and the evidence says so', async (t) => {
  const { server, client } = await connect(t);
  server.expireToken('admin');
  const failure = await failureOf(client.call(getSecret, t.signal));
  assert.equal(failure.kind, 'unauthorized');
  assert.match(failure.evidence, /401 Unauthorized.*the token was not accepted; it may have expired/);
});

test('a refused connection is unreachable and names host, port and code', async (t) => {
  const { server, client, host } = await connect(t);
  await server.refuse();
  const failure = await failureOf(client.call(getSecret, t.signal));
  assert.equal(failure.kind, 'unreachable');
  assert.equal(
    failure.evidence,
    `${host} could not be reached to get secret kube-system/cas: connection refused (ECONNREFUSED)`,
  );
  await server.resume();
  await client.call(getSecret, t.signal);
});

test('a dropped connection is unreachable', async (t) => {
  const { server, client } = await connect(t);
  server.fail({}, { kind: 'drop' }, 1);
  assert.equal((await failureOf(client.call(getSecret, t.signal))).kind, 'unreachable');
});

test('a server that hangs is timed out', async (t) => {
  const { server, client } = await connect(t, {}, 40);
  server.fail({}, { kind: 'hang' });
  const failure = await failureOf(client.call(getSecret, t.signal));
  assert.equal(failure.kind, 'timed-out');
  assert.match(failure.evidence, /gave no answer to get secret kube-system\/cas for 0\.04 s$/);
  assert.equal((await failureOf(watch(client, t.signal))).kind, 'timed-out');
});

test('an open watch that falls silent is timed out', async (t) => {
  const { client } = await connect(t);
  assert.equal((await failureOf(watch(client, t.signal, 40))).kind, 'timed-out');
});

test('an open watch lives on its bookmarks, beyond the time-out of a request and of silence', async (t) => {
  const { client } = await connect(t, { bookmarkIntervalMs: 20 }, 100);
  const abort = new AbortController();
  let bookmarks = 0;
  const onEvent = ({ kind }: WatchEvent): void => {
    if (kind === 'BOOKMARK') bookmarks += 1;
    if (bookmarks === 15) abort.abort(new Error('long enough'));
  };
  const request = { ...watchSecrets, query: { ...watchSecrets.query, allowWatchBookmarks: 'true' } };
  const watching = client.watch(request, { maxSilenceMs: 200, onOpen: () => undefined, onEvent }, abort.signal);
  await assert.rejects(watching, { message: 'long enough' });
});

test('a watch is not bound to the time-out of a request', async (t) => {
  const { server, client } = await connect(t, {}, 40);
  // Not a byte comes after the headers.
  server.delete({ kind: 'Secret', namespace: 'kube-system', name: 'cas' });
  const failure = await failureOf(watch(client, t.signal, 80));
  assert.match(failure.evidence, /for 0\.08 s$/);
  assert.equal(server.journal.length, 1);
});

test('an event that does not fit into one chunk is read whole', async (t) => {
  const { server, client } = await connect(t);
  server.put({ ...secret, stringData: { 'ca.pem': 'x'.repeat(700_000) } });
  const abort = new AbortController();
  const onEvent = ({ kind }: WatchEvent): void => abort.abort(new Error(kind));
  const watching = client.watch(watchSecrets, { maxSilenceMs: 5000, onOpen: () => undefined, onEvent }, abort.signal);
  await assert.rejects(watching, { message: 'ADDED' });
});

test('an abort ends a request with the reason of the signal, not with a failure of the server', async (t) => {
  const { server, client } = await connect(t);
  server.fail({ verb: 'get' }, { kind: 'hang' });
  const abort = new AbortController();
  const asked = client.call(getSecret, abort.signal);
  await server.seen(({ verb }) => verb === 'get');
  abort.abort(new Error('going down'));
  await assert.rejects(asked, { message: 'going down' });
  await assert.rejects(client.call(getSecret, abort.signal), { message: 'going down' });
});

test('credentials that do not come are waited for until the signal, or for a while', async (t) => {
  const access = { url: 'http://127.0.0.1:1', authority: '', authorize: () => new Promise<never>(() => {}) };
  const controller = new AbortController();
  const call = createKubeClient(access).call(getSecret, controller.signal);
  controller.abort(new Error('the pod ends'));
  await assert.rejects(call, /^Error: the pod ends$/);
  const failure = await failureOf(createKubeClient(access, 5000, 20).call(getSecret, t.signal));
  assert.equal(failure.kind, 'misconfigured');
  assert.match(failure.evidence, /credentials for 127.0.0.1:1 cannot be used: they did not come within 0.02 s$/);
});

test('over TLS with the right certificate-authority requests and watches work', async (t) => {
  const { server, client } = await connect(t, { tls: selfSigned(t, 'IP:127.0.0.1') });
  await client.call(getSecret, t.signal);
  const abort = new AbortController();
  const added: string[] = [];
  const onEvent = ({ kind }: WatchEvent): void => {
    added.push(kind);
    abort.abort(new Error('seen enough'));
  };
  const watching = client.watch(watchSecrets, { maxSilenceMs: 5000, onOpen: () => undefined, onEvent }, abort.signal);
  await assert.rejects(watching, { message: 'seen enough' });
  assert.deepEqual(added, ['ADDED']);
  await server.watchesClosed();
  await server.refuse();
  assert.equal((await failureOf(client.call(getSecret, t.signal))).kind, 'unreachable');
});

test('no connection outlives its request', async (t) => {
  for (const options of [{}, { tls: selfSigned(t, 'IP:127.0.0.1') }]) {
    const { server, client } = await connect(t, options);
    const askedAt = performance.now();
    await client.call(getSecret, t.signal);
    server.fail({}, { kind: 'body', code: 404, body: 'not here' }, 1);
    await failureOf(client.call(getSecret, t.signal));
    server.fail({}, { kind: 'body', code: 200, body: 'not here' }, 1);
    await failureOf(watch(client, t.signal));
    await server.disconnected();
    // Left alone, a pool keeps its connections for four seconds.
    assert.ok(performance.now() - askedAt < 2000);
  }
});

test('a certificate of another authority is a TLS failure that names the kubeconfig', async (t) => {
  const server = await startTestServer(t, { tls: selfSigned(t, 'IP:127.0.0.1') });
  const other = selfSigned(t, 'IP:127.0.0.1').cert;
  const client = createKubeClient(accessFromKubeconfig(writeKubeconfig(t, server.kubeconfig('admin', other))));
  const failure = await failureOf(client.call(getSecret, t.signal));
  assert.equal(failure.kind, 'tls');
  assert.match(
    failure.evidence,
    /^TLS with 127\.0\.0\.1:\d+ failed \(DEPTH_ZERO_SELF_SIGNED_CERT\): the kubeconfig's certificate-authority does not match/,
  );
});

test('a certificate for another host is a TLS failure', async (t) => {
  const { client } = await connect(t, { tls: selfSigned(t, 'DNS:elsewhere.example') });
  const failure = await failureOf(client.call(getSecret, t.signal));
  assert.equal(failure.kind, 'tls');
  assert.match(failure.evidence, /ERR_TLS_CERT_ALTNAME_INVALID/);
});

test('a host name that nobody knows is unreachable', async (t) => {
  const { server } = await connect(t);
  const text = server.kubeconfig().replace('127.0.0.1', 'api.invalid');
  const client = createKubeClient(accessFromKubeconfig(writeKubeconfig(t, text)));
  assert.equal((await failureOf(client.call(getSecret, t.signal))).kind, 'unreachable');
});

function watch(client: KubeClient, signal: AbortSignal, maxSilenceMs = 5000): Promise<void> {
  return client.watch(watchSecrets, { maxSilenceMs, onOpen: () => undefined, onEvent: () => undefined }, signal);
}

const nodes = { path: '/api/v1/nodes', object: 'nodes', kind: 'NodeList' } as const;
const nameOf = (item: AnswerObject): string => textAt(metadataOf(item), 'name') ?? '';

/** Two pages and a bit. */
async function connectToFleet(t: TestContext): Promise<Setup & { readonly names: readonly string[] }> {
  const setup = await connect(t);
  const names = Array.from({ length: 1001 }, (_, index) => `node-${String(index).padStart(4, '0')}`);
  for (const name of names) setup.server.put({ kind: 'Node', metadata: { name } });
  return { ...setup, names };
}

test('a list is asked for in pages and comes whole', async (t) => {
  const { server, client, names } = await connectToFleet(t);
  assert.deepEqual(await client.list(nodes, nameOf, t.signal), names);
  assert.deepEqual(
    server.journal.map(({ verb, limit }) => [verb, limit]),
    [1, 2, 3].map(() => ['list', 500]),
  );
});

test('a list whose first page is forgotten meanwhile begins anew, once', async (t) => {
  const { server, client, names } = await connectToFleet(t);
  const newcomer = { kind: 'Node', name: 'node-9999' };
  const forget = (item: AnswerObject): string => {
    if (server.get(newcomer) === undefined) {
      server.put({ kind: 'Node', metadata: { name: newcomer.name } });
      server.compact();
    }
    return nameOf(item);
  };
  assert.deepEqual(await client.list(nodes, forget, t.signal), [...names, newcomer.name]);
  assert.deepEqual(
    server.journal.map(({ code }) => code),
    [200, 410, 200, 200, 200],
  );
  server.fail({ verb: 'list' }, { kind: 'status', code: 410 });
  assert.equal((await failureOf(client.list(nodes, nameOf, t.signal))).kind, 'expired');
});

test('a list that breaks in its middle has no items', async (t) => {
  const { server, client } = await connectToFleet(t);
  const breakIt = (): void => void server.fail({ verb: 'list' }, { kind: 'status', code: 503 });
  assert.equal((await failureOf(client.list(nodes, breakIt, t.signal))).kind, 'server-error');
  assert.deepEqual(
    server.journal.map(({ code }) => code),
    [200, 503],
  );
});

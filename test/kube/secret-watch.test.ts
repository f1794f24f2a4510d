import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { createKubeClient } from '../../agent/kube/client.ts';
import { accessFromKubeconfig } from '../../agent/kube/kubeconfig.ts';
import { watchSecret } from '../../agent/kube/secret-watch.ts';
import type { Failure } from '../support/api-failures.ts';
import { startTestServer, writeKubeconfig } from '../support/api-fixture.ts';
import type { Rule } from '../support/api-requests.ts';
import type { ApiServer } from '../support/api-server.ts';

const place = { namespace: 'kube-system', name: 'cas' };
const secret = (value: string) => ({ kind: 'Secret', metadata: place, stringData: { 'ca.pem': value } });
const mayWatch: readonly Rule[] = [
  { verbs: ['get', 'list', 'watch'], resources: ['secrets'], resourceNames: [place.name], namespace: place.namespace },
];

interface Watching {
  readonly server: ApiServer;
  /** What was told so far, troubles as their kind. */
  readonly told: readonly string[];
  /** Waits until it was told `count` times. */
  readonly until: (text: string, count?: number) => Promise<void>;
  readonly stop: () => Promise<void>;
}

async function startWatching(
  t: TestContext,
  {
    server,
    rules = mayWatch,
    forbiddenRetryMs = 5,
  }: { server: ApiServer; rules?: readonly Rule[]; forbiddenRetryMs?: number },
): Promise<Watching> {
  server.setToken('agent', { name: 'agent', rules });
  const client = createKubeClient(accessFromKubeconfig(writeKubeconfig(t, server.kubeconfig('agent'))));
  const told: string[] = [];
  const news = new EventEmitter();
  const tell = (text: string): void => {
    told.push(text);
    news.emit('told');
  };
  const abort = new AbortController();
  const onEvent = (reason: string): void => tell(reason.replace('secret kube-system/cas ', ''));
  const watching = watchSecret(
    { client, ...place, onEvent, onTrouble: ({ kind }) => tell(kind), retryDelayMs: 4, forbiddenRetryMs },
    abort.signal,
  );
  const stop = async (): Promise<void> => {
    abort.abort();
    await watching;
  };
  t.after(stop);
  return {
    server,
    told,
    async until(text, count = 1) {
      while (told.filter((one) => one === text).length < count)
        await once(news, 'told', { signal: AbortSignal.timeout(5000) });
    },
    stop,
  };
}

const isWatch = (entry: { readonly verb: string; readonly code: number }): boolean =>
  entry.verb === 'watch' && entry.code === 200;

test('a Secret that is there, changes and goes is told each time, another Secret never', async (t) => {
  const server = await startTestServer(t);
  server.put(secret('1'));
  const { told, until } = await startWatching(t, { server });
  await until('was added');
  server.put({ ...secret('x'), metadata: { ...place, name: 'other' } });
  server.put(secret('2'));
  await until('was modified');
  server.delete({ kind: 'Secret', ...place });
  await until('was deleted');
  assert.deepEqual(told, ['was added', 'was modified', 'was deleted']);
});

test('under a Role with resourceNames only the watch by name is allowed', async (t) => {
  const server = await startTestServer(t);
  server.put(secret('1'));
  const { until } = await startWatching(t, { server });
  await until('was added');
  const headers = { authorization: 'Bearer agent' };
  for (const query of [
    '',
    '?watch=true',
    '?fieldSelector=metadata.name%3Dother',
    '?watch=true&fieldSelector=type%3DOpaque',
  ]) {
    const response = await fetch(`${server.url}/api/v1/namespaces/kube-system/secrets${query}`, { headers });
    assert.equal(response.status, 403, query);
  }
  const listed = await fetch(`${server.url}/api/v1/namespaces/kube-system/secrets?fieldSelector=metadata.name%3Dcas`, {
    headers,
  });
  assert.equal(listed.status, 200);
});

test('a watch whose time is up goes on without a word', async (t) => {
  const server = await startTestServer(t);
  server.put(secret('1'));
  const { told, until } = await startWatching(t, { server });
  await until('was added');
  server.endWatches();
  await server.seen(isWatch, 2);
  server.put(secret('2'));
  await until('was modified');
  assert.deepEqual(told, ['was added', 'was modified']);
});

test('a watch that is cut comes back and tells what happened meanwhile', async (t) => {
  const server = await startTestServer(t);
  server.put(secret('1'));
  const { told, until } = await startWatching(t, { server });
  await until('was added');
  await server.refuse();
  await until('unreachable');
  server.put(secret('2'));
  await server.resume();
  await until('was modified');
  assert.deepEqual(told, ['was added', 'unreachable', 'is watched again', 'was modified']);
});

test('a cut that heals at once is not trouble', async (t) => {
  const server = await startTestServer(t);
  server.put(secret('1'));
  const { told, until } = await startWatching(t, { server });
  await until('was added');
  server.cutWatches();
  server.put(secret('2'));
  await until('was modified');
  assert.deepEqual(told, ['was added', 'was modified']);
});

test('bookmarks move the place in history on, so that compaction does not cost it', async (t) => {
  const server = await startTestServer(t);
  server.put(secret('1'));
  const { told, until } = await startWatching(t, { server });
  await until('was added');
  server.put({ ...secret('x'), metadata: { ...place, name: 'other' } });
  server.compact();
  server.sendBookmarks();
  server.endWatches();
  await server.seen(isWatch, 2);
  server.put(secret('2'));
  await until('was modified');
  assert.deepEqual(told, ['was added', 'was modified']);
});

test('a place in history that was compacted away is forgotten, and the watch starts over at once', async (t) => {
  const server = await startTestServer(t);
  server.put(secret('1'));
  const { told, until } = await startWatching(t, { server });
  await until('was added');
  await server.refuse();
  server.delete({ kind: 'Secret', ...place });
  server.compact();
  await server.resume();
  await until('is watched again');
  server.put(secret('2'));
  await until('was added', 2);
  assert.deepEqual(
    told.filter((text) => text !== 'unreachable'),
    ['was added', 'is watched again', 'was added'],
  );
});

test('a 410 as HTTP status starts over too', async (t) => {
  const server = await startTestServer(t);
  server.put(secret('1'));
  const { told, until } = await startWatching(t, { server });
  await until('was added');
  server.fail({ verb: 'watch' }, { kind: 'status', code: 410 }, 1);
  server.endWatches();
  await until('was added', 2);
  assert.deepEqual(told, ['was added', 'is watched again', 'was added']);
});

test('a server that always says 410 is not asked without a pause', async (t) => {
  const server = await startTestServer(t);
  server.fail({ verb: 'watch' }, { kind: 'error-event', code: 410 }, 4);
  const { told, until } = await startWatching(t, { server });
  await server.seen(isWatch, 5);
  server.put(secret('1'));
  await until('was added');
  assert.equal(told[0], 'expired');
});

test('a forbidden watch is told once, tried again rarely, and taken up when it is granted', async (t) => {
  const server = await startTestServer(t);
  server.put(secret('1'));
  const { told, until } = await startWatching(t, { server, rules: [] });
  await server.seen(({ code }) => code === 403, 3);
  assert.deepEqual(told, ['forbidden']);
  server.setToken('agent', { name: 'agent', rules: mayWatch });
  await until('was added');
  assert.deepEqual(told, ['forbidden', 'is watched again', 'was added']);
});

const failures: readonly (readonly [string, Failure, string])[] = [
  ['an error of the server', { kind: 'status', code: 500 }, 'server-error'],
  ['an ERROR event', { kind: 'error-event', code: 500 }, 'server-error'],
  ["a proxy's page", { kind: 'body', code: 200, body: '<html>' }, 'server-error'],
  ["a proxy's 404", { kind: 'body', code: 404, body: 'not here' }, 'server-error'],
  ['a token that expired', { kind: 'status', code: 401 }, 'unauthorized'],
  ['a dropped connection', { kind: 'drop' }, 'unreachable'],
];
for (const [what, failure, kind] of failures) {
  test(`${what} is told once, and the watch comes back`, async (t) => {
    const server = await startTestServer(t);
    server.put(secret('1'));
    server.fail({ verb: 'watch' }, failure, 3);
    const { told, until } = await startWatching(t, { server });
    await until('was added');
    assert.deepEqual(
      told.filter((text) => text !== 'is watched again'),
      [kind, 'was added'],
    );
  });
}

test('Retry-After is honoured', async (t) => {
  const server = await startTestServer(t);
  server.put(secret('1'));
  server.fail({ verb: 'watch' }, { kind: 'status', code: 429, headers: { 'retry-after': '1' } }, 1);
  const { until } = await startWatching(t, { server });
  await until('throttled');
  const toldAt = performance.now();
  await until('was added');
  assert.ok(performance.now() - toldAt > 950);
});

test('an abort ends an open watch and a long pause alike', async (t) => {
  const server = await startTestServer(t);
  const open = await startWatching(t, { server });
  await server.seen(isWatch);
  await open.stop();
  await server.watchesClosed();
  const pausing = await startWatching(t, { server, rules: [], forbiddenRetryMs: 600_000 });
  await pausing.until('forbidden');
  await pausing.stop();
});

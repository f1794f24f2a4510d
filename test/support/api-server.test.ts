import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { selfSigned, startTestServer, temporaryFolder, writeKubeconfig } from './api-fixture.ts';
import type { ApiServer } from './api-server.ts';
import type { ApiObject } from './api-store.ts';

const secrets = '/api/v1/namespaces/kube-system/secrets';
const secret = { kind: 'Secret', metadata: { name: 'cas', namespace: 'kube-system' }, stringData: { 'ca.pem': 'one' } };
const place = { kind: 'Secret', namespace: 'kube-system', name: 'cas' };

interface Reply {
  readonly code: number;
  readonly body: Readonly<Record<string, unknown>> & { readonly metadata: Readonly<Record<string, unknown>> };
}

async function ask(server: ApiServer, method: string, path: string, body?: unknown, type?: string): Promise<Reply> {
  const contentType = type ?? (method === 'PATCH' ? 'application/merge-patch+json' : 'application/json');
  const headers = { authorization: 'Bearer admin', 'content-type': contentType };
  const init = body === undefined ? { method, headers } : { method, headers, body: JSON.stringify(body) };
  const response = await fetch(server.url + path, init);
  return { code: response.status, body: JSON.parse(await response.text()) };
}

/** The lines of a watch as `TYPE name`, a bookmark as `BOOKMARK version`; ends with the watch. */
async function* watchLines(server: ApiServer, query: string): AsyncGenerator<string, void, undefined> {
  const response = await fetch(`${server.url}${secrets}?watch=true${query}`, {
    headers: { authorization: 'Bearer admin' },
  });
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    for (const line of decoder
      .decode(chunk)
      .split('\n')
      .filter((text) => text !== '')) {
      const { type, object } = JSON.parse(line);
      yield `${type} ${type === 'ERROR' ? `${object.code} ${object.reason}` : (object.metadata.name ?? object.metadata.resourceVersion)}`;
    }
  }
}

async function next(lines: AsyncGenerator<string, void, undefined>): Promise<string> {
  const { value } = await lines.next();
  return value ?? 'the end';
}

test('a created Secret has its text as base64, a type, an identity and a version', async (t) => {
  const server = await startTestServer(t);
  const { code, body } = await ask(server, 'POST', secrets, secret);
  assert.equal(code, 201);
  assert.deepEqual(body['data'], { 'ca.pem': 'b25l' });
  assert.equal(body['type'], 'Opaque');
  assert.equal('stringData' in body, false);
  assert.match(String(body.metadata['uid']), /^[0-9a-f-]{36}$/);
  assert.match(String(body.metadata['creationTimestamp']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  assert.deepEqual((await ask(server, 'GET', `${secrets}/cas`)).body, body);
  assert.deepEqual(server.get(place), body);
});

test('one version rises with every change of anything, and stays where nothing changes', async (t) => {
  const server = await startTestServer(t);
  const versionOf = ({ body }: Reply): number => Number(body.metadata['resourceVersion']);
  const created = await ask(server, 'POST', secrets, secret);
  server.put({ kind: 'Node', metadata: { name: 'a' } });
  const patched = await ask(server, 'PATCH', `${secrets}/cas`, { data: { b: 'eA==' } });
  assert.equal(versionOf(patched), versionOf(created) + 2);
  assert.equal(versionOf(await ask(server, 'PATCH', `${secrets}/cas`, { data: { b: 'eA==' } })), versionOf(patched));
  assert.equal(versionOf(await ask(server, 'PUT', `${secrets}/cas`, patched.body)), versionOf(patched));
  assert.equal(versionOf(await ask(server, 'GET', secrets)), versionOf(patched));
});

test('a merge patch adds, replaces and with null deletes', async (t) => {
  const server = await startTestServer(t);
  server.put({ kind: 'Node', metadata: { name: 'a', annotations: { keep: '1', drop: '2' } }, spec: { taints: [1] } });
  const patch = { metadata: { annotations: { drop: null, add: '3' } }, spec: { taints: [2, 3] } };
  const { body } = await ask(server, 'PATCH', '/api/v1/nodes/a', patch);
  assert.deepEqual(body.metadata['annotations'], { keep: '1', add: '3' });
  assert.deepEqual(body['spec'], { taints: [2, 3] });
});

test('a write from a stale version, or to an object of another uid, is a conflict', async (t) => {
  const server = await startTestServer(t);
  const stale = server.put(secret);
  server.put({ ...secret, stringData: { 'ca.pem': 'two' } });
  const { resourceVersion } = stale.metadata;
  for (const reply of [
    await ask(server, 'PUT', `${secrets}/cas`, stale),
    await ask(server, 'PATCH', `${secrets}/cas`, { metadata: { resourceVersion } }),
    await ask(server, 'PATCH', `${secrets}/cas`, { metadata: { uid: 'another' } }),
  ]) {
    assert.equal(reply.code, 409);
    assert.equal(reply.body['reason'], 'Conflict');
    assert.deepEqual(reply.body['details'], { name: 'cas', kind: 'secrets' });
  }
  assert.equal((await ask(server, 'POST', secrets, secret)).body['reason'], 'AlreadyExists');
});

test('what cannot be stored is refused with the code of the real server', async (t) => {
  const server = await startTestServer(t);
  server.put(secret);
  const refused = async (code: number, message: RegExp, method: string, path: string, body: unknown, type?: string) => {
    const reply = await ask(server, method, path, body, type);
    assert.equal(reply.code, code);
    assert.equal(reply.body['code'], code);
    assert.equal(reply.body['status'], 'Failure');
    assert.match(String(reply.body['message']), message);
  };
  await refused(400, /illegal base64 data/, 'PATCH', `${secrets}/cas`, { data: { a: 'no base64' } });
  await refused(422, /data\[a b\]/, 'PATCH', `${secrets}/cas`, { data: { 'a b': 'eA==' } });
  await refused(422, /field is immutable/, 'PATCH', `${secrets}/cas`, { type: 'kubernetes.io/tls' });
  await refused(422, /name or generateName is required/, 'POST', secrets, { metadata: {} });
  await refused(422, /Secret "A" is invalid: metadata.name/, 'POST', secrets, { metadata: { name: 'A' } });
  await refused(422, /name part must consist/, 'PATCH', `${secrets}/cas`, {
    metadata: { annotations: { 'a/b/c': '' } },
  });
  await refused(422, /may not be more than 262144/, 'PATCH', `${secrets}/cas`, {
    metadata: { annotations: { a: 'x'.repeat(3e5) } },
  });
  await refused(400, /cannot unmarshal number/, 'PATCH', `${secrets}/cas`, { metadata: { annotations: { a: 1 } } });
  await refused(415, /unknown format/, 'PATCH', `${secrets}/cas`, [], 'application/json-patch+json');
  await refused(415, /unknown format/, 'POST', secrets, secret, 'application/yaml');
  const event = { metadata: { generateName: 'e-' }, involvedObject: { kind: 'Node', name: 'a' } };
  await refused(422, /does not match event.namespace/, 'POST', '/api/v1/namespaces/elsewhere/events', event);
  assert.equal((await ask(server, 'POST', '/api/v1/namespaces/default/events', event)).code, 201);
});

test('what is not there is a Status that names it, what is not served one that names nothing', async (t) => {
  const server = await startTestServer(t);
  const { code, body } = await ask(server, 'GET', `${secrets}/cas`);
  assert.equal(code, 404);
  assert.equal(body['message'], 'secrets "cas" not found');
  assert.deepEqual(body['details'], { name: 'cas', kind: 'secrets' });
  assert.deepEqual((await ask(server, 'GET', '/apis/apps/v1/deployments')).body['details'], {});
});

test('without a token everybody is anonymous, and an unknown one is not accepted', async (t) => {
  const server = await startTestServer(t);
  const anonymous = await fetch(`${server.url}${secrets}/cas`);
  assert.equal(anonymous.status, 403);
  assert.match(
    await anonymous.text(),
    /secrets \\"cas\\" is forbidden: User \\"system:anonymous\\" cannot get resource \\"secrets\\" in API group \\"\\" in the namespace \\"kube-system\\"/,
  );
  const unknown = await fetch(`${server.url}/api/v1/nodes`, { headers: { authorization: 'Bearer old' } });
  assert.equal(unknown.status, 401);
});

test('a rule allows its verbs, resources and names in its namespace, and nothing else', async (t) => {
  const rule = { verbs: ['get', 'list'], resources: ['secrets'], resourceNames: ['cas'], namespace: 'kube-system' };
  const server = await startTestServer(t, { tokens: { agent: { name: 'agent', rules: [rule] } } });
  server.put(secret);
  const codeOf = async (path: string, method = 'GET'): Promise<number> =>
    (await fetch(server.url + path, { method, headers: { authorization: 'Bearer agent' } })).status;
  assert.equal(await codeOf(`${secrets}/cas`), 200);
  assert.equal(await codeOf(`${secrets}?fieldSelector=metadata.name%3Dcas`), 200);
  assert.equal(await codeOf(secrets), 403);
  assert.equal(await codeOf(`${secrets}?watch=true&fieldSelector=metadata.name%3Dcas`), 403);
  assert.equal(await codeOf(`${secrets}/cas`, 'DELETE'), 403);
  assert.equal(await codeOf(secrets, 'POST'), 403);
  assert.equal(await codeOf('/api/v1/namespaces/default/secrets/cas'), 403);
  assert.equal(await codeOf('/api/v1/secrets?fieldSelector=metadata.name%3Dcas'), 403);
});

test('a list is filtered by namespace and field selector', async (t) => {
  const server = await startTestServer(t);
  server.put(secret);
  server.put({ kind: 'Secret', metadata: { name: 'cas', namespace: 'default' } });
  server.put({ kind: 'Secret', metadata: { name: 'b', namespace: 'default' }, type: 'x' });
  const count = async (path: string): Promise<number> =>
    JSON.parse(JSON.stringify((await ask(server, 'GET', path)).body['items'])).length;
  assert.equal(await count(secrets), 1);
  assert.equal(await count('/api/v1/secrets'), 3);
  assert.equal(await count('/api/v1/secrets?fieldSelector=metadata.name%3Dcas'), 2);
  assert.equal(await count('/api/v1/secrets?fieldSelector=metadata.name%3Db%2Ctype%3Dx'), 1);
});

test('a watch without a version begins with what there is, one with a version with what came after it', async (t) => {
  const server = await startTestServer(t);
  const first = server.put(secret);
  for (const query of ['', '&resourceVersion=0']) assert.equal(await next(watchLines(server, query)), 'ADDED cas');
  server.put({ ...secret, stringData: { 'ca.pem': 'two' } });
  const lines = watchLines(server, `&resourceVersion=${first.metadata.resourceVersion}`);
  assert.equal(await next(lines), 'MODIFIED cas');
  server.put({ kind: 'Secret', metadata: { name: 'elsewhere', namespace: 'default' } });
  server.delete(place);
  assert.equal(await next(lines), 'DELETED cas');
});

test('bookmarks come in their interval and on demand, to those who asked for them', async (t) => {
  const server = await startTestServer(t, { bookmarkIntervalMs: 10 });
  const version = server.put(secret).metadata.resourceVersion;
  const lines = watchLines(server, `&resourceVersion=${version}&allowWatchBookmarks=true`);
  assert.equal(await next(lines), `BOOKMARK ${version}`);
  const quiet = await startTestServer(t);
  const asked = watchLines(quiet, '&allowWatchBookmarks=true');
  const notAsked = watchLines(quiet, '');
  const bookmark = next(asked);
  const added = next(notAsked);
  await quiet.seen(({ verb }) => verb === 'watch', 2);
  quiet.sendBookmarks();
  quiet.put(secret);
  assert.equal(await bookmark, 'BOOKMARK 1');
  assert.equal(await added, 'ADDED cas');
});

test('a watch ends cleanly when its time is up or the test says so', async (t) => {
  const server = await startTestServer(t);
  assert.equal(await next(watchLines(server, '&timeoutSeconds=0.01')), 'the end');
  const lines = watchLines(server, '');
  const end = next(lines);
  await server.seen(({ verb }) => verb === 'watch', 2);
  server.endWatches();
  assert.equal(await end, 'the end');
});

test('after compaction an older version is expired: an ERROR event in a watch, a 410 for an exact list', async (t) => {
  const server = await startTestServer(t);
  const old = server.put(secret).metadata.resourceVersion;
  const newest = server.put({ ...secret, stringData: { 'ca.pem': 'two' } }).metadata.resourceVersion;
  server.compact();
  const lines = watchLines(server, `&resourceVersion=${old}`);
  assert.deepEqual([await next(lines), await next(lines)], ['ERROR 410 Expired', 'the end']);
  const exact = `${secrets}?resourceVersionMatch=Exact&resourceVersion=`;
  assert.equal((await ask(server, 'GET', exact + old)).body['reason'], 'Expired');
  assert.equal((await ask(server, 'GET', exact + newest)).code, 200);
  const after = watchLines(server, `&resourceVersion=${newest}`);
  const deleted = next(after);
  await server.seen(({ verb }) => verb === 'watch', 2);
  server.delete(place);
  assert.equal(await deleted, 'DELETED cas');
});

test('an injected failure hits what matches it, as often as told or until it is taken away', async (t) => {
  const server = await startTestServer(t);
  server.put(secret);
  const getCode = async (): Promise<number> => (await ask(server, 'GET', `${secrets}/cas`)).code;
  server.fail({ verb: 'get', resource: 'secrets', name: 'cas', user: 'admin' }, { kind: 'status', code: 503 }, 2);
  server.fail({ name: 'other' }, { kind: 'status', code: 500 });
  assert.deepEqual([await getCode(), await getCode(), await getCode()], [503, 503, 200]);
  const takeAway = server.fail({ verb: 'get' }, { kind: 'status', code: 429, headers: { 'retry-after': '1' } });
  assert.deepEqual([await getCode(), await getCode()], [429, 429]);
  takeAway();
  server.fail({}, { kind: 'delay', delayMs: 5 }, 1);
  assert.equal(await getCode(), 200);
  server.fail({}, { kind: 'drop' }, 1);
  await assert.rejects(getCode());
  assert.equal(server.journal.at(-1)?.code, 0);
  assert.deepEqual(server.writes(), []);
});

test('the journal tells who did what and how it ended', async (t) => {
  const server = await startTestServer(t);
  await ask(server, 'POST', secrets, secret);
  await ask(server, 'DELETE', `${secrets}/cas`);
  const entry = { resource: 'secrets', namespace: 'kube-system', name: 'cas', user: 'admin' };
  assert.deepEqual(server.writes(), [
    { verb: 'create', ...entry, code: 201 },
    { verb: 'delete', ...entry, code: 200 },
  ]);
});

test('a server that refuses is unreachable until it resumes on the same port', async (t) => {
  const server = await startTestServer(t);
  const lines = watchLines(server, '');
  const cut = assert.rejects(next(lines));
  await server.seen(({ verb }) => verb === 'watch');
  await server.refuse();
  await cut;
  await assert.rejects(ask(server, 'GET', secrets));
  await server.resume();
  assert.equal((await ask(server, 'GET', secrets)).code, 200);
});

test('close ends open watches and hanging requests', async (t) => {
  const server = await startTestServer(t);
  server.fail({ verb: 'get' }, { kind: 'hang' });
  server.fail({ verb: 'list' }, { kind: 'delay', delayMs: 60_000 });
  const ends = [next(watchLines(server, '')), ask(server, 'GET', `${secrets}/cas`), ask(server, 'GET', secrets)];
  const cut = Promise.all(ends.map((end) => assert.rejects(end)));
  await server.seen(({ verb }) => verb === 'watch' || verb === 'get', 2);
  await server.close();
  await cut;
});

test('kubectl can read, apply, patch, annotate, describe and delete', {
  skip: !existsSync('/usr/bin/kubectl'),
}, async (t: TestContext) => {
  const server = await startTestServer(t, { tls: selfSigned(t, 'IP:127.0.0.1') });
  server.put({ kind: 'Node', metadata: { name: 'node-1' } });
  const folder = temporaryFolder(t);
  const manifest = join(folder, 'secret.json');
  writeFileSync(manifest, JSON.stringify({ apiVersion: 'v1', ...secret }));
  const kubeconfig = writeKubeconfig(t, server.kubeconfig());
  const kubectl = async (...args: readonly string[]): Promise<string> => {
    // A home of its own, for kubectl caches what it discovers there.
    const options = { env: { HOME: folder, PATH: '/usr/bin' } };
    return (await promisify(execFile)('/usr/bin/kubectl', ['--kubeconfig', kubeconfig, ...args], options)).stdout;
  };
  assert.match(await kubectl('apply', '-f', manifest), /secret\/cas created/);
  assert.match(await kubectl('get', 'secret', '-n', 'kube-system'), /cas/);
  await kubectl('patch', 'secret', 'cas', '-n', 'kube-system', '-p', '{"data":{"b":"eA=="}}');
  assert.deepEqual(server.get(place)?.['data'], { 'ca.pem': 'b25l', b: 'eA==' });
  await kubectl('annotate', 'node', 'node-1', 'node-trust-agent/retry=1');
  assert.match(await kubectl('describe', 'node', 'node-1'), /node-trust-agent\/retry: 1/);
  await kubectl('delete', 'secret', 'cas', '-n', 'kube-system');
  await assert.rejects(kubectl('get', 'secret', 'cas', '-n', 'kube-system'), /secrets "cas" not found/);
});

test('a list with a limit goes on where it stopped, in the order of the names, and not after its version is forgotten', async (t) => {
  const server = await startTestServer(t);
  for (const name of ['b', 'c', 'a']) server.put({ kind: 'Node', metadata: { name } });
  const first = (await ask(server, 'GET', '/api/v1/nodes?limit=2')).body;
  const names = ({ items }: Reply['body']): unknown => (items as ApiObject[]).map(({ metadata }) => metadata.name);
  assert.deepEqual(names(first), ['a', 'b']);
  const rest = `/api/v1/nodes?limit=2&continue=${encodeURIComponent(String(first.metadata['continue']))}`;
  const { body: second } = await ask(server, 'GET', rest);
  assert.deepEqual([names(second), second.metadata], [['c'], { resourceVersion: first.metadata['resourceVersion'] }]);
  server.put({ kind: 'Node', metadata: { name: 'd' } });
  server.compact();
  assert.equal((await ask(server, 'GET', rest)).code, 410);
  assert.equal((await ask(server, 'GET', '/api/v1/nodes?limit=2&continue=x')).code, 400);
});

test('Pods are found by label and by node, and a DaemonSet under its group', async (t) => {
  const server = await startTestServer(t);
  const pod = (name: string, app: string) =>
    server.put({
      kind: 'Pod',
      metadata: { name, namespace: 'kube-system', labels: { app } },
      spec: { nodeName: `on-${name}` },
    });
  for (const [name, app] of [
    ['a', 'agent'],
    ['b', 'dns'],
  ] as const)
    pod(name, app);
  const pods = async (query: string) =>
    ((await ask(server, 'GET', `/api/v1/namespaces/kube-system/pods?${query}`)).body['items'] as ApiObject[]).map(
      ({ metadata }) => metadata.name,
    );
  assert.deepEqual(await pods('labelSelector=app%3Dagent'), ['a']);
  assert.deepEqual(await pods('fieldSelector=spec.nodeName%3Don-b'), ['b']);
  server.put({ kind: 'DaemonSet', metadata: { name: 'agent', namespace: 'kube-system' } });
  const { body } = await ask(server, 'GET', '/apis/apps/v1/namespaces/kube-system/daemonsets/agent');
  assert.deepEqual([body['apiVersion'], body['kind']], ['apps/v1', 'DaemonSet']);
});

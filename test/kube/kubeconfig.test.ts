import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createKubeClient } from '../../agent/kube/client.ts';
import { KubeError } from '../../agent/kube/kube-error.ts';
import { accessFromKubeconfig } from '../../agent/kube/kubeconfig.ts';
import { startTestServer, temporaryFolder, writeKubeconfig } from '../support/api-fixture.ts';
import { admin } from '../support/api-requests.ts';
import { nodeTrust } from '../support/command-line.ts';

const getNode = { verb: 'get', path: '/api/v1/nodes/a', object: 'node a', name: 'a', kind: 'Node' } as const;

// Both words for it: what client-node makes of a pod's ServiceAccount, and what kubectl writes into a kubeconfig.
for (const [word, user] of [
  ['the auth provider of a pod', { 'auth-provider': { name: 'tokenFile', config: { tokenFile: 'FOLDER/token' } } }],
  ['tokenFile, relative and next to a stale token', { tokenFile: 'token', token: 'stale' }],
] as const) {
  test(`a token that rotates on disk is read again after a minute: ${word}`, async (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
    const server = await startTestServer(t, { tokens: { first: { name: 'agent', rules: admin } } });
    server.put({ kind: 'Node', metadata: { name: 'a' } });
    const folder = temporaryFolder(t);
    const token = join(folder, 'token');
    writeFileSync(token, 'first\n');
    const config = JSON.parse(server.kubeconfig());
    config.users[0].user = JSON.parse(JSON.stringify(user).replace('FOLDER', folder));
    writeFileSync(join(folder, 'kubeconfig'), JSON.stringify(config));
    const client = createKubeClient(accessFromKubeconfig(join(folder, 'kubeconfig')));
    await client.call(getNode, t.signal);

    writeFileSync(token, 'second\n');
    server.expireToken('first');
    server.setToken('second', { name: 'agent', rules: admin });
    await assert.rejects(client.call(getNode, t.signal), /the token was not accepted/);
    t.mock.timers.tick(61_000);
    await client.call(getNode, t.signal);
    assert.deepEqual(
      server.journal.map(({ code }) => code),
      [200, 401, 200],
    );
  });
}

test('a kubeconfig that is not there is named', () => {
  assert.throws(
    () => accessFromKubeconfig('/nowhere/kubeconfig'),
    isMisconfigured(/\/nowhere\/kubeconfig cannot be read: ENOENT/),
  );
});

test('a kubeconfig that is not YAML is refused without repeating what is in it', (t) => {
  const path = writeKubeconfig(t, 'users:\n- name: a\n  user: {token: T0P\n');
  assert.throws(() => accessFromKubeconfig(path), isMisconfigured(/cannot be read: (?![^]*T0P)/));
});

test('a kubeconfig without a usable current context is refused', (t) => {
  const unusable = isMisconfigured(/names no API server in its current context/);
  assert.throws(() => accessFromKubeconfig(writeKubeconfig(t, '{"clusters":[],"contexts":[]}')), unusable);
  assert.throws(() => accessFromKubeconfig(writeKubeconfig(t, '{}')), unusable);
});

test('an API server behind a path keeps the path', (t) => {
  const cluster = { name: 'c', cluster: { server: 'https://rancher.example/k8s/clusters/c-1/' } };
  const context = { name: 'x', context: { cluster: 'c', user: 'u' } };
  const config = { clusters: [cluster], contexts: [context], users: [{ name: 'u', user: {} }], 'current-context': 'x' };
  const { url } = accessFromKubeconfig(writeKubeconfig(t, JSON.stringify(config)));
  assert.equal(url, 'https://rancher.example/k8s/clusters/c-1');
});

test('credentials that cannot be used are told as such', async (t) => {
  const server = await startTestServer(t);
  const text = server
    .kubeconfig()
    .replace('"insecure-skip-tls-verify":true', '"certificate-authority":"/nowhere/ca.crt"');
  const client = createKubeClient(accessFromKubeconfig(writeKubeconfig(t, text)));
  await assert.rejects(
    client.call(getNode, t.signal),
    isMisconfigured(/credentials for 127.* cannot be used: .*\/nowhere\/ca.crt/),
  );
});

function isMisconfigured(evidence: RegExp): (error: unknown) => boolean {
  return (error) =>
    error instanceof KubeError && error.failure.kind === 'misconfigured' && evidence.test(error.message);
}

test('the files of KUBECONFIG are merged as by kubectl: missing ones are passed over, and the first one wins', async (t) => {
  const cluster = (server: string): string => JSON.stringify({ clusters: [{ name: 'c', cluster: { server } }] });
  const context = { contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }], 'current-context': 'x' };
  const [first, second] = [cluster('http://127.0.0.1:1'), cluster('http://127.0.0.1:2')].map((text) =>
    writeKubeconfig(t, text),
  );
  const third = writeKubeconfig(t, JSON.stringify({ ...context, users: [{ name: 'u', user: {} }] }));
  const errorWith = async (KUBECONFIG: string) => (await nodeTrust(['status'], '', undefined, { KUBECONFIG })).err;
  assert.match(await errorWith(`/nowhere/one:${first}::${second}:/nowhere/two:${third}`), /\b127\.0\.0\.1:1\b/);
  assert.match(await errorWith('/nowhere/one:/nowhere/two'), /none of the files in KUBECONFIG is there/);
});

for (const [title, script, expected] of [
  ['prints a bare token', 'echo T0P-SECRET', /: sh printed no ExecCredential$/],
  ['prints other JSON', `echo '{"token":"T0P-SECRET"}'`, /: sh printed no ExecCredential$/],
  ['fails without a word', 'exit 7', /: sh failed and did not say why; run it by hand$/],
  ['says why', String.raw`printf '\033[2Jlog in\nfirst' >&2; exit 1`, /: \\u\{1b\}\[2Jlog in first$/],
] as const) {
  test(`a plugin for credentials that ${title} is told by its name and its own words, and nothing of what it prints`, async (t) => {
    const config = JSON.parse((await startTestServer(t)).kubeconfig());
    config.users[0].user = {
      exec: { apiVersion: 'client.authentication.k8s.io/v1', command: 'sh', args: ['-c', script] },
    };
    const client = createKubeClient(accessFromKubeconfig(writeKubeconfig(t, JSON.stringify(config))));
    await assert.rejects(client.call(getNode, t.signal), (error) => {
      assert(error instanceof KubeError);
      assert.match(error.message, expected);
      assert.doesNotMatch(error.message, /T0P/);
      return true;
    });
  });
}

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createKubeClient } from '../../agent/kube/client.ts';
import { accessFromPod } from '../../agent/kube/cluster-access.ts';
import { selfSigned, startTestServer, temporaryFolder } from '../support/api-fixture.ts';
import { admin } from '../support/api-requests.ts';

const getNode = { verb: 'get', path: '/api/v1/nodes/a', object: 'node a', name: 'a', kind: 'Node' } as const;

test('a pod speaks with its API server by what the kubelet gives it, and a token or a root that rotates is good at once', async (t) => {
  const [tls, other] = [selfSigned(t, 'IP:127.0.0.1'), selfSigned(t, 'IP:127.0.0.1')];
  const server = await startTestServer(t, { tls, tokens: { first: { name: 'agent', rules: admin } } });
  server.put({ kind: 'Node', metadata: { name: 'a' } });
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'token'), 'first\n');
  writeFileSync(join(folder, 'ca.crt'), tls.cert);
  const { hostname, port } = new URL(server.url);
  const env = { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port };
  const client = createKubeClient(accessFromPod(env, folder));
  assert.equal(client.server, `127.0.0.1:${port}`);
  await client.call(getNode, t.signal);

  server.expireToken('first');
  server.setToken('second', { name: 'agent', rules: admin });
  await assert.rejects(client.call(getNode, t.signal), /the token was not accepted/);
  writeFileSync(join(folder, 'token'), 'second');
  await client.call(getNode, t.signal);

  writeFileSync(join(folder, 'ca.crt'), other.cert);
  const refused = `TLS with 127.0.0.1:${port} failed (DEPTH_ZERO_SELF_SIGNED_CERT): the ServiceAccount's CA (${folder}/ca.crt) does not match the server's certificate`;
  await assert.rejects(client.call(getNode, t.signal), { message: refused });
  writeFileSync(join(folder, 'ca.crt'), '');
  await assert.rejects(client.call(getNode, t.signal), /ca\.crt holds no certificate/);
  writeFileSync(join(folder, 'ca.crt'), `${other.cert}${tls.cert}`);
  await client.call(getNode, t.signal);
  const askedAt = performance.now();
  await server.disconnected();
  assert(performance.now() - askedAt < 2_000, 'no socket outlives its request');
});

test('the address of the API server may be of IPv6, and its port has a default', () => {
  assert.equal(accessFromPod({ KUBERNETES_SERVICE_HOST: 'fd00::1' }).url, 'https://[fd00::1]:443');
  assert.equal(
    accessFromPod({ KUBERNETES_SERVICE_HOST: '10.0.0.1', KUBERNETES_SERVICE_PORT: '6443' }).url,
    'https://10.0.0.1:6443',
  );
});

test('a pod that is not told where its API server is says which variable is missing', () => {
  assert.throws(() => accessFromPod({}), /KUBERNETES_SERVICE_HOST is ""/);
});

test('a ServiceAccount that cannot be read is named', async (t) => {
  const client = createKubeClient(accessFromPod({ KUBERNETES_SERVICE_HOST: '127.0.0.1' }, '/nowhere'));
  await assert.rejects(client.call(getNode, t.signal), /credentials for 127.* cannot be used: .*\/nowhere\/token/);
});

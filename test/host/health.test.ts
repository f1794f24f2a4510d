import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { createHealth, findKubeletFault } from '../../agent/host/health.ts';
import { createHostRoot } from '../../agent/host/root.ts';
import { createEmptyRoot } from '../support/sandbox.ts';

const { signal } = new AbortController();

test('what the kubelet lacked before the runtime was disturbed is no fault of what came then; what it lacks since is', async (t) => {
  await using host = await createEmptyRoot();
  let code = 500;
  const server = createServer((_, response) => response.writeHead(code).end());
  server.listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/healthz`;
  const open = () => createHealth(createHostRoot(host.root), { way: 'directly' }, '/run/none/none.sock', url);
  const sick = open();
  assert.equal(await sick.excuse(signal), "the kubelet's healthz answers 500");
  assert.equal(await sick.findFault(signal), undefined);
  code = 200;
  const well = open();
  assert.equal(await well.excuse(signal), undefined);
  code = 500;
  assert.equal(await well.findFault(signal), "the kubelet's healthz answers 500");
  assert.equal(await well.excuse(signal), undefined, 'before a restart to undo, what the first has brought counts');
  assert.equal(await well.findFault(signal), "the kubelet's healthz answers 500");
});

test('a kubelet that answers is well with 200 and with nothing else; one that is not there is not asked after', async (t) => {
  let code = 200;
  const server = createServer((_, response) => response.writeHead(code).end('ok'));
  server.listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/healthz`;
  assert.equal(await findKubeletFault(url, signal), undefined);
  code = 500;
  assert.equal(await findKubeletFault(url, signal), "the kubelet's healthz answers 500");
  server.close();
  server.closeAllConnections();
  await once(server, 'close');
  assert.equal(await findKubeletFault(url, signal), undefined);
});

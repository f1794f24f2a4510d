import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { findKubeletFault } from '../../agent/host/health.ts';

const { signal } = new AbortController();

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

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createHealth, findKubeletFault } from '../../agent/host/health.ts';
import { createHostRoot } from '../../agent/host/root.ts';
import { createEmptyRoot } from '../support/sandbox.ts';

const { signal } = new AbortController();

test('what the kubelet lacked before the runtime was disturbed is no fault of what came then; what it lacks since is', async (t) => {
  await using host = await createEmptyRoot();
  const kubelet = await startKubelet(t);
  const open = () => createHealth(createHostRoot(host.root), { way: 'directly' }, '/run/none/none.sock', kubelet.url);
  kubelet.code = 500;
  const sick = open();
  assert.equal(await sick.excuse(signal), "the kubelet's healthz answers 500");
  assert.equal(await sick.findFault(signal), undefined);
  kubelet.code = 200;
  const well = open();
  assert.equal(await well.excuse(signal), undefined);
  kubelet.code = 500;
  assert.equal(await well.findFault(signal), "the kubelet's healthz answers 500");
  assert.equal(await well.excuse(signal), undefined, 'before a restart to undo, what the first has brought counts');
  assert.equal(await well.findFault(signal), "the kubelet's healthz answers 500");
});

test('a kubelet that answers is well with 200 and with nothing else; one that is not there is not asked after', async (t) => {
  const kubelet = await startKubelet(t);
  const { url, server } = kubelet;
  assert.equal(await findKubeletFault(url, signal), undefined);
  kubelet.code = 500;
  assert.equal(await findKubeletFault(url, signal), "the kubelet's healthz answers 500");
  server.close();
  server.closeAllConnections();
  await once(server, 'close');
  assert.equal(await findKubeletFault(url, signal), undefined);
});

/** A fake of the kubelet's healthz, which answers with the code that it has. */
async function startKubelet(t: TestContext) {
  const kubelet = {
    code: 200,
    url: '',
    server: createServer((_, response) => response.writeHead(kubelet.code).end('ok')),
  };
  kubelet.server.listen(0, '127.0.0.1');
  t.after(() => kubelet.server.close());
  await once(kubelet.server, 'listening');
  kubelet.url = `http://127.0.0.1:${(kubelet.server.address() as AddressInfo).port}/healthz`;
  return kubelet;
}

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { createHealth, findKubeletFault } from '../../agent/host/health.ts';
import { createHostRoot } from '../../agent/host/root.ts';
import { startKubelet } from '../support/kubelet.ts';
import { createEmptyRoot } from '../support/sandbox.ts';

const { signal } = new AbortController();

test('a kubelet that is excused is not asked, and one that is not there lacks nothing', async (t) => {
  await using host = await createEmptyRoot();
  const kubelet = await startKubelet(t);
  kubelet.code = 500;
  const health = createHealth(createHostRoot(host.root), '/run/none/none.sock', kubelet.url);
  assert.equal(await health.findKubeletFault(signal), "the kubelet's healthz answers 500");
  assert.equal(await health.findFault(false, signal), "the kubelet's healthz answers 500");
  assert.equal(await health.findFault(true, signal), undefined);
  const without = createHealth(createHostRoot(host.root), '/run/none/none.sock', undefined);
  assert.equal(await without.findFault(false, signal), undefined);
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

// A fake of the kubelet: its healthz, which answers with the code that it has.

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

export async function startKubelet(t: TestContext) {
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

// The agent's own HTTP: /livez, /readyz and /metrics, meant for loopback.

import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Endpoints extends AsyncDisposable {
  /** Where it listens, with the port it was given for port 0. */
  readonly url: string;
}

export interface EndpointsOptions {
  readonly host: string;
  readonly port: number;
  /** What is wrong, or undefined when all is well. */
  live(): string | undefined;
  ready(): string | undefined;
  metrics(): Promise<{ readonly contentType: string; readonly text: string }>;
}

/** Rejects when the address cannot be listened on. */
export async function serveEndpoints({ host, port, live, ready, metrics }: EndpointsOptions): Promise<Endpoints> {
  const server = createServer((request, response) => {
    const answer = (code: number, text: string, contentType = 'text/plain; charset=utf-8'): void => {
      response.writeHead(code, { 'content-type': contentType }).end(text);
    };
    const check = (problem: string | undefined): void =>
      answer(problem === undefined ? 200 : 503, `${problem ?? 'ok'}\n`);
    const path = (request.url ?? '').split('?', 1)[0];
    if (request.method !== 'GET' && request.method !== 'HEAD') answer(405, 'GET only\n');
    else if (path === '/livez') check(live());
    else if (path === '/readyz') check(ready());
    else if (path === '/metrics') {
      metrics().then(
        ({ contentType, text }) => answer(200, text, contentType),
        () => answer(500, 'the metrics could not be collected\n'),
      );
    } else answer(404, 'there are /livez, /readyz and /metrics\n');
  });
  await listen(server, host, port);
  // A name is what was asked for; the socket knows the port.
  const { port: actual } = server.address() as AddressInfo;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${actual}`,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

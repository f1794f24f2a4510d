// What the demo plays on: an embedded API server with one Node, a sandbox node, a registry for each CA, and the agent.

import { appendFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer, get } from 'node:https';
import type { AddressInfo } from 'node:net';
import { startAgent } from '../support/agent-process.ts';
import { startApiServer } from '../support/api-server.ts';
import { createCertificate, createServerCertificate, type TestCertificate } from '../support/certificates.ts';
import { type Cluster, createCluster, secret } from '../support/cluster.ts';
import { createSandbox } from '../support/sandbox.ts';

const nodeName = 'demo-node';
const anchors = '/usr/local/share/ca-certificates';

export interface Stage extends AsyncDisposable {
  readonly root: string;
  readonly roots: number;
  readonly kubeconfig: string;
  readonly logFile: string;
  readonly endpoints: string;
  readonly registries: { readonly old: Registry; readonly new: Registry };
  /** Both answer with the moment of the change, as performance.now() tells it. */
  applySecret(entries: Readonly<Record<string, string>>): number;
  deleteSecret(): number;
  /** The next restart of the runtime ends with its process dead. */
  failNextRestart(): Promise<void>;
  /** One of ours. Answers with what the event of its repair says. */
  deleteAnchor(): Promise<string>;
  /** The Node's annotations of ours, once they are as the predicate wants them. */
  annotated: Cluster['says'];
  /** What the agent has logged as done since it was asked last. */
  newSteps(): readonly { readonly sentence: string; readonly at: Date }[];
  restarts(): Promise<number>;
  bundle(): Promise<string>;
  /** What the running (fake) containerd loaded when it started. */
  trustPool(): Promise<string>;
}

export interface Registry {
  readonly url: string;
  readonly ca: TestCertificate;
}

export async function setStage(): Promise<Stage> {
  await using building = new AsyncDisposableStack();
  const api = building.adopt(await startApiServer({ tls: apiCertificate() }), (server) => server.close());
  const sandbox = building.use(await createSandbox({ roots: Number.POSITIVE_INFINITY }));
  const registries = {
    old: await startRegistry('Corp Root 2021', building),
    new: await startRegistry('Corp Root 2026', building),
  };
  const cluster = createCluster(api, nodeName);
  const kubeconfig = `${sandbox.root}/kubeconfig`;
  const logFile = `${sandbox.root}/agent.log`;
  await writeFile(kubeconfig, api.kubeconfig());
  for (const [name, { ca }] of Object.entries(registries)) await writeFile(`${sandbox.root}/${name}-ca.pem`, ca.pem);
  const args = [
    '--node-name',
    nodeName,
    '--kubeconfig',
    kubeconfig,
    '--host-root',
    sandbox.root,
    '--listen',
    '127.0.0.1:0',
  ];
  const times = ['--spread', '0', '--restart-interval', '0', '--deletion-grace', '1s', '--poll-interval', '30s'];
  const agent = building.adopt(
    startAgent([...args, ...times], (line) => appendFileSync(logFile, `${line}\n`)),
    async (running) => {
      running.kill('SIGTERM');
      await running.ended;
    },
  );
  const started = await agent.said(({ msg }) => msg === 'agent started');
  const staged = building.move();
  let told = 0;

  return {
    root: sandbox.root,
    roots: (await sandbox.list('/usr/share/ca-certificates/mozilla')).length,
    kubeconfig,
    logFile,
    endpoints: String(started['listen']),
    registries,
    applySecret(entries) {
      cluster.apply(entries);
      return performance.now();
    },
    deleteSecret() {
      api.delete(secret);
      return performance.now();
    },
    failNextRestart: () => sandbox.runtime.failNextRestart('fails'),
    async deleteAnchor() {
      const anchor = (await sandbox.list(anchors)).find((name) => name.startsWith('node-trust-'));
      await sandbox.remove(`${anchors}/${anchor}`);
      const told = () => api.list('Event', 'default').find(({ reason }) => reason === 'DriftRepaired');
      await api.seen(({ resource }) => resource === 'events' && told() !== undefined);
      return `DriftRepaired: ${String(told()?.['message'])}`;
    },
    annotated: cluster.says,
    newSteps() {
      const done = agent.log.filter(({ msg }) => msg === 'step done');
      const fresh = done.slice(told);
      told = done.length;
      return fresh.map(({ step, time }) => ({ sentence: String(step), at: new Date(String(time)) }));
    },
    restarts: async () => (await sandbox.runtime.calls()).filter((call) => call.startsWith('restart')).length,
    bundle: () => sandbox.read('/etc/ssl/certs/ca-certificates.crt'),
    trustPool: () => sandbox.runtime.trustPool(),
    [Symbol.asyncDispose]: () => staged.disposeAsync(),
  };
}

/** What TLS says: `ok`, or the code of the error. */
export function connect({ url }: Registry, ca: string): Promise<string> {
  return new Promise((resolve) => {
    const request = get(`${url}/v2/`, { ca, agent: false }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode === 200 ? 'ok' : `HTTP ${response.statusCode}`));
    });
    request.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });
}

async function startRegistry(caName: string, stack: AsyncDisposableStack): Promise<Registry> {
  const ca = createCertificate({ subject: caName });
  const { pem, keyPem } = createServerCertificate(ca);
  const server = createServer({ cert: pem, key: keyPem }, (_, response) => response.end('{}'));
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  stack.defer(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `https://localhost:${(server.address() as AddressInfo).port}`, ca };
}

function apiCertificate(): { readonly cert: string; readonly key: string; readonly ca: string } {
  const ca = createCertificate({ subject: 'Demo API server' });
  const { pem, keyPem } = createServerCertificate(ca);
  return { cert: pem, key: keyPem, ca: ca.pem };
}

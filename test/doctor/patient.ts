// A patient for the doctor: a sandbox node with a real store, an embedded API server with its Secret, and real servers on loopback
// that answer as registries do. Names are resolved by the test, and all clocks are in its hand.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttpServer, type RequestListener, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { connect, createServer, type Server as NetServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { parseYaml } from '../../agent/cli/manifest.ts';
import type { DiagnosisCode } from '../../agent/doctor/catalogue.ts';
import type { Check } from '../../agent/doctor/check.ts';
import { diagnose } from '../../agent/doctor/diagnose.ts';
import type { Facts } from '../../agent/doctor/facts.ts';
import { type Examination, examine } from '../../agent/doctor/probe/examine.ts';
import { parseTarget } from '../../agent/doctor/target.ts';
import { createHostRoot } from '../../agent/host/root.ts';
import { writeKubeconfig } from '../support/api-fixture.ts';
import { type ApiServer, startApiServer } from '../support/api-server.ts';
import { createServerCertificate, fixedNow, type TestCertificate } from '../support/certificates.ts';
import { secret } from '../support/cluster.ts';
import { type PassOptions, pass } from '../support/passes.ts';
import { createSandbox, type Sandbox } from '../support/sandbox.ts';

/** The registry of all set-ups; where it really is, the patient's resolver says. */
export const registryHost = 'registry.test';
const nodeName = 'node-1';
const { signal } = new AbortController();

export interface Seen {
  readonly facts: Facts;
  readonly checks: readonly Check[];
  readonly first: Check | undefined;
  /** Codes of what fails, and of what warns. */
  readonly fails: readonly DiagnosisCode[];
  readonly warns: readonly DiagnosisCode[];
}

export interface Patient {
  readonly sandbox: Sandbox;
  readonly api: ApiServer;
  /** The file. */
  readonly kubeconfig: string;
  /** The Secret, as it is in the cluster. */
  apply(entries: Readonly<Record<string, string | Uint8Array>>): void;
  /** A pass of the agent with what these certificates are in the Secret. */
  install(roots: readonly TestCertificate[], options?: PassOptions): Promise<void>;
  examine(target: string, changes?: Partial<Examination>): Promise<Seen>;
}

export async function createPatient(t: TestContext): Promise<Patient> {
  const stack = new AsyncDisposableStack();
  t.after(() => stack.disposeAsync());
  const sandbox = stack.use(await createSandbox());
  const api = stack.adopt(await startApiServer(), (server) => server.close());
  api.put({ kind: 'Node', metadata: { name: nodeName } });
  const kubeconfig = writeKubeconfig(t, api.kubeconfig());
  const { kind, ...place } = secret;
  const apply: Patient['apply'] = (entries) => {
    const data = Object.entries(entries).map(([name, bytes]) => [name, Buffer.from(bytes).toString('base64')]);
    api.put({ kind, metadata: place, type: 'Opaque', data: Object.fromEntries(data) });
  };
  return {
    sandbox,
    api,
    kubeconfig,
    apply,
    async install(roots, options = {}) {
      apply(Object.fromEntries(roots.map(({ pem }, index) => [`ca-${index}.pem`, pem])));
      const entries = new Map(roots.map(({ pem }, index) => [`ca-${index}.pem`, Buffer.from(pem)]));
      await pass(sandbox, { kind: 'present', entries, onDelete: 'grace' }, options);
    },
    async examine(target, changes = {}) {
      const facts = await examine(
        {
          target: parseTarget(target),
          root: createHostRoot(sandbox.root),
          parseYaml,
          lookup: () => Promise.resolve(['127.0.0.1']),
          kubeconfig,
          secret: place,
          nodeName,
          now: fixedNow,
          shell: new Map(),
          admission: { maxCertificates: 10, allowNonCa: false },
          ...changes,
        },
        signal,
      );
      const { checks, first } = diagnose(facts);
      const codes = (status: Check['status']) =>
        checks.flatMap((check) => (check.status === status && check.diagnosis ? [check.diagnosis.code] : []));
      return { facts, checks, first, fails: codes('fail'), warns: codes('warn') };
    },
  };
}

export interface RegistryOptions {
  /** What is sent, the server's own first; plain HTTP where missing. */
  readonly chain?: readonly TestCertificate[];
  /** Of its Date header; null for none. */
  readonly date?: Date | null;
  /** WWW-Authenticate of a 401; 200 without one. */
  readonly challenge?: string;
  readonly listener?: RequestListener;
}

/** A server that answers as a registry does. Answers with its port. */
export async function startRegistry(t: TestContext, options: RegistryOptions): Promise<number> {
  const { chain, date = fixedNow, challenge } = options;
  const answer: RequestListener = (_, response) => {
    response.sendDate = false;
    if (date !== null) response.setHeader('Date', date.toUTCString());
    if (challenge !== undefined) response.setHeader('WWW-Authenticate', challenge);
    response.statusCode = challenge === undefined ? 200 : 401;
    response.end('{}');
  };
  const listener = options.listener ?? answer;
  const [leaf] = chain ?? [];
  const server: Server =
    chain === undefined || leaf === undefined
      ? createHttpServer(listener)
      : createHttpsServer({ cert: chain.map(({ pem }) => pem).join(''), key: leaf.keyPem }, listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return portOf(server);
}

export function portOf(server: Pick<Server, 'address'>): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** For the registry's name. */
export function createLeaf(issuer: TestCertificate, options: Parameters<typeof createServerCertificate>[1] = {}) {
  return createServerCertificate(issuer, { subject: registryHost, names: [registryHost], ...options });
}

/** This is the first diagnosis, and nothing else fails. */
export function assertFails(seen: Seen, code: DiagnosisCode): void {
  assert.deepEqual([seen.first?.diagnosis?.code, seen.fails], [code, [code]], tell(seen));
}

/** Nothing fails, and this is all that warns. */
export function assertWarns(seen: Seen, code: DiagnosisCode): void {
  assert.deepEqual([seen.first?.diagnosis?.code, seen.fails, seen.warns], [code, [], [code]], tell(seen));
}

export function tell({ checks }: Seen): string {
  return checks.map(({ name, status, summary }) => `${status} ${name}: ${summary}`).join('\n');
}

/** A port at which nobody listens any more. */
export async function closedPort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const port = portOf(server);
  server.close();
  await once(server, 'close');
  return port;
}

/** What one check said. */
export function summaryOf({ checks }: Seen, name: string): string {
  const found = checks.filter((check) => check.name === name);
  return found.map(({ status, summary }) => `${status}: ${summary}`).join('\n');
}

/** What a proxy does with a connection that it lets through, to a port of this machine. */
export function connectTo(port: number): (socket: Socket) => void {
  return (socket) => {
    const upstream = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      socket.pipe(upstream).pipe(socket);
    });
    upstream.on('error', () => socket.destroy());
    socket.on('error', () => upstream.destroy());
  };
}

/** A proxy that notes what it is asked, and answers CONNECT so. */
export async function startProxy(t: TestContext, answer: (socket: Socket) => void) {
  const asked: (readonly [string | undefined, string | undefined])[] = [];
  const server = createHttpServer();
  server.on('connect', ({ url, headers }, socket: Socket) => {
    asked.push([url, headers['proxy-authorization']]);
    answer(socket);
  });
  return { asked, port: await listen(t, server) };
}

/** On loopback, until the test ends, with whoever is connected. */
export async function listen(t: TestContext, server: NetServer): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  });
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return portOf(server);
}

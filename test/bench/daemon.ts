// What the bundled daemon costs, started as the image starts it, and where its memory goes.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { bundle } from '../../image/bundle.ts';
import { type AgentProcess, startAgent } from '../support/agent-process.ts';
import { startApiServer } from '../support/api-server.ts';
import { createCertificate, createServerCertificate } from '../support/certificates.ts';
import { createCluster } from '../support/cluster.ts';
import { createSandbox, updateStore } from '../support/sandbox.ts';
import { mebibytes, milliseconds, type Row, ratio, rounds, time } from './rows.ts';

const nodeName = 'bench-node';
const idleMs = 30_000;
const corp = createCertificate({ subject: 'Corp Root' });
const others = Array.from({ length: rounds }, (_, index) => createCertificate({ subject: `Root ${index}` }));

export async function measureDaemon(folder: string): Promise<readonly Row[]> {
  await using stack = new AsyncDisposableStack();
  const agentFile = join(folder, 'node-trust.mjs');
  await bundle('agent/main.ts', agentFile);
  const clusterCa = createCertificate({ subject: 'cluster CA' });
  const { pem: cert, keyPem: key } = createServerCertificate(clusterCa, { names: ['127.0.0.1'] });
  const tls = { cert, key, ca: clusterCa.pem };
  const api = stack.adopt(await startApiServer({ tls }), (server) => server.close());
  const node = stack.use(await createSandbox({ roots: Number.POSITIVE_INFINITY }));
  const cluster = createCluster(api, nodeName);
  const apply = (...certificates: readonly { readonly pem: string }[]): void =>
    cluster.apply(Object.fromEntries(certificates.map(({ pem }, index) => [`ca-${index}.pem`, pem])));
  const synced = (count: number): Promise<unknown> =>
    cluster.says(({ state, certificates }) => state === 'Synced' && certificates === String(count));
  const { flags, env } = await readImage();
  const args = ['--node-name', nodeName, '--host-root', node.root];
  const inPod = await createServiceAccount(folder, clusterCa.pem);
  const { hostname, port } = new URL(api.url);
  const podEnv = { ...env, KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port };

  apply(corp);
  let agent: AgentProcess | undefined;
  const start = (): AgentProcess =>
    startAgent(
      [...args, '--spread', '0', '--restart-interval', '0', '--listen', '127.0.0.1:0'],
      () => {},
      [...inPod, process.execPath, ...flags, agentFile],
      podEnv,
    );
  const firstPass = await time(async () => {
    agent = stack.use(start());
    await agent.said(({ msg }) => msg === 'pass ended');
  });
  await agent?.[Symbol.asyncDispose]();
  const startUps: { ours: number; bare: number }[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const bare = await time(() => once(spawn(process.execPath, ['-e', '0']), 'close'));
    const running = start();
    const ours = await time(() => running.said(({ msg }) => msg === 'agent started'));
    startUps.push({ ours, bare });
    await running[Symbol.asyncDispose]();
  }
  const running = stack.use(start());
  await running.said(({ msg }) => msg === 'agent started');
  const changes: { ours: number; bare: number }[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const bare = await time(() => updateStore(node.root));
    const held = others.slice(0, round + 1);
    const ours = await time(async () => {
      apply(corp, ...held);
      await synced(held.length + 1);
    });
    changes.push({ ours, bare });
  }
  const compared = await startYardsticks(folder, flags, stack);
  await delay(idleMs);
  const ours = await memoryOf(running.pid);
  const theirs = await Promise.all(compared.map(async ({ name, pid }) => ({ name, ...(await memoryOf(pid)) })));
  return [
    ratio('start of the bundled daemon until it works', startUps, 'an empty Node.js program'),
    {
      what: 'the same, and its first pass, with one certificate to install',
      ours: milliseconds(firstPass),
      comparedWith: '',
      result: '',
      budget: '',
      holds: true,
    },
    ratio('a change of the Secret until Synced, with a fake runtime', changes, 'update-ca-certificates, bare'),
    ...(['resident', 'private'] as const).flatMap((kind) =>
      theirs.map((other, index): Row => {
        const times = ours[kind] / other[kind];
        const isJudged = kind === 'resident' && index === 0;
        return {
          what: `${kind} memory of the bundled daemon, ${idleMs / 1_000} s idle`,
          ours: mebibytes(ours[kind]),
          comparedWith: `${other.name}: ${mebibytes(other[kind])}`,
          result: `${times.toFixed(2)} x`,
          budget: isJudged ? '2.0 x' : '',
          holds: !isJudged || times <= 2,
        };
      }),
    ),
  ];
}

/** What a program is started with to find a ServiceAccount where the kubelet puts one, in a mount namespace of its own. */
async function createServiceAccount(folder: string, ca: string): Promise<readonly [string, ...string[]]> {
  const account = join(folder, 'serviceaccount');
  await mkdir(account);
  await writeFile(join(account, 'token'), 'admin');
  await writeFile(join(account, 'ca.crt'), ca);
  const place = '/var/run/secrets/kubernetes.io/serviceaccount';
  const mount = `mount -t tmpfs tmpfs /var/run && mkdir -p ${place} && cp ${account}/* ${place} && exec "$@"`;
  return ['unshare', '--mount', 'sh', '-c', mount, 'sh'];
}

/** What the daemon's memory is compared with, all idle: the steps from nothing towards it. */
async function startYardsticks(folder: string, flags: readonly string[], stack: AsyncDisposableStack) {
  const client = join(folder, 'idle-client.mjs');
  await bundle('test/bench/idle-client.ts', client);
  const modules = "import 'node:https'; import 'node:crypto'; import 'node:child_process'; import 'node:fs/promises';";
  const idle = 'setInterval(() => {}, 2 ** 30)';
  const yardsticks = {
    'an idle Node.js': ['--eval', idle],
    'one with the modules of its own that are used': [...flags, '--input-type=module', '--eval', `${modules} ${idle}`],
    'one with client-node, bundled': [...flags, client],
  };
  return Object.entries(yardsticks).map(([name, args]) => {
    const child = spawn(process.execPath, args);
    stack.defer(() => void child.kill());
    return { name, pid: child.pid ?? 0 };
  });
}

async function memoryOf(pid: number): Promise<{ readonly resident: number; readonly private: number }> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
  const field = (name: string): number => 1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]);
  return { resident: field('Rss'), private: field('Private_Clean') + field('Private_Dirty') };
}

/** How the image starts Node.js, read from the Dockerfile. */
async function readImage(): Promise<{
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}> {
  const text = await readFile(new URL('../../Dockerfile', import.meta.url), 'utf8');
  const [, entrypoint = '[]'] = /^ENTRYPOINT (.*)$/m.exec(text) ?? [];
  const words = [...text.matchAll(/^ENV (.*)$/gm)].flatMap(([, line = '']) => line.split(' '));
  const env = Object.fromEntries(words.map((word) => word.split('=', 2) as [string, string]));
  return { flags: (JSON.parse(entrypoint) as string[]).slice(1, -1), env };
}

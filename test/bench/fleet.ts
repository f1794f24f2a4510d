// What `status` costs on a fleet of 5,000 Nodes that are as large as real ones, each with a Pod of the agent, next to a fleet of
// one: from the start of the process to its end, and the most memory it had.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { contentDigest } from '../../agent/trust/source.ts';
import { type ApiServer, startApiServer } from '../support/api-server.ts';
import { mebibytes, median, milliseconds, type Row, rounds, time } from './rows.ts';

const size = 5_000;
const namespace = 'kube-system';
const app = 'node-trust-agent';
const launcher = fileURLToPath(new URL('../../node-trust', import.meta.url));
/** The process says itself, as its last word, how much memory it had at most. */
const tellMemory = `data:text/javascript,${encodeURIComponent(
  "import { writeSync } from 'node:fs'; process.on('exit', () => writeSync(3, `${process.resourceUsage().maxRSS}\\n`));",
)}`;

export async function measureFleet(folder: string): Promise<readonly Row[]> {
  const [many, one] = [await measureStatus(folder, size), await measureStatus(folder, 1)];
  const what = `status of ${size} nodes, from the checkout`;
  return [
    {
      what,
      ours: milliseconds(many.milliseconds),
      comparedWith: `of one: ${milliseconds(one.milliseconds)}`,
      result: many.says,
      budget: '3000 ms',
      holds: many.milliseconds < 3_000,
    },
    {
      what: 'the same, most resident memory',
      ours: mebibytes(many.bytes),
      comparedWith: `of one: ${mebibytes(one.bytes)}`,
      result: '',
      budget: '200 MiB',
      holds: many.bytes < 200 * 2 ** 20,
    },
  ];
}

async function measureStatus(folder: string, nodes: number) {
  await using stack = new AsyncDisposableStack();
  const api = stack.adopt(await startApiServer(), (server) => server.close());
  putFleet(api, nodes);
  const kubeconfig = join(folder, 'kubeconfig');
  await writeFile(kubeconfig, api.kubeconfig());
  const [times, memories]: [number[], number[]] = [[], []];
  let says = '';
  for (let round = 0; round < rounds; round += 1) {
    times.push(
      await time(async () => {
        const args = [`NODE_OPTIONS=--import ${tellMemory}`, launcher, 'status', '--kubeconfig', kubeconfig];
        const child = spawn('env', args, { stdio: ['ignore', 'pipe', 'inherit', 'pipe'] });
        const told = Promise.all([text(child.stdio[1] as Readable), text(child.stdio[3] as Readable)]);
        await once(child, 'close');
        const [out, kibibytes] = await told;
        memories.push(Math.max(...kibibytes.trim().split('\n').map(Number)) * 1024);
        says = out.slice(0, out.indexOf(':'));
      }),
    );
  }
  return { milliseconds: median(times), bytes: Math.max(...memories), says };
}

/** Most of a real Node are the images that its kubelet tells, 50 at most. */
function putFleet(api: ApiServer, count: number): void {
  const metadata = { name: app, namespace };
  const pem = Buffer.alloc(1_800, 'x');
  const observed = contentDigest(new Map([['corp.pem', pem]]));
  const data = { 'corp.pem': pem.toString('base64') };
  api.put({ kind: 'Secret', metadata: { name: 'custom-ca-trust-secret', namespace }, data });
  const template = { spec: { nodeSelector: { pool: 'a' }, containers: [{ args: ['run', '--enabled-by=pool=a'] }] } };
  api.put({ kind: 'DaemonSet', metadata, spec: { template } });
  const images = Array.from({ length: 50 }, (_, index) => ({
    names: [
      `registry.example.com/team-${index}/service@sha256:${'0'.repeat(64)}`,
      `registry.example.com/team-${index}:1`,
    ],
    sizeBytes: 123_456_789,
  }));
  const conditions = [
    { type: 'Ready', status: 'True', message: 'kubelet is posting ready status', reason: 'KubeletReady' },
  ];
  const filler = Object.fromEntries(
    Array.from({ length: 25 }, (_, index) => [`example.com/label-${index}`, 'some-value']),
  );
  for (let index = 0; index < count; index += 1) {
    const name = `node-${String(index).padStart(5, '0')}`;
    const own = {
      state: 'Synced',
      reason: '',
      message: '2 certificates are trusted by the host; containerd.service runs with them',
      certificates: '2',
      bundle: `sha256:${'1'.repeat(64)}`,
      observed,
      'expires-at': '2036-06-01T00:00:00.000Z',
      'updated-at': '2026-06-01T00:00:00.000Z',
      details: JSON.stringify({ version: 1, findings: 'x'.repeat(1_500) }),
    };
    const annotations = Object.fromEntries(Object.entries(own).map(([key, value]) => [`${app}/${key}`, value]));
    api.put({
      kind: 'Node',
      metadata: { name, labels: { ...filler, pool: 'a' }, annotations: { ...annotations, foreign: 'x'.repeat(500) } },
      status: { conditions, images },
    });
    api.put({
      kind: 'Pod',
      metadata: { name: `${app}-${index}`, namespace, labels: { 'app.kubernetes.io/name': app } },
      spec: { nodeName: name, containers: [{ name: 'agent', env: 'x'.repeat(2_500) }] },
      status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
    });
  }
}

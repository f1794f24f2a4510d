// `npm run bench`: what the agent costs, next to what the same would cost without it, measured in the same run and taken in
// turns, so that a busy machine slows down both. Exits 1 when a budget is exceeded.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { admit } from '../../agent/trust/admission.ts';
import { bundleAgent } from '../../image/bundle.ts';
import { type AgentProcess, startAgent } from '../support/agent-process.ts';
import { startApiServer } from '../support/api-server.ts';
import { createCertificate, fixedNow } from '../support/certificates.ts';
import { createCluster } from '../support/cluster.ts';
import { tool } from '../support/debian.ts';
import { pass, present } from '../support/passes.ts';
import { createSandbox, type Sandbox, updateStore } from '../support/sandbox.ts';

interface Row {
  readonly what: string;
  readonly ours: string;
  readonly comparedWith: string;
  readonly result: string;
  readonly budget: string;
  readonly holds: boolean;
}

const rounds = 5;
const nodeName = 'bench-node';
/** As the image starts it. */
const nodeFlags = ['--optimize-for-size', '--max-semi-space-size=1'];
const corp = createCertificate({ subject: 'Corp Root' });
const others = Array.from({ length: rounds }, (_, index) => createCertificate({ subject: `Root ${index}` }));

const milliseconds = (value: number): string => `${value.toFixed(value < 10 ? 1 : 0)} ms`;
const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

async function time(work: () => unknown): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

/** The store alone: what a restart takes is containerd's own time. */
async function measurePass(): Promise<Row> {
  const times: { bare: number; ours: number }[] = [];
  await using node = await createSandbox({ roots: Number.POSITIVE_INFINITY, runtime: false });
  await using other = await createSandbox({ roots: Number.POSITIVE_INFINITY, runtime: false });
  await pass(node, present(corp), { runtime: 'optional' });
  for (const [index, added] of others.entries()) {
    const bare = await time(async () => {
      await other.write(`/usr/local/share/ca-certificates/bare-${index}.crt`, added.pem);
      await updateStore(other.root);
    });
    const set = present(corp, ...others.slice(0, index + 1));
    times.push({ bare, ours: await time(() => pass(node, set, { runtime: 'optional' })) });
  }
  const [bare, ours] = [median(times.map((pair) => pair.bare)), median(times.map((pair) => pair.ours))];
  const allowed = bare * 1.1 + 150;
  return {
    what: 'a pass that adds a certificate to 143 roots',
    ours: milliseconds(ours),
    comparedWith: `update-ca-certificates, bare: ${milliseconds(bare)}`,
    result: `${(ours / bare).toFixed(2)} x, ${milliseconds(ours - bare)} more`,
    budget: `10 % + 150 ms: ${milliseconds(allowed)}`,
    holds: ours <= allowed,
  };
}

/** The first call of a process counts: `validate` makes one. */
async function measureAdmission(): Promise<readonly Row[]> {
  const ten = new Map(Array.from({ length: 10 }, (_, index) => [`ca-${index}`, Buffer.from(createCertificate().pem)]));
  const garbage = new Map([['garbage', Buffer.alloc(2 ** 20, '-----BEGIN CERTIFICATE-----\nnot\n')]]);
  const options = { maxCertificates: 10, nonCa: 'error', now: fixedNow } as const;
  const rows: Row[] = [];
  for (const [what, entries, budgetMs] of [
    ['validation of 10 certificates', ten, 20],
    ['validation of 1 MiB of garbage', garbage, 200],
  ] as const) {
    const ours = await time(() => admit(entries, options));
    const budget = milliseconds(budgetMs);
    rows.push({ what, ours: milliseconds(ours), comparedWith: '', result: '', budget, holds: ours <= budgetMs });
  }
  return rows;
}

async function measureDaemon(bundle: string): Promise<readonly Row[]> {
  await using stack = new AsyncDisposableStack();
  const api = stack.adopt(await startApiServer(), (server) => server.close());
  const node = stack.use(await createSandbox({ roots: Number.POSITIVE_INFINITY }));
  await node.write('/kubeconfig', api.kubeconfig());
  const cluster = createCluster(api, nodeName);
  const apply = (...certificates: readonly { readonly pem: string }[]): void =>
    cluster.apply(Object.fromEntries(certificates.map(({ pem }, index) => [`ca-${index}.pem`, pem])));
  const synced = (count: number): Promise<unknown> =>
    cluster.says(({ state, certificates }) => state === 'Synced' && certificates === String(count));
  const args = ['--node-name', nodeName, '--kubeconfig', node.at('/kubeconfig'), '--host-root', node.root];

  apply(corp);
  let agent: AgentProcess | undefined;
  const start = (): AgentProcess =>
    startAgent([...args, '--spread', '0', '--listen', '127.0.0.1:0'], () => {}, [...nodeFlags, bundle]);
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
  const empty = spawn(process.execPath, ['-e', 'setInterval(() => {}, 2 ** 30)']);
  stack.defer(() => void empty.kill());
  await delay(30_000);
  const [ours, bare] = [await memoryOf(running.pid), await memoryOf(empty.pid ?? 0)];
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
    ...(['resident', 'private'] as const).map((kind): Row => {
      const times = ours[kind] / bare[kind];
      return {
        what: `${kind} memory of the bundled daemon, 30 s idle`,
        ours: mebibytes(ours[kind]),
        comparedWith: `an idle Node.js: ${mebibytes(bare[kind])}`,
        result: `${times.toFixed(2)} x`,
        budget: kind === 'resident' ? '2.0 x' : '',
        holds: kind !== 'resident' || times <= 2,
      };
    }),
  ];
}

function ratio(what: string, pairs: readonly { ours: number; bare: number }[], comparedWith: string): Row {
  const [ours, bare] = [median(pairs.map((pair) => pair.ours)), median(pairs.map((pair) => pair.bare))];
  return {
    what,
    ours: milliseconds(ours),
    comparedWith: `${comparedWith}: ${milliseconds(bare)}`,
    result: `${(ours / bare).toFixed(2)} x`,
    budget: '',
    holds: true,
  };
}

async function memoryOf(pid: number): Promise<{ readonly resident: number; readonly private: number }> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
  const field = (name: string): number => 1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]);
  return { resident: field('Rss'), private: field('Private_Clean') + field('Private_Dirty') };
}

/** Twelve polls, as at the default interval, of which each finds all as it was. */
async function measureIdleHour(): Promise<Row> {
  await using node = await createSandbox({ roots: Number.POSITIVE_INFINITY });
  await pass(node, present(corp));
  for (const program of [tool, '/usr/bin/openssl', '/usr/bin/systemctl']) await refuse(node, program);
  const before = process.cpuUsage();
  const reported = new Set<string>();
  for (let poll = 0; poll < 12; poll += 1) {
    const { status, steps } = await pass(node, present(corp), { at: poll * 300 });
    reported.add(JSON.stringify([status, steps]));
  }
  const { user, system } = process.cpuUsage(before);
  const commands = (await node.list('/run')).includes('commands')
    ? (await node.read('/run/commands')).trim().split('\n')
    : [];
  const [only = ''] = reported;
  const isIdle = reported.size === 1 && only.includes('"Synced"') && only.endsWith('[]]');
  return {
    what: 'an idle hour: 12 polls',
    ours: `${milliseconds((user + system) / 1000)} of CPU`,
    comparedWith: '',
    result: `${commands.length} host commands, ${isIdle ? 'the same status' : 'another status'}`,
    budget: '0 commands, nothing to write',
    holds: commands.length === 0 && isIdle,
  };
}

/** From now on this program of the host is counted, and fails. */
async function refuse(node: Sandbox, program: string): Promise<void> {
  await node.write(program, `#!/bin/sh\necho "${program} $*" >> ${node.at('/run/commands')}\nexit 1\n`, 0o755);
}

function print(rows: readonly Row[]): void {
  const cells = rows.map(({ what, ours, comparedWith, result, budget, holds }) => [
    what,
    ours,
    comparedWith,
    result,
    budget,
    budget === '' ? '' : holds ? 'holds' : 'EXCEEDED',
  ]);
  const table = [['measured', 'ours', 'compared with', 'result', 'budget', ''], ...cells];
  const widths = table[0]?.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0))) ?? [];
  const lines = table.map((row) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`);
  lines.splice(1, 0, `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`);
  process.stdout.write(`${lines.join('\n')}\n`);
}

const folder = await mkdtemp(join(tmpdir(), 'node-trust-bench-'));
try {
  const bundle = join(folder, 'node-trust.mjs');
  await bundleAgent(bundle);
  const admission = await measureAdmission();
  const rows = [await measurePass(), ...admission, ...(await measureDaemon(bundle)), await measureIdleHour()];
  print(rows);
  if (rows.some(({ holds }) => !holds)) process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true });
}

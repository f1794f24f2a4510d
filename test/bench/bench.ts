// `npm run bench`: what the agent costs, next to what the same would cost without it, measured in the same run and taken in
// turns, so that a busy machine slows down both. Exits 1 when a budget is exceeded.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { admit } from '../../agent/trust/admission.ts';
import { createCertificate, fixedNow } from '../support/certificates.ts';
import { tool } from '../support/debian.ts';
import { pass, present } from '../support/passes.ts';
import { createSandbox, type Sandbox, updateStore } from '../support/sandbox.ts';
import { measureDaemon } from './daemon.ts';
import { measureFleet } from './fleet.ts';
import { measureNode } from './node.ts';
import { median, milliseconds, print, type Row, ratio, rounds, time } from './rows.ts';

const launcher = fileURLToPath(new URL('../../node-trust', import.meta.url));
const corp = createCertificate({ subject: 'Corp Root' });
const others = Array.from({ length: rounds }, (_, index) => createCertificate({ subject: `Root ${index}` }));

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

/** Of short commands, as a person runs them from a checkout. */
async function measureStartUp(folder: string): Promise<readonly Row[]> {
  const file = join(folder, 'ca.pem');
  await writeFile(file, corp.pem);
  const run = (program: string, ...args: readonly string[]): Promise<unknown> =>
    once(spawn(program, args, { stdio: 'ignore' }), 'close');
  const rows: Row[] = [];
  for (const args of [['--version'], ['validate', file], ['secret', file]]) {
    await run(launcher, ...args); // what is compiled is kept from here on
    const pairs: { ours: number; bare: number }[] = [];
    for (let round = 0; round < 4 * rounds; round += 1) {
      const bare = await time(() => run(process.execPath, '-e', '0'));
      pairs.push({ bare, ours: await time(() => run(launcher, ...args)) });
    }
    const row = ratio(`node-trust ${args[0]}, from start to end`, pairs, 'an empty Node.js program');
    rows.push({ ...row, budget: '3.0 x', holds: Number.parseFloat(row.result) <= 3 });
  }
  return rows;
}

/** `validate` makes the first call of a process, in which nothing is compiled yet; the daemon makes the later ones. */
async function measureAdmission(): Promise<readonly Row[]> {
  const tenOthers = (): [string, Buffer][] =>
    Array.from({ length: 10 }, (_, index) => [`ca-${index}`, Buffer.from(createCertificate().pem)]);
  const garbage = new Map([['garbage', Buffer.alloc(2 ** 20, '-----BEGIN CERTIFICATE-----\nnot\n')]]);
  const rows: Row[] = [];
  for (const [what, entries, budgetMs] of [
    ['validation of 10 certificates', () => new Map(tenOthers()), 20],
    ['validation of 1 MiB of garbage', () => garbage, 200],
  ] as const) {
    const times: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const input = entries();
      times.push(await time(() => admit(input, { maxCertificates: 10, nonCa: 'error', now: fixedNow })));
    }
    const ours = median(times);
    const first = `the first of a process: ${milliseconds(times[0] ?? Number.NaN)}`;
    const budget = milliseconds(budgetMs);
    rows.push({ what, ours: milliseconds(ours), comparedWith: first, result: '', budget, holds: ours <= budgetMs });
  }
  return rows;
}

/** Twelve polls, as at the default interval, of which each finds all as it was. */
async function measureIdleHour(): Promise<Row> {
  await using node = await createSandbox({ roots: Number.POSITIVE_INFINITY });
  const told = JSON.stringify((await pass(node, present(corp))).status);
  const isNews = (status: object): boolean => JSON.stringify(status) !== told;
  for (const program of [tool, '/usr/bin/openssl', '/usr/bin/systemctl']) await refuse(node, program);
  const before = process.cpuUsage();
  const reported = new Set<string>();
  for (let poll = 0; poll < 12; poll += 1) {
    const { status, steps } = await pass(node, present(corp), { at: poll * 300, isNews });
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

const folder = await mkdtemp(join(tmpdir(), 'node-trust-bench-'));
try {
  const admission = await measureAdmission();
  const rows = [
    await measurePass(),
    ...admission,
    ...(await measureStartUp(folder)),
    ...(await measureDaemon(folder)),
    await measureIdleHour(),
    ...(await measureFleet(folder)),
    ...(await measureNode()),
  ];
  print(rows);
  if (rows.some(({ holds }) => !holds)) process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true });
}

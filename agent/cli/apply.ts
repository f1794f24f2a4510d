// `node-trust apply` and `remove`: one pass on this machine, without a cluster. The same pass as the daemon's, with another
// source; at once, since whoever types it has chosen the moment.

import { AgentError } from '../errors.ts';
import { bootFile, createFileSource, planRetirement, type Retirement } from '../host/boot.ts';
import { type Host, openHost } from '../host/host.ts';
import { findLockHolder, lockHost } from '../host/lock.ts';
import { createHostRoot } from '../host/root.ts';
import { type Aim, decide, type Outcome, type PassContext, reconcile } from '../reconcile.ts';
import { describeStep, planTrust, type Step } from '../trust/plan.ts';
import { explainOperational } from '../trust/reasons.ts';
import type { Source } from '../trust/source.ts';
import { describeFinding, sentence } from '../trust/status.ts';
import { defineCommand, type ExitCode, type Terminal, UnreadableError } from './command.ts';
import { readSource } from './entries.ts';
import { durationFlag, switchFlag, textFlag } from './flags.ts';
import { formatJson } from './json.ts';
import { printFindings, printOutcome, sentencesOf } from './outcome-text.ts';
import { admissionFlags } from './validate.ts';

export const healthTimeoutFlag = durationFlag(
  'health-timeout',
  'How long the runtime has to serve again after a restart, before what was added is taken away again',
  '60s',
  1_000,
);

const hostFlags = {
  hostRoot: textFlag('host-root', "Folder that holds the host's root; any other than / is a sandbox", {
    placeholder: 'DIR',
    fallback: '/',
    shown: '/',
  }),
  healthTimeout: healthTimeoutFlag,
  dryRun: switchFlag('dry-run', 'Print what would be done, and do nothing'),
  json: switchFlag('json', 'Print one JSON object'),
} as const;

export const apply = defineCommand({
  name: 'apply',
  synopsis: '--file PATH [FLAGS]',
  about: `Makes this machine trust the certificates of PATH, and no others of ours: they are judged, written to the trust store,
read back, and containerd is restarted if it must be. PATH is what validate takes. Needs root.`,
  examples: [
    ['apply --file cas.pem --dry-run', 'what would be done'],
    ['apply --file cas.pem', 'do it, and prove it'],
    ['apply --file cas.pem --host-root image/', 'into an image under construction, or a sandbox'],
  ],
  flags: {
    file: textFlag('file', 'PEM file, folder, Secret manifest, or - for standard input', {
      placeholder: 'PATH',
      fallback: undefined,
    }),
    ...hostFlags,
    ...admissionFlags,
  },
  positionals: { min: 0, max: 0 },
  async run({ values }, terminal, signal) {
    if (values.file === undefined) {
      terminal.err('node-trust apply: expected --file PATH\nTry: node-trust apply --help\n');
      return 2;
    }
    try {
      const { name, snapshot, findings } = await readSource(values.file, terminal, signal);
      const [malformed] = findings;
      if (malformed !== undefined) {
        terminal.err(`node-trust apply: ${name}, ${sentence(describeFinding(malformed), malformed.remedy)}\n`);
        return 1;
      }
      // To the daemon an empty source is one that lets go of its trust; a person who names an empty folder made a mistake.
      if (snapshot.kind === 'present' && snapshot.entries.size === 0) {
        tellReason('apply', explainOperational('SourceEmpty', { source: name }), terminal);
        return 1;
      }
      const source: Source = { name, read: () => Promise.resolve(snapshot) };
      const wish = { source, local: machinesOwn(values), aim: 'follow', admission: values } as const;
      return await passOnce(wish, values, terminal, signal);
    } catch (error) {
      return explainFailure('apply', error, terminal, signal);
    }
  },
});

export const remove = defineCommand({
  name: 'remove',
  synopsis: '[FLAGS]',
  about: `Takes away every certificate that apply or run put onto this machine, and restarts containerd if it must be, so that it
forgets them too. What others put there stays, and so does what is in ${bootFile}, unless
--all is given: then the unit that installs it at boot is disabled, and the file moved aside. Needs root.`,
  examples: [
    ['remove --dry-run', 'what would be done'],
    ['remove', 'what apply or run put there'],
    ['remove --all', 'what was installed at boot, too'],
  ],
  flags: {
    all: switchFlag('all', "The machine's own certificates, too, and not to install them at boot any more"),
    ...hostFlags,
  },
  positionals: { min: 0, max: 0 },
  async run({ values }, terminal, signal) {
    const source: Source = { name: 'remove', read: () => Promise.resolve({ kind: 'absent' }) };
    const admission = { maxCertificates: 10, allowNonCa: false }; // of the machine's own file: what of it is there stays
    try {
      const local = values.all ? undefined : machinesOwn(values);
      const wish = { source, local, aim: 'withdraw', admission, retiresBoot: values.all } as const;
      return await passOnce(wish, values, terminal, signal);
    } catch (error) {
      return explainFailure('remove', error, terminal, signal);
    }
  },
});

function machinesOwn({ hostRoot }: { readonly hostRoot: string }): Source {
  return createFileSource(createHostRoot(hostRoot), bootFile);
}

interface Wish extends Pick<PassContext, 'source' | 'local' | 'admission'> {
  readonly aim: Aim;
  readonly retiresBoot?: boolean;
}
interface HostValues {
  readonly hostRoot: string;
  readonly healthTimeout: number;
  readonly dryRun: boolean;
  readonly json: boolean;
}

async function passOnce(wish: Wish, values: HostValues, terminal: Terminal, signal: AbortSignal): Promise<ExitCode> {
  const root = createHostRoot(values.hostRoot);
  if ((await root.readFolder('/')) === 'absent') throw new UnreadableError(`there is no folder ${root.path}`);
  const now = (): Date => new Date();
  const open = (): Promise<Host> => openHost({ root, runtime: 'optional', now, healthTimeoutMs: values.healthTimeout });
  const host = await open(); // a folder that is no host we know gets not even a lock
  const retirement = wish.retiresBoot === true ? await planRetirement(root) : [];
  if (values.dryRun) {
    const holder = await findLockHolder(root);
    if (holder !== undefined)
      terminal.err(`note: an agent (PID ${holder}) holds this host: nothing of this can be done while it runs\n`);
    return describePlan(wish, retirement, host, values.json, terminal, signal);
  }
  const lock = await lockHost(root);
  try {
    await host.sweep();
    for (const { sentence: what, carryOut } of retirement) {
      await carryOut();
      if (!values.json) terminal.out(`done: ${what}\n`);
    }
    const outcome = await reconcile(
      {
        ...wish,
        chooseAim: () => Promise.resolve(wish.aim),
        openHost: open,
        now,
        graceMs: 0,
        restartDelayMs: 0,
        restartIntervalMs: 0, // somebody who asks for it by hand does not want to wait
        retryMark: now().toISOString(),
        isNews: () => true,
        report: () => Promise.resolve(),
        onStep: (step) => values.json || terminal.out(`done: ${describeStep(step)}\n`),
      },
      signal,
    );
    printOutcome(outcome, retirement, values.json, terminal);
    return exitCodeOf(outcome);
  } finally {
    await lock.release();
  }
}

async function describePlan(
  wish: Wish,
  retirement: readonly Retirement[],
  host: Host,
  json: boolean,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<ExitCode> {
  const { aim, ...sources } = wish;
  const observed = await host.observe('glance', signal);
  const context = { ...sources, now: () => new Date(), graceMs: 0 };
  const { source, decision } = await decide(aim, context, host, observed, signal);
  const accepted = decision.verdict.kind === 'admitted' || decision.verdict.kind === 'withdrawn';
  const plan: readonly Step[] = accepted ? planTrust(decision.desired, observed) : [];
  if (decision.verdict.kind === 'wrong-type') {
    const { type } = decision.verdict;
    tellReason('apply', explainOperational('SourceWrongType', { source, type }), terminal);
  }
  const steps = sentencesOf(retirement, plan);
  if (json) terminal.out(formatJson({ version: 1, accepted, steps, findings: decision.findings }));
  else {
    printFindings(decision.findings, terminal);
    for (const step of steps) terminal.out(`would ${step}\n`);
    if (accepted && steps.length === 0) terminal.out('nothing to do\n');
  }
  return accepted ? 0 : 1;
}

/** What was taken away and is held by a hook's key store is not gone. */
function exitCodeOf({ status: { state }, next }: Outcome): ExitCode {
  if (state === 'Disabled' && next.kind !== 'end') return 3;
  if (state === 'Synced' || state === 'Disabled') return 0;
  return state === 'Failed' ? 3 : 1;
}

function explainFailure(command: string, error: unknown, terminal: Terminal, signal: AbortSignal): ExitCode {
  if (signal.aborted) {
    terminal.err(`node-trust ${command}: interrupted after the step under way; the same command goes on from there\n`);
    return 3;
  }
  if (!(error instanceof AgentError)) throw error;
  tellReason(command, error, terminal);
  return 3;
}

type ToldReason = Pick<AgentError, 'code' | 'message' | 'remedy'>;

function tellReason(command: string, { code, message, remedy }: ToldReason, terminal: Terminal): void {
  terminal.err(`node-trust ${command}: ${code}: ${sentence(message, remedy)}\n`);
}

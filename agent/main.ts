// The entry: picks a command, hands it the terminal and a signal, and sets the exit code. The only reader of the process's
// arguments and environment. The first SIGTERM or SIGINT asks the command to end. A second SIGINT is from somebody who
// does not want to wait for that, and ends the process; further SIGTERMs are ignored, since a pod that is being deleted may get
// it twice.

import { isatty } from 'node:tty';
import manifest from '../package.json' with { type: 'json' };
import { type Command, type ExitCode, type Terminal } from './cli/command.ts';
import { readStream } from './cli/input.ts';
import { createOutput } from './cli/output.ts';
import { describeSystemError } from './cli/system-error.ts';

/** Loaded when asked for: `validate` has no use for a Kubernetes client. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  run: async () => (await import('./cli/run.ts')).run,
  apply: async () => (await import('./cli/apply.ts')).apply,
  remove: async () => (await import('./cli/apply.ts')).remove,
  boot: async () => (await import('./cli/boot.ts')).boot,
  secret: async () => (await import('./cli/secret.ts')).secret,
  status: async () => (await import('./cli/status.ts')).status,
  doctor: async () => (await import('./cli/doctor.ts')).doctor,
  validate: async () => (await import('./cli/validate.ts')).validate,
};

const usage = `Usage: node-trust COMMAND [FLAGS]

Makes this node trust certificate authorities: validated, in place, with proof.

Commands:
  run       The daemon of a node: follows a Secret of the cluster
  apply     Makes this machine trust a file's certificates, once, without a cluster
  remove    Takes away all that apply or run put onto this machine
  validate  Judges certificates as run and apply do, and touches nothing
  secret    Makes the Secret that run follows out of files
  boot      Prints what makes a new node trust a file's certificates from its first boot on
  status    Prints what the agents tell on their Nodes
  doctor    Finds what keeps a node from pulling from a registry, and says what to type

node-trust COMMAND --help tells more. node-trust --version prints ${manifest.version}.
`;

async function main(argv: readonly string[], terminal: Terminal, signal: AbortSignal): Promise<ExitCode> {
  const [name = '', ...rest] = argv;
  if (name === '--version') return print(`${manifest.version}\n`, terminal);
  if (name === '--help' || name === '-h' || name === 'help') return print(usage, terminal);
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (load === undefined) {
    terminal.err(name === '' ? usage : `node-trust: unknown command ${JSON.stringify(name)}; try: node-trust --help\n`);
    return 2;
  }
  return (await load()).run(rest, terminal, signal);
}

function print(output: string, terminal: Terminal): ExitCode {
  terminal.out(output);
  return 0;
}

const sameInterruptMs = 100;

// What is written for the host is for all of its users, whatever the caller's umask hides.
process.umask(0o022);
const ending = new AbortController();
process.on('SIGTERM', () => ending.abort());
let interruptedAt = Number.POSITIVE_INFINITY;
process.on('SIGINT', () => {
  // One Ctrl-C may come twice: from the terminal, and from whoever runs this and passes its own on, as timeout(1) does.
  if (performance.now() - interruptedAt > sameInterruptMs) process.exit(128 + 2);
  interruptedAt = Math.min(interruptedAt, performance.now());
  ending.abort();
});
const output = createOutput(process.stdout);
// There is nobody left to tell.
process.stderr.on('error', () => {});

const isTty = isatty(1) && process.env['TERM'] !== 'dumb';
/** A defect of ours. Its properties may hold what was typed or read, passwords among them, so they are not printed. */
function reportDefect(error: unknown): ExitCode {
  process.stderr.write(
    `node-trust: a defect, please report it: ${error instanceof Error ? error.stack : String(error)}\n`,
  );
  return 3;
}

const code = await main(
  process.argv.slice(2),
  {
    out: output.write,
    unread: output.unread,
    err: (output) => void process.stderr.write(output),
    readInput: () => readStream(process.stdin, ending.signal),
    isTty,
    get columns() {
      // A terminal that does not know its width says 0.
      return isTty ? process.stdout.columns || 80 : Number.POSITIVE_INFINITY;
    },
    env: process.env,
  },
  ending.signal,
).catch(reportDefect);
const failure = await output.end();
if (failure !== undefined)
  process.stderr.write(`node-trust: standard output could not be written: ${describeSystemError(failure)}\n`);
// Now, whatever is still open: a plugin for credentials, or an input that nobody ends.
process.exit(failure === undefined ? code : 3);

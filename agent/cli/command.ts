// What a command of the command line is: flags, a text for --help, and one function that answers with an exit code.
// A command reads and writes through its terminal only, so that it can be run in a test as it is run by a person.

import { printable } from '../trust/printable.ts';
import { describeFlags, type FlagTable, type FlagValues, parseFlags, switchFlag } from './flags.ts';

/** 0 done or accepted, 1 rejected or not synced, 2 usage, 3 could not reach or do something. */
export type ExitCode = 0 | 1 | 2 | 3;

/** A Secret holds at most 1 MiB; its base64 and a manifest around it fit in here. */
export const maxInputBytes = 4 * 1024 * 1024;

export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  /** All of standard input; of more than {@link maxInputBytes}, one byte more than that. */
  readInput(): Promise<Uint8Array>;
  /** Standard output is a terminal that can colour text and draw a line again: not with TERM=dumb. */
  readonly isTty: boolean;
  /** Its width, now; Infinity where it is no terminal. */
  readonly columns: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborts when nobody reads standard output any more: what only prints may end then. */
  readonly unread?: AbortSignal;
}

/** A line to type, without the `node-trust ` that it begins with, and what it is for. */
export type Example = readonly [line: string, purpose: string];

/** What could not be read, for people, with the remedy: ends a command with 3. */
export class UnreadableError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(printable(message), options);
  }
}

export interface Command {
  readonly name: string;
  run(argv: readonly string[], terminal: Terminal, signal: AbortSignal): Promise<ExitCode>;
}

export interface CommandSpec<Table extends FlagTable> {
  readonly name: string;
  /** What follows the name in the usage line. */
  readonly synopsis: string;
  /** What it does, in a few lines; --help prints it below the usage line. */
  readonly about: string;
  readonly examples: readonly Example[];
  readonly flags: Table;
  /** `name` is what --help and problems call one of them; PATH unless given. */
  readonly positionals: { readonly min: number; readonly max: number; readonly name?: string };
  run(
    call: { readonly values: FlagValues<Table>; readonly positionals: readonly string[] },
    terminal: Terminal,
    signal: AbortSignal,
  ): Promise<ExitCode>;
}

export function defineCommand<Table extends FlagTable>(spec: CommandSpec<Table>): Command {
  const help = switchFlag('help', 'Print this');
  return {
    name: spec.name,
    async run(argv, terminal, signal) {
      if (argv.includes('--help') || argv.includes('-h')) {
        const flags = describeFlags({ ...spec.flags, help });
        const usage = `Usage: node-trust ${spec.name} ${spec.synopsis}\n\n${spec.about}`;
        terminal.out(`${usage}\n\nExamples:\n${describeExamples(spec.examples)}\nFlags:\n${flags}${exitCodes}`);
        return 0;
      }
      const parsed = parseFlags(spec.flags, argv, terminal.env);
      const problems = parsed.kind === 'problems' ? parsed.problems : checkCount(parsed.positionals, spec);
      if (parsed.kind === 'problems' || problems.length > 0) {
        for (const problem of problems) terminal.err(`node-trust ${spec.name}: ${problem}\n`);
        terminal.err(`Try: node-trust ${spec.name} --help\n`);
        return 2;
      }
      try {
        return await spec.run(parsed, terminal, signal);
      } catch (error) {
        if (!(error instanceof UnreadableError)) throw error;
        terminal.err(`node-trust ${spec.name}: ${error.message}\n`);
        return 3;
      }
    },
  };
}

const exitCodes = `
Exit codes: 0 done or accepted, 1 rejected or not synced, 2 usage, 3 could not reach or do something
`;

function describeExamples(examples: readonly Example[]): string {
  const width = Math.max(...examples.map(([line]) => line.length));
  return examples.map(([line, purpose]) => `  node-trust ${line.padEnd(width)}   ${purpose}\n`).join('');
}

function checkCount(
  positionals: readonly string[],
  { positionals: { min, max, name = 'PATH' } }: CommandSpec<FlagTable>,
): readonly string[] {
  if (positionals.length < min) return [`expected ${name}, got nothing`];
  return positionals.slice(max).map((surplus) => `unexpected argument ${JSON.stringify(surplus)}`);
}

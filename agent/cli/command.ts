// What a command of the command line is: flags, a text for --help, and one function that answers with an exit code.
// A command reads and writes through its terminal only, so that it can be run in a test as it is run by a person.

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
  readonly env: Readonly<Record<string, string | undefined>>;
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
  readonly flags: Table;
  readonly positionals: { readonly min: number; readonly max: number };
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
        terminal.out(
          `Usage: node-trust ${spec.name} ${spec.synopsis}\n\n${spec.about}\n\nFlags:\n${flags}${exitCodes}`,
        );
        return 0;
      }
      const parsed = parseFlags(spec.flags, argv, terminal.env);
      const problems = parsed.kind === 'problems' ? parsed.problems : checkCount(parsed.positionals, spec);
      if (parsed.kind === 'problems' || problems.length > 0) {
        for (const problem of problems) terminal.err(`node-trust ${spec.name}: ${problem}\n`);
        terminal.err(`Try: node-trust ${spec.name} --help\n`);
        return 2;
      }
      return spec.run(parsed, terminal, signal);
    },
  };
}

const exitCodes = `
Exit codes: 0 done or accepted, 1 rejected or not synced, 2 usage, 3 could not reach or do something
`;

function checkCount(
  positionals: readonly string[],
  { positionals: { min, max } }: CommandSpec<FlagTable>,
): readonly string[] {
  if (positionals.length < min) return ['expected PATH, got nothing'];
  return positionals.slice(max).map((surplus) => `unexpected argument ${JSON.stringify(surplus)}`);
}

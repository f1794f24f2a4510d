// Flags of a command, declared once: parsing, defaults, environment and --help all come from the same table.
// Parsing is pure and tells every problem at once, each naming its flag, what was expected and what was given.

import { parseArgs } from 'node:util';

export interface Flag<T> {
  readonly name: string;
  readonly help: string;
  /** What stands for the value in --help; undefined for a flag without a value. */
  readonly placeholder: string | undefined;
  /** A variable of the environment that is used when the flag is not given. */
  readonly env: string | undefined;
  readonly fallback: T;
  /** What --help prints as the default; empty for none. */
  readonly shown: string;
  /** Throws an Error that says what was expected. */
  parse(text: string): T;
}

export type FlagTable = Readonly<Record<string, Flag<unknown>>>;
export type FlagValues<Table extends FlagTable> = {
  readonly [Key in keyof Table]: Table[Key] extends Flag<infer T> ? T : never;
};

export type ParsedFlags<Table extends FlagTable> =
  | { readonly kind: 'parsed'; readonly values: FlagValues<Table>; readonly positionals: readonly string[] }
  | { readonly kind: 'problems'; readonly problems: readonly string[] };

interface FlagOptions<T> {
  readonly placeholder: string;
  readonly env?: string;
  readonly fallback: T;
  readonly shown?: string;
}

export function flag<T>(name: string, help: string, options: FlagOptions<T>, parse: (text: string) => T): Flag<T> {
  const { placeholder, env, fallback, shown = '' } = options;
  return { name, help, placeholder, env, fallback, shown, parse };
}

export function textFlag<T extends string | undefined>(
  name: string,
  help: string,
  options: FlagOptions<T>,
): Flag<T | string> {
  return flag<T | string>(name, help, options, (text) => {
    if (text === '') throw new Error('expected a value, got nothing');
    return text;
  });
}

export function switchFlag(name: string, help: string): Flag<boolean> {
  return { name, help, placeholder: undefined, env: undefined, fallback: false, shown: '', parse: () => true };
}

/** A duration as Go writes it, for whoever types kubectl all day: `90s`, `1h30m`, `500ms`, `0`. Value in milliseconds. */
export function durationFlag(name: string, help: string, shown: string, minMs = 0): Flag<number> {
  return flag(name, help, { placeholder: 'DURATION', fallback: parseDuration(shown), shown }, (text) => {
    const milliseconds = parseDuration(text);
    if (milliseconds < minMs) throw new Error(`expected at least ${minMs / 1000}s, got ${JSON.stringify(text)}`);
    return milliseconds;
  });
}

export function countFlag(name: string, help: string, fallback: number): Flag<number> {
  return flag(name, help, { placeholder: 'N', fallback, shown: String(fallback) }, (text) => {
    if (!/^[1-9]\d{0,5}$/.test(text)) throw new Error(`expected a whole number from 1, got ${JSON.stringify(text)}`);
    return Number(text);
  });
}

export function parseDuration(text: string): number {
  const units = new Map([
    ['ms', 1],
    ['s', 1_000],
    ['m', 60_000],
    ['h', 3_600_000],
  ]);
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  const isWhole = parts.length > 0 && parts.map(([part]) => part).join('') === text;
  if (text !== '0' && !isWhole)
    throw new Error(`expected a duration such as 90s, 5m or 1h30m, got ${JSON.stringify(text)}`);
  const milliseconds = parts.reduce((sum, [, number, unit]) => sum + Number(number) * (units.get(unit ?? '') ?? 0), 0);
  // setTimeout() takes no more than 2^31-1 ms.
  if (milliseconds > 2 ** 31 - 1) throw new Error(`expected at most 24 days, got ${JSON.stringify(text)}`);
  return milliseconds;
}

export function parseFlags<Table extends FlagTable>(
  table: Table,
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): ParsedFlags<Table> {
  const known = new Map(Object.values(table).map((declared) => [declared.name, declared]));
  const options = Object.fromEntries(
    [...known].map(([name, { placeholder }]) => [
      name,
      { type: placeholder === undefined ? 'boolean' : 'string' } as const,
    ]),
  );
  const { tokens, positionals } = parseArgs({
    args: [...argv],
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const problems: string[] = [];
  const given = new Map<string, unknown>();
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    const declared = known.get(token.name);
    if (declared === undefined) problems.push(`unknown flag ${token.rawName}`);
    else if (given.has(token.name)) problems.push(`--${token.name} is given more than once`);
    else {
      // Not in strict mode, parseArgs takes the next flag for this one's value.
      const swallowed = token.inlineValue === false && token.value.startsWith('--');
      given.set(token.name, read(declared, `--${token.name}`, swallowed ? undefined : token.value, problems));
    }
  }
  const values = Object.entries(table).map(([key, declared]) => {
    if (given.has(declared.name)) return [key, given.get(declared.name)];
    const fromEnv = declared.env === undefined ? undefined : env[declared.env];
    return [key, fromEnv ? read(declared, declared.env ?? '', fromEnv, problems) : declared.fallback];
  });
  if (problems.length > 0) return { kind: 'problems', problems };
  return { kind: 'parsed', values: Object.fromEntries(values) as FlagValues<Table>, positionals };
}

function read(declared: Flag<unknown>, place: string, text: string | undefined, problems: string[]): unknown {
  const takesValue = declared.placeholder !== undefined;
  if (takesValue && text === undefined) problems.push(`${place}: expected ${declared.placeholder}, got nothing`);
  else if (!takesValue && text !== undefined) problems.push(`${place} takes no value`);
  else {
    try {
      return declared.parse(text ?? '');
    } catch (error) {
      problems.push(`${place}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return declared.fallback;
}

/** The lines of --help for a table, two columns. */
export function describeFlags(table: FlagTable): string {
  const rows = Object.values(table).map(({ name, placeholder, help, env, shown }) => {
    const notes = [shown && `default ${shown}`, env && `or $${env}`].filter(Boolean).join('; ');
    return [
      `  --${name}${placeholder === undefined ? '' : ` ${placeholder}`}`,
      notes ? `${help} (${notes})` : help,
    ] as const;
  });
  const width = Math.max(...rows.map(([left]) => left.length)) + 2;
  return rows.map(([left, right]) => `${left.padEnd(width)}${right}\n`).join('');
}

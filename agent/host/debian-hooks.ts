// The hooks of update-ca-certificates(8), run as the tool runs them: each that run-parts(8) lists gets a line for each link of the
// store, `+` for what has come, `-` for what has gone. They feed other stores, such as the one of JVMs. One that fails is no
// failure of ours, and is told again with the next pass.

import { AgentError } from '../errors.ts';
import type { AnchorName } from '../trust/observation.ts';
import type { CommandOutput, Commands } from './commands.ts';
import type { HostRoot } from './root.ts';

export interface HookParts {
  readonly root: HostRoot;
  readonly commands: Commands;
  readonly storeFolder: string;
  /** Where a program finds it. */
  placeOf(path: string): Promise<string>;
}

const hooksFolder = '/etc/ca-certificates/update.d';
const hookTimeoutMs = 120_000;

/** The link of one of ours in the store. */
export function linkOf(name: AnchorName): string {
  return `${name}.pem`;
}

/** `come` and `went` are names of links. Answers with what those that failed have said. */
export async function tellHooks(
  { root, commands, storeFolder, placeOf }: HookParts,
  come: readonly string[],
  went: readonly string[],
  signal: AbortSignal,
): Promise<readonly string[]> {
  const entries = await root.readFolder(hooksFolder);
  if (entries === 'absent' || entries.length === 0) return [];
  const lines = (sign: '+' | '-', names: readonly string[]): readonly string[] =>
    [...new Set(names)]
      .filter((name) => name.endsWith('.pem'))
      .map((name) => `${sign}${commands.pathOf(storeFolder)}/${name}\n`);
  const input = [...lines('+', come), ...lines('-', went)].join('');
  const limits = { timeoutMs: hookTimeoutMs };
  const untold: string[] = [];
  const attempt = async (work: Promise<CommandOutput>): Promise<string> => {
    try {
      return (await work).stdout;
    } catch (error) {
      if (!(error instanceof AgentError)) throw error;
      untold.push(`a hook of update-ca-certificates failed, and is told again with the next pass: ${error.message}`);
      return '';
    }
  };
  const folder = await placeOf(hooksFolder);
  const listed = await attempt(commands.run('run-parts', ['--test', '--', folder], limits, signal));
  for (const hook of listed.split('\n').filter(Boolean)) {
    await attempt(commands.run(hook, [], { ...limits, input }, signal));
  }
  return untold;
}

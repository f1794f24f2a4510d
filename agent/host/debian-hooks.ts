// The hooks of update-ca-certificates(8), run as the tool runs them: each that run-parts(8) lists gets a line for each link of the
// store, `+` for what has come, `-` for what has gone. They feed other stores, such as the one of JVMs. One that fails is no
// failure of ours, and is told again with the next pass.

import { AgentError } from '../errors.ts';
import type { AnchorName } from '../trust/observation.ts';
import type { Commands } from './commands.ts';
import type { HostRoot } from './root.ts';
import type { Untold } from './trust-store.ts';

export interface HookParts {
  readonly root: HostRoot;
  readonly commands: Commands;
  readonly storeFolder: string;
  /** Where a program finds it. */
  placeOf(path: string): Promise<string>;
}

const hooksFolder = '/etc/ca-certificates/update.d';
/** Of all together, but for the least that each has. */
const hooksTimeoutMs = 120_000;
const leastTimeoutMs = 5_000;

/** The link of one of ours in the store. */
export function linkOf(name: AnchorName): string {
  return `${name}.pem`;
}

/**
 * `names` are those of links that have come or gone: which of it, the store says. What one of the hooks could not be told, all are
 * told once more.
 */
export async function tellHooks(
  { root, commands, storeFolder, placeOf }: HookParts,
  names: readonly string[],
  signal: AbortSignal,
): Promise<Untold> {
  const entries = await root.readFolder(hooksFolder);
  if (entries === 'absent' || entries.length === 0) return { names: [], warnings: [] };
  const linked = await root.readLinks(storeFolder);
  const changed = [...new Set(names)].filter((name) => name.endsWith('.pem'));
  const input = changed
    .map((name) => `${linked.has(name) ? '+' : '-'}${commands.pathOf(storeFolder)}/${name}\n`)
    .join('');
  const end = performance.now() + hooksTimeoutMs;
  const warnings: string[] = [];
  const attempt = async (command: string, args: readonly string[]): Promise<string> => {
    const timeoutMs = Math.max(end - performance.now(), leastTimeoutMs);
    try {
      return (await commands.run(command, args, { timeoutMs, input }, signal)).stdout;
    } catch (error) {
      if (!(error instanceof AgentError)) throw error;
      warnings.push(`a hook of update-ca-certificates failed, and is told again with the next pass: ${error.message}`);
      return '';
    }
  };
  const listed = await attempt('run-parts', ['--test', '--', await placeOf(hooksFolder)]);
  for (const hook of listed.split('\n').filter(Boolean)) await attempt(hook, []);
  return { names: warnings.length === 0 ? [] : changed, warnings };
}

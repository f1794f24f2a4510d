// What the agent knows must be on the host's disk, or a crash would make it forget: the last good set, since when the
// source is gone, which process of the runtime loaded what, what failed and is not to be tried again.
// One file with a schema version, replaced as a whole; a newer one than ours is refused, a torn one cannot happen.

import { AgentError } from '../errors.ts';
import type { SourceMemory } from '../trust/desired.ts';
import type { RuntimeRecord } from '../trust/observation.ts';
import type { HeldFailure } from '../trust/status.ts';
import type { HostRoot } from './root.ts';

export const stateFolder = '/var/lib/node-trust-agent';
const factsPath = `${stateFolder}/state.json`;
const schemaVersion = 1;

export interface Facts {
  readonly source?: SourceMemory;
  readonly runtime: RuntimeRecord;
  /** A failure of the class `content`, and the state of the world in which it happened. */
  readonly held?: HeldFailure;
  /** The pool was disabled and taking the trust away has begun. */
  readonly leaving?: true;
}

export interface FactsFile {
  /** Throws `StateTooNew`. */
  read(): Promise<Facts>;
  /** Writes only what differs from what was read or written last. */
  update(change: { readonly [Key in keyof Facts]?: Facts[Key] | undefined }): Promise<Facts>;
  /** Takes the file away, with the last of our trust. */
  forget(): Promise<void>;
}

const noFacts: Facts = { runtime: {} };

export function createFactsFile(root: HostRoot): FactsFile {
  async function read(): Promise<Facts> {
    const bytes = await root.readFile(factsPath);
    return bytes === 'absent' ? noFacts : parseFacts(Buffer.from(bytes).toString('utf8'));
  }
  return {
    read,
    async update(change) {
      const before = await read();
      const text = formatFacts({ ...before, ...change });
      if (text !== formatFacts(before)) await root.writeFile(factsPath, text, 0o600);
      return parseFacts(text);
    },
    forget: () => root.remove(factsPath),
  };
}

function formatFacts(facts: object): string {
  return `${JSON.stringify({ version: schemaVersion, ...facts }, null, 2)}\n`;
}

function parseFacts(text: string): Facts {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return noFacts; // Edited by hand, or a broken disk: what is not known is found out again, at the price of a rebuild.
  }
  if (typeof parsed !== 'object' || parsed === null || !('version' in parsed)) return noFacts;
  const { version, ...facts } = parsed;
  if (typeof version !== 'number' || version > schemaVersion) {
    throw new AgentError('StateTooNew', { path: factsPath, found: Number(version), known: schemaVersion });
  }
  return { ...noFacts, ...facts };
}

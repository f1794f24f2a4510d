// What the agent knows must be on the host's disk, or a crash would make it forget: the last good set, since when the
// source is gone, which process of the runtime loaded what, what failed and is not to be tried again.
// One file with a schema version, replaced as a whole; a newer one than ours is refused, a torn one cannot happen.

import { AgentError } from '../errors.ts';
import type { BundleDigest } from '../trust/bundle.ts';
import type { SourceMemory } from '../trust/desired.ts';
import type { Repairs } from '../trust/drift.ts';
import { parseAnchorName, type RuntimeRecord } from '../trust/observation.ts';
import type { Provenance } from '../trust/provenance.ts';
import type { HeldFailure, Undoing } from '../trust/status.ts';
import type { HostRoot } from './root.ts';

export const stateFolder = '/var/lib/node-trust-agent';
/** Where a store is built to be looked at; nothing of it stays. */
export const stageFolder = `${stateFolder}/stage`;
const factsPath = `${stateFolder}/state.json`;
const schemaVersion = 1;

export interface Facts extends Provenance {
  readonly source?: SourceMemory;
  /** Of the machine's own file. */
  readonly local?: SourceMemory;
  readonly runtime: RuntimeRecord;
  /** A failure of the class `content`, and the state of the world in which it happened. */
  readonly held?: HeldFailure;
  /** A rollback that was begun and is not known to have ended. */
  readonly undoing?: Undoing;
  /** The last wish to try again that could be read. */
  readonly retryMark?: string;
  readonly repairs?: Repairs;
  /** The links of the store of which hooks could not be told. */
  readonly untold?: readonly string[];
  /** The pool was disabled and taking the trust away has begun. */
  readonly leaving?: true;
}

export interface FactsFile {
  /** Throws `StateTooNew`. */
  read(): Promise<Facts>;
  /** What is to be said of a file that is there and says nothing; undefined for any other. */
  findLoss(): Promise<string | undefined>;
  /** Writes only what differs from what was read or written last. */
  update(change: { readonly [Key in keyof Facts]?: Facts[Key] | undefined }): Promise<Facts>;
  /** With the last of our trust, all is forgotten but this; without anything the file goes. */
  forget(but: RuntimeRecord): Promise<void>;
}

const noFacts: Facts = { runtime: {} };
/**
 * Of records that cannot be read: something was built once, nobody knows what, and what the runtime has loaded of it neither. One
 * rebuild and one restart find out.
 */
const unknownRuntime: RuntimeRecord = {
  rebuild: { bundle: '' as BundleDigest, at: new Date(0).toISOString(), before: 'unknown' },
};

export function createFactsFile(root: HostRoot): FactsFile {
  async function readText(): Promise<string | undefined> {
    const bytes = await root.readFile(factsPath);
    return bytes === 'absent' ? undefined : Buffer.from(bytes).toString('utf8');
  }

  async function read(): Promise<Facts> {
    const content = await readText();
    return content === undefined ? noFacts : parseFacts(content).facts;
  }
  return {
    read,
    async findLoss() {
      const content = await readText();
      const lost = content === undefined ? undefined : parseFacts(content).lost;
      return lost && `${lost} could not be read and was begun anew: what lies on the host is kept`;
    },
    async update(change) {
      const before = await read();
      const text = formatFacts({ ...before, ...change });
      if (text !== formatFacts(before)) await root.writeFile(factsPath, text, 0o600);
      return parseFacts(text).facts;
    },
    async forget(runtime) {
      if (Object.keys(runtime).length === 0) await root.remove(factsPath);
      else await root.writeFile(factsPath, formatFacts({ runtime }), 0o600);
    },
  };
}

function formatFacts(facts: object): string {
  return `${JSON.stringify({ version: schemaVersion, ...facts }, null, 2)}\n`;
}

interface Parsed {
  readonly facts: Facts;
  /** The file, or what part of it, was edited by hand, say, or comes from a broken disk. */
  readonly lost: string | undefined;
}

function parseFacts(text: string): Parsed {
  const nothing: Parsed = { facts: { runtime: unknownRuntime }, lost: factsPath };
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return nothing;
  }
  if (typeof parsed !== 'object' || parsed === null || !('version' in parsed)) return nothing;
  const { version, ...parts } = parsed;
  if (typeof version !== 'number' || version > schemaVersion) {
    throw new AgentError('StateTooNew', { path: factsPath, found: JSON.stringify(version), known: schemaVersion });
  }
  const known = Object.entries(parts).filter(([part, value]) => shapes.get(part)?.(value) === true);
  const facts = { runtime: unknownRuntime, ...Object.fromEntries(known) };
  const lost = Object.keys(parts).filter((part) => shapes.has(part) && !Object.hasOwn(facts, part));
  if (facts.runtime === unknownRuntime) lost.push('runtime');
  return { facts, lost: lost.length === 0 ? undefined : `${lost.join(', ')} in ${factsPath}` };
}

type Shape = (value: unknown) => boolean;
const text: Shape = (value) => typeof value === 'string';
const flag: Shape = (value) => typeof value === 'boolean';
const time: Shape = (value) => typeof value === 'string' && !Number.isNaN(Date.parse(value));
const anchor: Shape = (value) => typeof value === 'string' && parseAnchorName(value, '') !== undefined;
const optional =
  (shape: Shape): Shape =>
  (value) =>
    value === undefined || shape(value);
const list =
  (shape: Shape): Shape =>
  (value) =>
    Array.isArray(value) && value.every(shape);
const record =
  (fields: Readonly<Record<string, Shape>>): Shape =>
  (value) =>
    typeof value === 'object' &&
    value !== null &&
    Object.entries(fields).every(([name, shape]) => shape(Reflect.get(value, name)));

const memory = record({
  source: text,
  certificates: list(record({ entry: text, pem: text })),
  observed: text,
  onDelete: (value) => value === 'grace' || value === 'remove',
  goneSince: optional(time),
  atBoot: optional(list(anchor)),
});

const noted = { at: time, countsFrom: optional(time) };

/** A part that has not its shape is as good as not there. */
const shapes: ReadonlyMap<string, Shape> = new Map([
  ['source', memory],
  ['local', memory],
  [
    'runtime',
    record({
      rebuild: optional(
        record({ ...noted, bundle: text, before: text, after: optional(text), version: optional(text) }),
      ),
      loaded: optional(
        record({ invocationId: text, bundle: text, version: optional(text), besides: optional(list(anchor)) }),
      ),
      restarted: optional(
        record({ ...noted, bundle: optional(text), before: optional(text), version: optional(text) }),
      ),
      rewritten: optional(text),
      kubelet: optional(text),
    }),
  ],
  ['held', record({ world: text, retryMark: text, code: text, message: text })],
  ['undoing', record({ bundle: text, retryMark: text, evidence: text, retry: text, wasRestarted: flag })],
  ['retryMark', text],
  ['proven', list(anchor)],
  ['added', list(anchor)],
  [
    'repairs',
    (value) => typeof value === 'object' && value !== null && Object.values(value).every((times) => list(time)(times)),
  ],
  ['withdrawn', list(anchor)],
  ['untold', list(text)],
  ['leaving', (value) => value === true],
]);

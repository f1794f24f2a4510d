// What a machine trusts before any cluster: a PEM file, installed at boot by a unit that is ordered before the runtimes
// (image/boot/). An agent follows the file beside its Secret, and takes over what the boot has installed: the record below
// /run says which store every runtime has loaded that was started later.

import { posix } from 'node:path';
import { AgentError } from '../errors.ts';
import type { BundleDigest } from '../trust/bundle.ts';
import { type AnchorName, parseAnchorName, type RuntimeMark, type RuntimeRecord } from '../trust/observation.ts';
import type { Source } from '../trust/source.ts';
import { stateFolder } from './facts.ts';
import type { HostRoot } from './root.ts';

export const bootFile = '/etc/node-trust/certificates.pem';
const bootUnit = 'node-trust-boot.service';
const unitFolder = '/etc/systemd/system';
/** Below /run, which no boot outlives. */
export const bootRecord = '/run/node-trust-agent/boot';
/** What the last boot has installed, for the next one. */
const bootList = `${stateFolder}/boot.list`;

/** The machine's own file as a source; it is read below the host's root. */
export function createFileSource(root: HostRoot, path: string): Source {
  return {
    name: `file ${path}`,
    async read() {
      try {
        const bytes = await root.readFile(path);
        if (bytes === 'absent') return { kind: 'absent' };
        const entries = new Map(bytes.length === 0 ? [] : [[posix.basename(path), bytes]]);
        return { kind: 'present', entries, onDelete: 'grace' };
      } catch (error) {
        if (!(error instanceof AgentError)) throw error;
        return { kind: 'unavailable', code: 'SourceUnavailable', evidence: error.message };
      }
    },
  };
}

/**
 * The rebuild that the boot has made, where the store is still as it has left it and nothing is recorded of this store; else
 * what is recorded. Good once: whoever changes the store, or has noted what the runtime loaded, takes the boot's record away.
 */
export async function withBoot(record: RuntimeRecord, root: HostRoot, version: string): Promise<RuntimeRecord> {
  if (record.rebuild?.version === version) return record;
  const boot = await readRecord(root);
  if (boot === undefined || boot.store !== inSeconds(version)) return record;
  const { bundle, before, after } = boot;
  return { ...record, rebuild: { bundle, at: new Date(0).toISOString(), before, after, version } };
}

/** As the boot writes it: with the time of change in seconds. By its bytes a store would be the same that was damaged and mended since. */
function inSeconds(version: string): string {
  return version.slice(0, -9);
}

/** The anchors that stood in the file at the last boot that found it good; undefined where there was none. */
export async function readBootList(root: HostRoot): Promise<ReadonlySet<AnchorName> | undefined> {
  const bytes = await root.readFile(bootList);
  if (bytes === 'absent') return undefined;
  const lines = Buffer.from(bytes).toString('utf8').split('\n');
  return new Set(lines.flatMap((line) => parseAnchorName(line, '') ?? []));
}

interface BootRecord {
  readonly bundle: BundleDigest;
  /** Which file the bundle was: inode, size, and time of change in seconds. */
  readonly store: string;
  readonly before: RuntimeMark;
  readonly after: RuntimeMark;
}

/** A line a fact; one that is missing, or of another version, makes it none. */
async function readRecord(root: HostRoot): Promise<BootRecord | undefined> {
  const bytes = await root.readFile(bootRecord);
  if (bytes === 'absent') return undefined;
  const lines = Buffer.from(bytes).toString('utf8').split('\n');
  const facts = new Map(lines.map((line) => [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)]));
  const [bundle, store, before, after] = ['bundle', 'store', 'before', 'after'].map((name) => facts.get(name));
  const isDigest = (text: string | undefined): text is BundleDigest => /^sha256:[0-9a-f]{64}$/.test(text ?? '');
  if (facts.get('version') !== '1' || !isDigest(bundle) || !store || !before || !after) return undefined;
  return { bundle, store, before, after };
}

/** A step towards a machine that installs nothing at its next boot. */
export interface Retirement {
  readonly sentence: string;
  carryOut(): Promise<void>;
}

/**
 * What is there to be done: the unit disabled, by the links alone that systemctl would remove, since a root under construction
 * has no systemctl; the file moved aside; what the last boot has installed forgotten.
 */
export async function planRetirement(root: HostRoot): Promise<readonly Retirement[]> {
  const steps = (await findEnablement(root)).map(
    (link): Retirement => ({ sentence: `disable ${bootUnit}: remove ${link}`, carryOut: () => root.remove(link) }),
  );
  const content = await root.readFile(bootFile);
  if (content !== 'absent') {
    const aside = `${bootFile}.removed`;
    steps.push({
      sentence: `move ${bootFile} aside, to ${aside}`,
      async carryOut() {
        await root.writeFile(aside, content, 0o600); // whatever is in it
        await root.remove(bootFile);
      },
    });
  }
  if ((await root.readFile(bootList)) !== 'absent')
    steps.push({ sentence: `remove ${bootList}`, carryOut: () => root.remove(bootList) });
  return steps;
}

/** Links to the unit in folders of other units, which is what `systemctl enable` makes (systemd.unit(5)). */
async function findEnablement(root: HostRoot): Promise<readonly string[]> {
  const entries = await root.readFolder(unitFolder);
  const folders = (entries === 'absent' ? [] : entries).filter(({ name }) => /\.(wants|requires|upholds)$/.test(name));
  const links: string[] = [];
  for (const { name } of folders) {
    const folder = posix.join(unitFolder, name);
    const units = await root.readFolder(folder);
    if (units !== 'absent' && units.some((unit) => unit.name === bootUnit)) links.push(posix.join(folder, bootUnit));
  }
  return links;
}

// A fake of image/boot/node-trust-boot on Debian: as the script, in its order, with its files and its one way back. Faithful
// in what the agent can meet: anchors with the agent's names and bytes, the list of the last boot, the record below /run, no
// lock, and nothing removed that the cluster may want. Not there: its findings. The real one is tried in test/boot/.

import { posix } from 'node:path';
import { bootFile, bootRecord } from '../../agent/host/boot.ts';
import { type KnownCertificate, readCertificates } from './certificates.ts';
import type { Disk } from './disk.ts';
import { anchorsFolder, bundlePath, storeFolder } from './store-tool.ts';
import { anchorNameOf, anchorPathOf, bundledPrints, bundleVersion, digestOf, hasAnchor } from './store-views.ts';

export interface BootMachine {
  readonly disk: Disk;
  /** An InvocationID, or `stopped`, or `unknown`. */
  mark(): string;
  /** The store's tool; false where it failed or had to be ended. */
  runTool(): Promise<boolean>;
}

export interface BootEnd {
  readonly hasRecord: boolean;
  readonly removed: readonly string[];
  /** It put something onto its list and took it off again, since the tool failed: who has looked meanwhile takes it for removed. */
  readonly hasRetracted: boolean;
}

const state = '/var/lib/node-trust-agent';
const list = `${state}/boot.list`;

/** Answers with what is not on its list any more, and whether the record is written. */
export async function runBootScript(machine: BootMachine): Promise<BootEnd> {
  const readList = (): readonly string[] => machine.disk.read(list)?.toString().split('\n').filter(Boolean) ?? [];
  const before = readList();
  const wanted = readCertificates(machine.disk.read(bootFile)).map(nameOf);
  const hasRecord = await install(machine);
  const listed = readList();
  return {
    hasRecord,
    removed: before.filter((name) => !listed.includes(name)),
    hasRetracted: wanted.some((name) => !listed.includes(name)),
  };
}

async function install({ disk, mark, runTool }: BootMachine): Promise<boolean> {
  const wanted = readCertificates(disk.read(bootFile));
  if (wanted.length === 0) return false; // missing, empty or not good: what an earlier boot installed stays
  const names = new Set(wanted.map(nameOf));
  const earlier = new Set(disk.read(list)?.toString().split('\n').filter(Boolean));
  const missing = wanted.filter(({ pem, fingerprint }) => disk.read(anchorPathOf(fingerprint))?.toString() !== pem);
  const withdrawn = [...earlier].filter((name) => !names.has(name) && !isClaimed(name));
  const listed = [...[...earlier].filter((name) => !withdrawn.includes(name)), ...names];
  const lacks = (): boolean => wanted.some(({ fingerprint }) => !bundledPrints(disk).has(fingerprint));
  if (missing.length === 0 && withdrawn.length === 0 && !lacks()) {
    writeList(listed);
    if (disk.find(bootRecord) !== undefined || mark() !== 'stopped') return false;
    return writeRecord('stopped', 'stopped');
  }
  const before = mark();
  const added: string[] = [];
  try {
    writeList([...earlier, ...names]);
    for (const { pem, fingerprint } of missing) {
      if (disk.find(anchorPathOf(fingerprint)) === undefined) added.push(anchorPathOf(fingerprint));
      write(anchorPathOf(fingerprint), pem);
    }
    for (const name of withdrawn) remove(`${anchorsFolder}/${name}.crt`);
    if (!(await rebuild(withdrawn.length > 0)) || lacks()) throw new Error('the store is not as it should be');
    writeList(listed);
    return writeRecord(before, mark());
  } catch (error) {
    if (error instanceof TypeError) throw error;
    for (const path of added) remove(path);
    await rebuild(true);
    if (!disk.isFull) writeList([...earlier]);
    return false;
  }

  /** By the agent's records, or by some that it does not understand. */
  function isClaimed(name: string): boolean {
    const records = disk.read(`${state}/state.json`)?.toString();
    if (records === undefined) return false;
    if (!records.includes('\n  "version": 1,\n')) return true;
    const { source } = JSON.parse(records) as {
      readonly source?: { readonly certificates: readonly { pem: string }[] };
    };
    return (
      source?.certificates.some(({ pem }) => readCertificates(Buffer.from(pem)).some((one) => nameOf(one) === name)) ??
      false
    );
  }

  async function rebuild(isFresh: boolean): Promise<boolean> {
    remove(`${bundlePath}.new`);
    if (isFresh) clearLinks();
    if (!(await runTool())) return false;
    disk.sync(bundlePath);
    return true;
  }

  /** As `--fresh`: every link to an input, and then what leads nowhere. */
  function clearLinks(): void {
    const links = (): readonly string[] =>
      disk
        .names(storeFolder)
        .map((name) => `${storeFolder}/${name}`)
        .filter((path) => disk.find(path)?.kind === 'link');
    for (const path of links()) {
      const node = disk.find(path);
      if (node?.kind === 'link' && /^\/usr\/(local\/)?share\/ca-certificates\//.test(node.target)) disk.unlink(path);
    }
    for (const path of links()) if (disk.read(path) === undefined) disk.unlink(path);
  }

  function writeList(lines: readonly string[]): void {
    const text = [...new Set(lines)].sort().join('\n');
    if (text === (disk.read(list)?.toString().trim() ?? '')) return;
    if (text === '') remove(list);
    else write(list, `${text}\n`);
  }

  function writeRecord(ranBefore: string, runs: string): true {
    const anchors = disk
      .names(anchorsFolder)
      .flatMap((name) => readCertificates(disk.read(`${anchorsFolder}/${name}`)));
    const ours = anchors.map(({ fingerprint }) => fingerprint).filter((print) => hasAnchor(disk, print));
    const store = bundleVersion(disk).slice(0, -9);
    const lines = ['version 1', `bundle ${digestOf(new Set(ours))}`, `store ${store}`];
    write(bootRecord, `${[...lines, `before ${ranBefore}`, `after ${runs}`].join('\n')}\n`);
    return true;
  }

  /** Whole or not at all, and durable. */
  function write(path: string, text: string): void {
    const temporary = `${posix.dirname(path)}/.node-trust-0000000004d2.tmp`;
    disk.put(temporary, text);
    disk.sync(temporary);
    disk.rename(temporary, path);
    for (const folder of [posix.dirname(path), posix.dirname(posix.dirname(path))]) disk.sync(folder);
  }

  function remove(path: string): void {
    if (disk.find(path) !== undefined) disk.unlink(path);
  }
}

function nameOf({ fingerprint }: KnownCertificate): string {
  return anchorNameOf(fingerprint);
}

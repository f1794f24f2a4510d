// What a world in which nothing is broken any more must come to: the Node tells the truth, and host, index and runtime are
// as the source wants them, and then it rests. Judged by the disk and the runtime, never by what the agent remembers.

import { bootFile } from '../../agent/host/boot.ts';
import { certificate, machineNames, nameOf, ownNames, readCertificates } from './certificates.ts';
import type { Clock } from './clock.ts';
import type { Cluster } from './cluster.ts';
import type { Disk } from './disk.ts';
import type { Promises } from './promises.ts';
import { rejectionOf } from './secret-content.ts';
import type { ServiceManager } from './service.ts';
import { anchorsFolder, bundlePath, lookUp, storeFolder } from './store-tool.ts';
import { bundledPrints, linkedPrints } from './store-views.ts';

export interface End {
  readonly clock: Clock;
  readonly disk: Disk;
  readonly cluster: Cluster;
  readonly promises: Promises;
  services(): ServiceManager;
  /** A set that was read may have been forgotten with the process that read it. */
  hasLostAgents(): boolean;
  /** What lies on the host may have come there without an agent. */
  hasBootInstalled(): boolean;
  hasAgent(): boolean;
  /** A pass has begun since everything was put right: what the Node says until then may be of any time before. */
  hasLooked(): boolean;
  /** How much agents have done until now. */
  works(): number;
}

const minuteMs = 60_000;
const longestMs = 5 * 60 * minuteMs;

export async function settle(end: End): Promise<void> {
  const { clock, promises, works } = end;
  const until = clock.elapsedMs() + longestMs;
  let missing = findUnconverged(end) ?? 'nothing was looked at';
  while (missing !== undefined && promises.broken === undefined) {
    if (clock.elapsedMs() >= until) return promises.breaks('the host converges', missing);
    await clock.runUntil(clock.elapsedMs() + 2 * minuteMs);
    const found = findUnconverged(end);
    if (found === undefined) break;
    missing = found;
  }
  if (promises.broken !== undefined) return;
  await clock.runUntil(clock.elapsedMs() + 12 * minuteMs);
  const before = works();
  await clock.runUntil(clock.elapsedMs() + 30 * minuteMs);
  if (works() !== before)
    promises.breaks('an idle pass does nothing', `${works() - before} things were done in half an hour of peace`);
  const late = findUnconverged(end);
  if (late !== undefined) promises.breaks('the host converges', late);
}

/** What is not as it should be, or undefined. */
function findUnconverged(end: End): string | undefined {
  const { disk, cluster, promises, services } = end;
  const hasLostAgents = end.hasLostAgents();
  if (!end.hasAgent()) return 'there is not one agent';
  if (!end.hasLooked()) return 'no pass has begun';
  const { secret, annotations } = cluster;
  const isFollowed = secret === undefined || secret.kind === 'good';
  const said = ['state', 'reason'].map((name) => annotations.get(`node-trust-agent/${name}`)).join(' ');
  const file = disk.read(bootFile)?.toString('latin1');
  const ofFile = new Set(readCertificates(Buffer.from(file ?? '')).map(({ fingerprint }) => fingerprint));
  const isFileBroken = file !== undefined && ofFile.size === 0;
  const expected = !isFollowed
    ? `Rejected ${rejectionOf(secret)}`
    : isFileBroken
      ? 'Rejected NoCertificate'
      : 'Synced ';
  if (said !== expected) {
    return `the Node says ${said} (${annotations.get('node-trust-agent/message')}), not ${expected}`;
  }
  if (file === undefined && promises.wanted.ofFile.size > 0) return 'the grace of a file that is gone has not ended';
  const anchors = new Set(
    disk
      .names(anchorsFolder)
      .filter((name) => name.startsWith('node-trust-'))
      .map(printOf),
  );
  const isCertain = (secret?.kind === 'empty' && !isFileBroken) || !hasLostAgents;
  const named = secret?.kind === 'good' ? secret.names.map((name) => certificate(name).fingerprint) : [];
  const machines = new Set(machineNames.map((name) => certificate(name).fingerprint));
  const lastOfFile =
    hasLostAgents || end.hasBootInstalled()
      ? new Set([...anchors].filter((print) => machines.has(print)))
      : promises.wanted.ofFile;
  const together = [...named, ...(isFileBroken ? lastOfFile : ofFile)];
  const wanted = isFollowed ? new Set(together) : isCertain ? promises.wanted.desired : anchors;
  const bundle = bundledPrints(disk);
  const ours = new Set(ownNames.map((name) => certificate(name).fingerprint));
  // What somebody has under another name is his, and in the bundle when he has run the tool.
  const foreign = new Set([...linkedPrints(disk)].filter((print) => !ours.has(print)));
  // One as long as it should be is taken for whole: what somebody has put there instead is his.
  const isShort = bundle.size < linkedPrints(disk).size + wanted.size;
  const isAtWork = disk.find(`${bundlePath}.new`) !== undefined;
  const found = lookUp(disk, storeFolder);
  const { process, isActive } = services();
  if (!isActive) return 'the runtime does not run';
  const pool = process?.pool?.bundle ?? bundle;
  return (
    differ('anchors', anchors, wanted) ??
    lack('bundle', bundle, wanted) ??
    // Without anything of ours to trust, a bundle that somebody has lost is not ours to mend.
    // Nor is what a run of the tool that was cut off has linked and not put into the bundle yet.
    (wanted.size > 0 && !isAtWork && isShort ? lack('bundle', bundle, foreign) : undefined) ??
    lack('index', found, wanted) ??
    lack("runtime's trust", pool, wanted) ??
    surplus('bundle', bundle) ??
    surplus('runtime', pool)
  );

  function printOf(name: string): string {
    return readCertificates(disk.read(`${anchorsFolder}/${name}`))[0]?.fingerprint ?? `nothing in ${name}`;
  }

  function surplus(what: string, loaded: ReadonlySet<string>): string | undefined {
    const extra = [...promises.wanted.everGood].find(
      (print) => loaded.has(print) && !wanted.has(print) && !promises.exempt.has(print),
    );
    return extra === undefined ? undefined : `the ${what} still trusts ${nameOf(extra)}`;
  }
}

function differ(what: string, are: ReadonlySet<string>, should: ReadonlySet<string>): string | undefined {
  const names = (prints: ReadonlySet<string>): string => [...prints].map(nameOf).sort().join(', ') || 'none';
  return names(are) === names(should) ? undefined : `the ${what} are ${names(are)}, not ${names(should)}`;
}

function lack(what: string, has: ReadonlySet<string>, should: ReadonlySet<string>): string | undefined {
  const missing = [...should].find((print) => !has.has(print));
  return missing === undefined ? undefined : `the ${what} lacks ${nameOf(missing)}`;
}

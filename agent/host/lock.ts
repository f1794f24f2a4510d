// One agent at a time on a host. The lock names its owner by PID, start time and boot, so that the lock of a dead
// process is told from that of a living one and taken over; only one of several takers can win.

import { readdir, readFile, readlink } from 'node:fs/promises';
import { AgentError } from '../errors.ts';
import { stateFolder } from './facts.ts';
import type { HostRoot } from './root.ts';

const lockPath = `${stateFolder}/lock`;

export interface LockOwner {
  readonly pid: number;
  /** Clock ticks after boot, field 22 of /proc/PID/stat (proc(5)): tells a reused PID from its first owner. */
  readonly startedAt: string;
  readonly bootId: string;
  /** PIDs mean something only within one PID namespace. */
  readonly pidNamespace: string;
}

export interface HostLock {
  /** Whether it is still there: somebody may have removed it, and then it keeps nobody out. */
  isHeld(): Promise<boolean>;
  release(): Promise<void>;
}

/** Throws `HostLocked` while another living process holds it. */
export async function lockHost(root: HostRoot): Promise<HostLock> {
  return takeLock(root, lockPath, await ownIdentity());
}

/** The PID of the living process that holds it, if one does. */
export async function findLockHolder(root: HostRoot): Promise<number | undefined> {
  const text = await readText(root, lockPath);
  const owner = text === undefined ? undefined : parseOwner(text);
  return owner !== undefined && (await isAlive(owner, await ownIdentity())) ? owner.pid : undefined;
}

async function takeLock(root: HostRoot, path: string, own: LockOwner): Promise<HostLock> {
  const text = `${JSON.stringify(own)}\n`;
  for (let attempt = 0; attempt < 3; attempt += 1) {
    if (await root.createFile(path, text)) {
      return {
        isHeld: async () => (await readText(root, path)) === text,
        release: () => removeIfHolds(root, path, text),
      };
    }
    const found = await readText(root, path);
    if (found === undefined) continue;
    const owner = parseOwner(found);
    if (owner !== undefined && (await isAlive(owner, own))) {
      throw new AgentError('HostLocked', { evidence: `PID ${owner.pid} (${path})` });
    }
    // Only the holder of a second lock may take a dead one away, or a slow taker would take away a faster one's.
    const takeover = await takeLock(root, `${path}.takeover`, own);
    await removeIfHolds(root, path, found).finally(takeover.release);
  }
  throw new AgentError('HostLocked', { evidence: `${path} changes hands` });
}

async function removeIfHolds(root: HostRoot, path: string, text: string): Promise<void> {
  if ((await readText(root, path)) === text) await root.remove(path);
}

async function readText(root: HostRoot, path: string): Promise<string | undefined> {
  const bytes = await root.readFile(path);
  return bytes === 'absent' ? undefined : Buffer.from(bytes).toString('utf8');
}

async function isAlive(owner: LockOwner, own: LockOwner): Promise<boolean> {
  if (owner.bootId !== own.bootId) return false;
  if (owner.pidNamespace !== own.pidNamespace) return hasProcesses(owner.pidNamespace);
  return (await startTime(owner.pid)) === owner.startedAt;
}

/**
 * Whether a process lives in this PID namespace. The agent runs in the host's, from where those of all containers are seen;
 * one that is not is gone, as that of a node in a container is after its restart.
 */
async function hasProcesses(pidNamespace: string): Promise<boolean> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const namespaces = pids.map((pid) => readlink(`/proc/${pid}/ns/pid`).catch(() => ''));
  return (await Promise.all(namespaces)).includes(pidNamespace);
}

async function ownIdentity(): Promise<LockOwner> {
  const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  const startedAt = (await startTime(process.pid)) ?? '';
  return { pid: process.pid, startedAt, bootId, pidNamespace: await readlink('/proc/self/ns/pid') };
}

async function startTime(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The second field, the command's name in parentheses, may itself hold blanks and parentheses.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

function parseOwner(text: string): LockOwner | undefined {
  try {
    const owner = JSON.parse(text) as LockOwner;
    return Number.isInteger(owner.pid) ? owner : undefined;
  } catch {
    return undefined;
  }
}

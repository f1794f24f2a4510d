// A node: a container that runs systemd as its first process and on it containerd, as a machine does. It is the only file
// that knows testcontainers.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GenericContainer, type StartedTestContainer } from 'testcontainers';
import { until } from '../../support/until.ts';
import { type Cri, connectCri } from './cri.ts';
import { docker, labels } from './engine.ts';

export interface Ran {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface TestNode extends AsyncDisposable {
  /** A program of the node, or a line of shell. */
  exec(command: string | readonly string[]): Promise<Ran>;
  /** The same, for one that must end well; its standard output without the last line feed. */
  sh(command: string | readonly string[]): Promise<string>;
  /** Images of Docker, for the node's containerd. */
  importImages(...images: readonly string[]): Promise<void>;
  /** Not below /run and /tmp, which Docker does not reach. */
  write(path: string, content: string, mode?: number): Promise<void>;
  /** The CRI of the containerd that runs now. */
  cri(): Cri;
  /**
   * Shuts it down as a machine and boots it again: /run is empty then, the disk is as it was. All its units come up, but for
   * these.
   */
  reboot(failing?: readonly string[]): Promise<void>;
}

export interface NodeOptions {
  readonly image: string;
  /** Names to put into /etc/hosts, with their addresses. */
  readonly hosts: Readonly<Record<string, string>>;
}

/** What `docker run --privileged` gives, without what a machine may not have itself. */
class NodeContainer extends GenericContainer {
  constructor(image: string) {
    super(image);
    this.withAutoCleanup(false)
      .withLabels({ ...labels })
      .withAddedCapabilities('ALL')
      .withDroppedCapabilities('SYS_RESOURCE')
      .withSecurityOpt('seccomp=unconfined', 'apparmor=unconfined')
      .withTmpFs({ '/run': '', '/run/lock': '', '/tmp': 'exec' });
    this.hostConfig = { ...this.hostConfig, ...machine };
  }
}

/** What the engine's API takes and testcontainers has no method for. */
const machine = {
  CgroupnsMode: 'private',
  DeviceCgroupRules: ['a *:* rwm'],
  Devices: [{ PathOnHost: '/dev/kmsg', PathInContainer: '/dev/kmsg', CgroupPermissions: 'rwm' }],
  MaskedPaths: [],
  ReadonlyPaths: [],
};

export async function startNode({ image, hosts }: NodeOptions): Promise<TestNode> {
  const extraHosts = Object.entries(hosts).map(([host, ipAddress]) => ({ host, ipAddress }));
  const container = await new NodeContainer(image).withExtraHosts(extraHosts).start();
  const id = container.getId();
  let cri: Cri | undefined;

  const exec = async (command: string | readonly string[]): Promise<Ran> => {
    const { exitCode, stdout, stderr } = await container.exec(
      typeof command === 'string' ? ['sh', '-c', command] : [...command],
    );
    return { exitCode, stdout, stderr };
  };
  const booted = async (failing: readonly string[] = []): Promise<void> => {
    cri?.[Symbol.dispose]();
    await waitForBoot(container, exec, failing);
    const pid = await docker('inspect', '--format', '{{.State.Pid}}', id);
    cri = connectCri(`/proc/${pid}/root/run/containerd/containerd.sock`);
  };
  const node: TestNode = {
    exec,
    async sh(command) {
      const { exitCode, stdout, stderr } = await exec(command);
      if (exitCode !== 0) throw new Error(`on the node, ${String(command)} ended with ${exitCode}: ${stderr}${stdout}`);
      return stdout.trimEnd();
    },
    async importImages(...images) {
      const archive = openSync(`/proc/self/fd/${await saveImages(images)}`, 'r');
      const load = ['exec', '-i', id, 'ctr', '-n', 'k8s.io', 'images', 'import', '-'];
      const [code] = (await once(spawn('docker', load, { stdio: [archive, 'ignore', 'inherit'] }), 'close')) as [
        number,
      ];
      closeSync(archive);
      if (code !== 0) throw new Error(`the node's containerd did not import ${images.join(', ')}`);
    },
    write: (path, content, mode = 0o644) => container.copyContentToContainer([{ content, target: path, mode }]),
    cri() {
      if (cri === undefined) throw new Error('the node has not booted');
      return cri;
    },
    async reboot(failing) {
      await docker('restart', '--time', '60', id);
      await booted(failing);
    },
    async [Symbol.asyncDispose]() {
      cri?.[Symbol.dispose]();
      await docker('rm', '-f', '-v', id);
    },
  };
  try {
    await booted();
    return node;
  } catch (error) {
    await node[Symbol.asyncDispose]();
    throw error;
  }
}

const saved = new Map<string, Promise<number>>();

/** A file descriptor of the archive. Making it takes seconds, so each is made once a process; the file has no name. */
function saveImages(images: readonly string[]): Promise<number> {
  const key = images.join();
  const known = saved.get(key);
  if (known !== undefined) return known;
  const path = join(tmpdir(), `node-trust-images-${process.pid}-${saved.size}.tar`);
  const archive = docker('save', '-o', path, ...images).then(() => {
    const descriptor = openSync(path, 'r');
    unlinkSync(path);
    return descriptor;
  });
  saved.set(key, archive);
  return archive;
}

/** Throws with what the journal says of a boot that did not succeed. */
async function waitForBoot(
  container: StartedTestContainer,
  exec: TestNode['exec'],
  failing: readonly string[],
): Promise<void> {
  const answer = await until(async () => {
    const { stdout } = await exec(['systemctl', 'is-system-running', '--wait']);
    return /running|degraded|maintenance|stopping/.exec(stdout)?.[0] ?? false;
  });
  const unit = await exec(['systemctl', 'is-active', 'containerd.service']);
  const failed = (await exec('systemctl list-units --failed --plain --no-legend | cut -d" " -f1')).stdout.trim();
  const isExpected = failed === failing.join('\n') && answer === (failing.length === 0 ? 'running' : 'degraded');
  if (isExpected && unit.exitCode === 0) return;
  const { stdout } = await exec('systemctl --failed --no-pager; journalctl -b --no-pager -n 200');
  throw new Error(`the node ${container.getId()} has not booted, its state is ${answer}:\n${stdout}`);
}

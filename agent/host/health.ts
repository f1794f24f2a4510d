// Whether the node can do its work with the runtime that runs now: the runtime over its CRI, and the kubelet where one answers.
// Whether the unit is active is for runtime.ts.

import { get } from 'node:http';
import { posix } from 'node:path';
import type { Commands } from './commands.ts';
import { findCriFault } from './cri.ts';
import type { HostRoot } from './root.ts';

export interface Health {
  /** Why it cannot, or undefined. */
  findFault(signal: AbortSignal): Promise<string | undefined>;
  /**
   * Before the runtime is disturbed, the first time counts: what the kubelet lacks already is no fault of what comes, and is not
   * asked for any more. Answers with it.
   */
  excuse(signal: AbortSignal): Promise<string | undefined>;
}

/** The kubelet's default: loopback, plain HTTP (`--healthz-port`). */
export const kubeletHealthz = 'http://127.0.0.1:10248/healthz';
const answerTimeoutMs = 5_000;

/** A sandbox has no kubelet: the one of this machine is none of its business. */
export function createHealth(
  root: HostRoot,
  { way }: Pick<Commands, 'way'>,
  socket: string,
  healthz = kubeletHealthz,
): Health {
  let excused: Promise<string | undefined> | undefined;
  const askKubelet = async (signal: AbortSignal): Promise<string | undefined> =>
    way === 'sandbox' ? undefined : findKubeletFault(healthz, signal);
  return {
    async findFault(signal) {
      const fault = await findRuntimeFault(root, socket);
      return fault ?? ((await excused) === undefined ? await askKubelet(signal) : undefined);
    },
    excuse: (signal) => (excused ??= askKubelet(signal)),
  };
}

/** Without its socket in the usual place the runtime is known by its unit alone. */
async function findRuntimeFault(root: HostRoot, socket: string): Promise<string | undefined> {
  const folder = await root.readFolder(posix.dirname(socket));
  const isThere = folder !== 'absent' && folder.some(({ name }) => name === posix.basename(socket));
  return isThere ? findCriFault(posix.join(root.path, await root.resolve(socket))) : undefined;
}

/** One that cannot be reached is not there, or elsewhere: nothing is said about it. */
export function findKubeletFault(url: string, signal: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve) => {
    const request = get(url, { signal, agent: false, timeout: answerTimeoutMs }, (response) => {
      response.resume();
      const { statusCode } = response;
      resolve(statusCode === 200 ? undefined : `the kubelet's healthz answers ${statusCode}`);
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(undefined));
  });
}

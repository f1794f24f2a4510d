// Whether the node can do its work with the runtime that runs now: the runtime over its CRI, and the kubelet where one answers.
// Whether the unit is active is for runtime.ts.

import { get } from 'node:http';
import { posix } from 'node:path';
import { findCriFault } from './cri.ts';
import type { HostRoot } from './root.ts';

export interface Health {
  /** Why it cannot, or undefined; the kubelet is asked unless it is excused. */
  findFault(isExcused: boolean, signal: AbortSignal): Promise<string | undefined>;
  /** What the kubelet complains of, or undefined. */
  findKubeletFault(signal: AbortSignal): Promise<string | undefined>;
}

/** The kubelet's default: loopback, plain HTTP (`--healthz-port`). */
export const kubeletHealthz = 'http://127.0.0.1:10248/healthz';
const answerTimeoutMs = 5_000;

/** Without an address there is no kubelet. */
export function createHealth(root: HostRoot, socket: string, healthz: string | undefined): Health {
  const askKubelet = async (signal: AbortSignal): Promise<string | undefined> =>
    healthz === undefined ? undefined : findKubeletFault(healthz, signal);
  return {
    async findFault(isExcused, signal) {
      const fault = await findRuntimeFault(root, socket);
      return fault ?? (isExcused ? undefined : await askKubelet(signal));
    },
    findKubeletFault: askKubelet,
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

// What the agent's modules get in place of the machine: timers, the table of processes, chance and monotonic time, each of the
// simulated process that asks. loader.ts puts the functions into the agent's imports; the globals are replaced here.

import { AsyncLocalStorage } from 'node:async_hooks';
import type { Owner } from './clock.ts';

/** A process of the agent. */
export interface Actor extends Owner {
  readonly pid: number;
  pause(milliseconds: number, signal?: AbortSignal): Promise<void>;
  after(milliseconds: number, run: () => void): void;
  elapsedMs(): number;
  random(): number;
  /** Of the runtime on its node. */
  findCriFault(): string | undefined;
  readonly bootId: string;
  livingPids(): readonly number[];
}

export const actors = new AsyncLocalStorage<Actor>();

function actor(): Actor {
  const found = actors.getStore();
  if (found === undefined) throw new TypeError('the agent runs within a simulated process');
  return found;
}

/** For `node:timers/promises`. */
export async function setTimeout(
  milliseconds: number,
  value?: unknown,
  options: { readonly signal?: AbortSignal } = {},
): Promise<unknown> {
  await actor().pause(milliseconds, options.signal);
  return value;
}

/** For `node:fs/promises` of the lock, which reads nothing but /proc. */
export function readFile(path: string): Promise<string> {
  const { bootId, livingPids } = actor();
  if (path === '/proc/sys/kernel/random/boot_id') return Promise.resolve(`${bootId}\n`);
  const pid = Number(/^\/proc\/(\d+)\/stat$/.exec(path)?.[1]);
  if (!livingPids().includes(pid)) return Promise.reject(new Error(`ENOENT: ${path}`));
  return Promise.resolve(`${pid} (node) S ${'0 '.repeat(18)}${pid * 100} 0`);
}

export function readdir(): Promise<readonly string[]> {
  return Promise.resolve(actor().livingPids().map(String));
}

export function readlink(): Promise<string> {
  return Promise.resolve('pid:[4026531836]');
}

/** For host/cri.ts of the health check. */
export async function findCriFault(): Promise<string | undefined> {
  await actor().pause(2);
  return actor().findCriFault();
}

/** For `node:http` of the health check: no kubelet answers. */
export function get(): { on(event: string, run: () => void): void; destroy(): void } {
  return {
    on(event, run) {
      if (event === 'error') queueMicrotask(run);
    },
    destroy() {},
  };
}

function replaceGlobals(): void {
  const { random } = Math;
  const now = performance.now.bind(performance);
  const { pid } = process;
  Math.random = () => actors.getStore()?.random() ?? random();
  performance.now = () => actors.getStore()?.elapsedMs() ?? now();
  Object.defineProperty(process, 'pid', { get: () => actors.getStore()?.pid ?? pid });
  AbortSignal.timeout = (milliseconds) => {
    const controller = new AbortController();
    actor().after(milliseconds, () => controller.abort(new DOMException('timed out', 'TimeoutError')));
    return controller.signal;
  };
}

replaceGlobals();

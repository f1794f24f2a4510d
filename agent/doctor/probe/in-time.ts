// Waiting for a peer no longer than a signal allows: whoever comes too late is not heard, and is told from one that fails.

import type { Socket } from 'node:net';

/** Resolves with the event, rejects with an error, an early end, or the signal. */
export function settle(socket: Socket, event: 'connect' | 'secureConnect', signal: AbortSignal): Promise<void> {
  const settled = new Promise<void>((resolve, reject) => {
    socket.once(event, () => resolve());
    socket.on('error', reject);
    socket.once('close', () => reject(new Error('the other side closed the connection')));
  });
  return orAbort(settled, signal);
}

export async function orAbort<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  work.catch(() => {}); // whoever comes too late is not heard
  signal.throwIfAborted();
  let stop = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason as Error);
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

export function isLate(error: unknown): boolean {
  const names = ['TimeoutError', 'AbortError'];
  return error instanceof Error && names.includes(error.name);
}

// What a person names is read no further than anybody will use it, and no longer than until the signal: a device has no end, and
// a pipe may have nobody who writes into it.

import { closeSync, constants, createReadStream, fstatSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { addAbortSignal, type Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { isatty, ReadStream } from 'node:tty';
import { maxInputBytes } from './command.ts';

/** Of more than {@link maxInputBytes}, one byte more than that. Rejects when the signal aborts. */
export function readStream(input: Readable, signal: AbortSignal): Promise<Uint8Array> {
  return buffer(upTo(maxInputBytes + 1, addAbortSignal(signal, input)));
}

/** The same of a file, a device, a FIFO, or what a shell makes of `<(…)`. */
export async function readPath(path: string, signal: AbortSignal): Promise<Uint8Array> {
  // Without O_NONBLOCK, a FIFO would keep a thread until somebody opens its other end, and the process with it.
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  return readStream(openStream(fd), signal);
}

/** Node's streams of files read in threads, which wait for a pipe or a terminal for ever, too. */
function openStream(fd: number): Readable {
  try {
    if (fstatSync(fd).isFIFO()) return new Socket({ fd, readable: true, writable: false });
    return isatty(fd) ? new ReadStream(fd) : createReadStream('', { fd });
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

async function* upTo(maxBytes: number, input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let left = maxBytes;
  for await (const chunk of input) {
    yield chunk.subarray(0, left);
    left -= chunk.length;
    if (left <= 0) return;
  }
}

// Standard output, which may be a full disk or a reader that has gone. Neither stops a command, for half a change is worse than
// one that is not told: what comes after is dropped, and how that ended is asked for at the end.

import type { Writable } from 'node:stream';

export interface Output {
  write(text: string): void;
  /** Aborts when nobody reads it any more (`| head`). */
  readonly unread: AbortSignal;
  /** Once all is written: why that failed. That nobody wanted to read it is no failure. */
  end(): Promise<Error | undefined>;
}

export function createOutput(stream: Writable): Output {
  const unread = new AbortController();
  let failure: Error | undefined;
  let isBroken = false;
  const fail = (error: Error | null | undefined): void => {
    if (error == null || isBroken) return;
    isBroken = true;
    if ('code' in error && error.code === 'EPIPE') unread.abort();
    else failure = error;
  };
  stream.on('error', fail);
  return {
    write(text) {
      if (!isBroken) stream.write(text, fail);
    },
    unread: unread.signal,
    end: () =>
      new Promise((resolve) => {
        if (isBroken) resolve(failure);
        else {
          stream.write('', (error) => {
            fail(error);
            resolve(failure);
          });
        }
      }),
  };
}

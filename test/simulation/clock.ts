// Time as the simulation has it: a monotonic clock that moves only from one timer to the next, and a wall clock that is an
// offset from it and may be set. Every timer has an owner, a process; with the process its timers are gone.

export interface Owner {
  readonly isDead: boolean;
}

export interface Clock {
  /** Milliseconds since the simulation began. */
  elapsedMs(): number;
  wall(): Date;
  /** Somebody sets the wall clock. */
  jump(byMs: number): void;
  /** Answers what cancels it. */
  after(delayMs: number, owner: Owner, run: () => void): () => void;
  /** Resolves later, or never where the owner has died; rejects with the signal's reason. */
  pause(delayMs: number, owner: Owner, signal?: AbortSignal): Promise<void>;
  /** Goes to this time, from timer to timer, and lets the processes come to rest after each. */
  runUntil(elapsedMs: number): Promise<void>;
  /** Takes away the timers of the dead. */
  bury(): void;
}

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly owner: Owner;
  readonly run: () => void;
}

export function createClock(start: Date): Clock {
  let nowMs = 0;
  let offsetMs = start.getTime();
  let orders = 0;
  let timers: Timer[] = [];

  function after(delayMs: number, owner: Owner, run: () => void): () => void {
    const timer = { at: nowMs + Math.max(0, delayMs), order: (orders += 1), owner, run };
    timers.push(timer);
    return () => {
      timers = timers.filter((other) => other !== timer);
    };
  }

  function takeDue(untilMs: number): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of timers) {
      if (timer.at > untilMs) continue;
      if (first === undefined || timer.at < first.at || (timer.at === first.at && timer.order < first.order))
        first = timer;
    }
    if (first !== undefined) timers.splice(timers.indexOf(first), 1);
    return first;
  }

  return {
    elapsedMs: () => nowMs,
    wall: () => new Date(nowMs + offsetMs),
    jump(byMs) {
      offsetMs += byMs;
    },
    after,
    pause: (delayMs, owner, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted === true) return reject(signal.reason);
        const onAbort = (): void => {
          cancel();
          reject(signal?.reason);
        };
        const cancel = after(delayMs, owner, () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        });
        signal?.addEventListener('abort', onAbort, { once: true });
      }),
    async runUntil(elapsedMs) {
      for (;;) {
        await rest();
        const due = takeDue(elapsedMs);
        if (due === undefined) break;
        nowMs = Math.max(nowMs, due.at);
        if (!due.owner.isDead) due.run();
      }
      nowMs = Math.max(nowMs, elapsedMs);
    },
    bury() {
      timers = timers.filter(({ owner }) => !owner.isDead);
    },
  };
}

/** Nothing in a simulation waits for the machine, so all that can go on has gone on when the event loop comes round. */
function rest(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

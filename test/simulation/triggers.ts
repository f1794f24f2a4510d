// Events that wait for a moment of the agent's: after so many of its calls, of those that write, of those since something has
// failed, or so far into its next rebuild.

import type { Action, ScheduledEvent } from './schedule.ts';

export interface Triggers {
  arm(event: ScheduledEvent): void;
  disarm(): void;
  onCall(isWrite: boolean): void;
  onRebuild(): void;
  /** The tool or the runtime begins to fail. */
  onTrouble(): void;
}

export interface TriggersOptions {
  perform(action: Action): void;
  later(delayMs: number, run: () => void): void;
}

export function createTriggers({ perform, later }: TriggersOptions): Triggers {
  let armed: { left: number; isCounting: boolean; readonly event: ScheduledEvent }[] = [];

  return {
    arm(event) {
      const { kind } = event.when;
      const left = event.when.kind === 'at once' ? 0 : event.when.count + 1;
      armed.push({ left, isCounting: kind === 'calls' || kind === 'writes', event });
    },
    disarm() {
      armed = [];
    },
    onCall(isWrite) {
      if (armed.length === 0) return;
      for (const waiting of armed) {
        const { kind } = waiting.event.when;
        if (waiting.isCounting && (kind !== 'writes' || isWrite)) waiting.left -= 1;
      }
      const due = armed.filter(({ left }) => left <= 0);
      if (due.length === 0) return;
      armed = armed.filter(({ left }) => left > 0);
      for (const { event } of due) perform(event.action);
    },
    onRebuild() {
      const due = armed.filter(({ event }) => event.when.kind === 'in a rebuild');
      armed = armed.filter((waiting) => !due.includes(waiting));
      for (const { event, left } of due) later(left - 1, () => perform(event.action));
    },
    onTrouble() {
      for (const waiting of armed) waiting.isCounting ||= waiting.event.when.kind === 'calls after a failure';
    },
  };
}

// What happens to the world, as data, taken apart event by event when a schedule that breaks a promise is made shorter. Drawn
// from a seed in draw.ts, told as a story in story.ts.

import type { ApiFault } from './api-failure.ts';
import type { SecretContent } from './secret-content.ts';
import type { StartTrouble } from './service.ts';
import type { ToolTrouble } from './store-tool.ts';

export type StoreMeddling =
  | 'removes an anchor of ours'
  | 'edits an anchor of ours'
  | 'rebuilds the store'
  | 'leaves a link behind'
  | 'adds an anchor'
  | 'removes the anchor'
  | 'adds a certificate of ours under another name'
  | 'removes that again'
  | 'adds a broken anchor'
  | 'tears the bundle'
  | 'tears the bundle and mends it'
  | 'restarts the runtime on a torn bundle and mends it'
  | 'brings back an old bundle';

/** What configuration management does again and again. */
export type Fought = Extract<
  StoreMeddling,
  'removes an anchor of ours' | 'edits an anchor of ours' | 'tears the bundle' | 'rebuilds the store'
>;

export type Action =
  | { readonly kind: 'secret'; readonly content: SecretContent | undefined }
  | { readonly kind: 'api'; readonly fault: ApiFault; readonly scope: 'all' | 'secret'; readonly forMs: number }
  | { readonly kind: 'lag' }
  | { readonly kind: 'watch'; readonly how: 'cut' | 'mute' | 'expired' }
  | { readonly kind: 'label'; readonly isOn: boolean; readonly forMs: number | undefined }
  | { readonly kind: 'kill' | 'terminate' | 'second agent' | 'power failure' | 'old records' }
  | { readonly kind: 'tool'; readonly trouble: ToolTrouble; readonly times: number }
  | { readonly kind: 'disk full'; readonly forMs: number }
  | { readonly kind: 'runtime'; readonly how: 'dies' | 'is restarted' }
  | { readonly kind: 'next start'; readonly trouble: StartTrouble }
  | { readonly kind: 'store'; readonly how: StoreMeddling }
  | { readonly kind: 'fight'; readonly how: Fought; readonly times: number; readonly everyMs: number }
  | { readonly kind: 'boot unit' }
  | { readonly kind: 'file'; readonly content: FileContent }
  | { readonly kind: 'clock'; readonly byMs: number };

/** What the machine's own file holds: certificates, something broken, or it is not there. */
export type FileContent = readonly string[] | 'broken' | 'absent';

/**
 * After a pause, and then at once, or when the agent has made so many calls, or so many that write, or so many since the tool or
 * the runtime failed, or so many ms into its next rebuild.
 */
export interface ScheduledEvent {
  readonly afterMs: number;
  readonly when:
    | { readonly kind: 'at once' }
    | { readonly kind: 'calls' | 'writes' | 'calls after a failure'; readonly count: number }
    | { readonly kind: 'in a rebuild'; readonly count: number };
  readonly action: Action;
}

export interface Schedule {
  readonly seed: number;
  readonly isPooled: boolean;
  readonly spreadMs: number;
  /** The machine has a file of its own. */
  readonly hasFile: boolean;
  /** It is installed at each boot. */
  readonly hasBootUnit: boolean;
  readonly loads: 'at start' | 'at first use';
  readonly events: readonly ScheduledEvent[];
}

/** Takes events out, large pieces first, while it goes on to fail. */
export async function shrink(schedule: Schedule, fails: (shorter: Schedule) => Promise<boolean>): Promise<Schedule> {
  let best = schedule;
  for (let size = Math.ceil(best.events.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < best.events.length; ) {
      const shorter = { ...best, events: best.events.toSpliced(from, size) };
      if (await fails(shorter)) best = shorter;
      else from += size;
    }
  }
  return best;
}

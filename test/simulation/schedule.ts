// What happens to the world, as data: drawn from a seed, told as a story, and taken apart event by event when a schedule that
// breaks a promise is made shorter.

import type { ApiFault, SecretContent } from './cluster.ts';
import { createRandom, type Random } from './random.ts';
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
  readonly loads: 'at start' | 'at first use';
  readonly events: readonly ScheduledEvent[];
}

export function drawSchedule(seed: number): Schedule {
  const random = createRandom(seed, 0);
  const isPooled = random.chance(0.3);
  const spreadMs = random.pick([0, 0, 60_000]);
  const loads = random.chance(0.75) ? 'at start' : 'at first use';
  const hasFile = random.chance(0.25);
  const count = 4 + random.below(8);
  const first: ScheduledEvent = {
    afterMs: 0,
    when: { kind: 'at once' },
    action: { kind: 'secret', content: drawGood(random) },
  };
  const drawn = Array.from({ length: count }, () => drawEvent(random, isPooled, hasFile));
  const events = random.chance(0.1) ? drawn.toSpliced(random.below(count), 0, ...drawCutRollback(random)) : drawn;
  return { seed, isPooled, spreadMs, hasFile, loads, events: random.chance(0.9) ? [first, ...events] : events };
}

/** What chance alone brings about once in thousands of schedules: a rollback in whose middle something ends. */
function drawCutRollback(random: Random): readonly ScheduledEvent[] {
  const atOnce = { kind: 'at once' } as const;
  const when = { kind: 'calls after a failure', count: 1 + random.below(500) } as const;
  return [
    { afterMs: 0, when: atOnce, action: { kind: 'next start', trouble: random.pick(['fails', 'keeps its process']) } },
    { afterMs: 0, when, action: { kind: random.pick(['kill', 'terminate', 'power failure']) } },
    { afterMs: 1_000, when: atOnce, action: { kind: 'secret', content: drawGood(random) } },
    { afterMs: 400_000, when: atOnce, action: { kind: 'watch', how: 'cut' } }, // time for what comes after
  ];
}

function drawEvent(random: Random, isPooled: boolean, hasFile: boolean): ScheduledEvent {
  const afterMs = random.pick([0, 30, 200, 1_000, 1_000, 5_000, 5_000, 15_000, 70_000, 330_000, 800_000]);
  const draw = random.next();
  const when: ScheduledEvent['when'] =
    draw < 0.35
      ? { kind: 'at once' }
      : draw < 0.65
        ? { kind: 'writes', count: 1 + random.below(90) }
        : draw < 0.8
          ? { kind: 'calls', count: 1 + random.below(500) }
          : draw < 0.9
            ? { kind: 'calls after a failure', count: 1 + random.below(500) }
            : { kind: 'in a rebuild', count: random.below(1_200) };
  return { afterMs, when, action: drawAction(random, isPooled, hasFile) };
}

function drawAction(random: Random, isPooled: boolean, hasFile: boolean): Action {
  const kinds = [
    ...Array.from({ length: 9 }, () => 'secret' as const),
    ...Array.from({ length: 3 }, () => 'api' as const),
    ...Array.from({ length: 2 }, () => 'lag' as const),
    'watch',
    ...(isPooled ? (['label', 'label', 'label', 'label'] as const) : []),
    ...Array.from({ length: 4 }, () => 'kill' as const),
    'terminate',
    'second agent',
    ...Array.from({ length: 4 }, () => 'power failure' as const),
    'old records',
    ...Array.from({ length: 3 }, () => 'tool' as const),
    'disk full',
    ...Array.from({ length: 4 }, () => 'runtime' as const),
    ...Array.from({ length: 2 }, () => 'next start' as const),
    ...Array.from({ length: 7 }, () => 'store' as const),
    'clock',
    ...(hasFile ? (['file', 'file', 'file', 'file', 'file'] as const) : []),
  ] as const;
  const kind = random.pick(kinds);
  switch (kind) {
    case 'secret':
      return { kind, content: drawContent(random) };
    case 'api': {
      const faults = [
        'unreachable',
        'silent',
        'error 500',
        'error 500',
        'forbidden',
        'unauthorized',
        "a proxy's 404",
      ] as const;
      return { kind, fault: random.pick(faults), scope: random.pick(['all', 'secret']), forMs: drawSpan(random) };
    }
    case 'watch':
      return { kind, how: random.pick(['cut', 'mute', 'expired']) };
    case 'label':
      return { kind, isOn: random.chance(0.3), forMs: random.pick([3_000, 5_000, 60_000, undefined]) };
    case 'tool':
      return { kind, trouble: random.pick(['fails', 'hangs', 'is killed']), times: 1 + random.below(4) };
    case 'disk full':
      return { kind, forMs: drawSpan(random) };
    case 'runtime':
      return { kind, how: random.pick(['dies', 'is restarted']) };
    case 'next start':
      return {
        kind,
        trouble: random.pick(['fails', 'fails', 'fails and comes back', 'is slow', 'keeps its process', 'dies again']),
      };
    case 'store':
      return { kind, how: random.pick(meddlings) };
    case 'file':
      return {
        kind,
        content: random.pick([['own-one'], ['own-one', 'own-two'], ['own-two'], 'broken', 'absent'] as const),
      };
    case 'clock':
      return { kind, byMs: random.pick([-3_600_000, -60_000, 60_000, 300_000, 86_400_000]) };
    default:
      return { kind };
  }
}

const meddlings: readonly StoreMeddling[] = [
  'removes an anchor of ours',
  'edits an anchor of ours',
  'rebuilds the store',
  'rebuilds the store',
  'leaves a link behind',
  'adds an anchor',
  'removes the anchor',
  'adds a certificate of ours under another name',
  'removes that again',
  'adds a broken anchor',
  'tears the bundle',
  'tears the bundle and mends it',
  'restarts the runtime on a torn bundle and mends it',
  'brings back an old bundle',
  'brings back an old bundle',
];

const drawSpan = (random: Random): number => random.pick([2_000, 30_000, 400_000, 1_200_000]);

function drawGood(random: Random): SecretContent {
  const names = (['corp-old', 'corp-new', 'proxy', 'lab'] as const).filter(() => random.chance(0.45));
  const onDelete = random.chance(0.4) ? 'remove' : 'grace';
  return { kind: 'good', names: names.length === 0 ? ['corp-old'] : names, onDelete };
}

function drawContent(random: Random): SecretContent | undefined {
  const draw = random.next();
  if (draw < 0.55) return drawGood(random);
  const onDelete = random.chance(0.4) ? 'remove' : 'grace';
  if (draw < 0.72) return { kind: 'bad', how: random.pick(['CRLF', 'not a CA', 'torn']), onDelete };
  if (draw < 0.78) return { kind: 'wrong type' };
  return draw < 0.84 ? { kind: 'empty', onDelete } : undefined;
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

export function describeEvent({ when, action }: ScheduledEvent): string {
  const moment =
    when.kind === 'at once'
      ? ''
      : when.kind === 'in a rebuild'
        ? ` (${when.count} ms into the agent's next rebuild)`
        : ` (as soon as the agent has made ${when.count} more ${when.kind})`;
  return `${describeAction(action)}${moment}`;
}

export function describeAction(action: Action): string {
  switch (action.kind) {
    case 'secret':
      return describeSecret(action.content);
    case 'api':
      return `the API server is ${action.fault} for ${action.forMs / 1000} s, for ${action.scope === 'all' ? 'everything' : 'the Secret'}`;
    case 'lag':
      return 'the next read of the Secret meets an API server that lags and does not find it';
    case 'watch':
      return `the watch is ${action.how}`;
    case 'label':
      return `the Node's label is ${action.isOn ? 'set' : 'taken away'}${action.forMs === undefined ? '' : ` for ${action.forMs / 1000} s`}`;
    case 'tool':
      return `the store's tool ${action.trouble}, ${action.times} times`;
    case 'disk full':
      return `the disk is full for ${action.forMs / 1000} s`;
    case 'runtime':
      return `the runtime ${action.how}`;
    case 'next start':
      return `the next start of the runtime ${action.trouble}`;
    case 'store':
      return `somebody ${action.how}`;
    case 'file':
      return `the machine's own file ${action.content === 'absent' ? 'is removed' : action.content === 'broken' ? 'is broken' : `holds ${action.content.join(', ')}`}`;
    case 'clock':
      return `the clock is set by ${action.byMs / 1000} s`;
    case 'kill':
      return 'the agent is killed';
    case 'terminate':
      return 'the agent is told to end, and started again';
    case 'second agent':
      return 'a second agent is started';
    case 'power failure':
      return 'the power fails';
    case 'old records':
      return "the agent is replaced by one with an older version's records";
    default:
      return action satisfies never;
  }
}

function describeSecret(content: SecretContent | undefined): string {
  if (content === undefined) return 'the Secret is deleted';
  const remove = 'onDelete' in content && content.onDelete === 'remove' ? ', on-delete: remove' : '';
  if (content.kind === 'good') return `the Secret holds ${content.names.join(', ')}${remove}`;
  return `the Secret holds a ${content.kind} set${content.kind === 'bad' ? ` (${content.how})` : ''}${remove}`;
}

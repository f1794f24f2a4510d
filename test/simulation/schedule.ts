// What happens to the world, as data: drawn from a seed, and taken apart event by event when a schedule that breaks a promise is
// made shorter. Told as a story in story.ts.

import type { ApiFault } from './cluster.ts';
import { createRandom, type Random } from './random.ts';
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

export function drawSchedule(seed: number): Schedule {
  const random = createRandom(seed, 0);
  const isPooled = random.chance(0.3);
  const spreadMs = random.pick([0, 0, 60_000]);
  const loads = random.chance(0.75) ? 'at start' : 'at first use';
  const hasFile = random.chance(0.25);
  const hasBootUnit = hasFile && random.chance(0.7);
  const count = 4 + random.below(8);
  const first: ScheduledEvent = {
    afterMs: 0,
    when: { kind: 'at once' },
    action: { kind: 'secret', content: drawGood(random) },
  };
  const drawn = Array.from({ length: count }, () => drawEvent(random, { isPooled, hasFile, hasBootUnit }));
  const extra = random.chance(0.1)
    ? drawCutRollback(random)
    : hasBootUnit && random.chance(0.4)
      ? drawDisturbedBoot(random)
      : [];
  const events = drawn.toSpliced(random.below(count), 0, ...extra);
  return {
    seed,
    isPooled,
    spreadMs,
    hasFile,
    hasBootUnit,
    loads,
    events: random.chance(0.9) ? [first, ...events] : events,
  };
}

/** What chance alone brings about once in thousands of schedules: a rollback in whose middle something ends. */
function drawCutRollback(random: Random): readonly ScheduledEvent[] {
  const atOnce = { kind: 'at once' } as const;
  const when = { kind: 'calls after a failure', count: 1 + random.below(500) } as const;
  return [
    {
      afterMs: 0,
      when: atOnce,
      action: { kind: 'next start', trouble: random.pick(['fails', 'keeps its process', 'never serves']) },
    },
    { afterMs: 0, when, action: { kind: random.pick(['kill', 'terminate', 'power failure']) } },
    { afterMs: 1_000, when: atOnce, action: { kind: 'secret', content: drawGood(random) } },
    { afterMs: 400_000, when: atOnce, action: { kind: 'watch', how: 'cut' } }, // time for what comes after
  ];
}

/** Nor does chance often meet the seconds between the boot unit and the agent. */
function drawDisturbedBoot(random: Random): readonly ScheduledEvent[] {
  const when = { kind: 'at once' } as const;
  const how = random.pick([
    'tears the bundle',
    'tears the bundle and mends it',
    'restarts the runtime on a torn bundle and mends it',
    'brings back an old bundle',
  ] as const);
  return [
    { afterMs: 1_000, when, action: { kind: 'file', content: random.pick([['own-one', 'own-two'], ['own-two']]) } },
    { afterMs: 0, when, action: { kind: 'power failure' } },
    { afterMs: 20_000 + random.below(6_000), when, action: { kind: 'store', how } },
    { afterMs: random.below(3_000), when, action: { kind: 'runtime', how: 'is restarted' } },
    { afterMs: 15_000, when, action: { kind: 'store', how: random.pick(meddlings) } },
  ];
}

type Setting = Pick<Schedule, 'isPooled' | 'hasFile' | 'hasBootUnit'>;

function drawEvent(random: Random, setting: Setting): ScheduledEvent {
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
  return { afterMs, when, action: drawAction(random, setting) };
}

function drawAction(random: Random, { isPooled, hasFile, hasBootUnit }: Setting): Action {
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
    ...Array.from({ length: 3 }, () => 'next start' as const),
    ...Array.from({ length: 7 }, () => 'store' as const),
    'fight',
    'clock',
    ...(hasBootUnit ? (['boot unit'] as const) : []),
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
        trouble: random.pick(startTroubles),
      };
    case 'store':
      return { kind, how: random.pick(meddlings) };
    case 'fight':
      return {
        kind,
        how: random.pick(foughts),
        times: 7 + random.below(3),
        everyMs: random.pick([3_000, 20_000, 60_000]),
      };
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

const startTroubles: readonly StartTrouble[] = [
  'fails',
  'fails',
  'fails and comes back',
  'is slow',
  'keeps its process',
  'dies again',
  'never serves',
  'never serves',
  'serves late',
];

const foughts: readonly Fought[] = [
  'removes an anchor of ours',
  'edits an anchor of ours',
  'tears the bundle',
  'rebuilds the store',
];

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

// Draws a schedule from a seed: mostly by chance, and in some of them a few events in a row that chance brings about once in
// thousands.

import { createRandom, type Random } from './random.ts';
import type { Action, Fought, Schedule, ScheduledEvent, StoreMeddling } from './schedule.ts';
import type { SecretContent } from './secret-content.ts';
import type { StartTrouble } from './service.ts';

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
  'dies of a question',
  'dies of a question',
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

// A schedule as a story: each event in words.

import type { Action, ScheduledEvent } from './schedule.ts';
import { describeSecret } from './secret-content.ts';

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
    case 'fight':
      return `somebody ${action.how}, ${action.times} times, every ${action.everyMs / 1000} s`;
    case 'boot unit':
      return 'somebody starts the boot unit';
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

// One schedule, carried out: the world is set up, the events happen, everything is put right, and the host must converge and
// then rest. Answers the first promise that was broken, with the story; the same schedule gives the same, to the last call.

import { createHash } from 'node:crypto';
import { type AgentProcess, type Agents, createAgents } from './agents.ts';
import { createClock } from './clock.ts';
import { createCluster } from './cluster.ts';
import { settle } from './convergence.ts';
import { createNode } from './node.ts';
import { forgetNewerFields } from './old-records.ts';
import type { Broken } from './promises/court.ts';
import { createPromises } from './promises.ts';
import { createRandom } from './random.ts';
import type { Action, Schedule } from './schedule.ts';
import { describeAction, describeEvent } from './story.ts';
import { createTriggers } from './triggers.ts';

export interface Run {
  readonly broken: Broken | undefined;
  /** What happened, one line an event. */
  readonly story: readonly string[];
  /** Over every call of every process, with its time. */
  readonly trace: string;
}

const start = new Date('2026-06-01T00:00:00Z');
const minuteMs = 60_000;

export async function simulate(schedule: Schedule, tellsCalls = false): Promise<Run> {
  const { seed, isPooled, spreadMs, hasFile, hasBootUnit, loads, events } = schedule;
  const world = { isDead: false };
  const random = createRandom(seed, 1);
  const clock = createClock(start);
  const story: string[] = [];
  const trace = createHash('sha256');
  let isDown = false;
  let isMended = false;
  let mendedAt = 0;
  let isAgentDue = false;
  let hasLostAgents = false;
  let hasBootInstalled = false;
  let works = 0;

  const time = (): string => `${(clock.elapsedMs() / 1000).toFixed(3).padStart(11)} s`;
  const tell = (line: string): void => void story.push(`${time()}  ${line}`);
  const triggers = createTriggers({ perform, later });
  const node = createNode({
    clock,
    random,
    loads,
    hasBootUnit,
    isWhole: () => promises.isWhole(),
    onMeddled: () => promises.meddled(),
    onTrouble: () => triggers.onTrouble(),
    onRuntimeReady: () => promises.runtimeServes(),
    onBootRun(end) {
      hasBootInstalled ||= end.hasRecord;
      promises.bootRan(end);
    },
    onRuntimeChange(process) {
      promises.runtimeStarts(process);
      if (agents?.isRestarting() !== true) promises.disturbed();
    },
  });
  const promises = createPromises({
    disk: node.disk,
    clock,
    runtime: () => node.services,
    spreadMs,
    onBroken: ({ promise, seen }) => tell(`BROKEN: ${promise}: ${seen}`),
  });
  const cluster = createCluster(clock);
  let agents: Agents | undefined;
  const started = createAgents({
    clock,
    random,
    node,
    cluster,
    promises,
    isPooled,
    spreadMs,
    hasFile,
    note(line) {
      trace.update(`${clock.elapsedMs()} ${line}\n`);
      if (tellsCalls || !/^agent \d+ /.test(line)) tell(`    ${line}`);
    },
    onCall: triggers.onCall,
    onRebuild: triggers.onRebuild,
    onWork: () => (works += 1),
    onEnd: () => startAgentAfter(2_000),
  });
  agents = started;

  /** Unless everything was put right meanwhile. */
  function later(delayMs: number, run: () => void): void {
    clock.after(delayMs, world, () => {
      if (!isMended) run();
    });
  }

  function startAgentAfter(delayMs: number): void {
    if (isAgentDue) return;
    isAgentDue = true;
    clock.after(delayMs, world, () => {
      isAgentDue = false;
      if (!isDown && started.living().length === 0) started.start();
    });
  }

  function killAgents(): void {
    hasLostAgents = true;
    for (const agent of started.living()) agent.kill();
  }

  function failPower(): void {
    killAgents();
    isDown = true;
    node.powerFails();
    clock.after(20_000, world, () => {
      isDown = false;
      promises.booted();
      void node.boot().then(() => startAgentAfter(5_000)); // as the kubelet, it waits for the boot unit
    });
  }

  function perform(action: Action): void {
    tell(describeAction(action));
    switch (action.kind) {
      case 'secret':
        return cluster.setSecret(action.content);
      case 'api':
        cluster.breakDown(action.fault, action.scope);
        return later(action.forMs, () => cluster.breakDown(undefined, 'all'));
      case 'lag':
        return cluster.lag();
      case 'watch':
        return cluster.disturbWatches(action.how);
      case 'label':
        cluster.enable(action.isOn);
        if (action.forMs !== undefined) later(action.forMs, () => cluster.enable(!action.isOn));
        return;
      case 'clock':
        promises.clockIsSet(action.byMs);
        return clock.jump(action.byMs);
      default:
        if (!isDown) performOnHost(action);
    }
  }

  function performOnHost(
    action: Exclude<Action, { kind: 'secret' | 'api' | 'lag' | 'watch' | 'label' | 'clock' }>,
  ): void {
    const [agent] = started.living();
    switch (action.kind) {
      case 'kill':
        killAgents();
        return startAgentAfter(10_000);
      case 'terminate':
        hasLostAgents = true;
        return agent?.terminate();
      case 'second agent':
        return startSecond();
      case 'power failure':
        return failPower();
      case 'old records':
        killAgents();
        if (forgetNewerFields(node.disk)) {
          promises.meddled();
          promises.forget();
        }
        return startAgentAfter(10_000);
      case 'tool':
        return void node.toolTroubles.push(...Array.from({ length: action.times }, () => action.trouble));
      case 'disk full':
        node.disk.isFull = true;
        promises.toolFailed();
        return later(action.forMs, () => void (node.disk.isFull = false));
      case 'runtime':
        promises.disturbed();
        if (action.how === 'dies') return node.services.die();
        return void node.start('systemctl', ['restart']).end.then(() => promises.disturbed());
      case 'next start':
        return void node.services.troubles.push(action.trouble);
      case 'store':
        return node.meddle(action.how);
      case 'fight':
        for (let time = 0; time < action.times; time += 1)
          later(time * action.everyMs, () => (isDown ? undefined : node.meddle(action.how)));
        return;
      case 'boot unit':
        return void node.runBootUnit();
      case 'file':
        return node.writeFile(action.content);
      default:
        action satisfies never;
    }
  }

  function startSecond(): void {
    if (started.living().length !== 1) return;
    const second: AgentProcess = started.start();
    clock.after(30_000, world, () => second.terminate());
  }

  function mend(): void {
    tell('everything is put right, and the operator asks to try again');
    triggers.disarm();
    isMended = true;
    cluster.breakDown(undefined, 'all');
    cluster.enable(true);
    cluster.annotate('node-trust-agent/retry', 'now');
    node.mend();
    promises.disturbed();
    mendedAt = promises.moment();
    if (started.living().length === 0) startAgentAfter(1_000);
  }

  if (hasFile) node.writeFile(['own-one']);
  node.disk.syncAll();
  void node.boot();
  await clock.runUntil(5_000);
  started.start();
  for (const event of events) {
    if (promises.broken !== undefined) break;
    await clock.runUntil(clock.elapsedMs() + event.afterMs);
    if (event.when.kind === 'at once') perform(event.action);
    else {
      tell(`next: ${describeEvent(event)}`);
      triggers.arm(event);
    }
  }
  if (promises.broken === undefined) {
    await clock.runUntil(clock.elapsedMs() + minuteMs);
    mend();
    await clock.runUntil(clock.elapsedMs() + 40_000);
    await settle({
      clock,
      disk: node.disk,
      cluster,
      promises,
      services: () => node.services,
      hasLostAgents: () => hasLostAgents,
      hasBootInstalled: () => hasBootInstalled,
      hasAgent: () => started.living().length === 1,
      hasLooked: () => started.living().every(({ beganAt }) => beganAt > mendedAt),
      works: () => works,
    });
  }
  killAgents();
  const { broken } = promises;
  return { broken, story, trace: trace.digest('hex') };
}

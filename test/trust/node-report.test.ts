import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type AgentPod,
  type Content,
  type Enabling,
  type FleetFacts,
  type NodeFacts,
  type NodeReport,
  reportNode,
} from '../../agent/trust/node-report.ts';
import { fixedNow } from '../support/certificates.ts';

const running: AgentPod = { name: 'agent-x', isReady: true, phase: 'Running' };
const enabling: Enabling = { labels: new Map([['pool', 'a']]), isNarrower: false };
const content: Content = { kind: 'known', observed: 'sha256:now', changedAt: undefined };
const unknown = { kind: 'unknown', why: 'you may not' } as const;

const well = {
  state: 'Synced',
  certificates: '2',
  observed: 'sha256:now',
  bundle: 'sha256:b',
  message: 'all is well',
  'updated-at': '2026-06-01T00:00:00.000Z',
};

interface Setting {
  readonly told?: Readonly<Record<string, string>>;
  readonly warnings?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly isReady?: boolean | undefined;
  readonly pod?: AgentPod | undefined;
  readonly facts?: Partial<FleetFacts>;
}

/** A Node that is enabled, has an agent and is well, but for what is given. */
function report(setting: Setting = {}): NodeReport {
  const { told = well, labels = { pool: 'a' }, isReady = true, facts = {}, warnings = [] } = setting;
  const pod = 'pod' in setting ? setting.pod : running;
  const node: NodeFacts = {
    name: 'node-1',
    labels: new Map(Object.entries(labels)),
    isReady: 'isReady' in setting ? setting.isReady : isReady,
    told: new Map(Object.entries(told)),
    warnings,
  };
  const pods = new Map([['node-2', running], ...(pod === undefined ? [] : ([['node-1', pod]] as const))]);
  const all = {
    nodes: [node],
    enabling: { kind: 'known', value: enabling },
    pods: { kind: 'known', value: pods },
    secret: 'secret ns/cas',
    content,
    ...facts,
  } as const;
  return reportNode(node, all, fixedNow);
}

const codeOf = (setting: Setting): string | undefined => report(setting).problem?.code;

test('a Node is well when its agent stands for the present content', () => {
  const { problem, stale, enabled, ready, agent } = report();
  assert.deepEqual([problem, stale, enabled, ready, agent], [null, false, true, true, 'ready']);
});

test('what the agent says is wrong is told in its own words, whatever else is known', () => {
  for (const state of ['Failed', 'Rejected']) {
    const told = { ...well, state, reason: 'ToolFailed', message: 'run it by hand' };
    const expected = { code: 'ToolFailed', message: 'run it by hand', remedy: '', passing: false };
    assert.deepEqual(report({ told, isReady: false, facts: { content: unknownContent(false) } }).problem, expected);
  }
  assert.equal(codeOf({ told: { state: 'Applying' } }), 'Applying');
  assert.equal(codeOf({ told: { state: 'Sunced' } }), 'Sunced', 'a state that nobody knows is not well');
});

test('what an agent does by itself is passing; that trust leaves is not', () => {
  const isPassing = (state: string, reason: string) => report({ told: { ...well, state, reason } }).problem?.passing;
  assert.equal(isPassing('Applying', ''), true);
  assert.equal(isPassing('Waiting', 'RestartDeferred'), true);
  assert.equal(isPassing('Waiting', 'SourceDeleted'), false);
});

test('an enabled Node without a pod of the agent has a stale report and names the command', () => {
  const { problem, stale } = report({ pod: undefined });
  assert.equal(stale, true);
  assert.equal(problem?.code, 'AgentMissing');
  assert.match(problem.message, /what it says dates from 2026-06-01/);
  assert.match(problem.remedy, /describe node node-1`/);
  assert.equal(codeOf({ pod: undefined, told: { ...well, state: 'Failed', reason: 'ToolFailed' } }), 'AgentMissing');
});

test('where it is not known who is enabled, a pod on another Node tells that one is missing here', () => {
  const facts = { enabling: unknown };
  assert.deepEqual([codeOf({ facts }), codeOf({ facts, pod: undefined })], [undefined, 'AgentMissing']);
  const alone = report({ facts: { ...facts, pods: { kind: 'known', value: new Map() } } });
  assert.deepEqual([alone.problem, alone.stale], [null, null], 'an agent may run without a pod');
  assert.equal(codeOf({ facts, pod: undefined, told: {} }), 'NotReported');
});

test('a pod that is not ready and a Node that is not ready make a report stale', () => {
  const pod = { name: 'agent-y', isReady: false, phase: 'ImagePullBackOff' };
  const waiting = report({ pod });
  assert.deepEqual([waiting.problem?.code, waiting.stale, waiting.problem?.passing], ['AgentNotReady', true, false]);
  assert.match(`${waiting.problem?.message} ${waiting.problem?.remedy}`, /\(ImagePullBackOff\) .*logs agent-y`/);
  assert.equal(report({ pod: { ...pod, phase: 'ContainerCreating' } }).problem?.passing, true);
  const lost = report({ pod, isReady: false });
  assert.deepEqual([lost.problem?.code, lost.stale], ['NodeNotReady', true]);
});

test('where no pod is known, the command that finds the pods stands for the one that reads a log', () => {
  const remedy = report({ told: {}, facts: { pods: unknown } }).problem?.remedy ?? '';
  assert.match(remedy, /`kubectl -n kube-system get pods -o wide -l app\.kubernetes\.io\/name=node-trust-agent`/);
  assert(!remedy.includes('POD'), remedy);
  assert.match(report({ told: {} }).problem?.remedy ?? '', /`kubectl -n kube-system logs agent-x`/);
});

test('an enabled Node on which nothing was told since is not well', () => {
  assert.equal(codeOf({ told: {} }), 'NotReported');
  assert.equal(codeOf({ told: { ...well, state: 'Disabled' } }), 'NotReported');
  assert.equal(codeOf({ told: { ...well, state: 'Disabled' }, facts: { enabling: unknown } }), undefined);
});

test('a Node that speaks of other content is behind, and stale once that was long ago', () => {
  const changed = (minutesAgo: number): Partial<FleetFacts> => {
    const changedAt = new Date(fixedNow.getTime() - minutesAgo * 60_000);
    return { content: { kind: 'known', observed: 'sha256:new', changedAt } };
  };
  const fresh = report({ facts: changed(9) });
  assert.deepEqual([fresh.problem?.code, fresh.problem?.passing, fresh.stale], ['ContentNotSeen', true, false]);
  const old = report({ facts: changed(11) });
  assert.deepEqual([old.problem?.code, old.problem?.passing, old.stale], ['ContentNotSeen', false, true]);
  assert.match(old.problem?.message ?? '', /present content of secret ns\/cas, which dates from 20/);
});

test('a Node that speaks of content is not well without the Secret, and that there is none is what is told', () => {
  const facts = { content: { kind: 'known', observed: '', changedAt: undefined } } as const;
  const { problem } = report({ facts });
  assert.deepEqual([problem?.code, problem?.passing], ['NoSuchSecret', false]);
  assert.match(problem?.message ?? '', /^secret ns\/cas does not exist, /);
  assert.equal(codeOf({ facts, told: { ...well, observed: '' } }), undefined);
});

test('no Node is well with a Secret that no agent takes', () => {
  assert.equal(codeOf({ facts: { content: { kind: 'unusable' } } }), 'ContentNotSeen');
});

test('what could not be found out is null and never false', () => {
  const { enabled, ready, agent, stale } = report({
    isReady: undefined,
    facts: { enabling: unknown, pods: unknown, content: unknownContent(true) },
  });
  assert.deepEqual([enabled, ready, agent, stale], [null, null, null, null]);
  const narrower = { kind: 'known', value: { ...enabling, isNarrower: true } } as const;
  assert.equal(report({ facts: { enabling: narrower } }).enabled, null);
  assert.equal(report({ labels: {}, facts: { enabling: narrower } }).enabled, false);
});

test('a Node that is not enabled is well when nothing of ours can be on it', () => {
  const outside = (told: Readonly<Record<string, string>>, pod?: AgentPod) => report({ labels: {}, told, pod });
  for (const told of [
    { ...well, state: 'Disabled' },
    { ...well, certificates: '0' },
  ])
    assert.equal(outside(told).problem, null, JSON.stringify(told));
  const left = outside(well);
  assert.deepEqual([left.problem?.code, left.problem?.passing, left.stale], ['NodeNotEnabled', false, true]);
  assert.match(left.problem?.message ?? '', /does not carry pool=a, so 2 certificates of ours/);
  assert.match(left.problem?.remedy ?? '', /`kubectl label node node-1 pool=a`.*`node-trust remove`/);
  assert.equal(outside({ state: 'Failed' }).problem?.code, 'NodeNotEnabled', 'how many there are is not known');
  const leaving = outside(well, running).problem;
  assert.equal(leaving?.passing, true, 'its agent is still there to take them away');
  assert.match(leaving.message, /its agent takes 2 certificates away now$/);
  const failing = outside({ ...well, certificates: '0', state: 'Failed', reason: 'ToolFailed' }, running).problem;
  assert.deepEqual([failing?.code, failing?.passing], ['ToolFailed', false], 'its agent is there, and cannot leave');
  const kept = outside({ ...well, state: 'Waiting', reason: 'NodeNotEnabled' }, running).problem;
  assert.equal(kept?.passing, false, 'its agent did not see the label leave, and takes nothing away');
});

test('a Node that is not enabled is not well while its runtime may trust what was taken away', () => {
  for (const state of ['Failed', 'Waiting', 'Applying']) {
    const told = { ...well, certificates: '0', state, reason: 'RuntimeUnhealthy', message: 'it does not serve' };
    const { problem } = report({ labels: {}, told, pod: undefined });
    assert.deepEqual([problem?.code, problem?.passing], ['NodeNotEnabled', false], state);
    assert.match(problem?.message ?? '', /does not carry pool=a, and its agent went .*: it does not serve$/);
    assert.match(problem?.remedy ?? '', /`kubectl label node node-1 pool=a`.*`node-trust remove`/);
    assert.equal(report({ labels: {}, told, pod: running }).problem?.passing, state !== 'Failed', state);
    assert.equal(report({ labels: {}, told: { ...told, reason: 'NodeNotEnabled' }, pod: undefined }).problem, null);
  }
});

test('a Node that is not enabled and says nothing trusts nothing, and the command that enables it is told', () => {
  const labels = new Map([
    ['pool', 'a'],
    ['on', 'yes'],
  ]);
  const facts = { enabling: { kind: 'known', value: { ...enabling, labels } } } as const;
  const outside = (labels: Readonly<Record<string, string>>, pod?: AgentPod) =>
    report({ told: {}, labels, pod, facts }).problem;
  const problem = outside({ on: 'yes' });
  assert.deepEqual([problem?.code, problem?.passing], ['NotInPool', false]);
  assert.match(problem?.message ?? '', /does not carry pool=a: it trusts nothing of the Secret$/);
  assert.match(problem?.remedy ?? '', /`kubectl label node node-1 pool=a`/);
  assert.match(outside({})?.remedy ?? '', /node-1 pool=a on=yes`/);
  assert.match(outside({ on: 'no' })?.remedy ?? '', /node-1 pool=a on=yes --overwrite`/);
  assert.equal(outside({}, running)?.passing, true, 'its agent is about to tell something');
});

test('a warning is no problem, and does nothing to a terminal', () => {
  const { problem, warnings } = report({ warnings: ['StillTrusted: one\u001b[2Jtwo'] });
  assert.deepEqual([problem, warnings], [null, ['StillTrusted: one\\u{1b}[2Jtwo']]);
});

test('the pool is named by the label of whoever made it', () => {
  assert.equal(report().pool, '');
  for (const label of ['kubernetes.azure.com/agentpool', 'karpenter.sh/nodepool'])
    assert.equal(report({ labels: { [label]: 'workers' } }).pool, 'workers');
});

function unknownContent(isFinal: boolean): Content {
  return { ...unknown, isFinal };
}

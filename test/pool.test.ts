import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NodeSnapshot, OwnNode } from '../agent/kube/own-node.ts';
import { createPool } from '../agent/pool.ts';

const label = { key: 'node-trust-agent/enabled', value: 'true' };
const signal = new AbortController().signal;

function node(labels: Readonly<Record<string, string>>, uid = 'one'): NodeSnapshot {
  return { kind: 'present', uid, labels: new Map(Object.entries(labels)), annotations: new Map() };
}

const enabled = node({ [label.key]: 'true' });
const unavailable: NodeSnapshot = { kind: 'unavailable', evidence: '500' };

/** The pool over a Node whose next read answers so. */
function poolThatReads(second: NodeSnapshot) {
  const ownNode: OwnNode = {
    name: 'node',
    read: () => Promise.resolve(second),
    annotate: () => Promise.reject(new Error('writes nothing')),
    recordEvent: () => Promise.reject(new Error('writes nothing')),
  };
  return createPool({ node: ownNode, label, confirmMs: 0 });
}

test('without a label every node is a member, one that does not exist too', async () => {
  const pool = createPool({ node: { name: '' } as OwnNode, label: undefined, confirmMs: 0 });
  assert.equal(await pool.judge({ kind: 'absent' }, signal), 'member');
});

for (const [title, labels] of [
  ['gone', {}],
  ['different', { [label.key]: 'false' }],
] as const) {
  test(`a label that was seen and is ${title} in two reads means that the node has left`, async () => {
    const pool = poolThatReads(node(labels));
    assert.equal(await pool.judge(enabled, signal), 'member');
    assert.equal(await pool.judge(node(labels), signal), 'left');
  });
}

test('a label that was never seen by this process means outside, not left', async () => {
  assert.equal(await poolThatReads(node({})).judge(node({}), signal), 'outside');
});

test('a Node of the same name and another UID has not left: its label was never seen', async () => {
  const pool = poolThatReads(node({}, 'two'));
  await pool.judge(enabled, signal);
  assert.equal(await pool.judge(node({}, 'two'), signal), 'outside');
});

for (const [title, second, membership] of [
  ['finds the label again', enabled, 'member'],
  ['cannot be made', unavailable, 'unknown'],
  ['finds no Node', { kind: 'absent' }, 'unknown'],
  ['finds another Node', node({}, 'two'), 'unknown'],
] as const) {
  test(`one read without the label proves nothing where the second ${title}`, async () => {
    const pool = poolThatReads(second);
    await pool.judge(enabled, signal);
    assert.equal(await pool.judge(node({}), signal), membership);
  });
}

test('an API that cannot be asked and a Node that is missing prove nothing', async () => {
  const pool = poolThatReads(unavailable);
  await pool.judge(enabled, signal);
  assert.equal(await pool.judge(unavailable, signal), 'member');
  assert.equal(await pool.judge({ kind: 'absent' }, signal), 'outside');
});

test('a node that was found to have left has left until the label is read again, whatever cannot be asked meanwhile', async () => {
  const pool = poolThatReads(node({}));
  await pool.judge(enabled, signal);
  assert.equal(await pool.judge(node({}), signal), 'left');
  assert.equal(await pool.judge(unavailable, signal), 'left');
  assert.equal(await pool.judge(enabled, signal), 'member');
  assert.equal(await pool.judge(unavailable, signal), 'member');
});

test('a Node that could not be read yet is no member: nothing is known of its label', async () => {
  assert.equal(await poolThatReads(enabled).judge(unavailable, signal), 'unknown');
});

test('the second read waits, and an abort ends the wait without a verdict', async () => {
  const ending = new AbortController();
  const pool = createPool({ node: { read: () => assert.fail('too early') } as never, label, confirmMs: 60_000 });
  await pool.judge(enabled, signal);
  const judging = pool.judge(node({}), ending.signal);
  ending.abort();
  await assert.rejects(judging, { name: 'AbortError' });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startTestServer, writeKubeconfig } from '../support/api-fixture.ts';
import { nodeTrust } from '../support/command-line.ts';

function node(name: string, own: Readonly<Record<string, string>>) {
  const annotations = Object.fromEntries(Object.entries(own).map(([key, value]) => [`node-trust-agent/${key}`, value]));
  return { kind: 'Node', metadata: { name, annotations: { other: 'x', ...annotations } } };
}

const synced = {
  state: 'Synced',
  reason: '',
  certificates: '2',
  'expires-at': '2036-06-01T00:00:00.000Z',
  message: 'all is well',
};
const failed = { state: 'Failed', reason: 'ToolFailed', message: 'the tool failed; run it by hand' };

test('status prints a row a node, and the whole message of a node that is not well', async (t) => {
  const api = await startTestServer(t);
  for (const object of [node('a', synced), node('b', failed), node('c', {})]) api.put(object);
  const { code, out } = await nodeTrust(['status', '--kubeconfig', writeKubeconfig(t, api.kubeconfig())]);
  assert.equal(code, 1);
  assert.equal(
    out,
    `NODE   STATE    REASON       CERTIFICATES   EXPIRES
a      Synced   -            2              2036-06-01
b      Failed   ToolFailed   -              -
    the tool failed; run it by hand
`,
  );
});

test('status ends with 0 when all nodes are synced, and tells a named one without a word of an agent', async (t) => {
  const api = await startTestServer(t);
  for (const object of [node('a', synced), node('c', {})]) api.put(object);
  const kubeconfig = ['--kubeconfig', writeKubeconfig(t, api.kubeconfig())];
  assert.equal((await nodeTrust(['status', ...kubeconfig, 'a'])).code, 0);
  const all = await nodeTrust(['status', '--json', ...kubeconfig]);
  assert.equal(all.code, 0);
  const answer = JSON.parse(all.out) as {
    readonly synced: boolean;
    readonly nodes: readonly { readonly node: string; readonly certificates: number | null }[];
  };
  assert.deepEqual(
    [answer.synced, answer.nodes.map(({ node, certificates }) => [node, certificates])],
    [true, [['a', 2]]],
  );
  const named = await nodeTrust(['status', ...kubeconfig, 'c']);
  assert.equal(named.code, 1);
  assert.match(named.out, /^c +unknown/m);
});

test('a Node that does not exist and an API server that cannot be reached end with 3', async (t) => {
  const api = await startTestServer(t);
  const kubeconfig = ['--kubeconfig', writeKubeconfig(t, api.kubeconfig())];
  assert.match((await nodeTrust(['status', ...kubeconfig, 'nobody'])).err, /no Node "nobody"/);
  await api.refuse();
  const { code, err } = await nodeTrust(['status', ...kubeconfig]);
  assert.equal(code, 3);
  assert.match(err, /refused/);
});

test('a cluster in which no agent has written anything is not synced', async (t) => {
  const api = await startTestServer(t);
  api.put(node('a', {}));
  const kubeconfig = ['--kubeconfig', writeKubeconfig(t, api.kubeconfig())];
  const { code, out } = await nodeTrust(['status', ...kubeconfig]);
  assert.deepEqual([code, out], [1, 'no agent has written to any Node\n']);
  const json = await nodeTrust(['status', '--json', ...kubeconfig]);
  assert.deepEqual(JSON.parse(json.out), { version: 1, synced: false, nodes: [] });
});

test('what somebody wrote into an annotation does nothing to the terminal', async (t) => {
  const api = await startTestServer(t);
  api.put(node('a', { ...failed, message: 'one\u001b]0;title\u0007\u001b[2J\u202etwo' }));
  const { out } = await nodeTrust(['status', '--kubeconfig', writeKubeconfig(t, api.kubeconfig())]);
  assert.match(out, /one\\u\{1b\}\]0;title\\u\{7\}\\u\{1b\}\[2J\\u\{202e\}two/);
});

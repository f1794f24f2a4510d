import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import { status } from '../../agent/cli/status.ts';
import { contentDigest } from '../../agent/trust/source.ts';
import { startTestServer, writeKubeconfig } from '../support/api-fixture.ts';
import type { ApiServer, ApiServerOptions } from '../support/api-server.ts';
import { createCertificate } from '../support/certificates.ts';
import { nodeTrust, runCommand } from '../support/command-line.ts';
import { setStage } from '../support/stage.ts';

const namespace = 'kube-system';
const app = 'node-trust-agent';
const enabled = { [`${app}/enabled`]: 'true' };
const secret = { kind: 'Secret', metadata: { name: 'custom-ca-trust-secret', namespace } };
const [oldContent, newContent] = [{ 'corp.pem': 'old' }, { 'corp.pem': 'new' }];
const isNodeList = ({ verb, resource }: { readonly verb: string; readonly resource: string }): boolean =>
  verb === 'list' && resource === 'nodes';

function digest(entries: Readonly<Record<string, string>>): string {
  return contentDigest(new Map(Object.entries(entries).map(([name, text]) => [name, Buffer.from(text)])));
}

function node(name: string, own: Readonly<Record<string, string>>, labels: object = {}) {
  const annotations = Object.fromEntries(Object.entries(own).map(([key, value]) => [`${app}/${key}`, value]));
  return { kind: 'Node', metadata: { name, labels, annotations: { other: 'x', ...annotations } } };
}

const synced = {
  state: 'Synced',
  reason: '',
  certificates: '2',
  'expires-at': '2036-06-01T00:00:00.000Z',
  message: 'all is well',
};
const failed = { state: 'Failed', reason: 'ToolFailed', message: 'the tool failed; run it by hand' };

async function setUp(t: TestContext, options?: ApiServerOptions, token?: string) {
  const api = await startTestServer(t, options);
  const kubeconfig = writeKubeconfig(t, api.kubeconfig(token));
  const status = (flags: readonly string[], meanwhile?: Parameters<typeof nodeTrust>[2]) =>
    nodeTrust(['status', '--kubeconfig', kubeconfig, ...flags], '', meanwhile);
  return { api, status };
}

/** The agents as the manifests bring them: a DaemonSet, its pods on these nodes, and the Secret that they follow. */
function putAgents(api: ApiServer, nodes: readonly string[], stringData: Readonly<Record<string, string>>): void {
  const args = ['run', `--enabled-by=${app}/enabled=true`];
  const template = { spec: { nodeSelector: enabled, containers: [{ args }] } };
  api.put({ kind: 'DaemonSet', metadata: { name: app, namespace }, spec: { template } });
  for (const nodeName of nodes) {
    const metadata = { name: `${app}-${nodeName}`, namespace, labels: { 'app.kubernetes.io/name': app } };
    const conditions = [{ type: 'Ready', status: 'True' }];
    api.put({ kind: 'Pod', metadata, spec: { nodeName }, status: { phase: 'Running', conditions } });
  }
  api.put({ ...secret, stringData });
}

const told = (entries: Readonly<Record<string, string>>) => ({ ...synced, observed: digest(entries) });

test('status says first which Nodes are not well, and the whole message of the agent there', async (t) => {
  const { api, status } = await setUp(t);
  for (const object of [node('a', synced), node('b', failed), node('c', {})]) api.put(object);
  const { code, out } = await status([]);
  assert.equal(code, 1);
  assert.match(out, /^Not well: 1 of 2 nodes: b\n/);
  assert.match(out, /^ToolFailed: b\n {4}the tool failed; run it by hand$/m);
  assert.match(out, /^a +Synced +- +2 +- +2036-06-01/m);
  assert.match(out, /^b +Failed +ToolFailed/m);
  assert(!out.includes('\nc ') && !out.includes('\u001b'));
});

test('status ends with 0 when all nodes are synced, and tells a named one without a word of an agent', async (t) => {
  const { api, status } = await setUp(t);
  for (const object of [node('a', synced), node('c', {})]) api.put(object);
  assert.equal((await status(['a'])).code, 0);
  const all = await status(['--json']);
  assert.equal(all.code, 0);
  const answer = JSON.parse(all.out) as {
    readonly synced: boolean;
    readonly nodes: readonly { readonly node: string; readonly certificates: number | null }[];
  };
  assert.deepEqual(
    [answer.synced, answer.nodes.map(({ node, certificates }) => [node, certificates])],
    [true, [['a', 2]]],
  );
  const named = await status(['c']);
  assert.equal(named.code, 1);
  assert.match(named.out, /^c +unknown/m);
});

test('with an agent on each enabled Node and the present content on all, all is well', async (t) => {
  const { api, status } = await setUp(t);
  putAgents(api, ['a', 'b'], newContent);
  for (const name of ['a', 'b']) api.put(node(name, told(newContent), enabled));
  const { code, out } = await status([]);
  assert.deepEqual(
    [code, out.split('\n', 1)],
    [0, ['All is well: 2 of 2 nodes are Synced with secret kube-system/custom-ca-trust-secret']],
  );
});

test('an enabled Node without an agent, one behind, and one that is left with trust each end status with 1', async (t) => {
  const { api, status } = await setUp(t);
  putAgents(api, ['a', 'behind'], newContent);
  for (const [name, content, labels] of [
    ['a', newContent, enabled],
    ['behind', oldContent, enabled],
    ['alone', newContent, enabled],
    ['left', oldContent, {}],
  ] as const)
    api.put(node(name, told(content), labels));
  const { code, out } = await status([]);
  assert.equal(code, 1);
  assert.match(out, /^AgentMissing: alone$.*^NodeNotEnabled: left$.*^ContentNotSeen: behind$/ms);
  const codes = { a: 0, behind: 1, alone: 1, left: 1 };
  for (const [name, expected] of Object.entries(codes)) assert.equal((await status([name])).code, expected, name);
});

test('a named Node that is not enabled and was never told anything on ends status with 1 and the command to type', async (t) => {
  const { api, status } = await setUp(t);
  putAgents(api, ['a'], newContent);
  for (const object of [node('a', told(newContent), enabled), node('outside', {})]) api.put(object);
  assert.equal((await status([])).code, 0);
  const { code, out } = await status(['outside']);
  assert.equal(code, 1);
  assert.match(
    out,
    /^Not well: 1 of 1 nodes: outside\n\nNotInPool: outside\n.*`kubectl label node outside node-trust-agent\/enabled=true`/s,
  );
});

test('a withdrawn certificate that is still trusted is told, and leaves status at 0', async (t) => {
  const { api, status } = await setUp(t);
  putAgents(api, ['a'], newContent);
  const details = JSON.stringify({ version: 1, warnings: ['StillTrusted: it is trusted through /etc/x'] });
  api.put(node('a', { ...told(newContent), details }, enabled));
  const { code, out } = await status([]);
  assert.equal(code, 0);
  assert.match(
    out,
    /^All is well, with 1 warning: .*\n\nStillTrusted \(warning\): a\n {4}it is trusted through \/etc\/x\n/,
  );
  const { nodes } = JSON.parse((await status(['--json'])).out) as { nodes: readonly { warnings: unknown }[] };
  assert.deepEqual(nodes[0]?.warnings, ['StillTrusted: it is trusted through /etc/x']);
});

test('a --secret that does not exist is told as such', async (t) => {
  const { api, status } = await setUp(t);
  putAgents(api, ['a'], newContent);
  api.put(node('a', told(newContent), enabled));
  const { code, out } = await status(['--secret', 'kube-system/other']);
  assert.equal(code, 1);
  assert.match(out, /^Not well: .*\n\nNoSuchSecret: a\n {4}secret kube-system\/other does not exist, /);
});

test('--json is the whole report, version 1, and docs/command-line.md names each of its fields', async (t) => {
  const { api, status } = await setUp(t);
  putAgents(api, ['a'], newContent);
  api.put(node('a', { ...told(oldContent), bundle: 'sha256:b' }, enabled));
  const { out } = await status(['--json']);
  const page = await readFile(new URL('../../docs/command-line.md', import.meta.url), 'utf8');
  const [, section = ''] = /^## `status`\n(.*?)(?=^## |$(?![\s\S]))/ms.exec(page) ?? [];
  const documented = new Set([...section.matchAll(/`\.?(\w+)(?:\[\])?`/g)].map(([, name]) => name));
  const fields = new Set([...out.matchAll(/^ +"(\w+)":/gm)].map(([, name]) => name));
  assert.deepEqual(
    [...fields].filter((name) => !documented.has(name)),
    [],
  );
  assert.deepEqual(JSON.parse(out), {
    version: 1,
    synced: false,
    secret: 'secret kube-system/custom-ca-trust-secret',
    present: digest(newContent),
    selector: `${app}/enabled=true`,
    unknown: [],
    pools: [{ pool: '', nodes: 1, enabled: 1, synced: 0, problems: 1 }],
    bundles: [{ bundle: 'sha256:b', nodes: 1 }],
    nodes: [
      {
        node: 'a',
        pool: '',
        enabled: true,
        ready: null,
        agent: 'ready',
        state: 'Synced',
        reason: '',
        certificates: 2,
        bundle: 'sha256:b',
        observed: digest(oldContent),
        expiresAt: '2036-06-01T00:00:00.000Z',
        updatedAt: '',
        stale: null,
        message: 'all is well',
        problem: {
          code: 'ContentNotSeen',
          message: 'it has not seen the present content of secret kube-system/custom-ca-trust-secret',
          remedy: `Wait for the next look of its agent, five minutes at most, then look at its log: \`kubectl -n kube-system logs ${app}-a\`.`,
          passing: true,
        },
        warnings: [],
      },
    ],
  });
});

test('Nodes and Pods are asked for in pages', async (t) => {
  const { api, status } = await setUp(t);
  const names = Array.from({ length: 501 }, (_, index) => `node-${index}`);
  putAgents(api, names, newContent);
  for (const name of names) api.put(node(name, told(newContent), enabled));
  const { code, out } = await status([]);
  assert.equal(code, 0);
  assert.match(out, /^All is well: 501 of 501 /);
  const lists = api.journal.flatMap(({ verb, resource, limit }) => (verb === 'list' ? [`${resource} ${limit}`] : []));
  assert.deepEqual(lists.sort(), ['nodes 500', 'nodes 500', 'pods 500', 'pods 500']);
});

test('a Node that does not exist and an API server that cannot be reached end with 3', async (t) => {
  const { api, status } = await setUp(t);
  assert.match((await status(['nobody'])).err, /no Node "nobody"/);
  await api.refuse();
  const { code, err } = await status([]);
  assert.equal(code, 3);
  assert.match(err, /refused/);
});

test('--watch whose last look failed ends with 3 and says so', async (t) => {
  const { api, status } = await setUp(t);
  api.fail({ resource: 'nodes' }, { kind: 'status', code: 503 }, 1);
  api.fail({ resource: 'nodes' }, { kind: 'hang' });
  const { code, out, err } = await status(['--watch', '--timeout', '1h'], async (kill) => {
    await api.seen(isNodeList, 2);
    kill('SIGINT');
  });
  assert.deepEqual([code, out], [3, '']);
  assert.match(err, /answered 503.*; trying again\n.*interrupted; the last look failed: .*answered 503/s);
});

test('--watch whose time is up before a look has ended says so and ends with 3', async (t) => {
  const { api, status } = await setUp(t);
  api.fail({ resource: 'nodes' }, { kind: 'hang' });
  const expected = { code: 3, out: '', err: 'node-trust status: time is up (--timeout)\n' };
  assert.deepEqual(await status(['--watch', '--timeout', '1s']), expected);
});

test('a cluster in which no agent has written anything is not synced', async (t) => {
  const { api, status } = await setUp(t);
  api.put(node('a', {}));
  const { code, out } = await status([]);
  assert.equal(code, 1);
  assert.match(out, /^Not well: no agent has written to any Node; /);
  const { synced, nodes } = JSON.parse((await status(['--json'])).out) as { synced: boolean; nodes: unknown };
  assert.deepEqual([synced, nodes], [false, []]);
});

test('what somebody wrote into an annotation does nothing to the terminal', async (t) => {
  const { api, status } = await setUp(t);
  api.put(node('a', { ...failed, message: 'one\u001b]0;title\u0007\u001b[2J\u202etwo' }));
  const { out } = await status([]);
  assert.match(out, /one\\u\{1b\}\]0;title\\u\{7\}\\u\{1b\}\[2J\\u\{202e\}two/);
});

test('--watch waits until all Nodes are Synced with the present content, in plain lines', async (t) => {
  const { api, status } = await setUp(t);
  putAgents(api, ['a', 'b'], newContent);
  for (const name of ['a', 'b']) api.put(node(name, told(oldContent), enabled));
  const { code, out, err } = await status(['--watch', '--timeout', '1m'], async () => {
    await api.seen(isNodeList);
    api.put(node('a', told(newContent), enabled));
    await api.seen(isNodeList, 3);
    api.put(node('b', told(newContent), enabled));
  });
  assert.deepEqual([code, err], [0, '']);
  assert.match(out, /^0 of 2 nodes have arrived; ContentNotSeen: a, b\n1 of 2 .*: b\n2 of 2 .*\nAll is well: /);
  assert(!out.includes('\u001b') && !out.includes('\r'));
});

test('--watch names the Nodes that lag when it ends, and with --json prints one object', async (t) => {
  const { api, status } = await setUp(t);
  putAgents(api, ['a', 'b'], newContent);
  api.put(node('a', told(newContent), enabled));
  api.put(node('b', { ...failed, observed: digest(newContent) }, enabled));
  const { code, out, err } = await status(['--watch', '--json', '--timeout', '1h'], async (kill) => {
    await api.seen(isNodeList, 2);
    kill('SIGINT');
  });
  assert.equal(code, 1);
  assert.match(err, /^1 of 2 nodes have arrived; ToolFailed: b\n.*interrupted/s);
  const { nodes } = JSON.parse(out) as { nodes: readonly { node: string; problem: { message: string } | null }[] };
  assert.deepEqual(
    nodes.map(({ node, problem }) => [node, problem?.message]),
    [
      ['a', undefined],
      ['b', failed.message],
    ],
  );
});

test('--watch without a right to the Secret waits until all agree on content that came since', async (t) => {
  const rules = [{ verbs: ['get', 'list'], resources: ['nodes', 'pods', 'daemonsets'] }];
  const { api, status } = await setUp(t, { tokens: { viewer: { name: 'viewer', rules } } }, 'viewer');
  putAgents(api, ['a'], newContent);
  api.put(node('a', told(oldContent), enabled));
  const { code, out } = await status(['--watch', '--timeout', '1m'], async () => {
    await api.seen(isNodeList, 2);
    api.put(node('a', told(newContent), enabled));
  });
  assert.equal(code, 0);
  assert.match(out, /^Well as far as known: .*\n {4}not known: .*: you may not read secret kube-system\//m);
});

test('--watch that knows of no Secret ends with 1 and says so, and the first line of a look does, too', async (t) => {
  const { api, status } = await setUp(t);
  api.put(node('a', told(newContent)));
  const there = 'there is no secret kube-system/custom-ca-trust-secret';
  assert(
    (await status([])).out.startsWith(`Well as far as known: ${there}, and 1 of 1 nodes are Synced with what they`),
  );
  const { code, err } = await status(['--watch', '--timeout', '1h']);
  assert.equal(code, 1);
  assert(err.startsWith(`node-trust status: ${there}: there is nothing to wait for; apply it, or name the one`), err);
});

test('--timeout without --watch is a usage error', async () => {
  const { code, out, err } = await runCommand(status, ['--timeout', '5m']);
  assert.deepEqual([code, out, err], [2, '', 'node-trust status: --timeout ends a watch: expected --watch\n']);
});

test('--watch with nobody to wait for ends at once with 1 and the command that enables a node', async (t) => {
  const { api, status } = await setUp(t);
  putAgents(api, [], newContent);
  api.put(node('a', { ...synced, state: 'Disabled' }));
  const command = `kubectl label node a ${app}/enabled=true`;
  const expected = `node-trust status: no node is enabled: there is nothing to wait for; label one: ${command}\n`;
  for (const names of [[], ['a']]) {
    const { code, out, err } = await status(['--watch', '--timeout', '1h', ...names]);
    assert.deepEqual([code, out.includes('All is well'), err], [1, false, expected]);
  }
  const { code, out } = await status(['--watch', '--json']);
  assert.equal(code, 1);
  assert.deepEqual((JSON.parse(out) as { nodes: readonly { node: string }[] }).nodes.length, 1);
});

test('--watch ends when a real agent has proven the present content', async (t) => {
  const stage = await setStage(t);
  stage.apply({ 'corp.pem': createCertificate().pem });
  const kubeconfig = writeKubeconfig(t, stage.api.kubeconfig());
  const { code, out } = await nodeTrust(
    ['status', '--watch', '--timeout', '1m', '--kubeconfig', kubeconfig],
    '',
    async () => {
      await stage.api.seen(isNodeList);
      stage.run();
    },
  );
  assert.equal(code, 0, out);
  assert.match(out, /1 of 1 nodes are Synced/);
});

test('whoever may not list Nodes is told so', async (t) => {
  const { status } = await setUp(t, { tokens: { nobody: { name: 'nobody', rules: [] } } }, 'nobody');
  for (const flags of [[], ['--watch']]) {
    const { code, err } = await status(flags);
    assert.equal(code, 3);
    assert.match(err, /^node-trust status: you may not list nodes, which it needs: .* answered 403 /);
  }
});

test('an interrupted status ends with 1 and without a word', async (t) => {
  const { api, status } = await setUp(t);
  api.fail({ resource: 'nodes' }, { kind: 'hang' });
  const result = await status([], async (kill) => {
    await api.seen(isNodeList);
    kill('SIGINT');
  });
  assert.deepEqual(result, { code: 1, out: '', err: '' });
});

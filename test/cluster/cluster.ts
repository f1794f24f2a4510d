// `npm run test:cluster`: the manifests and an image on the cluster of the current kubeconfig, through kubectl, as a user
// goes about it. For any conformant cluster from Kubernetes 1.30 whose Linux nodes are of a family that the agent knows.
// It restarts their containerd several times, so it has to be asked for, and it leaves a cluster alone that has the agent,
// its Secret or its marks already.

import assert from 'node:assert/strict';
import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { V1Node, V1Pod } from '@kubernetes/client-node';
import { createCertificate } from '../support/certificates.ts';
import { type Annotations, ownAnnotations, prefix, secret, syncedWith } from '../support/cluster.ts';
import { pinCluster, withToken } from './kubectl.ts';

const poolLabel = `${prefix}enabled`;
const agentPods = ['pods', '--namespace=kube-system', '--selector=app.kubernetes.io/name=node-trust-agent'] as const;
const theSecret = ['secret', secret.name, `--namespace=${secret.namespace}`] as const;
/** Several changes are made within minutes. */
const prompt = [{ op: 'add', path: '/spec/template/spec/containers/0/args/-', value: '--restart-interval=0' }];
/** An image is pulled, restarts are spread over a minute, a pod that leaves has its grace of two. */
const patienceMs = 300_000;
const lookEveryMs = 2_000;

// oxlint-disable-next-line node/no-process-env -- this is how it is asked for
const { TEST_CLUSTER, TEST_IMAGE = '' } = process.env;
if (TEST_CLUSTER !== '1' || TEST_IMAGE === '') {
  process.stderr.write(
    'this installs the agent on the cluster of the current kubeconfig and restarts containerd on all its Linux nodes; ' +
      'to have it, TEST_CLUSTER=1 TEST_IMAGE=REGISTRY/NAME:TAG npm run test:cluster\n',
  );
  process.exit(2);
}

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => interrupted.abort(new Error('interrupted: cleaning up')));
const [corp, next] = [createCertificate({ subject: 'Test Root' }), createCertificate({ subject: 'Test Root' })];

await using cleanup = new AsyncDisposableStack();
const { kubectl, server } = await pinCluster(cleanup);
process.stdout.write(`the cluster at ${server}\n`);
const nodes = await step('the cluster is one that this may be tried on', findNodes);
const overlay = await writeOverlay();
cleanup.defer(() => step('what was put into the cluster is gone', cleanUp));

await step(`the manifests are applied, and ${nodes.length} nodes are enabled`, async () => {
  await kubectl.run(['apply', '--kustomize', overlay]);
  await kubectl.run(['label', 'nodes', ...nodes, `${poolLabel}=true`]);
});
await step('a Secret with a root: every node is Synced with it', async () => {
  await applySecret({ 'corp.pem': corp.pem });
  await everyNode(syncedWith(corp));
});
await step('a rotation, old and new together and then the new root alone: Synced each time', async () => {
  await applySecret({ 'corp.pem': corp.pem, 'next.pem': next.pem });
  await everyNode(syncedWith(corp, next));
  await applySecret({ 'next.pem': next.pem });
  await everyNode(syncedWith(next));
});
await step('a bad Secret: every node says Rejected and why, and keeps its trust', async () => {
  const [before] = await readNodes();
  await applySecret({ 'corp.pem': corp.pem.replaceAll('\n', '\r\n') });
  const isRejected = ({ state, reason, bundle }: Annotations): boolean =>
    state === 'Rejected' && reason === 'CrlfLineEndings' && bundle === before?.['bundle'];
  await everyNode(isRejected);
});
await step('a mended Secret: Synced again', async () => {
  await applySecret({ 'next.pem': next.pem });
  await everyNode(syncedWith(next));
});
await step('an agent’s own token may write its annotations on its own Node, and nothing else on any', tryToken);
await step('the pool is disabled: the agents take the trust away, say so and go', disable);

process.stdout.write('the agent keeps its promises on this cluster\n');

/** Throws where the agent is in use already: this would take its trust away. */
async function findNodes(): Promise<readonly string[]> {
  const { serverVersion } = JSON.parse(await kubectl.run(['version', '--output=json'])) as {
    readonly serverVersion: { readonly major: string; readonly minor: string };
  };
  const minor = Number.parseInt(serverVersion.minor, 10);
  assert(minor >= 30, `Kubernetes 1.30 is needed, this is ${serverVersion.major}.${serverVersion.minor}`);
  const inUse = [
    await kubectl.run([
      'get',
      '--ignore-not-found',
      '--output=name',
      'daemonset/node-trust-agent',
      '--namespace=kube-system',
    ]),
    await kubectl.run(['get', '--ignore-not-found', '--output=name', ...theSecret]),
  ].filter(Boolean);
  const items = await kubectl.list<V1Node>('nodes');
  const marked = items.filter(({ metadata }) =>
    Object.keys({ ...metadata?.labels, ...metadata?.annotations }).some((name) => name.startsWith(prefix)),
  );
  const found = [...inUse, ...marked.map(({ metadata }) => `node/${metadata?.name}`)];
  assert.deepEqual(found, [], 'the cluster has the agent, its Secret or its marks already');
  const linux = items.filter(
    ({ metadata, status }) =>
      metadata?.labels?.['kubernetes.io/os'] === 'linux' &&
      metadata.labels['type'] !== 'virtual-kubelet' &&
      metadata.labels['eks.amazonaws.com/compute-type'] !== 'fargate' &&
      status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True'),
  );
  assert(linux.length > 0, 'no Linux node of the cluster is ready');
  return linux.map(({ metadata }) => metadata?.name ?? '');
}

/** The base with the image under test. kustomize takes no absolute path. */
async function writeOverlay(): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'node-trust-cluster-')));
  cleanup.defer(() => rm(folder, { recursive: true }));
  const base = relative(folder, fileURLToPath(new URL('../../manifests/base', import.meta.url)));
  const [, name, tag, digest] = /^(.*?)(?::([^:/@]+))?(?:@(.+))?$/.exec(TEST_IMAGE) ?? [];
  const published = 'ghcr.io/node-trust-agent/node-trust-agent';
  const image = {
    name: published,
    newName: name,
    ...(digest === undefined ? { newTag: tag ?? 'latest' } : { digest }),
  };
  const patches = [{ target: { kind: 'DaemonSet', name: 'node-trust-agent' }, patch: JSON.stringify(prompt) }];
  await writeFile(join(folder, 'kustomization.yaml'), JSON.stringify({ resources: [base], images: [image], patches }));
  return folder;
}

/** As `data`: an entry that is taken out of `stringData` stays in the Secret when that is applied. */
async function applySecret(entries: Readonly<Record<string, string>>): Promise<void> {
  const { kind, ...metadata } = secret;
  const data = Object.fromEntries(
    Object.entries(entries).map(([name, text]) => [name, Buffer.from(text).toString('base64')]),
  );
  await kubectl.run(['apply', '--filename=-'], JSON.stringify({ apiVersion: 'v1', kind, metadata, data }));
}

async function readNodes(): Promise<readonly Annotations[]> {
  const found = await kubectl.list<V1Node>('nodes');
  return nodes.map((name) => ownAnnotations(found.find(({ metadata }) => metadata?.name === name)));
}

async function everyNode(predicate: (annotations: Annotations) => boolean): Promise<void> {
  await until(async () => (await readNodes()).every(predicate), interrupted.signal).catch(async (error: unknown) => {
    for (const [index, { details: _, ...told }] of (await readNodes()).entries())
      process.stderr.write(`${nodes[index]} says ${JSON.stringify(told)}\n`);
    process.stderr.write(`${await kubectl.run(['get', '--output=wide', ...agentPods])}\n`);
    throw error;
  });
}

async function tryToken(): Promise<void> {
  const [pod] = await kubectl.list<V1Pod>(...agentPods);
  const [podName = '', own = ''] = [pod?.metadata?.name, pod?.spec?.nodeName];
  const file = '/var/run/secrets/kubernetes.io/serviceaccount/token';
  const token = await kubectl.run(['exec', '--namespace=kube-system', podName, '--', 'cat', file]);
  const agent = await withToken(kubectl, token, cleanup);
  const other = nodes.find((name) => name !== own) ?? (await createNode());
  // Admission judges a dry run, too. What is allowed comes first: otherwise a refusal would prove nothing.
  const patch = (node: string, metadata: object): readonly string[] => {
    return ['patch', 'node', node, '--dry-run=server', '--patch', JSON.stringify({ metadata })];
  };
  const mark = { annotations: { [`${prefix}message`]: 'written by a test' } };
  assert.equal(await agent.refusal(patch(own, mark)), undefined);
  assert.match(
    (await agent.refusal(patch(other, mark))) ?? '',
    /may write to the Node its pod runs on and to no other/,
  );
  assert.match((await agent.refusal(patch(own, { labels: { test: 'x' } }))) ?? '', /may not change labels/);
  const foreign = { annotations: { 'example.com/test': 'x' } };
  assert.match((await agent.refusal(patch(own, foreign))) ?? '', /no annotations but those that begin with/);
  assert.match((await agent.refusal(['get', 'secrets', '--namespace=kube-system'])) ?? '', /Forbidden/);
}

/** On a cluster with one node, an object without a machine. */
async function createNode(): Promise<string> {
  const name = 'node-trust-test-no-machine';
  await kubectl.run(['create', '--filename=-'], JSON.stringify({ apiVersion: 'v1', kind: 'Node', metadata: { name } }));
  cleanup.defer(async () => void (await kubectl.run(['delete', 'node', name, '--ignore-not-found'])));
  return name;
}

async function disable(): Promise<void> {
  await kubectl.run(['label', 'nodes', ...nodes, `${poolLabel}-`]);
  await everyNode(({ state }) => state === 'Disabled');
  await agentsAreGone();
}

/**
 * Without a pool there is no agent, and an agent that goes takes its trust away if it can: what a Node says of what is left
 * stays there. Each part is done whatever became of the others.
 */
async function cleanUp(): Promise<void> {
  const parts = [
    () => kubectl.run(['label', 'nodes', '--all', `${poolLabel}-`]),
    agentsAreGone,
    () => kubectl.run(['delete', '--ignore-not-found', ...theSecret]),
    () => kubectl.run(['delete', '--ignore-not-found', '--kustomize', overlay]),
    forgetNodes,
  ];
  const failures: unknown[] = [];
  for (const part of parts) await part().catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw new AggregateError(failures, 'not everything could be cleaned up');
}

async function forgetNodes(): Promise<void> {
  const left: string[] = [];
  for (const { metadata } of await kubectl.list<V1Node>('nodes')) {
    const told = ownAnnotations({ metadata: metadata ?? {} });
    const name = metadata?.name ?? '';
    if (Number(told['certificates'] ?? 0) > 0) left.push(name);
    else if (Object.keys(told).length > 0)
      await kubectl.run(['annotate', 'node', name, ...Object.keys(told).map((key) => `${prefix}${key}-`)]);
  }
  assert.deepEqual(left, [], 'nodes that still trust what this has put there: run `node-trust remove` on them');
}

async function agentsAreGone(): Promise<void> {
  await until(async () => (await kubectl.list(...agentPods)).length === 0);
}

async function until(look: () => Promise<boolean>, signal?: AbortSignal): Promise<void> {
  const end = Date.now() + patienceMs;
  for (;;) {
    // An API server that does not answer for a moment is no reason to give up.
    const answer = await look().catch(String);
    if (answer === true) return;
    if (Date.now() > end) throw new Error(`waited ${patienceMs / 1_000} s in vain${answer && `: ${answer}`}`);
    await delay(lookEveryMs, undefined, { signal });
  }
}

async function step<Result>(title: string, run: () => Promise<Result>): Promise<Result> {
  const startedAt = Date.now();
  try {
    const result = await run();
    process.stdout.write(`✔ ${title} (${((Date.now() - startedAt) / 1_000).toFixed(0)} s)\n`);
    return result;
  } catch (error) {
    process.stdout.write(`✖ ${title}\n`);
    throw error;
  }
}

// manifests/ against the code it deploys, so that neither drifts from the other. What the admission policies allow and
// deny is in admission-policies.test.ts.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import * as kubernetes from '@kubernetes/client-node';
import { farewellMs } from '../agent/agent.ts';
import { parseFlags } from '../agent/cli/flags.ts';
import { runFlags } from '../agent/cli/run.ts';
import { serveEndpoints } from '../agent/endpoints.ts';
import manifest from '../package.json' with { type: 'json' };
import { temporaryFolder } from './support/api-fixture.ts';
import type { Rule } from './support/api-requests.ts';
import { createCertificate } from './support/certificates.ts';
import { nodeTrust } from './support/command-line.ts';
import { buildKustomization, type Manifest, ofKind, parseManifests, readManifests } from './support/kustomize.ts';
import { setStage } from './support/stage.ts';

const execute = promisify(execFile);
const folder = fileURLToPath(new URL('../manifests', import.meta.url));
const sample = `${folder}/samples/custom-ca-trust-secret.yaml`;
const built = {
  base: await buildKustomization(`${folder}/base`),
  'overlays/aks': await buildKustomization(`${folder}/overlays/aks`),
  'overlays/all-nodes': await buildKustomization(`${folder}/overlays/all-nodes`),
} as const;
const uninstall = await buildKustomization(`${folder}/overlays/uninstall`);
const agent = agentOf(built.base);

for (const [name, manifests] of Object.entries({ ...built, 'overlays/uninstall': uninstall })) {
  test(`kubectl makes the same of ${name} as these tests`, async (t) => {
    const output = await kustomize(t, `${folder}/${name}`);
    if (output === undefined) return;
    const byName = (one: Manifest, other: Manifest): number => (placeOf(one) < placeOf(other) ? -1 : 1);
    assert.deepEqual([...parseManifests(output)].sort(byName), [...manifests].sort(byName));
  });
}

for (const document of ['README.md', 'docs/uninstalling.md']) {
  test(`kubectl builds every kustomization of ${document}`, async (t) => {
    const text = await readFile(new URL(`../${document}`, import.meta.url), 'utf8');
    const blocks = [...text.matchAll(/^( *)```yaml\n(.*?)^ *```$/gms)].map(([, indent = '', block = '']) =>
      block.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
    );
    const kustomizations = blocks.filter((block) => block.startsWith('resources:'));
    assert(kustomizations.length > 0);
    for (const content of kustomizations) {
      const place = temporaryFolder(t);
      await symlink(folder, join(place, 'manifests'));
      await writeFile(join(place, 'kustomization.yaml'), content);
      const output = await kustomize(t, place);
      if (output === undefined) return;
      assert.notDeepEqual(ofKind(parseManifests(output), 'DaemonSet'), ofKind(built.base, 'DaemonSet'), content);
    }
  });
}

for (const [name, manifests] of Object.entries(built)) {
  test(`in ${name} the agents run where the label is that enables them`, () => {
    const { pod, flags } = agentOf(manifests);
    const { 'kubernetes.io/os': os, ...enabling } = pod.nodeSelector ?? {};
    assert.equal(os, 'linux');
    const { enabledBy } = flags;
    assert.deepEqual(enabling, enabledBy === undefined ? {} : { [enabledBy.key]: enabledBy.value });
  });
}

test('to uninstall, the agents go to every node with the rights that they have, and a batch is done before the next', () => {
  const { pod, container, flags } = agentOf(uninstall);
  assert.deepEqual(pod.nodeSelector, { 'kubernetes.io/os': 'linux' });
  assert.equal(flags.uninstalls, true);
  assert.equal(agent.flags.uninstalls, false);
  assert.deepEqual(container.readinessProbe, agent.container.readinessProbe);
  const others = (manifests: readonly Manifest[]) => manifests.filter(({ kind }) => kind !== 'DaemonSet');
  assert.deepEqual(others(uninstall), others(built.base));
});

test('every field is one that the API of Kubernetes knows', async () => {
  const manifests = [...Object.values(built).flat(), ...(await readManifests(sample))];
  assert.deepEqual(
    manifests.flatMap((object) => unknownFields(object, `V1${object.kind}`, placeOf(object))),
    [],
  );
});

test('each pool has the label that is documented for it', () => {
  const labels = Object.values(built).map((manifests) => agentOf(manifests).flags.enabledBy);
  const aks = { key: 'kubernetes.azure.com/custom-ca-trust-enabled', value: 'true' };
  assert.deepEqual(labels, [{ key: 'node-trust-agent/enabled', value: 'true' }, aks, undefined]);
});

test('the agent is told its Node and where the root of the host is', () => {
  const { pod, container, flags } = agent;
  assert.equal(flags.nodeName, 'the value of spec.nodeName');
  const mount = container.volumeMounts?.find(({ mountPath }) => mountPath === flags.hostRoot);
  assert.equal(pod.volumes?.find(({ name }) => name === mount?.name)?.hostPath?.path, '/');
  assert.equal(mount?.mountPropagation, 'HostToContainer');
  assert.equal(pod.hostPID, true, 'nsenter reaches the host by its process 1, see agent/host/commands.ts');
});

test('the probes ask where the agent listens, and each one hears what is meant for it', async () => {
  const { container, flags } = agent;
  const { startupProbe, livenessProbe, readinessProbe } = container;
  let [notLive, notReady]: (string | undefined)[] = [];
  const metrics = () => Promise.resolve({ contentType: '', text: '' });
  const answering = { live: () => notLive, ready: () => notReady, metrics };
  await using endpoints = await serveEndpoints({ host: '127.0.0.1', port: 0, ...answering });
  const ask = (): Promise<readonly number[]> =>
    Promise.all(
      [startupProbe, livenessProbe, readinessProbe].map(async (probe) => {
        const { host, port, path } = probe?.httpGet ?? {};
        assert.deepEqual({ host, port }, flags.listen);
        return (await fetch(`${endpoints.url}${path}`)).status;
      }),
    );
  assert.deepEqual(await ask(), [200, 200, 200]);
  notReady = 'the first pass has not ended';
  assert.deepEqual(await ask(), [200, 200, 503]);
  notLive = 'a pass hangs';
  assert.deepEqual(await ask(), [503, 503, 503]);
});

// Each of these is a promise to somebody, and no other test would miss it: docs/adr/0005, 0006 and the comments in the manifest.
test('the agent comes to every node of its pool, early, and before its network', () => {
  const { containers: _, nodeSelector: __, volumes: ___, ...pod } = agent.pod;
  assert.deepEqual(pod, {
    serviceAccountName: 'node-trust-agent',
    tolerations: [{ operator: 'Exists' }],
    priorityClassName: 'system-node-critical',
    hostNetwork: true,
    dnsPolicy: 'Default',
    hostPID: true,
    terminationGracePeriodSeconds: 120,
  });
  const { imagePullPolicy, securityContext, resources } = agent.container;
  assert.equal(imagePullPolicy, 'IfNotPresent');
  assert.deepEqual(securityContext, { privileged: true, readOnlyRootFilesystem: true });
  assert.equal(resources?.limits?.['cpu'], undefined);
  const rollout = { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '10%' } };
  assert.deepEqual(ofKind(built.base, 'DaemonSet')[0]?.spec?.updateStrategy, rollout);
});

test('a pod has longer to end than the agent takes to say farewell to its pool', () => {
  // Before the farewell, a step under way and the read that asks for a reason have 10 s together: see agent/agent.ts.
  assert((agent.pod.terminationGracePeriodSeconds ?? 30) * 1000 > farewellMs + 10_000);
});

test('the image is of the version of this package', () => {
  assert.equal(agent.container.image, `ghcr.io/node-trust-agent/node-trust-agent:${manifest.version}`);
});

test('an agent with exactly these rights does all its work, and uses every one of them', async (t) => {
  const { namespace, name } = agent.flags.secret;
  const account = agent.pod.serviceAccountName ?? '';
  const user = `system:serviceaccount:kube-system:${account}`;
  const rules = rulesOf(built.base, account);
  const stage = await setStage(t, { tokens: { agent: { name: user, rules } } });
  stage.run();
  await stage.says(({ state, certificates }) => state === 'Synced' && certificates === '0');
  stage.apply({ 'corp.pem': createCertificate().pem });
  await stage.says(({ state, certificates }) => state === 'Synced' && certificates === '1');
  await stage.api.seen(({ resource }) => resource === 'events', 2);

  const asked = stage.api.journal.filter((entry) => entry.user === user);
  assert.deepEqual(
    asked.filter(({ code }) => code === 401 || code === 403),
    [],
  );
  const used = new Set(asked.map(({ verb, resource }) => `${verb} ${resource}`));
  const granted = rules.flatMap(({ verbs, resources }) =>
    resources.flatMap((resource) => verbs.map((verb) => `${verb} ${resource}`)),
  );
  // Usual companions of what is used, and granted with it; neither reaches further.
  const unused = ['list secrets', 'patch events'];
  assert.deepEqual(granted.sort(), [...used, ...unused].sort());
  const ofSecrets = rules.filter(({ resources }) => resources.includes('secrets'));
  assert.deepEqual(
    ofSecrets.map(({ namespace, resourceNames }) => ({ namespace, resourceNames })),
    [{ namespace, resourceNames: [name] }],
  );
});

test('the sample is the Secret that is followed, and the agent would accept it without a word', async () => {
  const [secret, ...more] = await readManifests(sample);
  assert.deepEqual(more, []);
  assert.deepEqual(secret?.metadata, agent.flags.secret);
  const { code, out } = await nodeTrust(['validate', '--json', sample]);
  assert.equal(code, 0);
  assert.deepEqual((JSON.parse(out) as { findings: unknown }).findings, []);
});

test('the CA of the sample can vouch for nothing that exists', async () => {
  const [secret] = ofKind(await readManifests(sample), 'Secret');
  const shown = execute('openssl', ['x509', '-noout', '-ext', 'nameConstraints']);
  shown.child.stdin?.end(Object.values(secret?.stringData ?? {}).join(''));
  const { stdout } = await shown;
  const everyAddress = 'IP:0.0.0.0/0.0.0.0 IP:0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0';
  assert.equal(
    stdout.replaceAll(/\s+/g, ' ').trim(),
    `X509v3 Name Constraints: critical Permitted: DNS:invalid Excluded: ${everyAddress}`,
  );
});

/** The output of `kubectl kustomize`, or undefined where there is no kubectl; then the test says that it was skipped. */
async function kustomize(t: TestContext, path: string): Promise<string | undefined> {
  try {
    return (await execute('kubectl', ['kustomize', path])).stdout;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    t.skip('kubectl is not on this machine');
    return undefined;
  }
}

/** A misspelt field is refused by kubectl, or dropped in silence. The client's models are made from the OpenAPI document. */
function unknownFields(value: unknown, type: string, path: string): readonly string[] {
  const [, ofList, ofMap] = /^(?:Array<(.+)>|\{ \[key: string\]: (.+); \})$/.exec(type) ?? [];
  if (typeof value !== 'object' || value === null) return [];
  const fields = Object.entries(value as Record<string, unknown>);
  const element = ofList ?? ofMap;
  if (element !== undefined) return fields.flatMap(([key, item]) => unknownFields(item, element, `${path}.${key}`));
  const model = (kubernetes as unknown as Readonly<Record<string, typeof kubernetes.V1Pod | undefined>>)[type];
  const known = new Map(model?.getAttributeTypeMap().map((attribute) => [attribute.baseName, attribute.type]));
  return fields.flatMap(([name, field]) => {
    const typeOfField = known.get(name);
    return typeOfField === undefined ? [`${path}.${name}`] : unknownFields(field, typeOfField, `${path}.${name}`);
  });
}

function placeOf({ kind, metadata }: Manifest): string {
  return `${kind} ${metadata.namespace ?? ''}/${metadata.name}`;
}

/** The DaemonSet's pod, and what the agent's own parser makes of its arguments and environment. */
function agentOf(manifests: readonly Manifest[]) {
  const [daemonSet, ...more] = ofKind(manifests, 'DaemonSet');
  const pod = daemonSet?.spec?.template.spec;
  const [container, ...others] = pod?.containers ?? [];
  assert(pod && container && more.length === 0 && others.length === 0, 'one DaemonSet with one container');
  const [command, ...args] = container.args ?? [];
  assert.equal(command, 'run');
  const env = (container.env ?? []).map(({ name, value, valueFrom }) => [
    name,
    value ?? `the value of ${valueFrom?.fieldRef?.fieldPath}`,
  ]);
  const parsed = parseFlags(runFlags, args, Object.fromEntries(env) as Record<string, string>);
  assert(parsed.kind === 'parsed', JSON.stringify(parsed));
  assert.deepEqual(parsed.positionals, []);
  return { pod, container, flags: parsed.values };
}

/** What the bindings give this ServiceAccount, in the words of the embedded API server. */
function rulesOf(manifests: readonly Manifest[], account: string): readonly Rule[] {
  const accounts = ofKind(manifests, 'ServiceAccount').map(({ metadata }) => [metadata?.namespace, metadata?.name]);
  assert.deepEqual(accounts, [['kube-system', account]]);
  const bindings = [...ofKind(manifests, 'RoleBinding'), ...ofKind(manifests, 'ClusterRoleBinding')];
  return bindings.flatMap(({ roleRef, subjects, metadata: { namespace } = {} }) => {
    assert.deepEqual(subjects, [{ kind: 'ServiceAccount', name: account, namespace: 'kube-system' }]);
    const roles = [...ofKind(manifests, 'Role'), ...ofKind(manifests, 'ClusterRole')];
    const role = roles.find(({ kind, metadata }) => kind === roleRef.kind && metadata?.name === roleRef.name);
    assert(role?.rules !== undefined && !('aggregationRule' in role), `the rules of ${roleRef.name} are here`);
    return role.rules.map(({ apiGroups, verbs, resources = [], resourceNames }) => {
      assert.deepEqual(apiGroups, [''], 'the core group: the words of the embedded server know no other');
      return { verbs, resources, ...(resourceNames && { resourceNames }), ...(namespace && { namespace }) };
    });
  });
}

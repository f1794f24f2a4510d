// What the admission policies of manifests/ allow an agent and what they deny, by their own CEL expressions. There is no API
// server here that could evaluate them: @marcbachmann/cel-js does, and `judge` does for a policy what the API server does
// around it. Out of reach are what objects look like after the server's own defaulting and conversion, that a patch becomes
// an UPDATE, the cost limits, and the check of types against schemas: test/cluster asks a real one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { V1ValidatingAdmissionPolicy } from '@kubernetes/client-node';
import { Environment } from '@marcbachmann/cel-js';
import { annotationPrefix } from '../agent/trust/status.ts';
import { createCertificate } from './support/certificates.ts';
import { buildKustomization, ofKind } from './support/kustomize.ts';
import { setStage } from './support/stage.ts';

interface Request {
  readonly operation: 'CREATE' | 'UPDATE';
  readonly resource: 'nodes' | 'events';
  readonly namespace?: string;
  readonly userInfo: { readonly username: string; readonly extra?: Readonly<Record<string, readonly string[]>> };
  readonly object: object;
  readonly oldObject: object | null;
}

interface Verdict {
  /** The messages of the validations that do not hold. */
  readonly denials: readonly string[];
  /** What could not be evaluated; failurePolicy Fail makes it a denial, too. */
  readonly errors: readonly string[];
}

const base = await buildKustomization(fileURLToPath(new URL('../manifests/base', import.meta.url)));
const policies = ofKind(base, 'ValidatingAdmissionPolicy');

const claim = 'authentication.kubernetes.io/node-name';
const username = 'system:serviceaccount:kube-system:node-trust-agent';
const agent = { username, extra: { [claim]: ['node-1'], 'authentication.kubernetes.io/pod-name': ['agent-x'] } };
const allowed: Verdict = { denials: [], errors: [] };

const node = {
  metadata: {
    name: 'node-1',
    labels: { 'kubernetes.io/os': 'linux', 'node-trust-agent/enabled': 'true' },
    annotations: { 'node-trust-agent/state': 'Synced', 'example.com/owner': 'somebody' },
    finalizers: ['example.com/hold'],
    ownerReferences: [{ apiVersion: 'v1', kind: 'Machine', name: 'machine-1', uid: '1' }],
    managedFields: [{ manager: 'kubelet' }],
  },
  spec: { podCIDR: '10.0.0.0/24', taints: [{ key: 'dedicated', effect: 'NoSchedule' }] },
};
const { annotations, labels, ownerReferences } = node.metadata;
const foreign = { 'example.com/owner': 'somebody' };
const own = `${annotationPrefix}state`;

const notOwnNode = 'an agent may write to the Node its pod runs on and to no other';
const notAnnotations = 'an agent may add, change and remove no annotations but those that begin with node-trust-agent/';
const notSpec = 'an agent may not change the spec of a Node, taints among it';
const notLabels = 'an agent may not change labels';
const notOwners = 'an agent may not change finalizers or ownerReferences';

for (const [change, metadata, denials] of [
  ['an annotation of the agent is added', { annotations: { ...annotations, [`${annotationPrefix}bundle`]: '1' } }, []],
  ['an annotation of the agent is changed', { annotations: { ...foreign, [own]: 'Failed' } }, []],
  ['an annotation of the agent is removed', { annotations: foreign }, []],
  ['the API server notes who made a change', { managedFields: [{ manager: 'node-trust-agent' }] }, []],
  ['a foreign annotation is added', { annotations: { ...annotations, 'example.com/new': '' } }, [notAnnotations]],
  ['a foreign annotation is changed', { annotations: { 'example.com/owner': 'agent' } }, [notAnnotations]],
  ['a foreign annotation is removed', { annotations: { [own]: 'Synced' } }, [notAnnotations]],
  ['all annotations are removed', { annotations: undefined }, [notAnnotations]],
  ['a prefix is only similar', { annotations: { ...annotations, 'node-trust-agent.io/x': '' } }, [notAnnotations]],
  ['a label is added', { labels: { ...labels, 'node-trust-agent/x': '' } }, [notLabels]],
  ['a label is changed', { labels: { ...labels, 'node-trust-agent/enabled': 'false' } }, [notLabels]],
  ['all labels are removed', { labels: undefined }, [notLabels]],
  ['a finalizer is removed', { finalizers: undefined }, [notOwners]],
  ['an owner is added', { ownerReferences: [...ownerReferences, {}] }, [notOwners]],
  ['labels and annotations change', { labels: {}, annotations: {} }, [notAnnotations, notLabels]],
] as const) {
  test(`own Node, ${change}: ${denials.length === 0 ? 'allowed' : 'denied'}`, () => {
    assert.deepEqual(judge(patch(node, metadata)), { denials, errors: [] });
  });
}

for (const [change, spec] of [
  ['a taint is removed', { taints: [] }],
  ['it is cordoned', { unschedulable: true }],
] as const) {
  test(`own Node, ${change}: denied`, () => {
    assert.deepEqual(judge(patch(node, {}, spec)), { denials: [notSpec], errors: [] });
  });
}

test('a Node with a name and nothing else takes annotations of the agent and nothing else', () => {
  const bare = { metadata: { name: 'node-1' }, spec: {} };
  assert.deepEqual(judge(patch(bare, { annotations: { [own]: 'Synced' } })), allowed);
  const { denials } = judge(patch(bare, { annotations: foreign, labels, finalizers: ['example.com/hold'] }));
  assert.deepEqual(denials, [notAnnotations, notLabels, notOwners]);
});

test('an annotation of the agent on another Node: denied', () => {
  const other = { ...node, metadata: { ...node.metadata, name: 'node-2' } };
  assert.deepEqual(judge(patch(other, { annotations: { ...foreign, [own]: 'Failed' } })).denials, [notOwnNode]);
});

const event = {
  metadata: { name: 'node-1.1', namespace: 'default' },
  involvedObject: { kind: 'Node', name: 'node-1', uid: '1' },
  source: { component: 'node-trust-agent', host: 'node-1' },
  reportingComponent: 'node-trust-agent',
  reportingInstance: 'node-1',
};
const ofKubelet = { ...event, source: { component: 'kubelet', host: 'node-1' }, reportingComponent: 'kubelet' };

const notNamespace = 'events about Nodes are in the namespace default';
const notAbout = 'an agent may tell of the Node its pod runs on and of nothing else';
const notSpeaker = 'an agent may speak in its own name only';

for (const [what, object, denials] of [
  ['about its Node', event, []],
  ['about another Node', { ...event, involvedObject: { kind: 'Node', name: 'node-2' } }, [notAbout]],
  ['about a Pod with the name of its Node', { ...event, involvedObject: { kind: 'Pod', name: 'node-1' } }, [notAbout]],
  ['in the name of the kubelet', ofKubelet, [notSpeaker]],
  ['with the kubelet as its source', { ...event, source: ofKubelet.source }, [notSpeaker]],
  ['with the kubelet as its reporter', { ...event, reportingComponent: 'kubelet' }, [notSpeaker]],
  ['in the name of another agent', { ...event, reportingInstance: 'node-2' }, [notSpeaker]],
] as const) {
  test(`an event ${what}: ${denials.length === 0 ? 'allowed' : 'denied'}`, () => {
    assert.deepEqual(judge(create(object)), { denials, errors: [] });
    assert.deepEqual(judge({ ...create(object), operation: 'UPDATE', oldObject: event }), { denials, errors: [] });
  });
}

test('an event in another namespace: denied', () => {
  assert.deepEqual(judge({ ...create(event), namespace: 'kube-system' }).denials, [notNamespace]);
});

test('an event that does not say what it is about: denied by an error', () => {
  const { denials, errors } = judge(create({ ...event, involvedObject: { name: 'node-1' } }));
  assert.deepEqual(denials, []);
  assert.match(errors.join(), /No such key: kind/);
});

test("the kubelet's event is not taken over, not even into one of the agent", () => {
  assert.deepEqual(judge({ ...create(event), operation: 'UPDATE', oldObject: ofKubelet }).denials, [notSpeaker]);
});

for (const [token, extra] of [
  ['of another node', { [claim]: ['node-2'] }],
  ['without a claim of a node', { 'authentication.kubernetes.io/credential-id': ['JTI=1'] }],
  ['without any claim', undefined],
  ['with an empty claim', { [claim]: [] }],
  ['of several nodes', { [claim]: ['node-1', 'node-2'] }],
] as const) {
  test(`a token ${token} may write nothing, and is told so instead of an error`, () => {
    const userInfo = { username, ...(extra && { extra }) };
    const write = patch(node, { annotations: { ...annotations, [own]: 'Failed' } });
    assert.deepEqual(judge({ ...write, userInfo }), { denials: [notOwnNode], errors: [] });
    assert.deepEqual(judge({ ...create(event), userInfo }), { denials: [notAbout, notSpeaker], errors: [] });
  });
}

test('whoever is not the agent is not held by its policies', () => {
  for (const name of ['system:node:node-1', 'admin', 'system:serviceaccount:default:node-trust-agent']) {
    const userInfo = { username: name };
    assert.deepEqual(judge({ ...patch(node, { labels: {} }, { taints: [] }), userInfo }), allowed);
    assert.deepEqual(judge({ ...create(ofKubelet), userInfo }), allowed);
  }
});

test('what a running agent writes is allowed', async (t) => {
  const stage = await setStage(t);
  stage.api.put({ kind: 'Node', ...node });
  const before = stage.api.get({ kind: 'Node', name: 'node-1' });
  stage.apply({ 'corp.pem': createCertificate().pem });
  stage.run();
  await stage.says(({ state, certificates }) => state === 'Synced' && certificates === '1');
  await stage.api.seen(({ resource }) => resource === 'events');
  const after = stage.api.get({ kind: 'Node', name: 'node-1' });
  assert(before && after && before !== after);
  assert.deepEqual(judge({ ...patch(node, {}), object: after, oldObject: before }), allowed);
  const events = stage.api.list('Event');
  assert(events.length > 0);
  for (const written of events) {
    const { namespace = '' } = written.metadata;
    assert.deepEqual(judge({ ...create(written), namespace }), allowed);
  }
});

test('each right to write is held by a policy, and each policy is bound and denies', () => {
  const rules = ofKind(base, 'ClusterRole').flatMap(({ rules: given }) => given ?? []);
  const writes = rules.flatMap(({ resources = [], verbs }) =>
    resources.flatMap((resource) =>
      verbs
        .filter((verb) => verb !== 'get')
        .map((verb) => `${verb === 'patch' ? 'UPDATE' : verb.toUpperCase()} ${resource}`),
    ),
  );
  const held = policies.map(({ spec }) => spec?.matchConstraints);
  const core = (resource: string, operations: readonly string[]) => ({
    resourceRules: [{ apiGroups: [''], apiVersions: ['v1'], resources: [resource], operations }],
  });
  assert.deepEqual(held, [core('nodes', ['UPDATE']), core('events', ['CREATE', 'UPDATE'])]);
  assert.deepEqual(writes.sort(), ['CREATE events', 'UPDATE events', 'UPDATE nodes']);
  const bindings = ofKind(base, 'ValidatingAdmissionPolicyBinding');
  assert.deepEqual(
    bindings.map(({ spec }) => spec),
    policies.map(({ metadata }) => ({ policyName: metadata?.name, validationActions: ['Deny'] })),
  );
});

/** A patch of a Node by the agent of node-1; undefined takes a field away. */
function patch(from: { metadata: object; spec: object }, metadata: object, spec: object = {}): Request {
  const merged = { ...from, metadata: { ...from.metadata, ...metadata }, spec: { ...from.spec, ...spec } };
  const object = JSON.parse(JSON.stringify(merged)) as object;
  return { operation: 'UPDATE', resource: 'nodes', userInfo: agent, object, oldObject: from };
}

function create(object: object): Request {
  return { operation: 'CREATE', resource: 'events', namespace: 'default', userInfo: agent, object, oldObject: null };
}

/** What all policies that match say together. As on the server every validation is evaluated, and nothing cut short. */
function judge(request: Request): Verdict {
  const verdicts = policies.filter((policy) => isAbout(policy, request)).map((policy) => judgeBy(policy, request));
  return { denials: verdicts.flatMap(({ denials }) => denials), errors: verdicts.flatMap(({ errors }) => errors) };
}

function isAbout({ spec }: V1ValidatingAdmissionPolicy, { resource, operation }: Request): boolean {
  return (spec?.matchConstraints?.resourceRules ?? []).some(
    ({ apiGroups, apiVersions, resources, operations }) =>
      apiGroups?.includes('') &&
      apiVersions?.includes('v1') &&
      resources?.includes(resource) &&
      operations?.includes(operation),
  );
}

function judgeBy({ spec }: V1ValidatingAdmissionPolicy, { object, oldObject, ...request }: Request): Verdict {
  assert.equal(spec?.failurePolicy, 'Fail');
  const scope = { object, oldObject, request, variables: {} as Record<string, unknown> };
  const conditions = spec.matchConditions ?? [];
  if (!conditions.every(({ expression }) => evaluate(expression, scope) === true)) return allowed;
  for (const { name, expression } of spec.variables ?? []) scope.variables[name] = evaluate(expression, scope);
  const denials: string[] = [];
  const errors: string[] = [];
  for (const { expression, message = '' } of spec.validations ?? []) {
    try {
      if (evaluate(expression, scope) !== true) denials.push(message);
    } catch (error) {
      errors.push(String(error));
    }
  }
  return { denials, errors };
}

/** Names that nobody declares are errors, as on the server. */
function evaluate(expression: string, scope: Readonly<Record<string, unknown>>): unknown {
  const environment = new Environment();
  for (const name of Object.keys(scope)) environment.registerVariable(name, 'dyn');
  return environment.evaluate(expression, scope);
}

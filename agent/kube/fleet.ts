// What a person may see of the agents of a cluster: all Nodes, the DaemonSet and its Pods, and the Secret. Only the Nodes must be
// readable. Of the rest each is asked for by itself, and what is refused or fails is "could not find out", with why. For people:
// an agent has none of these rights. Nothing is judged here.

import type { AgentPod, Content, Enabling, FleetFacts, Known, NodeFacts } from '../trust/node-report.ts';
import { contentDigest } from '../trust/source.ts';
import { annotationPrefix, describeFinding, sentence } from '../trust/status.ts';
import {
  type AnswerObject,
  isRecord,
  listAt,
  metadataOf,
  parseJson,
  recordAt,
  textAt,
  textMapAt,
} from './answer-object.ts';
import type { KubeClient } from './client.ts';
import { KubeError, type KubeFailure } from './kube-error.ts';
import { secretsPath, snapshotOf } from './secret-source.ts';

export interface SecretPlace {
  readonly namespace: string;
  readonly name: string;
}

const agent = { namespace: 'kube-system', name: 'node-trust-agent' };
const podsOfAgent = `pods of ${agent.name} in ${agent.namespace}`;
const setOfAgent = `daemonset ${agent.namespace}/${agent.name}`;
const defaultSecret: SecretPlace = { namespace: 'kube-system', name: 'custom-ca-trust-secret' };

/** The Secret is the one that the DaemonSet's agents follow, unless it is given. Throws KubeError where the Nodes cannot be listed. */
export async function readFleet(
  client: KubeClient,
  secret: SecretPlace | undefined,
  signal: AbortSignal,
): Promise<FleetFacts> {
  const set = await attempt(setOfAgent, readDaemonSet(client, signal));
  const followed = secret ?? (set.kind === 'known' ? set.value.secret : undefined);
  const [nodes, pods, content] = await Promise.all([
    listNodes(client, signal),
    attempt(podsOfAgent, listPods(client, signal)),
    readContent(client, followed, signal),
  ]);
  const { namespace, name } = followed ?? defaultSecret;
  return { nodes, enabling: set, pods, secret: `secret ${namespace}/${name}`, content };
}

async function attempt<T>(object: string, reading: Promise<T>): Promise<Known<T>> {
  try {
    return { kind: 'known', value: await reading };
  } catch (error) {
    if (!(error instanceof KubeError)) throw error;
    return { kind: 'unknown', why: whyNot(object, error.failure) };
  }
}

/** A failure's own evidence speaks of an agent's rights; here it is a person who asks. */
function whyNot(object: string, { kind, evidence }: KubeFailure): string {
  if (kind === 'forbidden') return `you may not read ${object}`;
  return kind === 'not-found' ? `there is no ${object}` : evidence;
}

function listNodes(client: KubeClient, signal: AbortSignal): Promise<readonly NodeFacts[]> {
  // What warns of an entry of the Secret is said on every Node: one copy of it serves thousands.
  const texts = new Map<string, string>();
  const share = (text: string): string => texts.get(text) ?? (texts.set(text, text), text);
  const read = (node: AnswerObject): NodeFacts => {
    const metadata = metadataOf(node);
    const annotations = textMapAt(metadata, 'annotations');
    // The details are the longest of them: only what warns is kept.
    const own = [...annotations].flatMap(([key, value]) =>
      key.startsWith(annotationPrefix) && key !== `${annotationPrefix}details`
        ? [[key.slice(annotationPrefix.length), value] as const]
        : [],
    );
    return {
      name: textAt(metadata, 'name') ?? '',
      labels: textMapAt(metadata, 'labels'),
      isReady: isReady(node),
      told: new Map(own),
      warnings: warningsOf(annotations.get(`${annotationPrefix}details`) ?? '').map(share),
    };
  };
  return client.list({ path: '/api/v1/nodes', object: 'nodes', kind: 'NodeList' }, read, signal);
}

/** What the details warn of, each a sentence after its code. */
function warningsOf(details: string): readonly string[] {
  const parsed = parseJson(details);
  if (!isRecord(parsed)) return [];
  const { warnings } = parsed;
  const own = Array.isArray(warnings) ? warnings.filter((text): text is string => typeof text === 'string') : [];
  const ofSource = listAt(parsed, 'findings')
    .filter((finding) => textAt(finding, 'severity') === 'warning')
    .map((finding) => {
      const field = (name: string): string => textAt(finding, name) ?? '';
      const [message, remedy] = [field('message'), field('remedy')];
      const place = { severity: 'warning', entry: field('entry'), message, remedy } as const;
      return `${field('code')}: ${sentence(describeFinding(place), remedy)}`;
    });
  return [...own, ...ofSource];
}

/** Its condition `Ready`, which Nodes and Pods have. */
function isReady(object: AnswerObject): boolean | undefined {
  const ready = listAt(recordAt(object, 'status'), 'conditions').find((condition) => condition['type'] === 'Ready');
  return ready && ready['status'] === 'True';
}

async function readDaemonSet(
  client: KubeClient,
  signal: AbortSignal,
): Promise<Enabling & { readonly secret: SecretPlace }> {
  const { namespace, name } = agent;
  const set = await client.call(
    {
      verb: 'get',
      path: `/apis/apps/v1/namespaces/${namespace}/daemonsets/${name}`,
      object: setOfAgent,
      name,
      kind: 'DaemonSet',
    },
    signal,
  );
  const pod = recordAt(recordAt(recordAt(set, 'spec'), 'template'), 'spec');
  const args = listAt(pod, 'containers').flatMap(({ args }): readonly unknown[] => (Array.isArray(args) ? args : []));
  const [, ...enabledBy] = /^([^=]+)=(.*)$/.exec(flagOf(args, 'enabled-by') ?? '') ?? [];
  const [, ...secret] = /^([^/]+)\/(.+)$/.exec(flagOf(args, 'secret') ?? '') ?? [];
  const affinity = recordAt(recordAt(pod, 'affinity'), 'nodeAffinity');
  return {
    labels: new Map([
      ...(enabledBy[0] === undefined ? [] : [[enabledBy[0], enabledBy[1] ?? ''] as const]),
      ...textMapAt(pod, 'nodeSelector'),
    ]),
    isNarrower: 'requiredDuringSchedulingIgnoredDuringExecution' in affinity,
    secret: secret[0] === undefined ? defaultSecret : { namespace: secret[0], name: secret[1] ?? '' },
  };
}

/** `--name=value`, or `--name` and then the value. */
function flagOf(args: readonly unknown[], name: string): string | undefined {
  const texts = args.map(String);
  const at = texts.indexOf(`--${name}`);
  return at >= 0 ? texts[at + 1] : texts.find((text) => text.startsWith(`--${name}=`))?.slice(name.length + 3);
}

async function listPods(client: KubeClient, signal: AbortSignal): Promise<ReadonlyMap<string, AgentPod>> {
  const { namespace, name } = agent;
  const read = (pod: AnswerObject): readonly [string, AgentPod] => {
    const found = { name: textAt(metadataOf(pod), 'name') ?? '', isReady: isReady(pod) ?? false, phase: phaseOf(pod) };
    return [textAt(recordAt(pod, 'spec'), 'nodeName') ?? '', found];
  };
  const query = { labelSelector: `app.kubernetes.io/name=${name}` };
  const path = `/api/v1/namespaces/${namespace}/pods`;
  const pods = await client.list({ path, object: podsOfAgent, kind: 'PodList', query }, read, signal);
  // Beside one that is going, a new one may be there already.
  return new Map([...pods].sort(([, one], [, other]) => Number(one.isReady) - Number(other.isReady)));
}

/** Why a container does not run says more than the phase of its Pod. */
function phaseOf(pod: AnswerObject): string {
  if ('deletionTimestamp' in metadataOf(pod)) return 'Terminating';
  const status = recordAt(pod, 'status');
  const [container = {}] = listAt(status, 'containerStatuses');
  return textAt(recordAt(recordAt(container, 'state'), 'waiting'), 'reason') ?? textAt(status, 'phase') ?? 'unknown';
}

async function readContent(
  client: KubeClient,
  followed: SecretPlace | undefined,
  signal: AbortSignal,
): Promise<Content> {
  const { namespace, name } = followed ?? defaultSecret;
  const object = `secret ${namespace}/${name}`;
  const asked = { verb: 'get', path: secretsPath(namespace, name), object, name, kind: 'Secret' } as const;
  try {
    const secret = await client.call(asked, signal);
    const snapshot = snapshotOf(secret);
    if (snapshot.kind === 'wrong-type') return { kind: 'unusable' };
    const observed = snapshot.kind === 'present' ? contentDigest(snapshot.entries) : '';
    return { kind: 'known', observed, changedAt: changedAt(secret) };
  } catch (error) {
    if (!(error instanceof KubeError)) throw error;
    const { kind } = error.failure;
    if (kind !== 'not-found')
      return { kind: 'unknown', why: whyNot(object, error.failure), isFinal: kind === 'forbidden' };
    if (followed !== undefined) return { kind: 'known', observed: '', changedAt: undefined };
    const why = `there is no ${object}, and the agents may follow another one`;
    return { kind: 'unknown', why, isFinal: true, isAbsent: true };
  }
}

/** When one of its fields was last changed by anybody. */
function changedAt(secret: AnswerObject): Date | undefined {
  const times = listAt(metadataOf(secret), 'managedFields').map((manager) => Date.parse(textAt(manager, 'time') ?? ''));
  const known = times.filter((time) => !Number.isNaN(time));
  return known.length === 0 ? undefined : new Date(Math.max(...known));
}

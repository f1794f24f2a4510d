// What the kubelet makes of the DaemonSet, so that the suite runs the agent as a cluster does: each field of the manifest
// becomes a setting of the container, or stands in the list of those that mean nothing without a cluster. Any other field
// is refused, so that none is forgotten here when it is added there.

import { readFile } from 'node:fs/promises';
import { parse, parseAllDocuments } from 'yaml';
import type { Rule } from '../../support/api-requests.ts';
import type { Pod } from './cri.ts';

const base = new URL('../../../manifests/base/', import.meta.url);
const accountFolder = '/var/run/secrets/kubernetes.io/serviceaccount';

export interface AgentPod {
  readonly pod: Pod;
  readonly graceSeconds: number;
  /** The label that a Node must have besides those that every Node has. */
  readonly poolLabel: { readonly key: string; readonly value: string };
}

export interface Surroundings {
  readonly image: string;
  readonly nodeName: string;
  readonly apiServer: { readonly host: string; readonly port: string };
  /** A folder of the node with what a kubelet projects: token, ca.crt, namespace. */
  readonly account: string;
  /** Besides those of the manifest. */
  readonly flags: readonly string[];
  /** Tells the pods of one node apart. */
  readonly uid: string;
}

export async function readAgentPod(surroundings: Surroundings): Promise<AgentPod> {
  const text = await readFile(new URL('daemonset.yaml', base), 'utf8');
  const daemonSet = fieldsOf(parse(text), 'DaemonSet', {
    known: ['spec'],
    ignored: ['apiVersion', 'kind', 'metadata'],
  });
  const { template } = fieldsOf(daemonSet['spec'], 'spec', {
    known: ['template'],
    ignored: ['selector', 'updateStrategy'], // whom the controller replaces when
  });
  const { spec } = fieldsOf(template, 'template', { known: ['spec'], ignored: ['metadata'] });
  return toAgentPod(spec, surroundings);
}

function toAgentPod(spec: unknown, { image, nodeName, apiServer, account, flags, uid }: Surroundings): AgentPod {
  const pod = fieldsOf(spec, 'template.spec', {
    known: ['nodeSelector', 'hostNetwork', 'hostPID', 'terminationGracePeriodSeconds', 'containers', 'volumes'],
    // The scheduler's; the node's own resolv.conf is what a pod without a network of its own has anyway.
    ignored: ['serviceAccountName', 'tolerations', 'priorityClassName', 'dnsPolicy'],
  });
  const containers = listOf(pod['containers'], 'containers');
  if (containers.length !== 1) throw new Error(`the DaemonSet has ${containers.length} containers, one is known here`);
  const container = fieldsOf(containers[0], 'container', {
    known: ['name', 'args', 'env', 'securityContext', 'resources', 'volumeMounts'],
    // The image is the one under test, and nobody probes.
    ignored: ['image', 'imagePullPolicy', 'startupProbe', 'livenessProbe', 'readinessProbe'],
  });
  const security = fieldsOf(container['securityContext'], 'securityContext', {
    known: ['privileged', 'readOnlyRootFilesystem'],
  });
  const resources = fieldsOf(container['resources'], 'resources', { known: ['limits'], ignored: ['requests'] });
  const limits = fieldsOf(resources['limits'], 'resources.limits', { known: ['memory'] });
  const namespaces = {
    network: pod['hostNetwork'] === true ? 'NODE' : 'POD',
    pid: pod['hostPID'] === true ? 'NODE' : 'CONTAINER',
    ipc: 'POD',
  };
  const { privileged } = security;
  const name = String(container['name']);
  const environment = [
    ...listOf(container['env'], 'env').map((entry) => readVariable(entry, nodeName)),
    { key: 'KUBERNETES_SERVICE_HOST', value: apiServer.host },
    { key: 'KUBERNETES_SERVICE_PORT', value: apiServer.port },
  ];
  const mounts = [
    ...listOf(container['volumeMounts'], 'volumeMounts').map((mount) => readMount(mount, pod['volumes'])),
    { container_path: accountFolder, host_path: account, readonly: true, propagation: 'PROPAGATION_PRIVATE' },
  ];
  const sandbox = {
    metadata: { name: `node-trust-agent-${uid}`, uid, namespace: 'kube-system', attempt: 0 },
    log_directory: `/var/log/pods/${uid}`,
    linux: { cgroup_parent: 'kubepods.slice', security_context: { namespace_options: namespaces, privileged } },
  };
  const linux = {
    resources: { memory_limit_in_bytes: parseMemory(limits['memory']) },
    security_context: {
      privileged,
      namespace_options: namespaces,
      readonly_rootfs: security['readOnlyRootFilesystem'] === true,
    },
  };
  // The tests make changes faster than a restart is allowed.
  const args = [...listOf(container['args'], 'args'), '--restart-interval=0', ...flags];
  return {
    pod: {
      sandbox,
      container: {
        metadata: { name, attempt: 0 },
        image: { image },
        args,
        envs: environment,
        mounts,
        log_path: `${name}.log`,
        linux,
      },
    },
    graceSeconds: Number(pod['terminationGracePeriodSeconds']),
    poolLabel: readPoolLabel(pod['nodeSelector']),
  };
}

function readPoolLabel(selector: unknown): AgentPod['poolLabel'] {
  const own = Object.entries(selector as Readonly<Record<string, string>>).filter(
    ([key]) => key !== 'kubernetes.io/os',
  );
  const [first, ...more] = own;
  if (first === undefined || more.length > 0) throw new Error(`one label of a pool is known here, not ${own.length}`);
  return { key: first[0], value: first[1] };
}

function readVariable(entry: unknown, nodeName: string): { readonly key: string; readonly value: string } {
  const { name, value, valueFrom } = fieldsOf(entry, 'env', { known: ['name', 'value', 'valueFrom'] });
  if (valueFrom === undefined) return { key: String(name), value: String(value) };
  const { fieldRef } = fieldsOf(valueFrom, 'env.valueFrom', { known: ['fieldRef'] });
  const { fieldPath } = fieldsOf(fieldRef, 'env.valueFrom.fieldRef', { known: ['fieldPath'] });
  if (fieldPath !== 'spec.nodeName') throw new Error(`the field ${String(fieldPath)} of a pod is not known here`);
  return { key: String(name), value: nodeName };
}

function readMount(entry: unknown, volumes: unknown) {
  const mount = fieldsOf(entry, 'volumeMounts', { known: ['name', 'mountPath', 'mountPropagation', 'readOnly'] });
  const volume = listOf(volumes, 'volumes')
    .map((candidate) => fieldsOf(candidate, 'volumes', { known: ['name', 'hostPath'] }))
    .find(({ name }) => name === mount['name']);
  const { path } = fieldsOf(volume?.['hostPath'], 'hostPath', { known: ['path'], ignored: ['type'] });
  const propagations: Readonly<Record<string, string>> = {
    HostToContainer: 'PROPAGATION_HOST_TO_CONTAINER',
    Bidirectional: 'PROPAGATION_BIDIRECTIONAL',
  };
  const propagation = propagations[String(mount['mountPropagation'])] ?? 'PROPAGATION_PRIVATE';
  return { container_path: mount['mountPath'], host_path: path, readonly: mount['readOnly'] === true, propagation };
}

function parseMemory(quantity: unknown): number {
  const match = /^(\d+)(Ki|Mi|Gi)$/.exec(String(quantity));
  if (match === null) throw new Error(`the quantity ${String(quantity)} of memory is not known here`);
  return Number(match[1]) * 1024 ** (['Ki', 'Mi', 'Gi'].indexOf(match[2] ?? '') + 1);
}

/** What the manifests let the agent do, for the API server of the tests. */
export async function readRules(): Promise<readonly Rule[]> {
  const documents = parseAllDocuments(await readFile(new URL('rbac.yaml', base), 'utf8'));
  return documents.flatMap((document) => {
    const {
      kind,
      metadata,
      rules = [],
    } = document.toJS() as {
      readonly kind: string;
      readonly metadata: { readonly namespace?: string };
      readonly rules?: readonly Rule[];
    };
    if (kind === 'ClusterRole') return rules;
    return kind === 'Role' && metadata.namespace !== undefined
      ? rules.map((rule) => ({ ...rule, namespace: metadata.namespace ?? '' }))
      : [];
  });
}

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(
  value: unknown,
  where: string,
  { known, ignored = [] }: { readonly known: readonly string[]; readonly ignored?: readonly string[] },
): Fields {
  if (typeof value !== 'object' || value === null) throw new Error(`the DaemonSet has no ${where}`);
  const foreign = Object.keys(value).filter((name) => ![...known, ...ignored].includes(name));
  if (foreign.length > 0)
    throw new Error(`${where} of the DaemonSet has ${foreign.join(', ')}, which the suite does not know`);
  return value as Fields;
}

function listOf(value: unknown, where: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new Error(`the DaemonSet has no list of ${where}`);
  return value;
}

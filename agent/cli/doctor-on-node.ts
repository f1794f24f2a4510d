// The doctor from afar: kubectl finds the agent's pod on the node and runs the same command in it, with the agent's view of the
// host and the agent's rights in the cluster. The answer is a report, and whatever else comes is no answer.

import { parseReport, type Report } from '../doctor/report.ts';
import { type CommandOutput, runForPerson } from '../host/commands.ts';
import { printable } from '../trust/printable.ts';
import type { Terminal } from './command.ts';

export interface RemoteCall {
  readonly node: string;
  readonly kubeconfig: string | undefined;
  readonly secret: { readonly namespace: string; readonly name: string };
  readonly maxCertificates: number;
  readonly allowNonCa: boolean;
}

/** No report came, and what to do about it. */
export class NoAgentError extends Error {}

const namespace = 'kube-system';
const label = 'app.kubernetes.io/name=node-trust-agent';
/** As the image starts it (Dockerfile); beside the agent it shall need little memory, too. */
export const podProgram = [
  'node',
  '--jitless',
  '--optimize-for-size',
  '--max-semi-space-size=1',
  '/usr/local/lib/node-trust.mjs',
] as const;
/** By which the DaemonSet chooses its nodes (manifests/base/daemonset.yaml). */
const enabledLabel = 'node-trust-agent/enabled';
const askTimeoutMs = 15_000;
const examineTimeoutMs = 90_000;

/** Throws {@link NoAgentError}, and `ToolMissing` or `ToolTimedOut` where it is kubectl that fails. */
export async function runOnNode(
  target: string,
  call: RemoteCall,
  { env }: Terminal,
  signal: AbortSignal,
): Promise<Report> {
  const { node, kubeconfig, secret, maxCertificates, allowNonCa } = call;
  const cluster = kubeconfig === undefined ? [] : ['--kubeconfig', kubeconfig];
  const kubectl = (args: readonly string[], timeoutMs: number) =>
    runForPerson('kubectl', [...cluster, '-n', namespace, ...args], { env, timeoutMs }, signal);
  const selection = ['-l', label, '--field-selector', `spec.nodeName=${node}`];
  const list = await kubectl(['get', 'pods', ...selection, '-o', 'json'], askTimeoutMs);
  if (list.exitCode !== 0) throw new NoAgentError(`kubectl could not list pods: ${firstLine(list.stderr)}`);
  const pod = findPod(list.stdout);
  if (pod === undefined) {
    const asked = await kubectl(['get', 'node', node, '-o', 'json'], askTimeoutMs);
    const daemonSets = await kubectl(['get', 'daemonsets', '-l', label, '-o', 'json'], askTimeoutMs);
    throw new NoAgentError(adviseWithout(node, asked, isDeployed(daemonSets)));
  }
  const settings = ['--secret', `${secret.namespace}/${secret.name}`, '--max-certificates', String(maxCertificates)];
  const flags = ['--json', ...settings, ...(allowNonCa ? ['--allow-non-ca'] : [])];
  const inPod = [...podProgram, 'doctor', ...flags, '--', target];
  const answer = await kubectl(['exec', pod, '-c', 'agent', '--', ...inPod], examineTimeoutMs);
  const report = parseReport(answer.stdout);
  if (report !== undefined) return report;
  const why = firstLine(answer.stderr) || `it ended with ${answer.exitCode}`;
  const old = /unknown command/.test(answer.stderr)
    ? '; its image is older than this doctor: update the DaemonSet'
    : '';
  throw new NoAgentError(`pod ${namespace}/${pod} gave no report: ${why}${old}`);
}

/** The pod that runs; one that is on its way down, or up, has nobody to ask. */
function findPod(list: string): string | undefined {
  const { items = [] } = parseList(list);
  return items.find(({ metadata, status }) => status?.phase === 'Running' && metadata.deletionTimestamp === undefined)
    ?.metadata.name;
}

function parseList(text: string): { readonly items?: readonly Pod[] } {
  try {
    return JSON.parse(text) as { readonly items?: readonly Pod[] };
  } catch {
    throw new NoAgentError('kubectl printed no list of pods');
  }
}

/** Whoever may not list them is advised as if there were one: nothing says that there is none. */
function isDeployed({ exitCode, stdout }: CommandOutput): boolean {
  return exitCode !== 0 || (parseList(stdout).items ?? []).length > 0;
}

/** Undefined where it is not known: whoever may not read Nodes can be advised all the same. */
function parseLabels(text: string): Readonly<Record<string, string>> | undefined {
  try {
    return (JSON.parse(text) as Node).metadata.labels ?? {};
  } catch {
    return undefined;
  }
}

interface Node {
  readonly metadata: { readonly labels?: Readonly<Record<string, string>> };
}

interface Pod {
  readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
  readonly status?: { readonly phase?: string };
}

const onNodeItself =
  'or run the doctor on the node itself: npm run bundle makes dist/node-trust.mjs, which is all that Node.js 24.12 or newer needs for it.';

function adviseWithout(node: string, asked: CommandOutput, isThere: boolean): string {
  if (asked.exitCode !== 0 && /\(NotFound\)/.test(asked.stderr)) return `there is no Node ${node}; kubectl get nodes`;
  if (!isThere)
    return `no agent's pod runs on node ${node}: ${namespace} has no DaemonSet of the agent; deploy manifests/ first,
${onNodeItself}`;
  const labels = asked.exitCode === 0 ? parseLabels(asked.stdout) : undefined;
  const advice =
    labels?.[enabledLabel] === 'true'
      ? `: it has the label; see why no pod is there: kubectl -n ${namespace} describe daemonset node-trust-agent`
      : `. Either enable it, kubectl label node ${node} ${enabledLabel}=true, and see
  kubectl -n ${namespace} get pods -o wide -l ${label}`;
  return `no agent's pod runs on node ${node}${advice}
${onNodeItself}`;
}

/** What came from afar may hold what a terminal obeys. */
function firstLine(text: string): string {
  return printable(text.trim().split('\n', 1)[0] ?? '');
}

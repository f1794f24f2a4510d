// `node-trust doctor`: finds the one link that keeps a node from pulling from a registry, and says what to type. On a node, in the
// agent's pod, or from anywhere with kubectl, by which it is then run in the agent's pod of that node. Changes nothing.

import { existsSync } from 'node:fs';
import { diagnose } from '../doctor/diagnose.ts';
import { examine } from '../doctor/probe/examine.ts';
import { createReport, formatReport, type Report } from '../doctor/report.ts';
import { parseTarget, type Target } from '../doctor/target.ts';
import { AgentError, errorText } from '../errors.ts';
import { createHostRoot } from '../host/root.ts';
import { KubeError } from '../kube/kube-error.ts';
import { defineCommand, type ExitCode, type Terminal } from './command.ts';
import { NoAgentError, runOnNode } from './doctor-on-node.ts';
import { switchFlag, textFlag } from './flags.ts';
import { formatJson } from './json.ts';
import { parseYaml } from './manifest.ts';
import { createPaint } from './paint.ts';
import { secretFlag } from './secret-flag.ts';
import { admissionFlags } from './validate.ts';

/** Where the DaemonSet mounts the host. */
const mountedHost = '/host';

const doctorFlags = {
  node: textFlag('node', "Run it in the agent's pod on this node, through kubectl", {
    placeholder: 'NAME',
    fallback: undefined,
  }),
  hostRoot: textFlag('host-root', "Where the host's root is", {
    placeholder: 'DIR',
    fallback: undefined,
    shown: `/, or ${mountedHost} in the agent's pod`,
  }),
  kubeconfig: textFlag('kubeconfig', 'Instead of the ServiceAccount of the pod or the kubeconfig of the user', {
    placeholder: 'FILE',
    fallback: undefined,
  }),
  secret: secretFlag('secret', 'The Secret that holds the certificates'),
  ...admissionFlags,
  json: switchFlag('json', 'Print one JSON object'),
} as const;

export const doctor = defineCommand({
  name: 'doctor',
  synopsis: '[FLAGS] TARGET',
  about: `Says which link is broken when a node cannot pull: the name, the way, the server's chain, the Secret, the store, the runtime.
TARGET is an image, HOST:PORT or a URL. It goes there as the container runtime would, without credentials, looks at the
host, and changes nothing. Ends with 1 if something is broken; a warning is not.`,
  examples: [
    ['doctor registry.corp/team/app:1.2', 'on a node: why does this pull fail?'],
    ['doctor --node node-1 registry.corp:5000', "in the agent's pod on node-1, through kubectl"],
    ['doctor --json https://registry.corp', 'for a program'],
  ],
  flags: doctorFlags,
  positionals: { min: 1, max: 1, name: 'TARGET' },
  async run({ values, positionals: [text = ''] }, terminal, signal) {
    const target = readTarget(text, terminal);
    if (target === undefined) return 2;
    try {
      const report =
        values.node === undefined
          ? await runHere(target, values, terminal, signal)
          : await runOnNode(target.asked, { ...values, node: values.node }, terminal, signal); // without the credentials of a URL
      terminal.out(values.json ? formatJson(report) : formatReport(report, createPaint(terminal)));
      return report.healthy ? 0 : 1;
    } catch (error) {
      return explain(error, terminal, signal);
    }
  },
});

function readTarget(text: string, terminal: Terminal): Target | undefined {
  try {
    return parseTarget(text);
  } catch (error) {
    terminal.err(`node-trust doctor: TARGET: ${errorText(error)}\nTry: node-trust doctor --help\n`);
    return undefined;
  }
}

interface HereValues {
  readonly hostRoot: string | undefined;
  readonly kubeconfig: string | undefined;
  readonly secret: { readonly namespace: string; readonly name: string };
  readonly maxCertificates: number;
  readonly allowNonCa: boolean;
}

async function runHere(target: Target, values: HereValues, terminal: Terminal, signal: AbortSignal): Promise<Report> {
  const { hostRoot, maxCertificates, allowNonCa, ...cluster } = values;
  const { env } = terminal;
  const isAgentsPod = env['KUBERNETES_SERVICE_HOST'] && env['NODE_NAME'] && existsSync(mountedHost);
  const root = createHostRoot(hostRoot ?? (isAgentsPod ? mountedHost : '/'));
  if ((await root.readFolder('/')) === 'absent') throw new NoHostError(`there is no folder ${root.path}`);
  const shell = Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]));
  const examination = {
    ...cluster,
    target,
    root,
    parseYaml,
    nodeName: env['NODE_NAME'] || undefined,
    now: new Date(),
    shell: isAgentsPod ? undefined : new Map(shell),
    admission: { maxCertificates, allowNonCa },
  };
  const facts = await examine(examination, signal);
  signal.throwIfAborted(); // what was cut off looks like what does not answer
  return createReport(diagnose(facts), facts);
}

class NoHostError extends Error {}

function explain(error: unknown, terminal: Terminal, signal: AbortSignal): ExitCode {
  const isKnown = [NoHostError, NoAgentError, AgentError, KubeError].some((kind) => error instanceof kind);
  if (!isKnown && !signal.aborted) throw error;
  terminal.err(`node-trust doctor: ${signal.aborted ? 'interrupted' : errorText(error)}\n`);
  return 3;
}

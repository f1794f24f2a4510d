// `node-trust status`: whether the Nodes trust the Secret's present content, by what their agents tell on them and by what the
// cluster knows of those agents. Asks no node, writes nothing. With --watch it waits until they do.

import { setTimeout as delay } from 'node:timers/promises';
import { createKubeClient } from '../kube/client.ts';
import { loadClusterAccess } from '../kube/cluster-access.ts';
import { readFleet } from '../kube/fleet.ts';
import { KubeError } from '../kube/kube-error.ts';
import { type FleetReport, reportFleet } from '../trust/fleet.ts';
import { defineCommand, type ExitCode, type Terminal } from './command.ts';
import { durationFlag, parseDuration, switchFlag, textFlag } from './flags.ts';
import { formatFleet, formatLabelCommand } from './fleet-text.ts';
import { formatJson } from './json.ts';
import { createPaint } from './paint.ts';
import { secretFlag } from './secret-flag.ts';
import { createProgress, type Look, watchFleet } from './status-watch.ts';

const defaultTimeout = '10m';

export const status = defineCommand({
  name: 'status',
  synopsis: '[FLAGS] [NODE…]',
  about: `Prints whether the nodes trust what the Secret holds now, and which do not, why, and what to do: of the named nodes, or of
all that are enabled or that an agent has written to. Which nodes are enabled and have an agent's pod is read from
DaemonSet and Pods in kube-system; what you may not read is named as not known.
Ends with 1 while one of them is neither Synced nor Disabled, or there is none.`,
  examples: [
    ['status', 'all nodes'],
    ['status --watch --timeout 15m', 'wait until all trust the Secret that was just applied'],
    ['status --json node-1', 'one node, for a program'],
  ],
  flags: {
    kubeconfig: textFlag('kubeconfig', 'Instead of the kubeconfig of the user', {
      placeholder: 'FILE',
      fallback: undefined,
    }),
    secret: {
      ...secretFlag('secret', 'The Secret that the agents follow'),
      fallback: undefined,
      shown: "the DaemonSet's",
    },
    watch: switchFlag(
      'watch',
      'Wait until all nodes are Synced with what the Secret holds now, and tell how far they are',
    ),
    timeout: {
      ...durationFlag('timeout', 'Of --watch: end with 1 after this time', defaultTimeout, 1),
      fallback: undefined,
    },
    json: switchFlag('json', 'Print one JSON object'),
  },
  positionals: { min: 0, max: Number.POSITIVE_INFINITY, name: 'NODE' },
  async run({ values, positionals }, terminal, signal) {
    if (values.timeout !== undefined && !values.watch) {
      terminal.err('node-trust status: --timeout ends a watch: expected --watch\n');
      return 2;
    }
    const timeoutMs = values.timeout ?? parseDuration(defaultTimeout);
    try {
      const client = createKubeClient(await loadClusterAccess(values.kubeconfig));
      const look = async (signal: AbortSignal): Promise<Look> => {
        const facts = await readFleet(client, values.secret, signal);
        const report = reportFleet(facts, positionals, new Date());
        const missing = positionals.filter((name) => report.nodes.every(({ node }) => node !== name));
        if (missing.length === 0) return { report, content: facts.content };
        const evidence = `there is no Node ${missing.map((name) => JSON.stringify(name)).join(' and no ')}`;
        throw new KubeError({ kind: 'not-found', evidence });
      };
      if (values.watch) return await follow(look, timeoutMs, values.json, terminal, signal);
      const { report } = await look(signal);
      print(report, values.json, terminal);
      return report.synced ? 0 : 1;
    } catch (error) {
      if (signal.aborted) return 1;
      if (!(error instanceof KubeError)) throw error;
      const needed = error.failure.kind === 'forbidden' ? 'you may not list nodes, which it needs: ' : '';
      terminal.err(`node-trust status: ${needed}${error.message}\n`);
      return 3;
    }
  },
});

async function follow(
  look: (signal: AbortSignal) => Promise<Look>,
  timeoutMs: number,
  json: boolean,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<ExitCode> {
  // Standard output is for the one object, then.
  const [write, place] = json
    ? [terminal.err, { isTty: false, columns: Number.POSITIVE_INFINITY }]
    : [terminal.out, terminal];
  const progress = createProgress(place, write);
  const watching = {
    look,
    // The only way this rejects is the abort that ends the watch.
    pause: (milliseconds: number, signal: AbortSignal) =>
      delay(milliseconds, undefined, { signal }).catch(() => undefined),
    clock: () => performance.now(),
    onLook: progress.show,
    onTrouble(error: KubeError) {
      progress.end();
      terminal.err(`node-trust status: ${error.message}; trying again\n`);
    },
  };
  const unread = terminal.unread ?? new AbortController().signal;
  const over = AbortSignal.any([signal, unread, AbortSignal.timeout(timeoutMs)]);
  const end = await watchFleet(watching, over).finally(progress.end);
  if (end.kind === 'late') {
    const cut = unread.aborted ? 'nobody reads what it prints any more' : 'time is up (--timeout)';
    const why = `${signal.aborted ? 'interrupted' : cut}${describeHindrance(end.last)}`;
    terminal.err(
      `node-trust status: ${why}${end.error === undefined ? '' : `; the last look failed: ${end.error.message}`}\n`,
    );
    if (end.last !== undefined) print(end.last.report, json, terminal);
    return end.last === undefined || end.error !== undefined ? 3 : 1;
  }
  if (end.kind !== 'arrived') {
    const why = end.kind === 'nobody' ? describeNobody(end.report) : describeNothing(end.report);
    terminal.err(`node-trust status: ${why}\n`);
    // People would read a first line there that says whether all is well.
    if (json) print(end.report, json, terminal);
    return 1;
  }
  print(end.report, json, terminal);
  return 0;
}

/** What kept Nodes that have no problem from having arrived. */
function describeHindrance(last: Look | undefined): string {
  if (last === undefined || last.content.kind !== 'unknown' || !last.report.synced) return '';
  return `: ${last.content.why}; so no content is known to wait for, and no node has come to other content since`;
}

function describeNobody({ selector, nodes }: FleetReport): string {
  const nothing = 'no node is enabled: there is nothing to wait for';
  const node = nodes.length === 1 ? nodes[0]?.node : undefined;
  return selector === '' ? nothing : `${nothing}; label one: ${formatLabelCommand(selector ?? 'KEY=VALUE', node)}`;
}

function describeNothing({ secret }: FleetReport): string {
  return `there is no ${secret}: there is nothing to wait for; apply it, or name the one that the agents follow with --secret`;
}

function print(report: FleetReport, json: boolean, terminal: Terminal): void {
  if (json) terminal.out(formatJson({ version: 1, ...report }));
  else terminal.out(formatFleet(report, createPaint(terminal), new Date()));
}

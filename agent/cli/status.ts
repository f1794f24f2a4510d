// `node-trust status`: what the agents tell on their Nodes, as a table. Reads annotations, asks no node.

import { createKubeClient } from '../kube/client.ts';
import { loadClusterAccess } from '../kube/cluster-access.ts';
import { KubeError } from '../kube/kube-error.ts';
import { listNodes } from '../kube/own-node.ts';
import { printable } from '../trust/printable.ts';
import { annotationPrefix } from '../trust/status.ts';
import { defineCommand, type Terminal } from './command.ts';
import { switchFlag, textFlag } from './flags.ts';

interface Row {
  readonly node: string;
  readonly state: string;
  readonly reason: string;
  /** Null where no agent has told it. */
  readonly certificates: number | null;
  readonly expiresAt: string;
  readonly updatedAt: string;
  readonly message: string;
}

export const status = defineCommand({
  name: 'status',
  synopsis: '[FLAGS] [NODE…]',
  about: `Prints what the agents tell on their Nodes: of the named ones, or of all that an agent has ever written to.
Ends with 1 while one of them is neither Synced nor Disabled, or there is none.`,
  examples: [
    ['status', 'all nodes that an agent has written to'],
    ['status --json node-1', 'one node, for a program'],
  ],
  flags: {
    kubeconfig: textFlag('kubeconfig', 'Instead of the kubeconfig of the user', {
      placeholder: 'FILE',
      fallback: undefined,
    }),
    json: switchFlag('json', 'Print one JSON object'),
  },
  positionals: { min: 0, max: Number.POSITIVE_INFINITY },
  async run({ values, positionals }, terminal, signal) {
    try {
      const client = createKubeClient(await loadClusterAccess(values.kubeconfig));
      const known = new Map(
        (await listNodes(client, signal)).map(({ name, annotations }) => [name, toRow(name, annotations)]),
      );
      const missing = positionals.filter((name) => !known.has(name));
      for (const name of missing) terminal.err(`node-trust status: there is no Node ${JSON.stringify(name)}\n`);
      if (missing.length > 0) return 3;
      const rows = [...known.values()].filter(({ node, state }) =>
        positionals.length > 0 ? positionals.includes(node) : state !== '',
      );
      const synced = rows.length > 0 && rows.every(({ state }) => state === 'Synced' || state === 'Disabled');
      if (values.json) terminal.out(`${JSON.stringify({ version: 1, synced, nodes: rows }, null, 2)}\n`);
      else print(rows, terminal);
      return synced ? 0 : 1;
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      terminal.err(`node-trust status: ${error.message}\n`);
      return 3;
    }
  },
});

function toRow(node: string, annotations: ReadonlyMap<string, string>): Row {
  // Whoever may write to a Node, its kubelet for one, has a say here.
  const own = (name: string): string => printable(annotations.get(annotationPrefix + name) ?? '');
  return {
    node,
    state: own('state'),
    reason: own('reason'),
    certificates: /^\d+$/.test(own('certificates')) ? Number(own('certificates')) : null,
    expiresAt: own('expires-at'),
    updatedAt: own('updated-at'),
    message: own('message'),
  };
}

/** Columns for the eye; the message of a node that is not well stands whole on a line of its own. */
function print(rows: readonly Row[], terminal: Terminal): void {
  if (rows.length === 0) {
    terminal.out('no agent has written to any Node\n');
    return;
  }
  const cells = rows.map(({ node, state, reason, certificates, expiresAt }) => [
    node,
    state || 'unknown',
    reason || '-',
    String(certificates ?? '-'),
    expiresAt.slice(0, 10) || '-',
  ]);
  const table = [['NODE', 'STATE', 'REASON', 'CERTIFICATES', 'EXPIRES'], ...cells];
  const widths = table[0]?.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0))) ?? [];
  const lines = table.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('   ')
      .trimEnd(),
  );
  terminal.out(`${lines[0]}\n`);
  for (const [index, { state, message }] of rows.entries()) {
    terminal.out(`${lines[index + 1]}\n`);
    if (state !== 'Synced' && message !== '') terminal.out(`    ${message}\n`);
  }
}

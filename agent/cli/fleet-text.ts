// A fleet's report for the person on call: the first line says whether all is well and which Nodes are not; then, worst first,
// what is wrong and what to type; then pools, bundles, expiry and a row a Node. What would scroll the first line away is
// left out, and it is said where to find it.

import type { FleetReport } from '../trust/fleet.ts';
import { findPods } from '../trust/fleet-reasons.ts';
import { follows, type NodeReport, type Problem } from '../trust/node-report.ts';
import type { Paint } from './paint.ts';

/** Of a fleet with more Nodes only those with problems have a row, and not more of them. */
const maxRows = 40;
const maxNames = 6;
const maxWarnings = 10;
const soonMs = 30 * 86_400_000;

export function formatFleet(report: FleetReport, paint: Paint, now: Date): string {
  const groups = groupProblems(report.nodes);
  const warnings = groupWarnings(report.nodes);
  const blocks = [
    formatHeadline(report, groups, warnings.length, paint),
    groups.map((group) => formatGroup(group, paint)).join(''),
    formatWarnings(warnings, paint),
    formatPools(report.pools),
    formatBundles(report) + formatExpiry(report.nodes, paint, now),
    formatNodes(report.nodes, paint, now),
  ];
  return blocks.filter((block) => block !== '').join('\n');
}

/** `4 of 6 nodes have arrived; RestartDeferred: a, b`. Where the present content is not known, nobody is known to have. */
export function describeProgress(followers: readonly NodeReport[], present: string | null): string {
  const arrived = followers.filter(({ problem }) => problem === null).length;
  const lagging = groupProblems(followers).map(({ code, nodes }) => `; ${code}: ${listNames(nodes)}`);
  return `${arrived} of ${followers.length} nodes ${!present ? 'are well with what they saw' : 'have arrived'}${lagging.join('')}`;
}

/** `selector`: as a report has it. */
export function formatLabelCommand(selector: string, node = 'NODE'): string {
  return `kubectl label node ${node} ${selector.replaceAll(',', ' ')}`;
}

interface Group extends Problem {
  readonly nodes: readonly NodeReport[];
}

/** Alike by code; what is in no pool, and what goes by itself, comes last. */
function groupProblems(nodes: readonly NodeReport[]): readonly Group[] {
  const groups = Map.groupBy(nodes, ({ problem }) => (problem === null ? '' : `${problem.passing} ${problem.code}`));
  return [...groups.values()]
    .flatMap((alike) => {
      const problem = alike[0]?.problem ?? null;
      return problem === null ? [] : [{ ...problem, nodes: alike }];
    })
    .sort((one, other) => rank(one) - rank(other) || other.nodes.length - one.nodes.length);
}

function rank({ passing, nodes }: Group): number {
  if (passing) return 2;
  return nodes.some(follows) ? 0 : 1;
}

interface Warning {
  readonly text: string;
  readonly nodes: readonly NodeReport[];
}

/** Alike by text, the most frequent first. */
function groupWarnings(nodes: readonly NodeReport[]): readonly Warning[] {
  const warned = nodes.flatMap((node) => [...new Set(node.warnings)].map((text) => ({ text, node })));
  return [...Map.groupBy(warned, ({ text }) => text)]
    .map(([text, alike]) => ({ text, nodes: alike.map(({ node }) => node) }))
    .sort((one, other) => other.nodes.length - one.nodes.length);
}

function formatWarnings(warnings: readonly Warning[], paint: Paint): string {
  const shown = warnings.slice(0, maxWarnings).map(({ text, nodes }) => {
    const [, code = 'Warning', message = text] = /^([A-Za-z]+): (.*)$/.exec(text) ?? [];
    return `${paint('yellow', code)} (warning): ${listNames(nodes)}\n    ${message}\n`;
  });
  const left = warnings.length - shown.length;
  return `${shown.join('')}${left === 0 ? '' : `${left} more warnings; all: node-trust status --json\n`}`;
}

function formatHeadline(report: FleetReport, groups: readonly Group[], warnings: number, paint: Paint): string {
  const { nodes, secret, present, unknown, selector } = report;
  const open = unknown.map((what) => `    not known: ${what}\n`).join('');
  if (nodes.length === 0) {
    const next = selector ? `enable one: ${formatLabelCommand(selector)}` : `look for agents: ${findPods}`;
    return `${paint('red', 'Not well:')} no agent has written to any Node; ${next}\n${open}`;
  }
  const counted = nodes.filter(({ state, problem }) => state !== 'Disabled' || problem !== null);
  const [first] = groups;
  if (first === undefined) {
    const disabled = nodes.length - counted.length;
    const rest = disabled === 0 ? '' : `, ${disabled} Disabled`;
    const well = counted.filter(({ state }) => state === 'Synced').length;
    const of = `${well} of ${counted.length} nodes`;
    const nothing = counted.every(({ observed }) => observed === '')
      ? `${of} trust nothing of it${rest}`
      : `${of} are Synced with what they saw${rest}`;
    const synced = present === '' ? `there is no ${secret}, and ${nothing}` : `${of} are Synced with ${secret}${rest}`;
    const warned = warnings === 0 ? '' : `, with ${warnings} warning${warnings === 1 ? '' : 's'}`;
    return unknown.length === 0
      ? `${paint(warnings === 0 ? 'green' : 'yellow', `All is well${warned}:`)} ${synced}\n`
      : `${paint('yellow', `Well as far as known${warned}:`)} ${synced}\n${open}`;
  }
  const names = listNames(groups.flatMap((group) => group.nodes));
  const troubled = counted.filter(({ problem }) => problem !== null).length;
  const which = `${troubled} of ${counted.length} nodes: ${names}`;
  // Nobody watches what is in no pool.
  const next = groups.some(({ nodes }) => nodes.some(follows)) ? ', or follow it: node-trust status --watch' : '';
  const line = first.passing
    ? `${paint('yellow', 'Under way:')} ${which}; wait${next}`
    : `${paint('red', 'Not well:')} ${which}`;
  return `${line}\n${open}`;
}

/** Of many Nodes the first one speaks for the others. */
function formatGroup({ code, passing, message, remedy, nodes }: Group, paint: Paint): string {
  const speaker = nodes.length > 1 ? `${nodes[0]?.node ?? ''}: ` : '';
  const next = remedy === '' ? '' : `    ${paint('bold', remedy)}\n`;
  return `${paint(passing ? 'yellow' : 'red', code)}: ${listNames(nodes)}\n    ${speaker}${message}\n${next}`;
}

function formatPools(pools: FleetReport['pools']): string {
  const lines = formatTable(
    ['POOL', 'NODES', 'ENABLED', 'SYNCED', 'PROBLEMS'],
    pools,
    ({ pool, enabled, ...counts }) => [
      pool || '-',
      String(counts.nodes),
      String(enabled ?? 'unknown'),
      String(counts.synced),
      String(counts.problems),
    ],
  );
  return lines.map((line) => `${line}\n`).join('');
}

function formatBundles({ bundles, nodes }: FleetReport): string {
  const [common, ...odd] = bundles;
  if (common === undefined) return '';
  if (odd.length === 0) return `bundle: ${shorten(common.bundle)}, the same on all\n`;
  const others = odd.slice(0, maxNames).map(({ bundle }) => {
    return `${shorten(bundle)} on ${listNames(nodes.filter((node) => node.bundle === bundle))}`;
  });
  const more = odd.length > maxNames ? `; ${odd.length - maxNames} more` : '';
  return `bundle: ${shorten(common.bundle)} on ${common.nodes} nodes; not the same: ${others.join('; ')}${more}\n`;
}

function formatExpiry(nodes: readonly NodeReport[], paint: Paint, now: Date): string {
  const dated = nodes.filter(({ expiresAt }) => !Number.isNaN(Date.parse(expiresAt)));
  const [first] = dated.toSorted((one, other) => Date.parse(one.expiresAt) - Date.parse(other.expiresAt));
  if (first === undefined) return '';
  const leftMs = Date.parse(first.expiresAt) - now.getTime();
  const when = `${first.expiresAt.slice(0, 10)} on ${first.node}`;
  if (leftMs <= 0) return `soonest expiry: ${paint('red', `${when}, which has passed`)}\n`;
  const left = `${when}, in ${formatAge(leftMs)}`;
  return `soonest expiry: ${leftMs < soonMs ? paint('yellow', left) : left}\n`;
}

function formatNodes(nodes: readonly NodeReport[], paint: Paint, now: Date): string {
  const wanted = nodes.length <= maxRows ? nodes : nodes.filter(({ problem }) => problem !== null);
  const shown = wanted.slice(0, maxRows);
  const titles = ['NODE', 'STATE', 'REASON', 'CERTIFICATES', 'BUNDLE', 'EXPIRES', 'AGE'];
  const [head, ...rows] = formatTable(titles, shown, ({ node, state, reason, bundle, ...told }) => {
    const updatedAt = Date.parse(told.updatedAt);
    const age = Number.isNaN(updatedAt) ? '-' : formatAge(now.getTime() - updatedAt);
    return [
      node,
      state || 'unknown',
      reason || '-',
      String(told.certificates ?? '-'),
      shorten(bundle) || '-',
      told.expiresAt.slice(0, 10) || '-',
      told.stale === true ? `${age}, stale` : age,
    ];
  });
  const left = nodes.length - shown.length;
  const lines = rows.map((row, index) => `${paint(styleOf(shown[index]), row)}\n`);
  const rest =
    left === 0 ? '' : `${left} more without a row; all: node-trust status --json; some: node-trust status NODE…\n`;
  return `${head === undefined ? '' : `${head}\n`}${lines.join('')}${rest}`;
}

function styleOf(report: NodeReport | undefined): 'green' | 'yellow' | 'red' {
  if (report?.problem == null) return 'green';
  return report.problem.passing ? 'yellow' : 'red';
}

/** The lines; none where there are no items. */
function formatTable<T>(
  titles: readonly string[],
  items: readonly T[],
  cellsOf: (item: T) => readonly string[],
): readonly string[] {
  const table = [titles, ...items.map(cellsOf)];
  const widths = titles.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  if (items.length === 0) return [];
  return table.map((row) => {
    const cells = row.map((cell, column) => cell.padEnd(widths[column] ?? 0));
    return cells.join('   ').trimEnd();
  });
}

function listNames(nodes: readonly NodeReport[]): string {
  const names = nodes.slice(0, maxNames).map(({ node }) => node);
  return nodes.length > maxNames ? `${names.join(', ')} and ${nodes.length - maxNames} more` : names.join(', ');
}

/** Enough of a digest to tell two apart, as git does. */
function shorten(digest: string): string {
  return digest.slice(0, 'sha256:'.length + 12);
}

function formatAge(ms: number): string {
  const seconds = Math.max(Math.floor(ms / 1000), 0);
  for (const [unit, size] of [
    ['d', 86_400],
    ['h', 3_600],
    ['m', 60],
  ] as const) {
    if (seconds >= size) return `${Math.floor(seconds / size)}${unit}`;
  }
  return `${seconds}s`;
}

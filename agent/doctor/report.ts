// What the doctor says, as a value: the shape of --json, from which the lines for people are made, too. A report may come from an
// agent's pod, so what is read is read with care.

import { printable } from '../trust/printable.ts';
import type { Check } from './check.ts';
import type { Diagnosed } from './diagnose.ts';
import type { Facts } from './facts.ts';
import { formatServer, type Target } from './target.ts';

/** The shape is part of the interface: fields are added, never changed, within a version (docs/command-line.md). */
export interface Report {
  readonly version: 1;
  readonly target: Omit<Target, 'server' | 'repository'> & Target['server'];
  /** Where it is known which Node was looked at. */
  readonly node?: string;
  /** By the clock of the node. */
  readonly at: string;
  /** No check fails. */
  readonly healthy: boolean;
  /** The link to mend first. */
  readonly diagnosis: ReportedCheck | null;
  readonly checks: readonly ReportedCheck[];
}

export interface ReportedCheck {
  readonly check: string;
  readonly status: Check['status'];
  /** Of what is broken: code, remedy, command. */
  readonly code?: string;
  /** It was skipped because something could not be found out. */
  readonly unknown?: true;
  readonly summary: string;
  readonly evidence: readonly string[];
  readonly remedy?: string;
  readonly command?: string;
}

export function createReport({ checks, first }: Diagnosed, { target, nodeName, now }: Facts): Report {
  const { asked, readAs, registry, server } = target;
  return {
    version: 1,
    target: { asked, readAs, registry, ...server },
    ...(nodeName !== undefined && { node: nodeName }),
    at: now.toISOString(),
    healthy: checks.every(({ status }) => status !== 'fail'),
    diagnosis: first === undefined ? null : toReported(first),
    checks: checks.map(toReported),
  };
}

function toReported({ name, status, summary, evidence, diagnosis, isUnknown }: Check): ReportedCheck {
  return { check: name, status, ...(isUnknown && { unknown: true }), summary, evidence, ...diagnosis };
}

/**
 * Undefined for what is no report of this version, down to the last field that is used. What the checks say by themselves is taken from
 * them: whoever answers in a pod's place shall not call a node healthy with a check that fails.
 */
export function parseReport(text: string): Report | undefined {
  try {
    const report: unknown = JSON.parse(text);
    return isReport(report) ? { ...report, ...conclude(report.checks) } : undefined;
  } catch {
    return undefined;
  }
}

function conclude(checks: readonly ReportedCheck[]): Pick<Report, 'healthy' | 'diagnosis'> {
  const find = (wanted: Check['status']): ReportedCheck | undefined => checks.find(({ status }) => status === wanted);
  return { healthy: find('fail') === undefined, diagnosis: find('fail') ?? find('warn') ?? null };
}

type Fields = Readonly<Record<string, unknown>>;

function isReport(value: unknown): value is Report {
  if (!isFields(value) || value['version'] !== 1) return false;
  const { target, node, at, healthy, diagnosis, checks } = value;
  return (
    isTarget(target) &&
    isTextOrNone(node) &&
    typeof at === 'string' &&
    typeof healthy === 'boolean' &&
    (diagnosis === null || isReportedCheck(diagnosis)) &&
    Array.isArray(checks) &&
    checks.length > 0 &&
    checks.every(isReportedCheck)
  );
}

function isTarget(value: unknown): value is Report['target'] {
  if (!isFields(value)) return false;
  const { asked, readAs: form, registry, scheme, host, port } = value;
  const areTexts = [asked, form, registry, host].every((text) => typeof text === 'string');
  const isServer = (scheme === 'http' || scheme === 'https') && typeof port === 'number';
  return areTexts && isServer && Object.hasOwn(readAs, String(form));
}

function isReportedCheck(value: unknown): value is ReportedCheck {
  if (!isFields(value)) return false;
  const { check, status, summary, evidence, code, remedy, command } = value;
  return (
    [check, status, summary].every((text) => typeof text === 'string') &&
    Object.hasOwn(marks, String(status)) &&
    Array.isArray(evidence) &&
    evidence.every((line) => typeof line === 'string') &&
    [code, remedy, command].every(isTextOrNone)
  );
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null;
}

function isTextOrNone(value: unknown): boolean {
  return value === undefined || typeof value === 'string';
}

export type Paint = (style: 'bold' | 'dim' | 'green' | 'red' | 'yellow', text: string) => string;

const marks = { pass: ['green', '✓'], warn: ['yellow', '!'], fail: ['red', '✗'], skipped: ['dim', '-'] } as const;
const readAs = { image: 'image', host: 'host', url: 'URL' } as const;

/** Where nobody has named the Node: most who see this have typed it on a machine of their own. */
const elsewhere = ', seen from this machine; from a node with --node NAME';

/** A line a check with a mark, then the diagnosis: what is broken, what was seen, what to do, what to type. */
export function formatReport({ target, node, checks, diagnosis }: Report, paint: Paint): string {
  const width = Math.max(...checks.map(({ check }) => check.length));
  const lines = checks.map(({ check, status, summary }) => {
    const line = `${printable(check).padEnd(width)}  ${printable(summary)}`;
    const [style, mark] = marks[status];
    return `${paint(style, mark)} ${status === 'skipped' ? paint('dim', line) : line}`;
  });
  const from = node === undefined ? elsewhere : `, seen from node ${printable(node)}`;
  const server = formatServer(target);
  const where = server === target.asked ? '' : `: ${printable(server)}`;
  const head = `${readAs[target.readAs]} ${printable(target.asked)}${where}${from}`;
  const end = diagnosis === null ? formatHealth(checks, paint) : formatDiagnosis(diagnosis, paint);
  return [head, ...lines, '', ...end, ''].join('\n');
}

function formatHealth(checks: readonly ReportedCheck[], paint: Paint): readonly string[] {
  const unknown = checks.filter((check) => check.unknown).map(({ check }) => printable(check));
  if (unknown.length > 0)
    return [paint('yellow', `Nothing that could be looked at is broken; not known: ${unknown.join(', ')}`)];
  const skipped = checks.filter(({ status }) => status === 'skipped').length;
  const are = skipped === 1 ? 'check was' : 'checks were';
  const part = skipped === 0 ? '' : ` ${skipped} ${are} skipped, with why above.`;
  return [paint('green', 'Nothing is broken.') + part];
}

function formatDiagnosis({ check, status, code, summary, evidence, remedy, command }: ReportedCheck, paint: Paint) {
  const [style] = marks[status];
  return [
    paint(
      style,
      paint(
        'bold',
        `${status === 'fail' ? 'Broken' : 'Not as it should be'}: ${printable(check)}, ${printable(code ?? '')}`,
      ),
    ),
    `  ${printable(summary)}`,
    ...evidence.map((line) => `  · ${printable(line)}`),
    `Do:   ${printable(remedy ?? '')}`,
    `${/^(?:kubectl|node-trust) /.test(command ?? '') ? 'Type' : 'Type, on the node'}: ${paint('bold', printable(command ?? ''))}`,
  ];
}

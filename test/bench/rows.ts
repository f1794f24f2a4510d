// The rows of the bench's table, and how it measures: the time of single actions, and medians of them.

export interface Row {
  readonly what: string;
  readonly ours: string;
  readonly comparedWith: string;
  readonly result: string;
  /** Empty where there is none. */
  readonly budget: string;
  readonly holds: boolean;
}

export const rounds = 5;

export const milliseconds = (value: number): string => `${value.toFixed(value < 10 ? 1 : 0)} ms`;
export const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

export async function time(work: () => unknown): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

/** Of actions that were measured in turns with what they are compared with. */
export function ratio(what: string, pairs: readonly { ours: number; bare: number }[], comparedWith: string): Row {
  const [ours, bare] = [median(pairs.map((pair) => pair.ours)), median(pairs.map((pair) => pair.bare))];
  return {
    what,
    ours: milliseconds(ours),
    comparedWith: `${comparedWith}: ${milliseconds(bare)}`,
    result: `${(ours / bare).toFixed(2)} x`,
    budget: '',
    holds: true,
  };
}

export function print(rows: readonly Row[]): void {
  const cells = rows.map(({ what, ours, comparedWith, result, budget, holds }) => [
    what,
    ours,
    comparedWith,
    result,
    budget,
    budget === '' ? '' : holds ? 'holds' : 'EXCEEDED',
  ]);
  const table = [['measured', 'ours', 'compared with', 'result', 'budget', ''], ...cells];
  const widths = table[0]?.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0))) ?? [];
  const lines = table.map((row) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`);
  lines.splice(1, 0, `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`);
  process.stdout.write(`${lines.join('\n')}\n`);
}

// The lines of a text that begin or end PEM blocks, and those that were only meant to, with what is wrong with them.
// Stricter than RFC 7468 asks of readers: tools on the host disagree about every line that is not exactly right.

/** Why a line that was meant to begin or end a block does not. */
export type BoundaryFault =
  | 'byte-order-mark'
  | 'form'
  | 'indented'
  | 'joined'
  | 'lower-case'
  | 'one-line'
  | 'text-before'
  | 'text-behind';

export interface Mark {
  readonly kind: 'begin' | 'end';
  readonly label: string;
}

export interface Boundary {
  /** Counts from 1. */
  readonly line: number;
  /** Where the line starts and ends in the text, without its line end. */
  readonly start: number;
  readonly end: number;
  /** What the line says, in its order; more than one only with a fault. */
  readonly marks: readonly Mark[];
  readonly fault?: BoundaryFault;
}

type ParsedLine = Pick<Boundary, 'marks' | 'fault'>;

export const utf8ByteOrderMark = '\xef\xbb\xbf';

/** In a text of Latin-1 with LF line ends. Linear in its length, whatever it holds. */
export function* findBoundaries(text: string): Generator<Boundary> {
  const keyword = /begin|end/gi;
  let line = 1;
  let counted = 0;
  for (let match = keyword.exec(text); match !== null; match = keyword.exec(text)) {
    const start = text.lastIndexOf('\n', match.index) + 1;
    const lineEnd = text.indexOf('\n', match.index);
    const end = lineEnd === -1 ? text.length : lineEnd;
    line += countLineEnds(text, counted, start);
    counted = start;
    const parsed = parseLine(text.slice(start, end));
    if (parsed !== undefined) yield { ...parsed, line, start, end };
    keyword.lastIndex = end;
  }
}

export function countLineEnds(text: string, from: number, to: number): number {
  let count = 0;
  for (let at = text.indexOf('\n', from); at !== -1 && at < to; at = text.indexOf('\n', at + 1)) count++;
  return count;
}

/** Undefined for a line of text. */
function parseLine(line: string): ParsedLine | undefined {
  const tokens = [...line.matchAll(/-----(BEGIN|END)/g)];
  const [first] = tokens;
  if (first === undefined) return parseNearBoundary(line);
  const marks = tokens.map((token) => markAt(line, token));
  if (marks.length > 1) return { marks, fault: isJoin(marks, first.index) ? 'joined' : 'one-line' };
  const fault = findFaultBefore(line.slice(0, first.index)) ?? findFaultBehind(line.slice(endOf(first)));
  // A label is judged as it stands where the line is right, and as it was meant where it is not.
  return fault === undefined
    ? { marks }
    : { marks: marks.map(({ kind, label }) => ({ kind, label: label.trim() })), fault };
}

const dashes = '(?:-|\xe2\x80[\x90-\x95]){2}';
const label = '[a-z0-9 ]{0,40}(?:certificate|private key)';
const nearBoundaries = [
  new RegExp(`${dashes}(begin|end) (${label})`, 'i'),
  new RegExp(`(begin|end) (${label})${dashes}`, 'i'),
  /^[^A-Za-z0-9]{0,60}(BEGIN|END) ([A-Z0-9 ]{0,40}(?:CERTIFICATE|PRIVATE KEY))[^A-Za-z0-9]{0,60}$/,
];

// Other numbers of dashes, dashes that a word processor made long or something else of, lower case. Loaders would skip such a block in
// silence, so it must not pass as text; only the two labels that matter are looked for.
function parseNearBoundary(line: string): ParsedLine | undefined {
  for (const pattern of nearBoundaries) {
    const [, keyword, label] = pattern.exec(line) ?? [];
    if (keyword !== undefined && label !== undefined) {
      const fault = keyword === keyword.toUpperCase() ? 'form' : 'lower-case';
      return { marks: [{ kind: kindOf(keyword), label: label.toUpperCase() }], fault };
    }
  }
  return undefined;
}

function markAt(line: string, token: RegExpExecArray): Mark {
  const start = endOf(token);
  const dashesAt = line.indexOf('--', start);
  return {
    kind: kindOf(token[1] ?? ''),
    label: line.slice(start, dashesAt === -1 ? undefined : dashesAt).replace(/^ /, ''),
  };
}

const endOf = (token: RegExpExecArray): number => token.index + token[0].length;

const kindOf = (keyword: string): Mark['kind'] => (keyword.toUpperCase() === 'BEGIN' ? 'begin' : 'end');

function isJoin(marks: readonly Mark[], at: number): boolean {
  return at === 0 && marks.length === 2 && marks[0]?.kind === 'end' && marks[1]?.kind === 'begin';
}

function findFaultBefore(before: string): BoundaryFault | undefined {
  if (before === '') return undefined;
  if (before === utf8ByteOrderMark) return 'byte-order-mark';
  if (/^[ \t]+$/.test(before)) return 'indented';
  return /^-+$/.test(before) ? 'form' : 'text-before';
}

function findFaultBehind(behind: string): BoundaryFault | undefined {
  const dashesAt = behind.indexOf('--');
  if (dashesAt === -1 || !behind.startsWith(' ')) return 'form';
  const [, run = '', text = ''] = /^(-+)[ \t]*(.?)/.exec(behind.slice(dashesAt)) ?? [];
  if (text !== '') return 'text-behind';
  return run.length === 5 ? undefined : 'form';
}

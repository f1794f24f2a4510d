// Reads elements of ASN.1 in its binary encodings (X.690), without knowing what they stand for: DER, and of BER what
// programs write around certificates, which is the indefinite length. Linear in time; never throws.

export interface Header {
  /** Class, form and number: 0x30 is SEQUENCE, 0x31 SET, 0xa0 the context's [0], constructed. */
  readonly tag: number;
  /** Where the content starts and ends, which may be behind the end of the bytes; undefined for an indefinite length. */
  readonly start: number;
  readonly end: number | undefined;
  /** The length stands in the one form that DER has for it. */
  readonly isDer: boolean;
}

export interface Element extends Pick<Header, 'tag' | 'isDer'> {
  /** Views of the input: the whole element, and what is in it. */
  readonly bytes: Uint8Array;
  readonly content: Uint8Array;
}

/** Certificates in DER nest less than twenty deep; around them, indefinite lengths nest a few more. */
const maxDepth = 32;

/** Undefined where no element begins. */
export function readHeader(bytes: Uint8Array): Header | undefined {
  const [tag, first] = bytes;
  // Tags of more than one byte stand in nothing that is read here.
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) return undefined;
  if (first === 0x80) return { tag, start: 2, end: undefined, isDer: false };
  if (first < 0x80) return { tag, start: 2, end: 2 + first, isDer: true };
  const start = 2 + first - 0x80;
  if (start > 6 || start > bytes.length) return undefined;
  const length = bytes.subarray(2, start).reduce((sum, byte) => sum * 256 + byte, 0);
  return { tag, start, end: start + length, isDer: length >= 0x80 && length >= 256 ** (start - 3) };
}

/** The element that the bytes begin with; undefined where they begin with none that is whole. */
export function readElement(bytes: Uint8Array, depth = 0): Element | undefined {
  const header = readHeader(bytes);
  if (header === undefined || depth > maxDepth) return undefined;
  const { tag, start, end, isDer } = header;
  if (end === undefined) return (tag & 0x20) === 0 ? undefined : readIndefinite(bytes, tag, depth);
  if (end > bytes.length) return undefined;
  return { tag, isDer, bytes: bytes.subarray(0, end), content: bytes.subarray(start, end) };
}

/** All elements that the bytes consist of; undefined where something else is among them. */
export function readElements(bytes: Uint8Array): readonly Element[] | undefined {
  const elements: Element[] = [];
  for (let rest = bytes; rest.length > 0; ) {
    const element = readElement(rest);
    if (element === undefined) return undefined;
    elements.push(element);
    rest = rest.subarray(element.bytes.length);
  }
  return elements;
}

/** The element that the bytes are; undefined where they are none or several. */
export function onlyElement(bytes: Uint8Array): Element | undefined {
  const [element, ...others] = readElements(bytes) ?? [];
  return others.length === 0 ? element : undefined;
}

/** None where something else is among them. */
export const childrenOf = (element: Element | undefined): readonly Element[] =>
  (element && readElements(element.content)) ?? [];

/** More than any object identifier in use has; the work of `formatOid` grows with the square of it. */
const maxOidLength = 128;

/** Of a bearable length, each number of it in its shortest form (X.690, 8.19.2). */
export function isOid(element: Element | undefined): boolean {
  if (element?.tag !== 0x06) return false;
  const { content } = element;
  if (content.length === 0 || content.length > maxOidLength) return false;
  return (content.at(-1) ?? 0x80) < 0x80 && !content.some((byte, at) => byte === 0x80 && (content[at - 1] ?? 0) < 0x80);
}

/** One of its numbers needs more than 31 bits, as those made of UUIDs do. */
export function hasLongArc(content: Uint8Array): boolean {
  let number = 0;
  for (const byte of content) {
    number = number * 128 + (byte & 0x7f);
    if (number > 0x7fff_ffff) return true;
    if (byte < 0x80) number = 0;
  }
  return false;
}

/** An object identifier as people write it: `2.5.29.37` (X.690, 8.19). Of one that is too long, it tells that alone. */
export function formatOid(content: Uint8Array): string {
  if (content.length > maxOidLength) return `of ${content.length} bytes`;
  const numbers: bigint[] = [];
  let number = 0n;
  for (const byte of content) {
    number = number * 128n + BigInt(byte & 0x7f);
    if (byte >= 0x80) continue;
    numbers.push(number);
    number = 0n;
  }
  const [first = 0n, ...others] = numbers;
  const root = first < 80n ? first / 40n : 2n;
  return [root, first - root * 40n, ...others].join('.');
}

/** Its end is two zeros where the next element would begin (X.690, 8.1.5). */
function readIndefinite(bytes: Uint8Array, tag: number, depth: number): Element | undefined {
  let at = 2;
  while (!(bytes[at] === 0 && bytes[at + 1] === 0)) {
    const inner = readElement(bytes.subarray(at), depth + 1);
    if (inner === undefined) return undefined;
    at += inner.bytes.length;
  }
  return { tag, isDer: false, bytes: bytes.subarray(0, at + 2), content: bytes.subarray(2, at) };
}

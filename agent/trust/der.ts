// Reads elements of ASN.1 in its binary encodings (X.690), without knowing what they stand for: DER, and of BER what
// programs write around certificates, which is the indefinite length. Linear in time; never throws.

export interface Element {
  /** Class, form and number: 0x30 is SEQUENCE, 0x31 SET, 0xa0 the context's [0], constructed. */
  readonly tag: number;
  /** Views of the input: the whole element, and what is in it. */
  readonly bytes: Uint8Array;
  readonly content: Uint8Array;
}

/** Certificates in DER nest less than twenty deep; around them, indefinite lengths nest a few more. */
const maxDepth = 32;

/** The element that the bytes begin with; undefined where they begin with none that is whole. */
export function readElement(bytes: Uint8Array, depth = 0): Element | undefined {
  const [tag, first] = bytes;
  // Tags of more than one byte stand in nothing that is read here.
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f || depth > maxDepth) return undefined;
  if (first === 0x80) return (tag & 0x20) === 0 ? undefined : readIndefinite(bytes, tag, depth);
  const count = first < 0x80 ? 0 : first - 0x80;
  const start = 2 + count;
  if (count > 4 || start > bytes.length) return undefined;
  const length = count === 0 ? first : bytes.subarray(2, start).reduce((sum, byte) => sum * 256 + byte, 0);
  const end = start + length;
  return end > bytes.length ? undefined : { tag, bytes: bytes.subarray(0, end), content: bytes.subarray(start, end) };
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

/** Its end is two zeros where the next element would begin (X.690, 8.1.5). */
function readIndefinite(bytes: Uint8Array, tag: number, depth: number): Element | undefined {
  let at = 2;
  while (!(bytes[at] === 0 && bytes[at + 1] === 0)) {
    const inner = readElement(bytes.subarray(at), depth + 1);
    if (inner === undefined) return undefined;
    at += inner.bytes.length;
  }
  return { tag, bytes: bytes.subarray(0, at + 2), content: bytes.subarray(2, at) };
}

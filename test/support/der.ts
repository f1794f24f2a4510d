// Just enough of a DER writer (X.690) to put certificates together by hand, right ones and wrong ones.

/** One element: tag, length in its shortest form, content. */
export function element(tag: number, ...content: readonly Uint8Array[]): Uint8Array {
  const body = Buffer.concat(content);
  if (body.length < 0x80) return Buffer.concat([Buffer.of(tag, body.length), body]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  const digits = length.subarray(length.findIndex((byte) => byte !== 0));
  return Buffer.concat([Buffer.of(tag, 0x80 + digits.length), digits, body]);
}

export const sequence = (...content: readonly Uint8Array[]): Uint8Array => element(0x30, ...content);

export const octetString = (content: Uint8Array): Uint8Array => element(0x04, content);

/** Of whole bytes. */
export const bitString = (content: Uint8Array): Uint8Array => element(0x03, Buffer.of(0), content);

export const boolean = (value: boolean): Uint8Array => element(0x01, Buffer.of(value ? 0xff : 0));

export const asn1Null = element(0x05);

/** `[number]` around other elements. */
export const explicit = (number: number, ...content: readonly Uint8Array[]): Uint8Array =>
  element(0xa0 + number, ...content);

/** `[number]` in place of a primitive type's own tag. */
export const implicit = (number: number, content: Uint8Array): Uint8Array => element(0x80 + number, content);

/** Not negative. */
export function integer(value: bigint): Uint8Array {
  const digits = value.toString(16);
  const bytes = Buffer.from(digits.padStart(digits.length + (digits.length % 2), '0'), 'hex');
  return element(0x02, ...((bytes[0] ?? 0) >= 0x80 ? [Buffer.of(0)] : []), bytes);
}

export function oid(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  return element(0x06, ...[first * 40 + second, ...rest].map(base128));
}

/** UTCTime until 2049, GeneralizedTime from 2050 (RFC 5280, 4.1.2.5). */
export function time(date: Date): Uint8Array {
  const digits = date.toISOString().replace(/\.\d+|[-:T]/g, '');
  const isShort = date.getUTCFullYear() < 2050;
  return element(isShort ? 0x17 : 0x18, Buffer.from(isShort ? digits.slice(2) : digits));
}

/** A distinguished name of one common name, or the empty one. */
export function distinguishedName(commonName: string): Uint8Array {
  if (commonName === '') return sequence();
  return sequence(element(0x31, sequence(oid('2.5.4.3'), element(0x0c, Buffer.from(commonName)))));
}

function base128(value: number): Uint8Array {
  const bytes = [value % 128];
  for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128)) bytes.unshift(0x80 + (rest % 128));
  return Buffer.from(bytes);
}

// PKCS #7 with certificates alone, as CAs and Windows hand out chains (RFC 5652, 5.1), in DER and in BER.

import { element, explicit, integer, oid, sequence } from './der.ts';

export interface Pkcs7Options {
  /** Lengths that are told by an end instead of a number, as some programs write around certificates. */
  readonly indefinite?: boolean;
  /** Something that was signed: then it is not for certificates alone. */
  readonly content?: Uint8Array;
}

export function encodePkcs7(certificates: readonly Uint8Array[], options: Pkcs7Options = {}): Uint8Array {
  const { indefinite = false, content } = options;
  const wrap = (tag: number, ...parts: readonly Uint8Array[]): Uint8Array =>
    indefinite ? Buffer.concat([Buffer.of(tag, 0x80), ...parts, Buffer.of(0, 0)]) : element(tag, ...parts);
  const inner = sequence(oid('1.2.840.113549.1.7.1'), ...(content ? [explicit(0, element(0x04, content))] : []));
  const signed = wrap(0x30, integer(1n), element(0x31), inner, wrap(0xa0, ...certificates), element(0x31));
  return wrap(0x30, oid('1.2.840.113549.1.7.2'), wrap(0xa0, signed));
}

// PKCS #7 that holds certificates and nothing that was signed: how Windows, browsers and CAs export a chain, mostly as
// `.p7b` (RFC 2315, 9.1; RFC 5652, 5.1). No signature is looked at: there is none in such a file, and a certificate is
// judged by itself.

import { type Element, readElement, readElements } from './der.ts';

const sequence = 0x30;
const set = 0x31;
const context0 = 0xa0;
/** 1.2.840.113549.1.7.2 and 1.2.840.113549.1.7.1. */
const signedData = Uint8Array.of(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02);
const data = Uint8Array.of(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01);

/** The certificates, each in its own bytes; undefined for anything but a SignedData that holds certificates alone. */
export function readPkcs7(bytes: Uint8Array): readonly Uint8Array[] | undefined {
  const outer = readElement(bytes);
  if (outer?.tag !== sequence || outer.bytes.length !== bytes.length) return undefined;
  const [contentType, wrapped] = readElements(outer.content) ?? [];
  if (!isOid(contentType, signedData) || wrapped?.tag !== context0) return undefined;
  const [signed] = readElements(wrapped.content) ?? [];
  if (signed?.tag !== sequence) return undefined;
  const [, digestAlgorithms, inner, certificates] = readElements(signed.content) ?? [];
  if (digestAlgorithms?.tag !== set || inner?.tag !== sequence || certificates?.tag !== context0) return undefined;
  const [innerType, content] = readElements(inner.content) ?? [];
  if (!isOid(innerType, data) || content !== undefined) return undefined;
  // The others of the set are old forms and certificates of attributes, which nothing trusts.
  const found = (readElements(certificates.content) ?? []).filter(({ tag }) => tag === sequence);
  return found.length === 0 ? undefined : found.map((certificate) => certificate.bytes);
}

function isOid(element: Element | undefined, oid: Uint8Array): boolean {
  return element?.tag === 0x06 && Buffer.compare(element.content, oid) === 0;
}

// What is told of a certificate that a server has sent or that lies on a host: it may be any that node:crypto loads. So its name may
// be empty, its dates may be none, and Go, which is stricter, may not read it at all.

import type { X509Certificate } from 'node:crypto';
import { parseCertificate } from '../trust/certificate.ts';
import { curvesOfGo } from '../trust/certificate-rules.ts';

/** On one line. The types of node:crypto do not say that an empty name is undefined. */
export function nameOf(distinguishedName: string | undefined): string {
  return distinguishedName === undefined ? '(no name)' : distinguishedName.split('\n').join(', ');
}

/** Each undefined where the certificate holds no date that can be read. */
export function datesOf(certificate: X509Certificate) {
  const { validFrom, validFromDate, validTo, validToDate } = certificate;
  return { notBefore: readDate(validFrom, validFromDate), notAfter: readDate(validTo, validToDate) };
}

/** For a date that cannot be read, node:crypto gives whatever was in memory; its text then is no date. */
function readDate(text: string, date: Date): Date | undefined {
  return Date.parse(text) === date.getTime() ? date : undefined;
}

export function day(date: Date | undefined): string {
  return date === undefined ? 'a date that cannot be read' : date.toISOString().slice(0, 10);
}

/** Why programs written in Go refuse it where it is sent, and skip it where it is a root; undefined where they read it. */
export function findGoFault({ raw }: Pick<X509Certificate, 'raw'>): string | undefined {
  const parsed = parseCertificate(raw);
  if (parsed.kind === 'malformed') return parsed.evidence;
  const { goFault, publicKey } = parsed.certificate;
  if (goFault !== undefined) return goFault;
  const isForeign = publicKey.kind === 'ec' && !curvesOfGo.has(publicKey.curve);
  return isForeign ? `its key is on the curve ${publicKey.curve}, which Go does not have` : undefined;
}

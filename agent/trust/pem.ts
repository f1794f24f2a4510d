// Finds the certificates of a PEM text and everything in it that a loader on the host could stumble over (RFC 7468).
// Strict about what begins and ends a block, and about the base64; text around blocks is dropped, in any encoding.
// A line that was meant to begin or end a block is reported once and then taken for what it was meant to be, so that
// one mistake neither hides nor makes others. Findings never repeat bytes of a body. Linear in time; never throws.

import { type Explained, explain } from './admission-reasons.ts';
import {
  type Boundary,
  type BoundaryFault,
  countLineEnds,
  findBoundaries,
  type Mark,
  utf8ByteOrderMark,
} from './pem-boundary.ts';

export interface PemFinding extends Explained {
  /** That of the BEGIN line, unless another line is at fault; from 1. */
  readonly line: number;
  /** Counts the CERTIFICATE blocks, malformed ones too; from 1. */
  readonly certificate?: number;
}

/** A block whose boundaries and base64 are right. Whether its bytes are a certificate is not known here. */
export interface PemCertificate {
  readonly line: number;
  readonly certificate: number;
  readonly der: Uint8Array;
}

export interface PemScan {
  readonly certificates: readonly PemCertificate[];
  readonly findings: readonly PemFinding[];
}

interface Scanner {
  readonly text: string;
  readonly certificates: PemCertificate[];
  readonly findings: PemFinding[];
  open: OpenBlock | undefined;
  /** CERTIFICATE blocks begun so far. */
  count: number;
}

interface OpenBlock {
  readonly label: string;
  readonly line: number;
  readonly certificate: number | undefined;
  readonly bodyStart: number;
  /** A finding tells of its boundaries already. */
  readonly isReported: boolean;
  /** Part of its body stands on a boundary line, where it cannot be told from other text. */
  readonly isSpoiled: boolean;
}

export function scanPem(bytes: Uint8Array): PemScan {
  const findings: PemFinding[] = [];
  const scanner: Scanner = { text: readText(bytes, findings), certificates: [], findings, open: undefined, count: 0 };
  for (const boundary of findBoundaries(scanner.text)) {
    reportFault(scanner, boundary);
    for (const mark of boundary.marks) {
      if (mark.kind === 'begin') beginBlock(scanner, mark, boundary);
      else if (scanner.open !== undefined) endBlock(scanner, scanner.open, mark, boundary);
      else if (boundary.fault === undefined) reportUnopened(scanner, mark, boundary);
    }
  }
  reportUnclosed(scanner);
  return { certificates: scanner.certificates, findings };
}

// Line ends and a byte order mark are reported and then taken for right, so that everything else is reported too.
function readText(bytes: Uint8Array, findings: PemFinding[]): string {
  let text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
  if (text.startsWith(utf8ByteOrderMark)) {
    findings.push({ ...explain('ByteOrderMark', { encoding: 'UTF-8' }), line: 1 });
    text = text.slice(utf8ByteOrderMark.length);
  }
  const firstReturn = text.indexOf('\r');
  if (firstReturn === -1) return text;
  const ending = text[firstReturn + 1] === '\n' ? 'CRLF' : 'CR';
  findings.push({ ...explain('CrlfLineEndings', { ending }), line: 1 + countLineEnds(text, 0, firstReturn) });
  return text.replace(/\r\n?/g, '\n');
}

function reportFault({ open, count, findings }: Scanner, { marks, fault, line }: Boundary): void {
  const [first] = marks;
  if (first === undefined || fault === undefined) return;
  const ends = first.kind === 'end';
  if (ends && marks.length === 1 && open?.isReported === true) return;
  const openLabel = open?.label ?? '';
  const isNewKey = marks.some(
    ({ kind, label }) => saysPrivateKey(label) && (kind === 'begin' || !saysPrivateKey(openLabel)),
  );
  const next = first.label === 'CERTIFICATE' ? count + 1 : undefined;
  findings.push(isNewKey ? at(explainKey(), line) : at(explainFault(fault), line, ends ? open?.certificate : next));
}

function explainFault(fault: BoundaryFault): Explained {
  return fault === 'byte-order-mark'
    ? explain('ByteOrderMark', { encoding: 'UTF-8' })
    : explain('MalformedPem', { fault: { kind: fault } });
}

function beginBlock(scanner: Scanner, { label }: Mark, { fault, line, end }: Boundary): void {
  reportUnclosed(scanner, line);
  const isKey = saysPrivateKey(label);
  if (isKey && fault === undefined) scanner.findings.push(at(explainKey(), line));
  const certificate = label === 'CERTIFICATE' ? ++scanner.count : undefined;
  const isReported = isKey || fault !== undefined;
  scanner.open = { label, line, certificate, bodyStart: end, isReported, isSpoiled: isSpoiling(fault) };
}

function endBlock(scanner: Scanner, block: OpenBlock, { label }: Mark, { fault, line, start }: Boundary): void {
  scanner.open = undefined;
  if (saysPrivateKey(block.label)) return;
  const report = (explained: Explained): number => scanner.findings.push(at(explained, block.line, block.certificate));
  if (label !== block.label) {
    if (fault !== undefined) return;
    if (saysPrivateKey(label)) report(explainKey());
    else if (!block.isReported) {
      const labels = { label: quoteLabel(block.label), endLabel: quoteLabel(label) };
      report(explain('MalformedPem', { fault: { kind: 'mismatched', ...labels, endLine: line } }));
    }
  } else if (block.certificate === undefined) {
    report(explain('UnexpectedPemBlock', { label: quoteLabel(label) }));
  } else if (!block.isSpoiled && !isSpoiling(fault)) {
    readBody(scanner, block.line, block.certificate, scanner.text.slice(block.bodyStart, start));
  }
}

function isSpoiling(fault: BoundaryFault | undefined): boolean {
  return fault === 'one-line' || fault === 'text-before' || fault === 'text-behind';
}

// Node's decoder skips what is not base64 and stops at the first padding, so the text is judged before it.
function readBody(scanner: Scanner, line: number, certificate: number, body: string): void {
  const base64 = body.replace(/[ \t\n\v\f]+/g, '');
  if (base64.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(base64)) {
    scanner.certificates.push({ line, certificate, der: Buffer.from(base64, 'base64') });
    return;
  }
  scanner.findings.push(describeBody(body, line, certificate));
}

function describeBody(body: string, line: number, certificate: number): PemFinding {
  // The body starts behind the BEGIN, so its first line is the rest of that one.
  const lines = body.split('\n');
  const foreign = lines.findIndex((text) => /[^A-Za-z0-9+/= \t\v\f]/.test(text));
  if (lines[foreign]?.includes(':') === true) {
    const fault = { kind: 'headers', headerLine: line + foreign } as const;
    return at(explain('MalformedPem', { fault }), line, certificate);
  }
  if (foreign !== -1) return at(explain('InvalidBase64', { fault: 'alphabet' }), line + foreign, certificate);
  const padded = lines.findIndex((text) => text.includes('='));
  const last = lines.findLastIndex((text) => text.trim() !== '');
  return at(explain('InvalidBase64', { fault: 'padding' }), line + (padded === -1 ? last : padded), certificate);
}

function reportUnopened({ findings }: Scanner, { label }: Mark, { line }: Boundary): void {
  const fault = { kind: 'unopened', label: quoteLabel(label) } as const;
  findings.push(at(saysPrivateKey(label) ? explainKey() : explain('MalformedPem', { fault }), line));
}

function reportUnclosed({ open, findings }: Scanner, nextLine?: number): void {
  if (open === undefined || open.isReported) return;
  const fault = {
    kind: 'unclosed',
    label: quoteLabel(open.label),
    ...(nextLine === undefined ? {} : { nextLine }),
  } as const;
  findings.push(at(explain('MalformedPem', { fault }), open.line, open.certificate));
}

const at = (explained: Explained, line: number, certificate?: number): PemFinding => ({
  ...explained,
  line,
  ...(certificate === undefined ? {} : { certificate }),
});

const explainKey = (): Explained => explain('PrivateKey', { evidence: 'the block says PRIVATE KEY' });

const saysPrivateKey = (label: string): boolean => label.toUpperCase().includes('PRIVATE KEY');

// A label is the one text of the input that findings repeat, so only what looks like one.
const quoteLabel = (label: string): string => (/^[A-Z0-9 ]{1,40}$/.test(label) ? `"${label}"` : 'an unusual label');

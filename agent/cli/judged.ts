// A source as the agent would judge it, and what a person reads of that: each finding where it is, as a compiler says it.

import { type Admission, type AdmissionOptions, admit, type Finding } from '../trust/admission.ts';
import { createExcerpts } from '../trust/excerpt.ts';
import { printable } from '../trust/printable.ts';
import { explainOperational } from '../trust/reasons.ts';
import type { NamedSource } from './entries.ts';
import type { Paint } from './paint.ts';

export interface Judged extends Pick<Admission, 'accepted' | 'bundle' | 'certificates'> {
  readonly source: NamedSource;
  readonly findings: readonly SourceFinding[];
}

export interface SourceFinding extends Omit<Finding, 'code'> {
  readonly code: Finding['code'] | 'SourceWrongType';
}

export function judgeSource(source: NamedSource, options: AdmissionOptions): Judged {
  const { name, snapshot, findings: ofForm } = source;
  if (snapshot.kind === 'wrong-type') {
    const { code, severity, message, remedy } = explainOperational('SourceWrongType', {
      source: name,
      type: snapshot.type,
    });
    const nothing = admit(new Map(), options);
    return { ...nothing, source, findings: [{ code, severity, entry: '', message, remedy }] };
  }
  const admission = admit(snapshot.entries, options);
  const ofContent = snapshot.entries.size === 0 && ofForm.length > 0 ? [] : admission.findings;
  const findings = [...ofForm, ...ofContent].sort((a, b) => (a.entry < b.entry ? -1 : a.entry > b.entry ? 1 : 0));
  return { ...admission, source, accepted: admission.accepted && ofForm.length === 0, findings };
}

/** More than a person reads; a file of another kind may have a finding a line. */
const maxShown = 100;

/** `cas.pem:14: error InvalidBase64: …`, the line itself where it may be shown, and what to do. */
export function describeFindings({ source, findings }: Judged, paint: Paint): string {
  const { snapshot } = source;
  const excerptOf = createExcerpts(snapshot.kind === 'present' ? snapshot.entries : new Map(), findings);
  const shown = findings
    .slice(0, maxShown)
    .map((finding) => describeFinding(source, finding, excerptOf(finding), paint))
    .join('');
  const more = findings.length - maxShown;
  return more > 0 ? `${shown}… and ${more} more findings; --json of validate has them all\n` : shown;
}

function describeFinding(source: NamedSource, finding: SourceFinding, text: string | undefined, paint: Paint): string {
  const { code, severity, entry, certificate, line, message, remedy } = finding;
  const place = printable(entry === '' ? source.name : source.locate(entry)) + (line === undefined ? '' : `:${line}`);
  const subject = certificate === undefined ? '' : `certificate ${certificate}: `;
  const shown = text === undefined ? '' : `    ${paint('dim', `${line} |`)} ${text}\n`;
  const head = `${paint('bold', place)}: ${paint(severity === 'error' ? 'red' : 'yellow', `${severity} ${code}`)}`;
  return `${head}: ${subject}${message}\n${shown}    → ${remedy}\n`;
}

// For commands that make something of certificates for an agent: nothing is made that the agent would reject.

import { type Admission, admit } from '../trust/admission.ts';
import { explainOperational } from '../trust/reasons.ts';
import type { Entries } from '../trust/source.ts';
import { describeFinding, sentence } from '../trust/status.ts';
import type { ExitCode, Terminal } from './command.ts';
import { readSource, UnreadableError } from './entries.ts';

export interface Admitted extends Admission {
  readonly entries: Entries;
}

/** What was admitted; or, after all has been told that speaks against it, the exit code. */
export async function readAdmitted(
  command: string,
  path: string,
  { maxCertificates, allowNonCa }: { readonly maxCertificates: number; readonly allowNonCa: boolean },
  terminal: Terminal,
): Promise<Admitted | ExitCode> {
  try {
    const { name, snapshot, findings: ofForm } = await readSource(path, terminal);
    if (snapshot.kind === 'wrong-type') {
      const { message, remedy } = explainOperational('SourceWrongType', { source: name, type: snapshot.type });
      terminal.err(`node-trust ${command}: SourceWrongType: ${sentence(message, remedy)}\n`);
      return 1;
    }
    const nonCa = allowNonCa ? 'warning' : 'error';
    const admission = admit(snapshot.entries, { maxCertificates, nonCa, now: new Date() });
    for (const finding of [...ofForm, ...admission.findings])
      terminal.err(`${finding.severity} ${finding.code}: ${sentence(describeFinding(finding), finding.remedy)}\n`);
    return admission.accepted && ofForm.length === 0 ? { ...admission, entries: snapshot.entries } : 1;
  } catch (error) {
    if (!(error instanceof UnreadableError)) throw error;
    terminal.err(`node-trust ${command}: ${error.message}\n`);
    return 3;
  }
}

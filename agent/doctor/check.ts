// The outcome of one named check, and how it is made: passed, skipped or not known with why, or broken with a diagnosis of the catalogue.

import { printable } from '../trust/printable.ts';
import { type CheckName, type DiagnosisCode, diagnoses, fillIn, quote, type Values } from './catalogue.ts';

export interface Check {
  readonly name: CheckName;
  readonly status: 'pass' | 'warn' | 'fail' | 'skipped';
  /** Of what is skipped: it could not be found out, and may be broken. */
  readonly isUnknown?: boolean;
  /** One line. */
  readonly summary: string;
  /** What was seen, a line each. */
  readonly evidence: readonly string[];
  /** Of what is broken. */
  readonly diagnosis: { readonly code: DiagnosisCode; readonly remedy: string; readonly command: string } | undefined;
}

export function pass(name: CheckName, summary: string, evidence: readonly string[] = []): Check {
  return { name, status: 'pass', summary: printable(summary), evidence: show(evidence), diagnosis: undefined };
}

export function skipped(name: CheckName, why: string): Check {
  return { name, status: 'skipped', summary: printable(why), evidence: [], diagnosis: undefined };
}

/** Skipped not because it does not apply, nor because an earlier link is broken. */
export function notKnown(name: CheckName, why: string): Check {
  return { ...skipped(name, why), isUnknown: true };
}

/** Much of what is told was written by a server or into a file, so all of it is made fit to be shown. */
export function broken<Code extends DiagnosisCode>(
  code: Code,
  summary: string,
  evidence: readonly string[],
  values: Values<Code>,
): Check {
  const { check, severity, remedy, command } = diagnoses[code];
  const given: Readonly<Record<string, string>> = values;
  const words = Object.fromEntries(Object.entries(given).map(([name, value]) => [name, quote(printable(value))]));
  return {
    name: check,
    status: severity,
    summary: printable(summary),
    evidence: show(evidence),
    diagnosis: { code, remedy: printable(fillIn(remedy, given)), command: printable(fillIn(command, words)) },
  };
}

/** What two looks have shown is told once. */
const show = (lines: readonly string[]): readonly string[] => [...new Set(lines.map((line) => printable(line)))];

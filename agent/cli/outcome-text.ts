// What `apply` and `remove` print of a pass and of a plan.

import type { Retirement } from '../host/boot.ts';
import type { Outcome } from '../reconcile.ts';
import type { Finding } from '../trust/admission.ts';
import { describeStep, type Step } from '../trust/plan.ts';
import { describeFinding, formatDetails } from '../trust/status.ts';
import type { Terminal } from './command.ts';
import { formatJson } from './json.ts';

export function sentencesOf(retirement: readonly Retirement[], steps: readonly Step[]): readonly string[] {
  return [...retirement.map(({ sentence: what }) => what), ...steps.map(describeStep)];
}

export function printFindings(findings: readonly Finding[], terminal: Terminal): void {
  for (const finding of findings) {
    terminal.out(`${finding.severity} ${finding.code}: ${describeFinding(finding)}\n  → ${finding.remedy}\n`);
  }
}

export function printOutcome(
  { status, steps }: Outcome,
  retirement: readonly Retirement[],
  json: boolean,
  terminal: Terminal,
): void {
  const { state, reason, message, observed } = status;
  if (json) {
    const details = JSON.parse(formatDetails(status)) as object;
    const facts = {
      version: 1,
      state,
      reason,
      message,
      bundle: status.trusted?.bundle,
      observed,
      steps: sentencesOf(retirement, steps),
    };
    terminal.out(formatJson({ ...facts, ...details }));
    return;
  }
  // The message tells the first of them, with its remedy.
  const others = status.findings.filter((finding) => !message.includes(describeFinding(finding)));
  printFindings(others, terminal);
  for (const warning of status.warnings) terminal.out(`warning: ${warning}\n`);
  terminal.out(`${state}${reason && ` (${reason})`}: ${message}\n`);
}

// `node-trust validate`: says what the agent would say of a source, before anybody applies it. Touches no host.

import type { Severity } from '../trust/admission-reasons.ts';
import { printable } from '../trust/printable.ts';
import { defineCommand, UnreadableError } from './command.ts';
import { findPathProblem, readSource } from './entries.ts';
import { countFlag, switchFlag } from './flags.ts';
import { formatJson } from './json.ts';
import { describeFindings, type Judged, judgeSource, type SourceFinding } from './judged.ts';
import { createPaint, type Paint } from './paint.ts';

export const admissionFlags = {
  maxCertificates: countFlag('max-certificates', 'Most distinct certificates a source may hold', 10),
  allowNonCa: switchFlag(
    'allow-non-ca',
    'Take certificates that are not CAs, with a warning, where the store keeps them',
  ),
} as const;

export const validate = defineCommand({
  name: 'validate',
  synopsis: '[FLAGS] PATH…',
  about: `Judges certificates as the agent does on a node. PATH is a PEM file, a folder (an entry a file), a Secret manifest in
YAML or JSON, or - for standard input; each PATH is one source.`,
  examples: [
    ['validate cas.pem', 'a file, before it is applied'],
    ['validate --json cas/', 'a folder, for a program'],
    ['validate - < secret.yaml', 'a Secret manifest, as it comes from kubectl get -o yaml'],
  ],
  flags: { ...admissionFlags, json: switchFlag('json', 'Print one JSON object') },
  positionals: { min: 1, max: Number.POSITIVE_INFINITY },
  async run({ values, positionals }, terminal, signal) {
    const problem = findPathProblem(positionals);
    if (problem !== undefined) {
      terminal.err(`node-trust validate: ${problem}\n`);
      return 2;
    }
    const nonCa = values.allowNonCa ? 'warning' : 'error';
    const options = { maxCertificates: values.maxCertificates, nonCa, now: new Date() } as const;
    const judged: (Judged & { readonly path: string })[] = [];
    let unread = 0;
    for (const path of positionals) {
      try {
        judged.push({ path, ...judgeSource(await readSource(path, terminal, signal), options) });
      } catch (error) {
        if (!(error instanceof UnreadableError)) throw error;
        terminal.err(`node-trust validate: ${error.message}\n`);
        unread += 1;
      }
    }
    const accepted = unread === 0 && judged.every((source) => source.accepted);
    if (values.json) terminal.out(formatJson(toJson(judged, accepted, positionals.length > 1)));
    else {
      const paint = createPaint(terminal);
      for (const source of judged) terminal.out(`${describe(source, paint)}\n`);
      terminal.out(`${summarize(judged, positionals.length, unread)}\n`);
    }
    return unread > 0 ? 3 : accepted ? 0 : 1;
  },
});

/** The shape is part of the interface: fields are added, never changed, within a version. */
function toJson(
  judged: readonly (Judged & { readonly path: string })[],
  accepted: boolean,
  areSeveral: boolean,
): unknown {
  const sourceOf = (path: string): object => (areSeveral ? { source: path } : {});
  return {
    version: 1,
    accepted,
    certificates: judged.flatMap(({ path, certificates }) =>
      certificates.map(({ entry, certificate: { subject, fingerprint, notBefore, notAfter } }) => {
        const times = { notBefore: notBefore.toISOString(), notAfter: notAfter.toISOString() };
        return { ...sourceOf(path), entry, subject, fingerprint, ...times };
      }),
    ),
    findings: judged.flatMap(({ path, findings }) =>
      findings.map((finding) => ({ ...sourceOf(path), ...orderFields(finding) })),
    ),
  };
}

function orderFields({ code, severity, entry, certificate, line, message, remedy }: SourceFinding): object {
  return { code, severity, entry, certificate, line, message, remedy };
}

function describe(judged: Judged, paint: Paint): string {
  const { source, accepted, certificates } = judged;
  const verdict = accepted ? paint('green', 'accepted') : paint('red', 'REJECTED, nothing of it would be installed');
  const lines = certificates.map(({ entry, certificate: { fingerprint, notAfter, subject } }) => {
    const until = notAfter.toISOString().slice(0, 10);
    return `  ${fingerprint.slice(0, 16)}  until ${until}  ${subject}  (${printable(entry)})\n`;
  });
  return `${source.name}: ${verdict}\n${lines.join('')}${describeFindings(judged, paint)}`;
}

/** `1 of 3 sources accepted, 1 not read; 3 certificates, 2 errors, 1 warning`. */
function summarize(judged: readonly Judged[], sources: number, unread: number): string {
  const findings = judged.flatMap((source) => source.findings);
  const count = (severity: Severity): number => findings.filter((finding) => finding.severity === severity).length;
  const accepted = `${judged.filter((source) => source.accepted).length} of ${plural(sources, 'source')} accepted${unread === 0 ? '' : `, ${unread} not read`}`;
  const certificates = judged.reduce((sum, source) => sum + source.certificates.length, 0);
  const parts = [
    plural(certificates, 'certificate'),
    plural(count('error'), 'error'),
    plural(count('warning'), 'warning'),
  ];
  return `${accepted}; ${parts.join(', ')}`;
}

const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`;

// `node-trust validate`: says what the agent would say of a source, before anybody applies it. Touches no host.

import { type Admission, type AdmissionOptions, admit, type Finding } from '../trust/admission.ts';
import { explainOperational } from '../trust/reasons.ts';
import { describeFinding } from '../trust/status.ts';
import { defineCommand, type Terminal } from './command.ts';
import { type NamedSource, readSource, UnreadableError } from './entries.ts';
import { countFlag, switchFlag } from './flags.ts';

export const admissionFlags = {
  maxCertificates: countFlag('max-certificates', 'Most distinct certificates a source may hold', 10),
  allowNonCa: switchFlag(
    'allow-non-ca',
    'Take certificates that are not CAs, with a warning, where the store keeps them',
  ),
} as const;

interface Judged extends Pick<Admission, 'accepted' | 'certificates'> {
  readonly name: string;
  readonly findings: readonly ValidateFinding[];
}

interface ValidateFinding extends Omit<Finding, 'code'> {
  readonly code: Finding['code'] | 'SourceWrongType';
}

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
  async run({ values, positionals }, terminal) {
    if (positionals.filter((path) => path === '-').length > 1) {
      terminal.err('node-trust validate: standard input can be read once: give - once\n');
      return 2;
    }
    const nonCa = values.allowNonCa ? 'warning' : 'error';
    const options = { maxCertificates: values.maxCertificates, nonCa, now: new Date() } as const;
    const judged: Judged[] = [];
    let unread = 0;
    for (const path of positionals) {
      try {
        judged.push(judge(await readSource(path, terminal), options));
      } catch (error) {
        if (!(error instanceof UnreadableError)) throw error;
        terminal.err(`node-trust validate: ${error.message}\n`);
        unread += 1;
      }
    }
    const accepted = unread === 0 && judged.every((source) => source.accepted);
    if (values.json) terminal.out(`${JSON.stringify(toJson(judged, accepted), null, 2)}\n`);
    else for (const source of judged) print(source, terminal);
    return unread > 0 ? 3 : accepted ? 0 : 1;
  },
});

function judge({ name, snapshot, findings: ofForm }: NamedSource, options: AdmissionOptions): Judged {
  if (snapshot.kind === 'wrong-type') {
    return {
      name,
      accepted: false,
      certificates: [],
      findings: [{ ...explainOperational('SourceWrongType', { source: name, type: snapshot.type }), entry: '' }],
    };
  }
  const admission: Admission =
    snapshot.entries.size === 0 && ofForm.length > 0
      ? { ...admit(new Map(), options), findings: [] }
      : admit(snapshot.entries, options);
  const findings = [...ofForm, ...admission.findings].sort((a, b) =>
    a.entry < b.entry ? -1 : a.entry > b.entry ? 1 : 0,
  );
  return { name, accepted: admission.accepted && ofForm.length === 0, certificates: admission.certificates, findings };
}

/** The shape is part of the interface: fields are added, never changed, within a version. */
function toJson(judged: readonly Judged[], accepted: boolean): unknown {
  return {
    version: 1,
    accepted,
    certificates: judged.flatMap(({ certificates }) =>
      certificates.map(({ entry, certificate: { subject, fingerprint, notBefore, notAfter } }) => {
        return { entry, subject, fingerprint, notBefore: notBefore.toISOString(), notAfter: notAfter.toISOString() };
      }),
    ),
    findings: judged.flatMap(({ findings }) => findings.map(orderFields)),
  };
}

function orderFields({ code, severity, entry, certificate, line, message, remedy }: ValidateFinding): unknown {
  return { code, severity, entry, certificate, line, message, remedy };
}

function print({ name, accepted, certificates, findings }: Judged, terminal: Terminal): void {
  const verdict = accepted ? 'accepted' : 'REJECTED, nothing of it would be installed';
  terminal.out(`${name}: ${verdict}\n`);
  for (const { entry, certificate } of certificates) {
    const until = certificate.notAfter.toISOString().slice(0, 10);
    terminal.out(`  ${certificate.fingerprint.slice(0, 16)}  until ${until}  ${certificate.subject}  (${entry})\n`);
  }
  for (const finding of findings) {
    terminal.out(`  ${finding.severity} ${finding.code}: ${describeFinding(finding)}\n    → ${finding.remedy}\n`);
  }
}

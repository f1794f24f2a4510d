// `node-trust secret`: makes the Secret that the agent follows out of certificates in whatever form they come: a new one,
// one that is there with these added, or one in which they take the place of others. What it prints, the agent would accept;
// where it would not, nothing is printed but why.

import type { Certificate } from '../trust/certificate.ts';
import { normalize } from '../trust/normalize.ts';
import { beginRotation, endRotation, type Rotated } from '../trust/rotation.ts';
import { addCertificates, certificatesIn, fingerprintsOf } from '../trust/secret-entries.ts';
import type { Entries } from '../trust/source.ts';
import { defineCommand, type Terminal, UnreadableError } from './command.ts';
import { findPathProblem, type NamedSource, readSource } from './entries.ts';
import { type Flag, switchFlag, textFlag } from './flags.ts';
import { formatJson } from './json.ts';
import { describeFindings, type Judged, judgeSource } from './judged.ts';
import { createManifest, formatManifest, type Manifest, replaceEntries, type SecretName } from './manifest.ts';
import { plain } from './paint.ts';
import { defaultSecret, secretFlag } from './secret-flag.ts';
import { admissionFlags } from './validate.ts';

/** Unless given, a Secret that is there keeps its name. */
const nameFlag: Flag<SecretName | undefined> = { ...secretFlag('name', 'Of a new Secret'), fallback: undefined };

export const secret = defineCommand({
  name: 'secret',
  synopsis: '[FLAGS] PEM…, or --rotate OLD [FLAGS] NEW…',
  about: `Prints the manifest of a Secret that holds the certificates of PEM…, an entry each, named after their subjects. PEM is
what validate takes, and also DER, PKCS #7 (.p7b), UTF-16, byte order marks, CRLF line ends, and base64 around any of them;
what was converted is told on standard error. The manifest of a Secret as the only PEM keeps its metadata and entries. What an agent would not accept is not printed, nor anything of a private key.

--merge adds to the Secret of a manifest, which keeps its name, its metadata and its entries. --rotate OLD NEW makes old and
new trusted together; once all nodes are Synced with that, the same with --final leaves NEW alone. With --merge, both touch
nothing else in that Secret: OLD must be in it, and before --final NEW, too. Without, the Secret holds nothing else.

kubectl apply takes an entry out only of a Secret that was made by kubectl apply, and leaves OLD trusted in any other. For
what --final prints use kubectl replace --save-config, which always does, and after which apply does, too.`,
  examples: [
    ['secret cas.pem proxy.p7b | kubectl apply -f -', 'what the nodes follow from now on'],
    ['secret secret.yaml', 'the same Secret, with what only its form is wrong with mended'],
    ['secret --merge secret.yaml new.cer', 'a certificate more'],
    ['secret --rotate old.pem new.pem | kubectl apply -f -', 'both, until all nodes are Synced'],
    ['secret --rotate old.pem --final new.pem | kubectl replace --save-config -f -', 'and then the new one alone'],
    ['secret --merge secret.yaml --rotate old.pem new.pem', 'the same in a Secret that holds others, too'],
  ],
  flags: {
    name: nameFlag,
    merge: textFlag('merge', 'Manifest of the Secret to add to, or - for standard input', {
      placeholder: 'FILE',
      fallback: undefined,
    }),
    rotate: textFlag('rotate', 'What PEM… is to take the place of: both for now', {
      placeholder: 'OLD',
      fallback: undefined,
    }),
    final: switchFlag('final', 'End the rotation: without OLD'),
    ...admissionFlags,
    json: switchFlag('json', 'Print JSON instead of YAML'),
  },
  positionals: { min: 0, max: Number.POSITIVE_INFINITY, name: 'PEM' },
  async run({ values, positionals }, terminal, signal) {
    const problem = findUsageProblem(values, positionals);
    if (problem !== undefined) {
      terminal.err(`node-trust secret: ${problem}\nTry: node-trust secret --help\n`);
      return 2;
    }
    const manifest = await make(values, positionals, terminal, signal);
    if (manifest === undefined) return 1;
    terminal.out(values.json ? formatJson(manifest) : formatManifest(manifest));
    return 0;
  },
});

interface Values {
  readonly name: SecretName | undefined;
  readonly merge: string | undefined;
  readonly rotate: string | undefined;
  readonly final: boolean;
  readonly maxCertificates: number;
  readonly allowNonCa: boolean;
}

function findUsageProblem({ name, merge, rotate, final }: Values, pems: readonly string[]): string | undefined {
  if (final && rotate === undefined) return '--final ends a rotation: expected --rotate OLD';
  if (rotate !== undefined && pems.length === 0) return '--rotate OLD: expected NEW, what takes its place';
  if (name !== undefined && merge !== undefined) return 'a Secret that is merged into keeps its name: leave --name out';
  if (pems.length === 0) return 'expected PEM, got nothing';
  return findPathProblem([merge, rotate, ...pems].filter((path) => path !== undefined));
}

/** Undefined after the terminal was told what speaks against it. Throws {@link UnreadableError}. */
async function make(
  values: Values,
  pems: readonly string[],
  terminal: Terminal,
  signal: AbortSignal,
): Promise<Manifest | undefined> {
  const { maxCertificates, allowNonCa, merge, rotate } = values;
  const options = { maxCertificates, nonCa: allowNonCa ? 'warning' : 'error', now: new Date() } as const;
  const merged = merge === undefined ? undefined : await readNormalized(merge, terminal, signal);
  if (merge === '-' && merged !== undefined && isEmpty(merged) && merged.manifest === undefined)
    throw new UnreadableError('standard input is empty; if there is no Secret yet, leave --merge out');
  if (merged !== undefined && merged.manifest === undefined)
    throw new UnreadableError(`${merged.name} is no manifest of a Secret; kubectl get secret NAME -o yaml prints one`);
  const old = rotate === undefined ? undefined : await readNormalized(rotate, terminal, signal);
  const given: NamedSource[] = [];
  for (const path of pems) given.push(await readNormalized(path, terminal, signal));
  // One Secret alone is mended: what only its form is wrong with stays that Secret.
  const isMended = merge === undefined && rotate === undefined && values.name === undefined && given.length === 1;
  const secret = isMended && given[0]?.manifest !== undefined ? given.pop() : merged;

  // The limit is one of what comes out; and a Secret that is there may be empty.
  const judge = (source: NamedSource): Judged =>
    judgeSource(source, { ...options, maxCertificates: Number.POSITIVE_INFINITY });
  const judgedSecret = secret && !isEmpty(secret) ? judge(secret) : undefined;
  const judgedOld = old && judge(old);
  const judgedGiven = given.map(judge);
  const judged = [judgedSecret, judgedOld, ...judgedGiven].filter((source) => source !== undefined);
  const rejected = judged.filter(({ accepted }) => !accepted);
  for (const source of rejected) terminal.err(describeFindings(withoutOwnAdvice(source), plain));
  if (rejected.length > 0) return undefined;

  const composed = compose(values, secret && entriesOf(secret), judgedOld, judgedGiven, terminal);
  if (composed.kind === 'refused') {
    terminal.err(`node-trust secret: ${composed.message}\n`);
    return undefined;
  }
  const { entries } = composed;
  const verdict = judgeSource(
    {
      name: [merge, rotate, ...pems].filter((path) => path !== undefined).join(', '),
      snapshot: { kind: 'present', entries, onDelete: 'grace' },
      findings: [],
      locate: (entry) => `the Secret, ${entry}`,
    },
    options,
  );
  terminal.err(describeFindings(withoutEntry(verdict), plain));
  const size = [...entries.values()].reduce((sum, { length }) => sum + length, 0);
  if (size > maxSecretBytes) terminal.err('node-trust secret: a Secret holds at most 1 MiB; leave certificates out\n');
  if (!verdict.accepted || size > maxSecretBytes) return undefined;
  if (secret === undefined) terminal.err(wholeNote);
  else if (values.final) terminal.err(finalNote);
  return secret?.manifest === undefined
    ? createManifest(values.name ?? defaultSecret, entries)
    : replaceEntries(secret.manifest, entries);
}

/** It was just typed: what is binary still is nothing that it converts. */
function withoutOwnAdvice(judged: Judged): Judged {
  const remedy =
    'If it is PKCS #12, take the CAs out of it: `openssl pkcs12 -in FILE -nokeys -cacerts`, without `-cacerts` where the CA has its key in there.';
  const findings = judged.findings.map((one) => (one.code === 'DerEncoded' ? { ...one, remedy } : one));
  return { ...judged, findings };
}

/** Names that were made here have been seen by nobody: that there are too many is said of what was given. */
function withoutEntry(judged: Judged): Judged {
  const findings = judged.findings.map(({ certificate, line, ...one }) => {
    if (one.code === 'TooManyCertificates') return { ...one, entry: '' };
    return { ...one, ...(certificate !== undefined && { certificate }), ...(line !== undefined && { line }) };
  });
  return { ...judged, findings };
}

/** Whoever types it may have another Secret in the cluster already. */
const wholeNote = `note: this is the whole Secret: of one that is there, kubectl replace --save-config -f - DELETES all other entries, and so does kubectl apply if kubectl apply made it; --merge adds to it instead
`;

const finalNote = `note: kubectl apply takes an entry out of a Secret only if kubectl apply made it; kubectl replace --save-config -f - always does
`;

/** https://kubernetes.io/docs/concepts/configuration/secret/#restriction-data-size */
const maxSecretBytes = 1024 * 1024;

function compose(
  { final }: Values,
  held: Entries | undefined,
  old: Judged | undefined,
  given: readonly Judged[],
  terminal: Terminal,
): Rotated {
  const successors = given.flatMap(certificatesOf);
  if (old !== undefined) return (final ? endRotation : beginRotation)({ old: certificatesOf(old), successors, held });
  const known = new Set(fingerprintsOf(certificatesIn(held ?? new Map())));
  for (const judged of given) {
    for (const { fingerprint, subject } of certificatesOf(judged)) {
      if (known.has(fingerprint))
        terminal.err(`note: ${judged.source.name}: ${subject} is there already, and not added again\n`);
      known.add(fingerprint);
    }
  }
  return { kind: 'entries', entries: addCertificates(held ?? new Map(), successors) };
}

const certificatesOf = ({ certificates }: Judged): readonly Certificate[] =>
  certificates.map(({ certificate }) => certificate);

/** Each entry in the form that admission takes, if it is one that can be had; tells what was converted. */
async function readNormalized(path: string, terminal: Terminal, signal: AbortSignal): Promise<NamedSource> {
  const source = await readSource(path, terminal, signal);
  if (source.snapshot.kind !== 'present') return source;
  const entries = new Map<string, Uint8Array>();
  const moved = new Set<string>();
  for (const [entry, value] of source.snapshot.entries) {
    const { bytes, changes, keepsLines } = normalize(value);
    entries.set(entry, bytes);
    if (!keepsLines) moved.add(entry);
    if (changes.length > 0)
      terminal.err(`note: ${source.locate(entry)}: converted into plain PEM from ${changes.join(', ')}\n`);
  }
  const locate = (entry: string): string => source.locate(entry) + (moved.has(entry) ? ' (converted)' : '');
  return { ...source, snapshot: { ...source.snapshot, entries }, locate };
}

function entriesOf({ snapshot }: NamedSource): Entries {
  return snapshot.kind === 'present' ? snapshot.entries : new Map();
}

const isEmpty = (source: NamedSource): boolean =>
  source.snapshot.kind === 'present' && source.snapshot.entries.size === 0 && source.findings.length === 0;

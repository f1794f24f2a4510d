// The reasons of admission: what can be wrong with an entry, a PEM block or a certificate (RFC 7468, RFC 5280).
// Their wording never repeats bytes of the input: it may hold a private key.

import type { BoundaryFault } from './pem-boundary.ts';
import { printable } from './printable.ts';

export type Severity = 'error' | 'warning';

export interface Reason<Args> {
  readonly severity: Severity;
  /** What the code stands for, as docs/reasons.md prints it. */
  readonly meaning: string;
  /** What to do about it: one sentence in the imperative. */
  readonly remedy: string;
  /** The one case at hand, without the remedy and without a final full stop. */
  readonly message: (args: Args) => string;
}

/** What is wrong with a block, or with a line that was meant to begin or end one. */
export type PemFault =
  | { readonly kind: Exclude<BoundaryFault, 'byte-order-mark'> }
  | { readonly kind: 'unclosed'; readonly label: string; readonly nextLine?: number }
  | { readonly kind: 'unopened'; readonly label: string }
  | { readonly kind: 'mismatched'; readonly label: string; readonly endLabel: string; readonly endLine: number }
  | { readonly kind: 'headers'; readonly headerLine: number };

interface Subject {
  readonly subject: string;
}
interface Dated extends Subject {
  readonly at: Date;
}
interface Evidence {
  readonly evidence: string;
}

const base64Faults = {
  alphabet: 'the line holds a character that is not base64',
  padding: 'the base64 ends in the wrong place: characters or padding (=) are missing or too many',
  value: 'the value is not base64, as `data` of a Secret must be; plain text goes into `stringData`',
};

/** Of a Secret that is in the cluster. */
const mendSecret =
  'a Secret is mended by `kubectl -n NAMESPACE get secret NAME -o yaml | node-trust secret - | kubectl replace --save-config -f -`';

const admission = <Args>(reason: Reason<Args>): Reason<Args> => reason;

export const admissionReasons = {
  TooManyCertificates: admission({
    severity: 'error',
    meaning: 'The source holds more distinct certificates than allowed: a mistake, or a whole public bundle.',
    remedy: 'Keep only the certificates these nodes need, or raise --max-certificates.',
    message: ({ count, limit }: { readonly count: number; readonly limit: number }) =>
      `the source holds ${count} distinct certificates, at most ${limit} are allowed`,
  }),
  NoCertificate: admission({
    severity: 'error',
    meaning: 'The entry holds no certificate block.',
    remedy: 'Put a PEM certificate (-----BEGIN CERTIFICATE-----) into the entry, or remove the entry.',
    message: ({ evidence }: Evidence) => evidence,
  }),
  CrlfLineEndings: admission({
    severity: 'error',
    meaning:
      'The entry holds a carriage return (CR), as files from Windows do. Tools of the host do not agree on those.',
    remedy: `Convert the line ends to LF: \`dos2unix FILE\`, or let \`node-trust secret FILE\` do it; ${mendSecret}.`,
    message: ({ ending }: { readonly ending: 'CR' | 'CRLF' }) =>
      ending === 'CRLF' ? 'the line ends with CRLF, expected LF' : 'the line holds a CR, expected LF line ends',
  }),
  ByteOrderMark: admission({
    severity: 'error',
    meaning: 'The text begins with a byte order mark (BOM). Tools of the host then miss the first certificate.',
    remedy: `Save it as ASCII or UTF-8 without BOM, or let \`node-trust secret FILE\` convert it; ${mendSecret}.`,
    message: ({ encoding }: { readonly encoding: 'UTF-8' | 'UTF-16' }) =>
      `a byte order mark of ${encoding} stands before the text`,
  }),
  DoubleBase64: admission({
    severity: 'error',
    meaning: 'The value is itself base64 of PEM. In a Secret, `data` is decoded once and `stringData` not at all.',
    remedy: `Put base64 of the PEM text once into \`data\`, or the PEM text itself into \`stringData\`; \`node-trust secret FILE\` does it; ${mendSecret}.`,
    message: ({ times }: { readonly times: number }) =>
      times === 1
        ? 'the value is base64 of PEM, expected the PEM text'
        : `the value is PEM encoded with base64 ${times} times, expected the PEM text`,
  }),
  DerEncoded: admission({
    severity: 'error',
    meaning: 'The value is binary DER. Trust stores read PEM.',
    remedy: `Convert it to PEM: \`node-trust secret FILE\` does it, of PKCS #7 too; ${mendSecret}; of PKCS #12 the CAs are printed by \`openssl pkcs12 -in FILE -nokeys -cacerts\`, without \`-cacerts\` if the CA has its key in there.`,
    message: ({ isCertificate }: { readonly isCertificate: boolean }) =>
      isCertificate
        ? 'the value is a certificate in DER, expected PEM'
        : 'the value begins like DER and is not one certificate (perhaps PKCS #7 or PKCS #12), expected PEM',
  }),
  MalformedPem: admission({
    severity: 'error',
    meaning: 'The lines that begin and end PEM blocks do not fit together, or a certificate block has PEM headers.',
    remedy: 'Mend the named line, or export the certificate again: `openssl x509 -in FILE -out FILE.pem`.',
    message: ({ fault }: { readonly fault: PemFault }) => describePemFault(fault),
  }),
  InvalidBase64: admission({
    severity: 'error',
    meaning: 'The body of a certificate block, or the value in a manifest, is not base64.',
    remedy: 'Copy the certificate again, whole and unchanged.',
    message: ({ fault }: { readonly fault: keyof typeof base64Faults }) => base64Faults[fault],
  }),
  PrivateKey: admission({
    severity: 'error',
    meaning: 'The entry holds a private key. Nothing of it is repeated, written to the host or logged.',
    remedy: 'Remove the key from the source, and replace key and certificate: others may have read it.',
    message: ({ evidence }: Evidence) => evidence,
  }),
  UnexpectedPemBlock: admission({
    severity: 'error',
    meaning: 'The entry holds a PEM block that is not a CERTIFICATE, such as TRUSTED CERTIFICATE or X509 CRL.',
    remedy:
      'Remove the block; a certificate under another label is exported anew by `openssl x509 -in FILE -out FILE.pem`, PKCS #7 by `node-trust secret FILE`.',
    message: ({ label }: { readonly label: string }) => `the block says ${label}, expected CERTIFICATE`,
  }),
  MalformedCertificate: admission({
    severity: 'error',
    meaning:
      'The block does not hold exactly one certificate in DER. One such block can make a whole store unloadable.',
    remedy: 'Export the certificate again, and look at it: `openssl x509 -in FILE -noout -text`.',
    message: ({ evidence }: Evidence) => `the block is not a certificate: ${evidence}`,
  }),
  NotCa: admission({
    severity: 'error',
    meaning: 'The certificate is not a CA: basicConstraints is missing or says CA:FALSE. Many stores drop it silently.',
    remedy: 'Use the certificate of the CA that issued it; where the store keeps such certificates, --allow-non-ca.',
    message: ({ subject }: Subject) => `not a CA, basicConstraints is missing or CA:FALSE ${inBrackets(subject)}`,
  }),
  NotForServerAuth: admission({
    severity: 'error',
    meaning: 'Its extended key usage excludes TLS servers: no registry can be verified with it, and stores drop it.',
    remedy: 'Use a CA certificate whose extended key usage is missing or includes serverAuth.',
    message: ({ subject }: Subject) => `extended key usage excludes serverAuth ${inBrackets(subject)}`,
  }),
  WeakSignature: admission({
    severity: 'warning',
    meaning: 'It was signed by another CA with a broken hash (MD5, SHA-1). Go and OpenSSL refuse such signatures.',
    remedy: 'Let its CA issue it anew with SHA-256.',
    message: ({ hash, subject }: Subject & { readonly hash: string }) => `signed with ${hash} ${inBrackets(subject)}`,
  }),
  WeakKey: admission({
    severity: 'warning',
    meaning: 'Its key is RSA below 2048 bits or on a curve below 256 bits. TLS clients may refuse it.',
    remedy: 'Replace the CA with one that has RSA 2048 or better, or P-256 or better.',
    message: ({ key, minimum, subject }: Subject & { readonly key: string; readonly minimum: number }) =>
      `${key}, expected at least ${minimum} bits ${inBrackets(subject)}`,
  }),
  UnsupportedKey: admission({
    severity: 'warning',
    meaning:
      'The key is of a kind that Go does not know, in which containerd and kubelet are written: they skip the certificate.',
    remedy: 'Use a CA with an RSA, Ed25519 or ECDSA key on P-256, P-384 or P-521.',
    message: ({ key, subject }: Subject & { readonly key: string }) =>
      `${key}, which containerd cannot verify anything with ${inBrackets(subject)}`,
  }),
  UnreadableForGo: admission({
    severity: 'warning',
    meaning:
      'Go cannot read the certificate, which OpenSSL can: containerd and kubelet, which are written in Go, skip it without a word.',
    remedy: 'Have the CA make its certificate anew without that; until then pulls that need it fail.',
    message: ({ fault, subject }: Subject & { readonly fault: string }) =>
      `containerd cannot read it and skips it: ${fault} ${inBrackets(subject)}`,
  }),
  Expired: admission({
    severity: 'warning',
    meaning: 'Its notAfter has passed. It stays installed: removing it would restart runtimes across the fleet.',
    remedy: 'Remove it or replace it.',
    message: ({ at, subject }: Dated) => `expired ${instant(at)} ${inBrackets(subject)}`,
  }),
  NotYetValid: admission({
    severity: 'warning',
    meaning: 'Its notBefore lies ahead; until then nothing verifies with it.',
    remedy: 'Wait, or look at the clock of the machine that issued it and of this one.',
    message: ({ at, subject }: Dated) => `not valid before ${instant(at)} ${inBrackets(subject)}`,
  }),
  ExpiresSoon: admission({
    severity: 'warning',
    meaning: 'It expires within 30 days.',
    remedy: 'Add its successor beside it now, and remove it when nothing uses it any more.',
    message: ({ at, subject }: Dated) => `expires ${instant(at)} ${inBrackets(subject)}`,
  }),
  NotSelfSigned: admission({
    severity: 'warning',
    meaning: 'An intermediate used as an anchor: it was not signed with its own key. Some clients want the root.',
    remedy: 'Add the root that issued it, unless the intermediate alone is meant to be trusted.',
    message: ({ issuer, subject }: Subject & { readonly issuer: string }) =>
      `not self-signed, issued by ${issuer === '' ? 'an empty name' : issuer} ${inBrackets(subject)}`,
  }),
  Duplicate: admission({
    severity: 'warning',
    meaning: 'The same certificate stands in the source twice. It is counted and installed once.',
    remedy: 'Remove one of the two.',
    message: ({ entry, certificate, subject }: Subject & { readonly entry: string; readonly certificate: number }) =>
      `the same as entry ${JSON.stringify(entry)}, certificate ${certificate} ${inBrackets(subject)}`,
  }),
} as const;

type Code = keyof typeof admissionReasons;
type Args = { readonly [C in Code]: Parameters<(typeof admissionReasons)[C]['message']>[0] };

const reasons: { readonly [C in Code]: Reason<Args[C]> } = admissionReasons;

/** A case of a reason, told. */
export interface Explained<C extends Code = Code> {
  readonly code: C;
  readonly severity: Severity;
  readonly message: string;
  readonly remedy: string;
}

export function explain<C extends Code>(code: C, args: Args[C]): Explained<C> {
  const { severity, message, remedy } = reasons[code];
  return { code, severity, message: printable(message(args)), remedy };
}

const boundaryFaults = {
  indented: 'blanks stand before the -----BEGIN or -----END of the line',
  joined: 'END and BEGIN stand on one line: a file without a final line break was joined with the next',
  'one-line': 'several BEGIN or END stand on one line: the line breaks were lost',
  form: 'a BEGIN or END line has exactly five dashes on both sides and one blank before its label',
  'lower-case': 'BEGIN, END and the label must be in upper case',
  'text-before': 'text stands before the -----BEGIN or -----END of the line',
  'text-behind': 'text stands behind the five dashes that end a BEGIN or END line',
};

function describePemFault(fault: PemFault): string {
  switch (fault.kind) {
    case 'unclosed': {
      const where = fault.nextLine === undefined ? '' : ` before the next BEGIN on line ${fault.nextLine}`;
      return `BEGIN of ${fault.label} without its END${where}`;
    }
    case 'unopened':
      return `END of ${fault.label} without a BEGIN`;
    case 'mismatched':
      return `BEGIN of ${fault.label} ends with END of ${fault.endLabel} on line ${fault.endLine}`;
    case 'headers':
      return `PEM headers in a certificate block (line ${fault.headerLine}), expected base64 alone`;
    default:
      return boundaryFaults[fault.kind];
  }
}

const inBrackets = (subject: string): string => `(${subject === '' ? 'empty subject' : subject})`;

const instant = (date: Date): string => date.toISOString().replace('.000Z', 'Z');

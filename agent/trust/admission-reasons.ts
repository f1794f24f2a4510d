// The reasons of admission: what can be wrong with an entry, a PEM block or a certificate (RFC 7468, RFC 5280).
// Their wording never repeats bytes of the input: it may hold a private key.

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

const admission = <Args>(reason: Reason<Args>): Reason<Args> => reason;

export const admissionReasons = {
  NoCertificate: admission({
    severity: 'error',
    meaning: 'The entry holds no certificate block.',
    remedy: 'Put a PEM certificate (-----BEGIN CERTIFICATE-----) into the entry, or remove the entry.',
    message: ({ evidence }: { readonly evidence: string }) => evidence,
  }),
} as const;

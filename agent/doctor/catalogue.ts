// What the doctor looks at, in the order of the chain from a name to a running runtime, and everything that it can find broken
// there: once, for the terminal, for --json and for docs/doctor.md. Names and codes are stable: they are part of the interface.

import { nodeDiagnoses } from './node-diagnoses.ts';
import { serverDiagnoses } from './server-diagnoses.ts';

export const checks = {
  dns: 'The name of the server, or of the proxy in between, has an address.',
  tcp: 'The server, or the proxy in between, takes a connection.',
  proxy: "The runtime's unit goes through the same proxy as the shell that asks.",
  tls: 'The server speaks TLS.',
  clock: "The node's clock agrees with the server's, as far as certificates go.",
  chain:
    'What the server sends leads from its certificate to a root as Go wants it: dates, name, signatures, intermediates.',
  issuer: 'The issuer is the one to be expected, and not a proxy that inspects TLS.',
  secret: 'The root is in the Secret, or in a file of the machine.',
  admitted: 'The source that holds the root passes admission.',
  anchor: 'The root lies on the host as an anchor of its trust store.',
  bundle: "The root is in the host's effective bundle.",
  links: 'The root is found by its hash link, as OpenSSL looks for it in a folder.',
  runtime: 'The running process of the container runtime has loaded the store as it is.',
  environment: 'Neither SSL_CERT_FILE nor SSL_CERT_DIR leads the runtime to another store.',
  'certs.d': "containerd's own folder for this registry, or a foreign `_default`, changes nothing.",
  'skip-verify': 'Nothing tells the runtime not to verify this registry.',
  config: '`mirrors` and `config_path` do not stand together in config.toml.',
  registries: 'The registries.yaml of k3s or rke2 changes nothing for this registry.',
  token: 'The server that a 401 sends to for a token passes the same checks.',
  pod: 'The node, and not a container on it, is what the error comes from.',
} as const;

export type CheckName = keyof typeof checks;

export interface Diagnosis {
  readonly check: CheckName;
  readonly severity: 'fail' | 'warn';
  readonly meaning: string;
  readonly remedy: string;
  /** What to type next. Names in braces are filled in. */
  readonly command: string;
}

export const diagnoses = { ...serverDiagnoses, ...nodeDiagnoses };

export type DiagnosisCode = keyof typeof diagnoses;

type NamesIn<Text extends string> = Text extends `${string}{${infer Name}}${infer Rest}` ? Name | NamesIn<Rest> : never;
/** What fills the braces of a diagnosis. */
export type Values<Code extends DiagnosisCode> = Readonly<
  Record<NamesIn<(typeof diagnoses)[Code]['command'] | (typeof diagnoses)[Code]['remedy']>, string>
>;

export function fillIn(text: string, values: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\{(\w+)\}/g, (braces, name: string) => values[name] ?? braces);
}

/** Some values are a server's words: in a shell, none of them is more than one word. */
export function quote(value: string): string {
  return /^[\w@%+=:,./-]+$/.test(value) ? value : `'${value.replaceAll("'", String.raw`'\''`)}'`;
}

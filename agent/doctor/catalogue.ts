// What the doctor looks at, in the order of the chain from a name to a running runtime, and everything that it can find broken
// there: once, for the terminal, for --json and for docs/doctor.md. Names and codes are stable: they are part of the interface.

import { nodeDiagnoses } from './node-diagnoses.ts';
import { serverDiagnoses } from './server-diagnoses.ts';

export const checks = {
  dns: {
    meaning: 'The name of the server, or of the proxy in between, has an address.',
    evidence: "The answer of the node's resolver.",
  },
  tcp: {
    meaning: 'The server, or the proxy in between, takes a connection.',
    evidence: 'The address that was tried, and what it said.',
  },
  proxy: {
    meaning: "The runtime's unit goes through the same proxy as the shell that asks.",
    evidence: "The variables of the unit with the files that set them, and the shell's; never a password.",
  },
  tls: {
    meaning: 'The server speaks TLS, and wants no client certificate that the runtime lacks.',
    evidence: 'The handshake, the answer in plain HTTP, or what the server says of client certificates.',
  },
  clock: {
    meaning: "The node's clock agrees with the server's, as far as certificates go.",
    evidence: "The node's clock, and the Date header of the server's answer.",
  },
  chain: {
    meaning:
      'What the server sends leads from its certificate to a root as Go wants it: dates, name, signatures, intermediates.',
    evidence: 'Each certificate as it was sent, in that order.',
  },
  issuer: {
    meaning: 'The issuer is the one to be expected, and not a proxy that inspects TLS.',
    evidence: "Names of such proxies' CAs, public registries, what is seen without the proxy, the CA in `certs.d`.",
  },
  secret: {
    meaning: "The root is in the Secret, or in the machine's own file.",
    evidence: 'What the Secret holds, by name; never a byte of it.',
  },
  admitted: {
    meaning: 'The source that holds the root passes admission.',
    evidence: 'The findings, and what the agent has written on its Node.',
  },
  anchor: {
    meaning: 'The root lies on the host as an anchor of its trust store.',
    evidence: 'The anchors, and what the agent has written on its Node.',
  },
  bundle: {
    meaning: "The root is in the host's effective bundle, and Go can read it.",
    evidence: 'The bundle, read as OpenSSL reads it.',
  },
  links: {
    meaning: 'The root is found by its hash link, as OpenSSL looks for it in a folder.',
    evidence: 'The links of the store.',
  },
  runtime: {
    meaning: 'The running process of the container runtime has loaded the store as it is.',
    evidence: "The unit's InvocationID and start, against what the agent has recorded about rebuilds and restarts.",
  },
  environment: {
    meaning: "Neither SSL_CERT_FILE nor SSL_CERT_DIR leads the runtime to a store other than the host's.",
    evidence: 'The unit, its drop-ins and its environment files.',
  },
  'certs.d': {
    meaning: "containerd's own folder for this registry, or `_default`, does not stand in the way.",
    evidence: 'hosts.toml, its CA files, and the `*.crt` of a folder without one.',
  },
  'skip-verify': {
    meaning: 'Nothing tells the runtime not to verify this registry.',
    evidence: '`skip_verify` and `insecure_skip_verify` in hosts.toml, config.toml and registries.yaml.',
  },
  config: {
    meaning: '`mirrors` and `config_path` do not stand together in config.toml.',
    evidence: 'config.toml and what it imports.',
  },
  registries: {
    meaning: 'The registries.yaml of k3s or rke2 does not stand in the way.',
    evidence: "The registry's endpoints and TLS in that file.",
  },
  token: {
    meaning: 'The server to which a 401 sends for a token passes the same checks.',
    evidence: 'Its `realm`, and the chain that is sent there.',
  },
  pod: {
    meaning: 'Whether a container, and not the node, is what lacks the root.',
    evidence: 'All checks above: where none fails, the node trusts the server.',
  },
} as const satisfies Readonly<Record<string, { readonly meaning: string; readonly evidence: string }>>;

export type CheckName = keyof typeof checks;

export interface Diagnosis {
  readonly check: CheckName;
  readonly severity: 'fail' | 'warn';
  readonly meaning: string;
  readonly remedy: string;
  /** What to type next. Names in braces are filled in. Without a Secret to merge with, into-secret.ts has another. */
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

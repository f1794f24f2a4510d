// The catalogue of reasons: everything this software can say about what went wrong, once.
// Logs, annotations, events, metrics, `validate` and docs/reasons.md all render these entries, so a code, its
// severity and its remedy mean the same wherever they are read. Codes are stable: they are part of the interface.

import { admissionReasons, type Reason } from './admission-reasons.ts';
import { fleetReasons } from './fleet-reasons.ts';
import { printable } from './printable.ts';

/** When the next try makes sense: after a back-off; when bundle, host or retry annotation change; when the source changes. */
export type Retry = 'transient' | 'content' | 'source';

interface OperationalReason<Args> extends Reason<Args> {
  readonly retry: Retry;
}

const operational = <Args>(reason: OperationalReason<Args>): OperationalReason<Args> => reason;

interface SourceArgs {
  readonly source: string;
}
interface Evidence {
  readonly evidence: string;
}
interface ToolArgs extends Evidence {
  readonly tool: string;
}
interface UnitArgs extends Evidence {
  readonly unit: string;
}
interface PathArgs {
  readonly path: string;
}

/** What a person on call pastes, with the Node's name. */
const retryCommand = '`kubectl annotate node NODE node-trust-agent/retry="$(date +%s)" --overwrite`';

export const operationalReasons = {
  SourceEmpty: operational({
    severity: 'error',
    retry: 'source',
    meaning: 'The source exists and holds no data. After the deletion grace its certificates are taken off the host.',
    remedy: 'Add at least one PEM certificate, or delete the source if its trust is no longer wanted.',
    message: ({ source }: SourceArgs) => `${source} holds no data`,
  }),
  SourceWrongType: operational({
    severity: 'error',
    retry: 'source',
    meaning: 'The Secret has a type other than Opaque. Its data, which may hold a private key, is not looked at.',
    remedy: 'Recreate it with `kubectl create secret generic`, holding nothing but CA certificates.',
    message: ({ source, type }: SourceArgs & { readonly type: string }) =>
      `${source} has the type ${type}, expected Opaque`,
  }),
  SourceForbidden: operational({
    severity: 'error',
    retry: 'transient',
    meaning: 'The API server refuses to let the agent read the source. The host stays as it is.',
    remedy: "Grant the agent's ServiceAccount get, list and watch on this one Secret (Role with resourceNames).",
    message: ({ source, evidence }: SourceArgs & Evidence) => `${source} may not be read: ${evidence}`,
  }),
  SourceUnavailable: operational({
    severity: 'error',
    retry: 'transient',
    meaning:
      'The source could not be read: the API server is unreachable or answers with an error, or the file is none that can be read. The host stays as it is.',
    remedy: 'Mend what the message names: the connection to the API server, or the file; the agent goes on by itself.',
    message: ({ source, evidence }: SourceArgs & Evidence) => `${source} could not be read: ${evidence}`,
  }),
  SourceDeleted: operational({
    severity: 'warning',
    retry: 'source',
    meaning: 'The source was deleted. Its certificates are taken off the host when the deletion grace ends.',
    remedy: 'Recreate the source before then to keep the trust; do nothing to let it go.',
    message: ({ source, until }: SourceArgs & { readonly until: string }) =>
      `${source} is gone; its certificates leave this host at ${until}`,
  }),
  UnsupportedDistribution: operational({
    severity: 'error',
    retry: 'transient',
    meaning: 'The host runs a distribution whose trust store the agent does not know.',
    remedy: 'Keep the agent off this node pool, or use the way to add CAs that the distribution documents.',
    message: ({ evidence }: Evidence) => `no trust store is known for this host: ${evidence}`,
  }),
  NoServiceManager: operational({
    severity: 'error',
    retry: 'transient',
    meaning: 'The host is not run by systemd, so the container runtime cannot be asked or restarted.',
    remedy: 'Run the agent on a host booted with systemd, with the host root mounted and hostPID: true.',
    message: ({ evidence }: Evidence) => `no service manager on this host: ${evidence}`,
  }),
  RuntimeNotFound: operational({
    severity: 'error',
    retry: 'transient',
    meaning: 'No container runtime that the agent knows is installed as a unit of the service manager.',
    remedy: 'Install containerd with its containerd.service, or keep the agent off this node pool.',
    message: ({ evidence }: Evidence) => `no known container runtime on this host: ${evidence}`,
  }),
  RuntimeUnknown: operational({
    severity: 'error',
    retry: 'transient',
    meaning:
      'It could not be found out which process of the container runtime is running, so nothing is claimed about it.',
    remedy: 'Look at `systemctl status` of the unit; the next pass goes on once the unit is active.',
    message: ({ unit, evidence }: UnitArgs) => `${unit}: ${evidence}`,
  }),
  AnchorsReadOnly: operational({
    severity: 'error',
    retry: 'transient',
    meaning: "The host's folders for local certificates or for the agent's state cannot be written.",
    remedy: 'Run as root, and make the folder writable on the host; a read-only /usr needs a writable mount there.',
    message: ({ path, evidence }: PathArgs & Evidence) => `${path} cannot be written: ${evidence}`,
  }),
  DiskFull: operational({
    severity: 'error',
    retry: 'transient',
    meaning: 'The disk of the host is full. What was trusted before is still trusted.',
    remedy: 'Free space or inodes on the file system of this path.',
    message: ({ path }: PathArgs) => `no space left on the device while writing ${path}`,
  }),
  ToolMissing: operational({
    severity: 'error',
    retry: 'transient',
    meaning: 'A program of the distribution that the trust store needs is not installed on the host.',
    remedy: 'Install the package that holds it: ca-certificates and openssl.',
    message: ({ tool, evidence }: ToolArgs) => `${tool} could not be started: ${evidence}`,
  }),
  ToolFailed: operational({
    severity: 'error',
    retry: 'transient',
    meaning: 'A program of the distribution ended with an error.',
    remedy: 'Run it by hand on the host and mend what it complains about.',
    message: ({ tool, evidence }: ToolArgs) => `${tool} failed: ${evidence}`,
  }),
  ToolTimedOut: operational({
    severity: 'error',
    retry: 'transient',
    meaning: 'A program of the distribution did not end in time and was killed.',
    remedy: 'Look for another run of it that hangs, or for a slow disk, on the host.',
    message: ({ tool, evidence }: ToolArgs) => `${tool} ${evidence}`,
  }),
  StoreBrokenBefore: operational({
    severity: 'error',
    retry: 'transient',
    meaning:
      "The host's bundle holds a block that does not parse, and not one of ours: OpenSSL loads nothing of it. Nothing was changed.",
    remedy: 'Mend or remove the named file, then run `update-ca-certificates` on the host.',
    message: ({ path, evidence }: PathArgs & Evidence) => `${path} was broken before us: ${evidence}`,
  }),
  StoreIncomplete: operational({
    severity: 'error',
    retry: 'content',
    meaning: 'The rebuilt store lacks a certificate that must be in it.',
    remedy: `Look at the named certificate and at the tool's output. To try again: ${retryCommand}.`,
    message: ({ path, evidence }: PathArgs & Evidence) => `${path} is incomplete: ${evidence}`,
  }),
  StillTrusted: operational({
    severity: 'warning',
    retry: 'content',
    meaning: "A certificate that was taken away is still trusted, since somebody else's file holds it, too.",
    remedy:
      'Remove the named file if nobody else wants it, then run `update-ca-certificates` on the host; the agent then restarts the runtime. Where no agent runs, restart the runtime by hand.',
    message: ({ fingerprint, path }: PathArgs & { readonly fingerprint: string }) =>
      `the certificate ${fingerprint} was taken away and is still trusted through ${path}`,
  }),
  TrustedTwice: operational({
    severity: 'warning',
    retry: 'content',
    meaning:
      "A certificate of ours also lies there from AKS's retired preview, and stays trusted through that when it is withdrawn.",
    remedy: 'Follow docs/migrating-from-aks.md to remove what the preview has left.',
    message: ({ fingerprint, path }: PathArgs & { readonly fingerprint: string }) =>
      `the certificate ${fingerprint} is trusted through ${path}, too`,
  }),
  StoreUnreadable: operational({
    severity: 'error',
    retry: 'transient',
    meaning: 'A file of the store could not be read, so nothing is claimed about it.',
    remedy: 'Look at the named path on the host: its links, its file type and its permissions.',
    message: ({ path, evidence }: PathArgs & Evidence) => `${path} could not be read: ${evidence}`,
  }),
  RuntimeUnhealthy: operational({
    severity: 'error',
    retry: 'content',
    meaning: 'The container runtime, or the kubelet with it, is not healthy after its restart.',
    remedy: `Look at \`journalctl -u\` of the unit. To try again: ${retryCommand}.`,
    message: ({ unit, evidence }: UnitArgs) => `${unit} did not come back: ${evidence}`,
  }),
  RolledBack: operational({
    severity: 'error',
    retry: 'content',
    meaning:
      'Certificates that were added could not be brought into use and were taken away again. Those trusted before stay, and what left the source stays gone.',
    remedy: `Mend what the message names, or take what was added out of the source. To try again at once: ${retryCommand}.`,
    message: ({ added, evidence, isHeld }: { readonly added: string; readonly isHeld: boolean } & Evidence) =>
      `what was added (${added}) was taken away again, since ${evidence}; it is ${isHeld ? 'not tried' : 'tried'} again by itself`,
  }),
  RollbackFailed: operational({
    severity: 'error',
    retry: 'content',
    meaning:
      'Certificates that were added could not be brought into use, and taking them away again failed, too. They may still be in the store, and the runtime may be down; containers that run go on.',
    remedy: `Look first whether the runtime runs, with \`systemctl status\` of its unit on the node, and mend what the message names. To try again: ${retryCommand}.`,
    message: ({ cause, evidence }: { readonly cause: string } & Evidence) =>
      `${cause}; and what was added could not be taken away again: ${evidence}`,
  }),
  RestartDeferred: operational({
    severity: 'warning',
    retry: 'transient',
    meaning:
      'The store is up to date; the runtime will be restarted at the time given: not the whole fleet at once, and not often. Until then it trusts what it has loaded, what was withdrawn since among it.',
    remedy:
      'Wait, or restart the runtime on this node by hand, with `systemctl restart` of its unit: containers go on.',
    message: ({ unit, until }: { readonly unit: string; readonly until: string }) =>
      `${unit} will be restarted at ${until}, and trusts until then what it has loaded`,
  }),
  DriftRepaired: operational({
    severity: 'warning',
    retry: 'transient',
    meaning:
      'Somebody else had changed what is ours on this host, or rebuilt the store without it; it is as it was again.',
    remedy: 'Find out who did it: configuration management, a script of a package, a person.',
    message: ({ path, seen }: PathArgs & { readonly seen: string }) => `${path} was repaired: ${seen}`,
  }),
  DriftFight: operational({
    severity: 'error',
    retry: 'transient',
    meaning:
      'The same path had to be repaired five times within ten minutes. It is left alone until the time given, and the runtime is not restarted.',
    remedy:
      'Stop whoever changes it: configuration management most often, or a job that writes this file or runs `update-ca-certificates`. Where it is the anchor of one certificate, to take that out of the source ends it, too.',
    message: ({ path, seen, until }: PathArgs & { readonly seen: string; readonly until: string }) =>
      `${path} is changed by somebody else again and again (${seen}); it is left alone until ${until}`,
  }),
  NodeNotEnabled: operational({
    severity: 'warning',
    retry: 'transient',
    meaning:
      'The Node does not carry the label of the pool, and this agent did not see it leave the pool: what is there stays.',
    remedy: 'Label the Node to go on, or run `node-trust remove` on it to take the certificates away.',
    message: ({ certificates }: { readonly certificates: string }) =>
      `this Node is not known to be enabled, so ${certificates} of ours on it can be neither added to nor taken away`,
  }),
  HostLocked: operational({
    severity: 'error',
    retry: 'transient',
    meaning: 'Another node-trust-agent works on this host.',
    remedy:
      'Stop the other one (`ps -fp PID` on the host tells who it is), or let it do the work; the lock of a dead one is taken over.',
    message: ({ evidence }: Evidence) => `another agent holds this host: ${evidence}`,
  }),
  StateTooNew: operational({
    severity: 'error',
    retry: 'transient',
    meaning: 'The state on the host was written by a newer agent. This one leaves everything as it is.',
    remedy: 'Run the newer version of the agent on this node.',
    message: ({ path, found, known }: PathArgs & { readonly found: string; readonly known: number }) =>
      `${path} has schema version ${found}, this agent knows ${known}`,
  }),
} as const;

export const catalogue = { ...admissionReasons, ...operationalReasons, ...fleetReasons };

export type AdmissionCode = keyof typeof admissionReasons;
export type OperationalCode = keyof typeof operationalReasons;
/** What an agent can say; of a fleet speaks `status`. */
export type ReasonCode = AdmissionCode | OperationalCode;
export type ReasonArgs<C extends ReasonCode> = Parameters<(typeof catalogue)[C]['message']>[0];

const told: { readonly [C in OperationalCode]: OperationalReason<ReasonArgs<C>> } = operationalReasons;

/** A case of an operational reason, told. */
export function explainOperational<C extends OperationalCode>(code: C, args: ReasonArgs<C>) {
  const { severity, retry, message, remedy } = told[code];
  return { code, severity, retry, message: printable(message(args)), remedy } as const;
}

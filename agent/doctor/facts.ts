// What the probes have found out, as data: all that a diagnosis rests on. What could not be found out is a case of its own, with
// why, and never taken for good.

import type { X509Certificate } from 'node:crypto';
import type { Observation, RuntimeFacts } from '../trust/observation.ts';
import type { SourceSnapshot } from '../trust/source.ts';
import type { RegistrySettings } from './registry-settings.ts';
import type { Server, Target } from './target.ts';
import type { Variable } from './unit-environment.ts';

export type Known<T> =
  | { readonly kind: 'known'; readonly value: T }
  | { readonly kind: 'unknown'; readonly why: string };

export interface Facts {
  readonly target: Target;
  /** By the clock of whoever runs the doctor: on a node, the node's. */
  readonly now: Date;
  readonly endpoint: EndpointFacts;
  /** The same without the runtime's proxy, where there is one. */
  readonly direct: EndpointFacts | undefined;
  /** The server that a 401 names; undefined where none does. */
  readonly token: { readonly realm: string; readonly endpoint: EndpointFacts } | undefined;
  /** The environment to compare the unit's with, and whose it is. */
  readonly shell: { readonly name: string; readonly variables: ReadonlyMap<string, string> };
  readonly host: Known<HostFacts>;
  readonly secret: Known<SourceSnapshot>;
  /** The annotations of the Node. */
  readonly node: Known<ReadonlyMap<string, string>>;
  /** Its name; undefined where nobody has said it. */
  readonly nodeName: string | undefined;
  /** PEM of the roots that browsers trust, as Node.js brings them: to tell a public issuer from a private one. */
  readonly publicRoots: readonly string[];
  /** For people: `secret kube-system/custom-ca-trust-secret`. */
  readonly secretName: string;
  readonly admission: { readonly maxCertificates: number; readonly allowNonCa: boolean };
}

/** Stages on the way to an answer; the first that fails is where it ended. */
export interface EndpointFacts {
  readonly server: Server;
  /** The proxy in between, without its password. */
  readonly proxy: string | undefined;
  readonly dns:
    | { readonly kind: 'resolved'; readonly name: string; readonly addresses: readonly string[] }
    | { readonly kind: 'needless'; readonly why: string }
    | { readonly kind: 'failed'; readonly name: string; readonly evidence: string };
  readonly tcp:
    | { readonly kind: 'connected'; readonly address: string }
    | { readonly kind: 'refused' | 'failed' | 'proxy-refused'; readonly address: string; readonly evidence: string }
    | NotReached;
  readonly tls:
    | { readonly kind: 'chain'; readonly protocol: string; readonly sent: readonly X509Certificate[] }
    /** `tls-wanted` is what was asked in plain HTTP, and speaks TLS alone. */
    | { readonly kind: 'plain-http' | 'tls-wanted' | 'failed'; readonly evidence: string }
    | NotReached;
  readonly http:
    | {
        readonly kind: 'answer';
        readonly status: number;
        readonly date: Date | undefined;
        /** Every WWW-Authenticate of the answer. */
        readonly challenges: readonly string[];
      }
    /** `client-wanted` is who ends the connection because no client certificate was sent: with TLS 1.3 after the handshake. */
    | { readonly kind: 'failed' | 'client-wanted'; readonly evidence: string }
    | NotReached;
}

export interface NotReached {
  readonly kind: 'not-reached';
}

export interface HostFacts {
  /** For people: the bundle's path and how the distribution was recognized; or why it is not known. */
  readonly store: string;
  /** All that a program of the host loads, with where it is from, first found first. */
  readonly roots: readonly HostRootCertificate[];
  /** A block of the bundle that does not load. */
  readonly broken: string | undefined;
  /** What a pass sees; unknown on a distribution that is not. */
  readonly observed: Known<Observation>;
  /** Who is known to hold a certificate by a file that goes into the bundle. */
  readonly holders: ReadonlyMap<string, string>;
  /** Our anchors that were taken away: 16 digits of the fingerprint. */
  readonly withdrawn: readonly string[];
  /** The machine's own file beside the Secret. */
  readonly local: { readonly name: string; readonly snapshot: SourceSnapshot };
  readonly unit: Known<UnitFacts>;
  /** Whether an agent would restart it, and why not. */
  readonly runtime: RuntimeFacts;
  readonly registry: RegistrySettings;
}

export interface HostRootCertificate {
  readonly certificate: X509Certificate;
  readonly path: string;
}

export interface UnitFacts {
  readonly unit: string;
  readonly variables: ReadonlyMap<string, Variable>;
  /** When its process was started, by systemd. */
  readonly startedAt: Date | undefined;
  /** When the bundle was written last. */
  readonly storeWrittenAt: Date | undefined;
  /** What SSL_CERT_FILE and SSL_CERT_DIR lead to, where one of them is set. */
  readonly ownRoots: readonly HostRootCertificate[] | undefined;
}

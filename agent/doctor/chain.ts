// What a chain that a server has sent is worth, judged as Go's verifier judges it, which containerd and kubelet use: the first
// certificate is the server's; the others are taken in any order; every certificate of a path, the root too, must be valid at
// the time; the name must stand in subjectAltName. https://pkg.go.dev/crypto/x509#Certificate.Verify

import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { parseCertificate } from '../trust/certificate.ts';
import { datesOf, findGoFault, nameOf } from './certificate-text.ts';
import { isInspector } from './issuers.ts';

export type Role = 'leaf' | 'intermediate' | 'root';

export type ChainFault =
  | { readonly kind: 'expired' | 'not-yet-valid'; readonly role: Role; readonly certificate: X509Certificate }
  /** `names` is undefined where there is no subjectAltName. */
  | { readonly kind: 'name-mismatch'; readonly names: string | undefined }
  /** Go ends the handshake over it, wherever in the chain it stands. */
  | { readonly kind: 'unreadable'; readonly certificate: X509Certificate; readonly why: string }
  | { readonly kind: 'not-for-servers'; readonly certificate: X509Certificate }
  | { readonly kind: 'insecure-signature'; readonly certificate: X509Certificate; readonly hash: string }
  | { readonly kind: 'self-signed-leaf' }
  | { readonly kind: 'intermediate-missing'; readonly issuer: string; readonly source: string | undefined };

export interface ChainJudgement {
  /** From the leaf upwards, as far as signatures lead. */
  readonly path: readonly X509Certificate[];
  /** Its last certificate, where that is a root that somebody here knows. */
  readonly root: X509Certificate | undefined;
  /** The first is the one to tell. */
  readonly faults: readonly ChainFault[];
  /** Each certificate certifies the one before it (RFC 8446, 4.4.2); nobody but old clients minds. */
  readonly inOrder: boolean;
}

/** `known` are roots that somebody here trusts or shall trust. */
export function judgeChain(
  sent: readonly X509Certificate[],
  known: readonly X509Certificate[],
  host: string,
  at: Date,
): ChainJudgement {
  const paths = findPaths(sent, known);
  const timely = (path: Path): boolean => judgeDates(path, at).length === 0;
  const best = paths.find(timely) ?? paths[0] ?? { certificates: longestPath(sent), isComplete: false };
  const { certificates: path, isComplete } = best;
  const root = isComplete ? path.at(-1) : undefined;
  return {
    path,
    root,
    faults: [
      ...judgeReading(sent, root),
      ...judgeDates(best, at),
      ...judgeName(sent[0], host),
      ...judgeSignatures(best),
      ...(isComplete ? [] : judgeGap(path)),
    ],
    inOrder: isInOrder(sent),
  };
}

/** The server's own fault, because of which its chain leads nowhere. */
export function isGap({ kind }: ChainFault): boolean {
  return kind === 'self-signed-leaf' || kind === 'intermediate-missing';
}

/** The name of whoever is missing at the end of a path; the last certificate's own where that signed itself. */
export function issuerOf(path: readonly X509Certificate[]): string {
  return path.length === 0 ? '' : nameOf(path.at(-1)?.issuer);
}

export function isSelfSigned(certificate: X509Certificate): boolean {
  return certificate.subject === certificate.issuer && isSignedBy(certificate, certificate);
}

interface Path {
  readonly certificates: readonly X509Certificate[];
  readonly isComplete: boolean;
}

const maxPathLength = 8;
const maxPaths = 16;
/** Of one search, as for Go (maxChainSignatureChecks): CAs of one name and key certify each other in n! orders. */
const maxSignatureChecks = 100;

/** All paths to a known root that the search meets; a leaf that is known itself is one, as it is for Go. */
function findPaths(sent: readonly X509Certificate[], known: readonly X509Certificate[]): readonly Path[] {
  const [leaf, ...rest] = sent;
  const roots = Map.groupBy(known, ({ subject }) => subject);
  const prints = new Set(known.map(({ fingerprint256 }) => fingerprint256));
  const found: Path[] = [];
  let checks = 0;
  const isBelow = (one: X509Certificate, issuer: X509Certificate): boolean =>
    one.issuer === issuer.subject && checks++ < maxSignatureChecks && isSignedBy(one, issuer);
  const climb = (path: readonly X509Certificate[]): void => {
    const top = path.at(-1);
    if (top === undefined || found.length >= maxPaths || path.length > maxPathLength) return;
    if (prints.has(top.fingerprint256)) {
      found.push({ certificates: path, isComplete: true });
      return;
    }
    const isNew = (one: X509Certificate): boolean => path.every((other) => !isSame(one, other));
    const issuers = [...(roots.get(top.issuer) ?? []), ...rest.filter(({ ca }) => ca)];
    for (const issuer of issuers) if (isNew(issuer) && isBelow(top, issuer)) climb([...path, issuer]);
  };
  if (leaf !== undefined) climb([leaf]);
  return found;
}

function longestPath([leaf, ...rest]: readonly X509Certificate[]): readonly X509Certificate[] {
  const path = leaf === undefined ? [] : [leaf];
  for (let top = leaf; top !== undefined && path.length < maxPathLength; ) {
    const current = top;
    top = rest.find((one) => path.every((other) => !isSame(one, other)) && isIssuedBy(current, one));
    if (top !== undefined) path.push(top);
  }
  return path;
}

function isInOrder(sent: readonly X509Certificate[]): boolean {
  return sent.every((one, index) => {
    const before = sent[index - 1];
    return before === undefined || isIssuedBy(before, one);
  });
}

/** A root that is unreadable is told of the store, whether the server sends it or not. */
function judgeReading(sent: readonly X509Certificate[], root: X509Certificate | undefined): readonly ChainFault[] {
  return sent.flatMap((certificate): readonly ChainFault[] => {
    const why = root !== undefined && isSame(certificate, root) ? undefined : findGoFault(certificate);
    return why === undefined ? [] : [{ kind: 'unreadable', certificate, why }];
  });
}

function judgeDates({ certificates, isComplete }: Path, at: Date): readonly ChainFault[] {
  return certificates.flatMap((certificate, index): readonly ChainFault[] => {
    const { notBefore = at, notAfter = at } = datesOf(certificate);
    const isExpired = at > notAfter;
    if (!isExpired && at >= notBefore) return [];
    const isRoot = (isComplete && index === certificates.length - 1) || isSelfSigned(certificate);
    const role = index === 0 ? 'leaf' : isRoot ? 'root' : 'intermediate';
    return [{ kind: isExpired ? 'expired' : 'not-yet-valid', role, certificate }];
  });
}

function judgeName(leaf: X509Certificate | undefined, host: string): readonly ChainFault[] {
  if (leaf === undefined) return [];
  const matches =
    isIP(host) === 0 ? leaf.checkHost(host, { subject: 'never', partialWildcards: false }) : leaf.checkIP(host);
  return matches === undefined ? [{ kind: 'name-mismatch', names: leaf.subjectAltName }] : [];
}

/** What Go refuses and OpenSSL may not: any certificate of the path for other uses, and SHA-1 or MD5 below the root. */
function judgeSignatures({ certificates, isComplete }: Path): readonly ChainFault[] {
  const signed = isComplete ? certificates.slice(0, -1) : certificates;
  const weak = signed.flatMap((certificate): readonly ChainFault[] => {
    const parsed = parseCertificate(certificate.raw);
    const hash = parsed.kind === 'certificate' ? parsed.certificate.signatureHash : 'other';
    return hash === 'other' || isSelfSigned(certificate) ? [] : [{ kind: 'insecure-signature', certificate, hash }];
  });
  const certificate = certificates.find((one) => !isForServers(one));
  return certificate === undefined ? weak : [{ kind: 'not-for-servers', certificate }, ...weak];
}

function isForServers({ keyUsage }: X509Certificate): boolean {
  const usages = keyUsage as readonly string[] | undefined; // the extended ones (node:crypto)
  return usages === undefined || usages.includes(serverAuth) || usages.includes(anyUsage);
}

const serverAuth = '1.3.6.1.5.5.7.3.1';
const anyUsage = '2.5.29.37.0';

/** What ends at nobody that is known: the server's own fault, or a root that is not trusted, which is none of the chain's. */
function judgeGap(path: readonly X509Certificate[]): readonly ChainFault[] {
  const [leaf] = path;
  if (leaf === undefined || path.length > 1) return [];
  if (isSelfSigned(leaf)) return [{ kind: 'self-signed-leaf' }];
  const source = /CA Issuers - URI:(\S+)/.exec(leaf.infoAccess ?? '')?.[1];
  const issuer = nameOf(leaf.issuer);
  const hasSuchName = intermediateName.test(issuer) && !/\broot\b/i.test(issuer);
  const isIntermediate = (source !== undefined || hasSuchName) && !isInspector(issuer);
  return isIntermediate ? [{ kind: 'intermediate-missing', issuer, source }] : [];
}

/** A leaf alone does not tell whether its issuer is a root. One says where its issuer can be fetched, or has such a name. */
const intermediateName =
  /\b(?:inter(?:mediate)?|issuing|issuer|sub(?:ordinate)?(?:[ -]?ca)?|(?:tls|ssl|server|policy)[ -]ca)\b/i;

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.issuer === issuer.subject && isSignedBy(certificate, issuer);
}

function isSignedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.verify(issuer.publicKey);
  } catch {
    return false; // a key of a kind that OpenSSL does not know
  }
}

const isSame = (one: X509Certificate, other: X509Certificate): boolean => one.fingerprint256 === other.fingerprint256;

// What follows from the facts for more than one check: which root the chain needs, and who holds it.

import { X509Certificate } from 'node:crypto';
import { type Admission, admit } from '../trust/admission.ts';
import { type Fingerprint, fingerprintOf } from '../trust/certificate.ts';
import { normalize } from '../trust/normalize.ts';
import type { SourceSnapshot } from '../trust/source.ts';
import { findGoFault } from './certificate-text.ts';
import { type ChainJudgement, judgeChain } from './chain.ts';
import type { EndpointFacts, Facts, HostFacts } from './facts.ts';
import { certificatesFor } from './hosts-folder.ts';
import { findBlocks } from './pem-blocks.ts';

export interface SourceView {
  readonly name: string;
  readonly isSecret: boolean;
  readonly snapshot: SourceSnapshot;
  readonly admission: Admission | undefined;
  /** All that can be seen in it, in whatever form it is, admitted or not. */
  readonly sighted: readonly X509Certificate[];
}

export interface View {
  readonly facts: Facts;
  readonly host: HostFacts | undefined;
  /** The time at which dates are judged: the server's, where the node's clock is proven wrong by it. */
  readonly at: Date;
  readonly clockIsWrong: boolean;
  readonly skewMs: number | undefined;
  readonly sources: readonly SourceView[];
  /** Undefined where no chain was seen. */
  readonly chain: ChainJudgement | undefined;
  /** The root that the chain leads to, if anybody here knows it. */
  readonly root: Fingerprint | undefined;
  /** Whether a program of the host trusts it, by the host's store. */
  readonly isInStore: boolean;
  /** Whether containerd trusts it by its own folder for this registry. */
  readonly isInFolder: boolean;
  /** A root that nobody here knows is one of the public ones. */
  readonly isPublic: boolean;
}

/** A clock that differs by less is good enough. */
export const maxSkewMs = 5 * 60_000;

export function createView(facts: Facts): View {
  const host = facts.host.kind === 'known' ? facts.host.value : undefined;
  const sources = readSources(facts, host);
  const ofFolder = certificatesFor(host?.registry.own ?? host?.registry.byDefault, facts.target);
  const trusted = [...(host?.roots ?? []).map(({ certificate }) => certificate), ...ofFolder];
  const known = knownRoots(sources, facts);
  const { http } = facts.endpoint;
  const serverTime = http.kind === 'answer' ? http.date : undefined;
  const skewMs = serverTime && facts.now.getTime() - serverTime.getTime();
  // What is trusted already comes first: an intermediate in a Secret must not stand before its trusted root.
  const judge = (at: Date): ChainJudgement | undefined => {
    const judged = judgeEndpoint(facts.endpoint, trusted, at);
    if (judged?.root === undefined) return judgeEndpoint(facts.endpoint, known, at);
    if (findGoFault(judged.root) === undefined) return judged;
    // Go passes over a root that it cannot read, and takes another one.
    const readable = judgeEndpoint(
      facts.endpoint,
      trusted.filter((one) => findGoFault(one) === undefined),
      at,
    );
    return readable?.root === undefined ? judged : readable;
  };
  const isLarge = skewMs !== undefined && Math.abs(skewMs) > maxSkewMs;
  const clockIsWrong = isLarge && hasDateFault(judge(facts.now)) && !hasDateFault(judge(serverTime ?? facts.now));
  const at = clockIsWrong && serverTime !== undefined ? serverTime : facts.now;
  const chain = judge(at);
  const root = chain?.root && fingerprintOf(chain.root.raw);
  return {
    facts,
    host,
    at,
    clockIsWrong,
    skewMs,
    sources,
    chain,
    root,
    isInStore: root !== undefined && (host?.roots ?? []).some(({ certificate }) => isPrint(certificate, root)),
    isInFolder: root !== undefined && ofFolder.some((certificate) => isPrint(certificate, root)),
    isPublic: root === undefined && judgeEndpoint(facts.endpoint, loadAll(facts.publicRoots), at)?.root !== undefined,
  };
}

/** How the chain of another server of this registry is judged: by the same roots. */
export function judgeEndpoint(
  endpoint: EndpointFacts,
  known: readonly X509Certificate[],
  at: Date,
): ChainJudgement | undefined {
  const { tls, server } = endpoint;
  return tls.kind === 'chain' ? judgeChain(tls.sent, known, server.host, at) : undefined;
}

/** Those of the store and of containerd's folders, and whatever may bring others there. */
export function knownRoots(sources: readonly SourceView[], { host: found, target }: Facts): readonly X509Certificate[] {
  const host = found.kind === 'known' ? found.value : undefined;
  const anchors = host?.observed.kind === 'known' ? host.observed.value.store.anchors : [];
  const all = [
    ...(host?.roots ?? []).map(({ certificate }) => certificate),
    ...sources.flatMap(({ sighted }) => sighted),
    ...anchors.flatMap(({ certificate }) => (certificate === undefined ? [] : [new X509Certificate(certificate.der)])),
    ...certificatesFor(host?.registry.own, target),
    ...certificatesFor(host?.registry.byDefault, target),
  ];
  return [...new Map(all.map((certificate) => [certificate.fingerprint256, certificate])).values()];
}

export function isPrint(certificate: X509Certificate, print: Fingerprint): boolean {
  return fingerprintOf(certificate.raw) === print;
}

function loadAll(pems: readonly string[]): readonly X509Certificate[] {
  return pems.map((pem) => new X509Certificate(pem));
}

function hasDateFault(chain: ChainJudgement | undefined): boolean {
  return chain?.faults.some(({ kind }) => kind === 'expired' || kind === 'not-yet-valid') ?? false;
}

function readSources(facts: Facts, host: HostFacts | undefined): readonly SourceView[] {
  const { maxCertificates, allowNonCa } = facts.admission;
  const view = (name: string, isSecret: boolean, snapshot: SourceSnapshot): SourceView => {
    const entries = snapshot.kind === 'present' ? snapshot.entries : new Map<string, Uint8Array>();
    const nonCa = allowNonCa ? 'warning' : 'error';
    const admission = entries.size === 0 ? undefined : admit(entries, { maxCertificates, nonCa, now: facts.now });
    return { name, isSecret, snapshot, admission, sighted: [...entries.values()].flatMap(sightCertificates) };
  };
  return [
    ...(facts.secret.kind === 'known' ? [view(facts.secretName, true, facts.secret.value)] : []),
    ...(host === undefined ? [] : [view(host.local.name, false, host.local.snapshot)]),
  ];
}

/** Certificates in whatever form somebody has put them there: a source that is rejected for its form holds them, too. */
export function sightCertificates(bytes: Uint8Array): readonly X509Certificate[] {
  const blocks = findBlocks(Buffer.from(normalize(bytes).bytes).toString('latin1'));
  return (blocks.length > 0 ? blocks : [bytes]).flatMap((block) => {
    try {
      return [new X509Certificate(block)];
    } catch {
      return [];
    }
  });
}

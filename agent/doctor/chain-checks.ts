// What the server sends, and who issued it: faults that are the server's own, and an issuer that is not the one to be expected.

import type { X509Certificate } from 'node:crypto';
import { fingerprintOf } from '../trust/certificate.ts';
import type { CheckName } from './catalogue.ts';
import { datesOf, day, nameOf } from './certificate-text.ts';
import { type ChainFault, type ChainJudgement, isGap, isSelfSigned, issuerOf } from './chain.ts';
import { broken, type Check, notKnown, pass, skipped } from './check.ts';
import type { EndpointFacts } from './facts.ts';
import { certificatesFor } from './hosts-folder.ts';
import { brokenUntilInSecret } from './into-secret.ts';
import { isInspector, isPublicRegistry } from './issuers.ts';
import { count, isUntried } from './network-checks.ts';
import type { Server } from './target.ts';
import type { View } from './view.ts';

export function checkChain(view: View): Check {
  const { chain, facts } = view;
  const { endpoint } = facts;
  if (chain === undefined || endpoint.tls.kind !== 'chain') return withoutChain('chain', endpoint);
  const sent = endpoint.tls.sent.map((certificate, index) => `sent ${index + 1}: ${describe(certificate)}`);
  const [fault] = chain.faults;
  if (fault !== undefined) return tellFault(fault, endpoint.server, sent, view);
  if (!chain.inOrder) {
    const summary = 'the certificates are not each issued by the one after it';
    return broken('ChainOutOfOrder', summary, sent, valuesOf(endpoint.server));
  }
  const end = chain.root === undefined ? `; it ends at an issuer that nobody here knows` : '';
  return pass('chain', `${pathOf(chain)}${end}`, sent);
}

export function withoutChain(name: CheckName, endpoint: EndpointFacts): Check {
  if (endpoint.server.scheme === 'http') return skipped(name, 'plain HTTP was asked for');
  if (endpoint.tls.kind === 'chain') return notKnown(name, 'the server sent no certificate');
  return (isUntried(endpoint) ? notKnown : skipped)(name, 'no chain was seen');
}

/** The one sentence about a fault; the token server's are told with the same. */
export function tellFault(fault: ChainFault, server: Server, evidence: readonly string[], view: View): Check {
  const values = valuesOf(server);
  switch (fault.kind) {
    case 'expired': {
      const { role, certificate } = fault;
      const summary = `the ${roleNames[role]} ${nameOf(certificate.subject)} expired ${day(datesOf(certificate).notAfter)}`;
      if (role === 'root') return brokenUntilInSecret('RootExpired', summary, evidence, view);
      return broken(role === 'leaf' ? 'LeafExpired' : 'IntermediateExpired', summary, evidence, values);
    }
    case 'not-yet-valid': {
      const { role, certificate } = fault;
      const summary = `the ${roleNames[role]} ${nameOf(certificate.subject)} is valid from ${day(datesOf(certificate).notBefore)} on`;
      return broken('NotYetValid', summary, evidence, {});
    }
    case 'name-mismatch': {
      const why = fault.names === undefined ? ': it has no subjectAltName' : `, but for ${fault.names}`;
      const summary = `the certificate is not for ${server.host}${why}`;
      return broken('NameMismatch', summary, evidence, values);
    }
    case 'unreadable': {
      const summary = `Go cannot read the certificate ${nameOf(fault.certificate.subject)}: ${fault.why}`;
      return broken('CertificateUnreadable', summary, evidence, values);
    }
    case 'not-for-servers': {
      const summary = `the extended key usage of ${nameOf(fault.certificate.subject)} lacks serverAuth`;
      return broken('NotForServers', summary, evidence, values);
    }
    case 'insecure-signature': {
      const summary = `${nameOf(fault.certificate.subject)} is signed with ${fault.hash}`;
      return broken('InsecureSignature', summary, evidence, values);
    }
    case 'self-signed-leaf':
      return broken('SelfSignedLeaf', 'the certificate signed itself', evidence, values);
    case 'intermediate-missing': {
      const from = fault.source === undefined ? [] : [`it can be fetched from ${fault.source}`];
      const summary = `the server does not send its intermediate ${fault.issuer}`;
      return broken('IntermediateMissing', summary, [...evidence, ...from], values);
    }
    default:
      return fault satisfies never;
  }
}

const roleNames = { leaf: "server's certificate", intermediate: 'intermediate', root: 'root' } as const;

/** Whether something in between answers in the server's place. Told only with a reason to think so. */
export function checkIssuer(view: View): Check {
  const { chain, facts, isInStore, isInFolder, host } = view;
  if (chain === undefined) return withoutChain('issuer', facts.endpoint);
  const issuer = rootName(chain);
  const reasons = findInterception(view, chain);
  const isTrusted = isInStore || isInFolder;
  if (isTrusted || chain.root !== undefined) {
    const how = reasons.length > 0 ? ', which inspects TLS' : '';
    return pass('issuer', `issued below ${issuer}${how}`, reasons);
  }
  if (chain.faults.some(isGap)) return skipped('issuer', 'the chain does not tell');
  const last = chain.path.at(-1);
  const shown = last === undefined ? [] : [`the last certificate that leads there: ${describe(last)}`];
  if (reasons.length === 0) return pass('issuer', `${issuer}; nothing speaks for a proxy in between`);
  const summary = `the name is right, the issuer is ${issuer}${host === undefined ? '' : ', which nobody here vouches for'}`;
  return brokenUntilInSecret('Intercepted', summary, [...reasons, ...shown], view);
}

function findInterception({ facts, host, isPublic: isPublicRoot }: View, chain: ChainJudgement): readonly string[] {
  const names = chain.path
    .flatMap(({ subject, issuer }, index) => (index === 0 ? [issuer] : [subject, issuer]))
    .map(nameOf);
  const inspector = names.find(isInspector);
  const expected = certificatesFor(host?.registry.own, facts.target);
  const { direct, endpoint } = facts;
  if (isPublicRoot) return [];
  const isPublic = isPublicRegistry(endpoint.server.host) && chain.root === undefined;
  return [
    ...(inspector === undefined ? [] : [`${inspector} is the name of something that inspects TLS`]),
    ...(isPublic ? [`${endpoint.server.host} is a public registry, and this issuer is no public CA`] : []),
    ...(isOther(direct, endpoint) ? [`without ${endpoint.proxy} the server shows another certificate`] : []),
    ...(expected.length > 0 && chain.root === undefined
      ? [
          `${host?.registry.own?.path} names ${expected.map(({ subject }) => nameOf(subject)).join(', ')} for this registry`,
        ]
      : []),
  ];
}

function isOther(direct: EndpointFacts | undefined, endpoint: EndpointFacts): boolean {
  if (direct?.tls.kind !== 'chain' || endpoint.tls.kind !== 'chain') return false;
  return direct.tls.sent[0]?.fingerprint256 !== endpoint.tls.sent[0]?.fingerprint256;
}

/** The name of the root, as far as it is known. */
export function rootName(chain: ChainJudgement): string {
  return chain.root === undefined ? issuerOf(chain.path) : nameOf(chain.root.subject);
}

export function describe(certificate: X509Certificate): string {
  const own = isSelfSigned(certificate) ? 'signed by itself' : `issued by ${nameOf(certificate.issuer)}`;
  const { notBefore, notAfter } = datesOf(certificate);
  const dates = `${day(notBefore)} to ${day(notAfter)}`;
  return `${nameOf(certificate.subject)}, ${own}, ${dates}, SHA-256 ${fingerprintOf(certificate.raw).slice(0, 16)}…`;
}

function pathOf({ path }: ChainJudgement): string {
  const names = path.map(({ subject }) => nameOf(subject));
  return names.length > 3
    ? `${names[0]} ← ${count(names.length - 2, 'intermediate')} ← ${names.at(-1)}`
    : names.join(' ← ');
}

function valuesOf({ host, port }: Server): { readonly server: string; readonly host: string } {
  return { server: `${host}:${port}`, host };
}

// What is asked of a certificate that parses: errors where stores would drop it or no registry could be verified with
// it, warnings where clients may frown. An expired one is a warning: taking it away at that moment would restart
// runtimes across the fleet.

import { type Explained, explain, type Severity } from './admission-reasons.ts';
import type { Certificate } from './certificate.ts';

export interface CertificateRules {
  readonly now: Date;
  /** A warning only where the store of the host keeps certificates that are not CAs. */
  readonly nonCa: Severity;
}

/** All that the rules have to say of one certificate. */
export function judgeCertificate(certificate: Certificate, rules: CertificateRules): readonly Explained[] {
  return [
    ...judgePurpose(certificate, rules.nonCa),
    ...judgeStrength(certificate),
    ...judgeValidity(certificate, rules.now),
    ...judgeIssuer(certificate),
  ];
}

const serverAuth = '1.3.6.1.5.5.7.3.1';
const anyExtendedKeyUsage = '2.5.29.37.0';

function judgePurpose({ subject, isCa, extendedKeyUsage }: Certificate, nonCa: Severity): Explained[] {
  const allowsServers =
    extendedKeyUsage === undefined ||
    extendedKeyUsage.some((usage) => usage === serverAuth || usage === anyExtendedKeyUsage);
  return [
    ...(isCa ? [] : [{ ...explain('NotCa', { subject }), severity: nonCa }]),
    ...(allowsServers ? [] : [explain('NotForServerAuth', { subject })]),
  ];
}

/** As OpenSSL names them; https://pkg.go.dev/crypto/elliptic has no others. */
export const curvesOfGo: ReadonlySet<string> = new Set(['secp224r1', 'prime256v1', 'secp384r1', 'secp521r1']);

// Nobody verifies the signature of an anchor that signed itself.
function judgeStrength({ subject, selfSigned, signatureHash, publicKey, goFault }: Certificate): Explained[] {
  const findings: Explained[] = goFault === undefined ? [] : [explain('UnreadableForGo', { fault: goFault, subject })];
  if (!selfSigned && signatureHash !== 'other') {
    findings.push(explain('WeakSignature', { hash: signatureHash, subject }));
  }
  if (publicKey.kind === 'rsa' && publicKey.bits < 2048) {
    findings.push(explain('WeakKey', { key: `RSA key of ${publicKey.bits} bits`, minimum: 2048, subject }));
  }
  if (publicKey.kind === 'ec' && publicKey.bits >= 256 && !curvesOfGo.has(publicKey.curve)) {
    findings.push(explain('UnsupportedKey', { key: `EC key on the curve ${publicKey.curve}`, subject }));
  }
  if (publicKey.kind === 'ec' && publicKey.bits < 256) {
    findings.push(explain('WeakKey', { key: `EC key on ${publicKey.curve}`, minimum: 256, subject }));
  }
  return findings;
}

const soonMs = 30 * 24 * 60 * 60 * 1000;

function judgeValidity({ subject, notBefore, notAfter }: Certificate, now: Date): Explained[] {
  const findings: Explained[] = [];
  const leftMs = notAfter.getTime() - now.getTime();
  if (now < notBefore) findings.push(explain('NotYetValid', { at: notBefore, subject }));
  if (leftMs < 0) findings.push(explain('Expired', { at: notAfter, subject }));
  else if (leftMs <= soonMs) findings.push(explain('ExpiresSoon', { at: notAfter, subject }));
  return findings;
}

function judgeIssuer({ subject, issuer, selfSigned }: Certificate): Explained[] {
  return selfSigned ? [] : [explain('NotSelfSigned', { issuer, subject })];
}

// Two sources of one host: the one that is followed (the cluster's Secret, or what a person names), and the machine's own file
// from before the cluster. Each is judged by itself, within its own limits and with its own last good set; what the host
// shall trust is the union, and what is told first is what is worst. Pure.

import { createBundle } from './bundle.ts';
import type { Decision, Verdict } from './desired.ts';

export interface SourceDecision {
  /** For people: whose words the verdict is. */
  readonly source: string;
  readonly decision: Decision;
}

/** `observed` and `memory` are the first one's. A certificate that both hold is trusted once, on the first one's account. */
export function mergeDecisions(first: SourceDecision, second: SourceDecision): SourceDecision {
  const [one, other] = [first.decision, second.decision];
  const desired = createBundle([...one.desired.certificates, ...other.desired.certificates]);
  const known = new Set(one.certificates.map(({ certificate }) => certificate.fingerprint));
  const added = other.certificates.filter(({ certificate }) => !known.has(certificate.fingerprint));
  const certificates = [...one.certificates, ...added];
  const isFirst = weight(one.verdict) >= weight(other.verdict);
  const graces = [one, other].flatMap(({ verdict }) => (verdict.kind === 'leaving' ? [verdict.until.getTime()] : []));
  const areBoth = one.verdict.kind === 'admitted' && other.verdict.kind === 'admitted';
  return {
    source: areBoth ? `${first.source} and ${second.source}` : (isFirst ? first : second).source,
    decision: {
      ...one,
      desired,
      certificates,
      verdict: isFirst ? one.verdict : other.verdict,
      // Those of whom the verdict speaks come first.
      findings: isFirst ? [...one.findings, ...other.findings] : [...other.findings, ...one.findings],
      ...(graces.length > 0 && { graceEnds: new Date(Math.min(...graces)) }),
    },
  };
}

/** To take everything away is a decision of somebody's, and not to know is worse than to know of a fault. */
function weight(verdict: Verdict): number {
  switch (verdict.kind) {
    case 'withdrawn':
    case 'kept':
      return 5;
    case 'unavailable':
      return 4;
    case 'rejected':
    case 'wrong-type':
      return 3;
    case 'leaving':
      return 2;
    case 'admitted':
      return 1;
    case 'gone':
      return verdict.code === 'SourceEmpty' ? 3 : 0;
    default:
      return verdict satisfies never;
  }
}

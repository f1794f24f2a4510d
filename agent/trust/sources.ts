// Two sources of one host: the one that is followed (the cluster's Secret, or what a person names), and the machine's own file
// from before the cluster. Each is judged by itself, within its own limits and with its own last good set; what the host
// shall trust is the union, and what is told first is what is worst. Pure.

import { createBundle, emptyBundle, type TrustBundle } from './bundle.ts';
import type { Certificate, Fingerprint } from './certificate.ts';
import {
  type Decision,
  type DecisionContext,
  decideTrust,
  forgetRemoved,
  rememberedPrints,
  type SourceMemory,
  type Verdict,
} from './desired.ts';
import { type AnchorName, anchorName } from './observation.ts';
import type { SourceSnapshot } from './source.ts';

export interface SourceDecision {
  /** For people: whose words the verdict is. */
  readonly source: string;
  readonly decision: Decision;
}

interface Remembered {
  readonly source: string;
  readonly memory: SourceMemory | undefined;
}

/**
 * What either holds, and what is remembered of the file. Certificates of ours that lie there and that the records, if they are not
 * lost, give to neither are shared out first: the last good set of a source that says nothing good must not be the other's.
 */
export function decideBoth(
  main: Remembered & { decide(onHost: TrustBundle): Decision },
  file: Remembered & { readonly snapshot: SourceSnapshot },
  { onHost, atBoot }: { readonly onHost: TrustBundle; readonly atBoot: ReadonlySet<AnchorName> | undefined },
  terms: Pick<DecisionContext, 'now' | 'graceMs' | 'admission'>,
): SourceDecision & { readonly local: SourceMemory } {
  const { source, snapshot } = file;
  const isOfBoot = ({ fingerprint }: Certificate): boolean => atBoot?.has(anchorName(fingerprint)) === true;
  const alone = main.decide(emptyBundle);
  const isAdmitted = alone.verdict.kind === 'admitted';
  const holdsNow = new Set(isAdmitted ? alone.desired.certificates.map(({ fingerprint }) => fingerprint) : []);
  const others = without(onHost, rememberedPrints(main.memory));
  // Of a file that is gone it is what a boot has installed from it; of one that is there, that and what the other does not hold.
  const ofFile = others.certificates.filter(
    (certificate) => isOfBoot(certificate) || (snapshot.kind !== 'absent' && !holdsNow.has(certificate.fingerprint)),
  );
  const memory = forgetRemoved(file.memory, atBoot, onHost);
  const own = decideTrust(snapshot, { ...terms, source, memory, onHost: createBundle(ofFile) });
  // Before any agent remembers the other, what a boot has installed, and the file holds no more, was never its.
  const left = main.memory === undefined ? others.certificates.filter(isOfBoot) : [];
  const claimed = new Set([...own.desired.certificates, ...left].map(({ fingerprint }) => fingerprint));
  const decision = isAdmitted ? alone : main.decide(without(onHost, claimed));
  const local = atBoot === undefined ? own.memory : { ...own.memory, atBoot: [...atBoot].sort() };
  return { ...mergeDecisions({ source: main.source, decision }, { source, decision: own }), local };
}

function without({ certificates }: TrustBundle, prints: ReadonlySet<Fingerprint>): TrustBundle {
  return createBundle(certificates.filter(({ fingerprint }) => !prints.has(fingerprint)));
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

// Why nothing of a source reaches a node. The root that is looked for may stand in it all the same, where it cannot be read.

import { explainOperational } from '../trust/reasons.ts';
import { describeFinding } from '../trust/status.ts';
import type { SourceView, View } from './view.ts';

export interface Rejection {
  readonly summary: string;
  readonly evidence: readonly string[];
  readonly remedy: string;
}

/** Undefined for one that is admitted, is absent, holds nothing, or was not read. */
export function findRejection(source: SourceView | undefined): Rejection | undefined {
  if (source === undefined) return undefined;
  const { name, snapshot, admission } = source;
  if (snapshot.kind === 'wrong-type') {
    const { message, remedy } = explainOperational('SourceWrongType', { source: name, type: snapshot.type });
    return { summary: message, evidence: [], remedy };
  }
  const errors = (admission?.findings ?? []).filter(({ severity }) => severity === 'error');
  const [first] = errors;
  if (first === undefined) return undefined;
  const evidence = errors.map((finding) => `${finding.code}: ${describeFinding(finding)}`);
  return { summary: `${name} is not admitted: ${first.code}`, evidence, remedy: first.remedy };
}

export function rejectionOfSecret({ sources }: Pick<View, 'sources'>): Rejection | undefined {
  return findRejection(sources.find(({ isSecret }) => isSecret));
}

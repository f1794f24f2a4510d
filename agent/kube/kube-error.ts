// Decides what an answer that is no success means, by HTTP or as an ERROR in a watch. "Not found" is said only on an API
// server's own word about the very name that was asked for: a proxy's 404 must never pass for a deleted object.
// Evidence is one line for a person, which does nothing to a terminal; of an answer it repeats nothing but the fields of a `Status`, so no byte of a
// Secret can get into it.

import { printable } from '../trust/printable.ts';
import { isRecord, recordAt, textAt } from './answer-object.ts';

export type KubeFailureKind =
  | 'unauthorized'
  | 'forbidden'
  | 'not-found'
  | 'conflict'
  | 'expired'
  | 'invalid'
  | 'throttled'
  | 'server-error'
  | 'unreachable'
  | 'tls'
  | 'timed-out'
  | 'misconfigured';

export interface KubeFailure {
  readonly kind: KubeFailureKind;
  readonly evidence: string;
  /** The server's own wish, at most a quarter of an hour. */
  readonly retryAfterMs?: number;
}

/** What every call of this folder throws, except for an abort, which throws the signal's own reason. */
export class KubeError extends Error {
  override readonly name = 'KubeError';
  readonly failure: KubeFailure;

  constructor(failure: KubeFailure, cause?: unknown) {
    const evidence = printable(failure.evidence.replaceAll(/\s+/g, ' ').trim());
    super(evidence, { cause });
    this.failure = { ...failure, evidence };
  }
}

/** What was asked, in the words of RBAC and of people. */
export interface Asked {
  readonly verb: 'get' | 'list' | 'watch' | 'create' | 'patch';
  /** `secret kube-system/custom-ca-trust-secret` */
  readonly object: string;
  /** metadata.name, which a real NotFound repeats. */
  readonly name: string;
}

export interface Answer {
  readonly code: number;
  /** The header's value (RFC 9110). */
  readonly retryAfter: string | undefined;
  readonly body: unknown;
}

// setTimeout fires at once beyond 2^31 ms, and a wish for days is a mistake somewhere on the way.
const maxRetryAfterMs = 15 * 60_000;
const maxStatusMessage = 400;

/** An HTTP answer that is not a success. */
export function failureOfAnswer(server: string, asked: Asked, answer: Answer): KubeFailure {
  const status = parseStatus(answer.body);
  const retry = retryAfter(answer.retryAfter ?? status?.retryAfterSeconds);
  // Max-in-flight limits and shutdown answer in plain text, so these codes do not need a Status.
  if (answer.code === 429) {
    return { kind: 'throttled', evidence: `${server} answered 429 to ${describe(asked)}: too many requests`, ...retry };
  }
  if (status === undefined) {
    const whose =
      answer.code >= 500 ? '' : ', and the answer did not come from an API server but from something before it';
    return {
      kind: 'server-error',
      evidence: `${server} answered ${answer.code} to ${describe(asked)}${whose}`,
      ...retry,
    };
  }
  return failureOfStatus(server, asked, { ...status, code: answer.code }, retry);
}

/** The object of an ERROR event in a watch. */
export function failureOfErrorEvent(server: string, asked: Asked, object: unknown): KubeFailure {
  const status = parseStatus(object);
  return status === undefined
    ? { kind: 'server-error', evidence: `${server} ended the ${asked.verb} of ${asked.object} without saying why` }
    : failureOfStatus(server, asked, status, retryAfter(status.retryAfterSeconds));
}

/** A success that does not hold what was asked for: a captive portal, a proxy's page, another API. */
export function foreignAnswer(server: string, asked: Asked, code = 0): KubeFailure {
  return {
    kind: 'server-error',
    evidence: `${server} answered ${code} to ${describe(asked)} with something that an API server does not say`,
  };
}

/** `get secret kube-system/custom-ca-trust-secret` */
export function describe(asked: Asked): string {
  return `${asked.verb} ${asked.object}`;
}

interface Status {
  readonly code: number;
  readonly reason: string;
  readonly message: string;
  readonly name: string | undefined;
  readonly retryAfterSeconds: string | undefined;
}

const kindOfCode: Readonly<Record<number, KubeFailureKind>> = {
  400: 'invalid',
  401: 'unauthorized',
  403: 'forbidden',
  409: 'conflict',
  410: 'expired',
  415: 'invalid',
  422: 'invalid',
  429: 'throttled',
};

function failureOfStatus(
  server: string,
  asked: Asked,
  status: Status,
  retry: { readonly retryAfterMs?: number },
): KubeFailure {
  const said = `${server} answered ${status.code} ${status.reason} to ${describe(asked)}`;
  const why = status.message === '' ? '' : `: ${status.message}`;
  if (status.code === 404) {
    return status.reason === 'NotFound' && status.name === asked.name
      ? { kind: 'not-found', evidence: said, ...retry }
      : { kind: 'server-error', evidence: `${said}, but not about this object${why}`, ...retry };
  }
  const kind = kindOfCode[status.code] ?? 'server-error';
  if (kind === 'unauthorized') {
    return { kind, evidence: `${said}: the token was not accepted; it may have expired`, ...retry };
  }
  if (kind === 'forbidden') {
    return { kind, evidence: `${said}; the agent is not allowed to ${asked.verb} it${why}`, ...retry };
  }
  return { kind, evidence: `${said}${why}`, ...retry };
}

/** https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/ */
function parseStatus(body: unknown): Status | undefined {
  if (!isRecord(body) || body['kind'] !== 'Status' || body['apiVersion'] !== 'v1' || body['status'] !== 'Failure') {
    return undefined;
  }
  const details = recordAt(body, 'details');
  const seconds = details['retryAfterSeconds'];
  return {
    code: typeof body['code'] === 'number' ? body['code'] : 0,
    reason: textAt(body, 'reason') ?? 'without a reason',
    message: oneLine(textAt(body, 'message') ?? ''),
    name: textAt(details, 'name'),
    retryAfterSeconds: typeof seconds === 'number' && seconds > 0 ? String(seconds) : undefined,
  };
}

function oneLine(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim();
  return line.length <= maxStatusMessage ? line : `${line.slice(0, maxStatusMessage)}…`;
}

/** RFC 9110, 10.2.3: whole seconds or an HTTP date. */
function retryAfter(value: string | undefined): { readonly retryAfterMs?: number } {
  if (value === undefined) return {};
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isNaN(ms) ? {} : { retryAfterMs: Math.min(Math.max(ms, 0), maxRetryAfterMs) };
}

// The one exception of this software: the world failed, and this is its code in the catalogue of reasons.
// Bad input is never an exception but a finding. host/ and kube/ translate what they meet at their boundary.

import { explainOperational, type OperationalCode, type ReasonArgs, type Retry } from './trust/reasons.ts';

export class AgentError<C extends OperationalCode = OperationalCode> extends Error {
  override readonly name = 'AgentError';
  readonly code: C;
  readonly remedy: string;
  readonly retry: Retry;
  /** The peer's own wish, in milliseconds, when it gave one (HTTP Retry-After). */
  readonly retryAfterMs: number | undefined;

  constructor(code: C, args: ReasonArgs<C>, options: { cause?: unknown; retryAfterMs?: number; retry?: Retry } = {}) {
    const { message, remedy, retry } = explainOperational(code, args);
    super(message, { cause: options.cause });
    this.code = code;
    this.remedy = remedy;
    this.retry = options.retry ?? retry;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** The text of anything thrown, for a message or a log line. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

// What is told of a connection that failed. OpenSSL's own text is an address in memory and a path of its sources around one reason.

import { errorText } from '../../errors.ts';

export function tellFailure(error: unknown): string {
  if (error instanceof Error && 'reason' in error && typeof error.reason === 'string') return error.reason;
  const text = errorText(error);
  const [, reason] = /error:[0-9A-F]+:[^:\n]*:[^:\n]*:([^:\n]+)/.exec(text) ?? [];
  return reason ?? text.trim();
}

export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** Nobody was sent one, so whoever calls it missing or bad wants one (RFC 8446, 6.2; before it had an alert of its own, the other). */
export function wantsClient(error: unknown): boolean {
  return /^ERR_SSL_.*ALERT_(?:CERTIFICATE_REQUIRED|BAD_CERTIFICATE)$/.test(codeOf(error));
}

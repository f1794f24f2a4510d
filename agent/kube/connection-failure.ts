// Decides what it means that no answer came: the network, the name service, TLS, or silence. It goes by the codes of the
// system and of OpenSSL, never by texts; a code that is not known here counts as "unreachable" and is named.

import { errorText } from '../errors.ts';
import { type Asked, describe, type KubeFailure } from './kube-error.ts';

/** Nothing came for too long. */
export function failureOfSilence(server: string, asked: Asked, patienceMs: number): KubeFailure {
  return { kind: 'timed-out', evidence: `${server} gave no answer to ${describe(asked)} for ${patienceMs / 1000} s` };
}

/** What was thrown: the network, the name service or TLS. The authority is where the roots are from. */
export function failureOfThrown(
  server: string,
  asked: Asked,
  error: unknown,
  authority = 'the certificate-authority',
): KubeFailure {
  const code = networkCode(error);
  if (code !== undefined && (code in tlsTexts || /^ERR_(SSL|TLS)_|^EPROTO$/.test(code))) {
    const text = tlsTexts[code]?.(authority) ?? 'no secure connection';
    return { kind: 'tls', evidence: `TLS with ${server} failed (${code}): ${text}` };
  }
  const what = code === undefined ? errorText(error) : (networkTexts[code] ?? 'no answer');
  const suffix = code === undefined ? '' : ` (${code})`;
  return { kind: 'unreachable', evidence: `${server} could not be reached to ${describe(asked)}: ${what}${suffix}` };
}

/** The system's code, of the error or of what caused it. */
function networkCode(error: unknown): string | undefined {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 4; at = at.cause, depth += 1) {
    if ('code' in at && typeof at.code === 'string') return at.code;
  }
  return undefined;
}

const wrongAuthority = (authority: string): string => `${authority} does not match the server's certificate`;
const outOfTime = (): string => "the server's certificate is not valid at this machine's time; look at both";

// The codes of OpenSSL's verification as Node names them.
const tlsTexts: Readonly<Record<string, (authority: string) => string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: wrongAuthority,
  SELF_SIGNED_CERT_IN_CHAIN: wrongAuthority,
  UNABLE_TO_GET_ISSUER_CERT: wrongAuthority,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: wrongAuthority,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: wrongAuthority,
  CERT_SIGNATURE_FAILURE: wrongAuthority,
  CERT_UNTRUSTED: wrongAuthority,
  CERT_REJECTED: wrongAuthority,
  INVALID_CA: wrongAuthority,
  CERT_HAS_EXPIRED: outOfTime,
  CERT_NOT_YET_VALID: outOfTime,
  ERR_TLS_CERT_ALTNAME_INVALID: () => "the server's certificate is not for this host name",
};

const networkTexts: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'no route to the network',
  ENOTFOUND: 'the host name is not known',
  EAI_AGAIN: 'the name service does not answer',
  ETIMEDOUT: 'no answer to the connection attempt',
};

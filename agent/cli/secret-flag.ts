// The flag that names a Secret, for commands that read no certificates as well: what judges those is not loaded for it.

import { type Flag, flag } from './flags.ts';
import type { SecretName } from './manifest.ts';

export const defaultSecret: SecretName = { namespace: 'kube-system', name: 'custom-ca-trust-secret' };

export function secretFlag(name: string, help: string): Flag<SecretName> {
  const shown = `${defaultSecret.namespace}/${defaultSecret.name}`;
  return flag(name, help, { placeholder: 'NAMESPACE/NAME', fallback: defaultSecret, shown }, parseSecret);
}

/** RFC 1123 names, as the API server demands of namespaces and Secrets. */
function parseSecret(text: string): SecretName {
  const match = /^([a-z0-9](?:[-a-z0-9]*[a-z0-9])?)\/([a-z0-9](?:[-.a-z0-9]*[a-z0-9])?)$/.exec(text);
  if (match?.[1] === undefined || match[2] === undefined)
    throw new Error(`expected NAMESPACE/NAME, got ${JSON.stringify(text)}`);
  return { namespace: match[1], name: match[2] };
}

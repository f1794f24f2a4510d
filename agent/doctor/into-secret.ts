// What is broken until a root is put into the Secret, and the command that puts it there. What the Secret holds already stays: it is
// made anew only where it was looked for and does not exist.

import { broken, type Check } from './check.ts';
import type { Facts } from './facts.ts';

/** That of `node-trust secret` without --name (cli/secret-flag.ts). */
const defaultName = 'secret kube-system/custom-ca-trust-secret';

export function brokenUntilInSecret(
  code: 'RootExpired' | 'Intercepted' | 'UnknownRoot',
  summary: string,
  evidence: readonly string[],
  facts: Facts,
): Check {
  const place = placeOf(facts);
  const check = broken(code, summary, evidence, place);
  const isAbsent = facts.secret.kind === 'known' && facts.secret.value.kind === 'absent';
  if (!isAbsent || check.diagnosis === undefined) return check;
  const name = facts.secretName === defaultName ? '' : ` --name ${place.namespace}/${place.secret}`;
  const command = `node-trust secret${name} root.pem | kubectl apply -f -`;
  return { ...check, diagnosis: { ...check.diagnosis, command } };
}

export function placeOf({ secretName }: Facts): { readonly namespace: string; readonly secret: string } {
  const [namespace = '', secret = ''] = secretName.replace(/^secret /, '').split('/');
  return { namespace, secret };
}

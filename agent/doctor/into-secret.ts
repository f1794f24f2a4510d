// What is broken until a root is put into the Secret, and the command that puts it there. What the Secret holds already stays: it is
// made anew only where it was looked for and does not exist. Into one that is rejected nothing can be merged.

import { diagnoses, fillIn } from './catalogue.ts';
import { broken, type Check } from './check.ts';
import type { Facts } from './facts.ts';
import { rejectionOfSecret } from './rejection.ts';
import type { View } from './view.ts';

/** That of `node-trust secret` without --name (cli/secret-flag.ts). */
const defaultName = 'secret kube-system/custom-ca-trust-secret';

export function brokenUntilInSecret(
  code: 'RootExpired' | 'RootUnreadable' | 'Intercepted' | 'UnknownRoot',
  summary: string,
  evidence: readonly string[],
  view: View,
): Check {
  const { facts } = view;
  const place = placeOf(facts);
  const rejection = rejectionOfSecret(view);
  const before = rejection && `${rejection.summary}; nothing can be put into it before that is mended`;
  const check = broken(code, summary, [...evidence, ...(before === undefined ? [] : [before])], place);
  const { diagnosis } = check;
  if (diagnosis === undefined) return check;
  const say = (command: string): Check => ({ ...check, diagnosis: { ...diagnosis, command } });
  if (before !== undefined) return say(fillIn(diagnoses.SecretRejected.command, place));
  if (facts.secret.kind === 'unknown' || facts.secret.value.kind !== 'absent') return check;
  const name = facts.secretName === defaultName ? '' : ` --name ${place.namespace}/${place.secret}`;
  return say(`node-trust secret${name} root.pem | kubectl apply -f -`);
}

export function placeOf({ secretName }: Facts): { readonly namespace: string; readonly secret: string } {
  const [namespace = '', secret = ''] = secretName.replace(/^secret /, '').split('/');
  return { namespace, secret };
}

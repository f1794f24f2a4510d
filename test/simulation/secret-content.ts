// What the Secret holds, and how an API server tells it: certificates, a set that no agent may install, or nothing.

import { certificate, type OwnName } from './certificates.ts';

export type SecretContent =
  | { readonly kind: 'good'; readonly names: readonly OwnName[]; readonly onDelete: 'grace' | 'remove' }
  | { readonly kind: 'bad'; readonly how: 'CRLF' | 'not a CA' | 'torn'; readonly onDelete: 'grace' | 'remove' }
  | { readonly kind: 'wrong type' }
  | { readonly kind: 'empty'; readonly onDelete: 'grace' | 'remove' };

export function describeSecret(content: SecretContent | undefined): string {
  if (content === undefined) return 'the Secret is deleted';
  const remove = 'onDelete' in content && content.onDelete === 'remove' ? ', on-delete: remove' : '';
  if (content.kind === 'good') return `the Secret holds ${content.names.join(', ')}${remove}`;
  return `the Secret holds a ${content.kind} set${content.kind === 'bad' ? ` (${content.how})` : ''}${remove}`;
}

/** The reason with which a set is not admitted. */
export function rejectionOf(content: Exclude<SecretContent, { readonly kind: 'good' }>): string {
  if (content.kind === 'empty') return 'SourceEmpty';
  if (content.kind === 'wrong type') return 'SourceWrongType';
  return { CRLF: 'CrlfLineEndings', 'not a CA': 'NotCa', torn: 'MalformedPem' }[content.how];
}

export function dataOf(content: SecretContent): Readonly<Record<string, string>> {
  const encode = (text: string): string => Buffer.from(text).toString('base64');
  const entry = (name: OwnName): readonly [string, string] => [`${name}.pem`, encode(certificate(name).pem)];
  switch (content.kind) {
    case 'good':
      return Object.fromEntries(content.names.map(entry));
    case 'bad': {
      const never = certificate('never').pem;
      const spoiled = {
        CRLF: never.replaceAll('\n', '\r\n'),
        'not a CA': certificate('leaf').pem,
        torn: never.slice(0, 99),
      };
      return { ...Object.fromEntries([entry('never')]), 'spoiled.pem': encode(spoiled[content.how]) };
    }
    case 'wrong type':
      return Object.fromEntries([entry('never')]);
    case 'empty':
      return {};
    default:
      return content satisfies never;
  }
}

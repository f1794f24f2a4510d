import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NamedSource } from '../../agent/cli/entries.ts';
import { describeFindings, judgeSource } from '../../agent/cli/judged.ts';
import { plain } from '../../agent/cli/paint.ts';
import { createCertificate, fixedNow } from '../support/certificates.ts';

const options = { maxCertificates: 10, nonCa: 'error', now: fixedNow } as const;
const leaf = createCertificate({ subject: 'Leaf', ca: false });

function source(entries: Readonly<Record<string, string>>): NamedSource {
  const bytes = Object.entries(entries).map(([entry, text]) => [entry, Buffer.from(text)] as const);
  const snapshot = { kind: 'present', entries: new Map(bytes), onDelete: 'grace' } as const;
  return { name: 'folder cas', snapshot, findings: [], locate: (entry) => `cas/${entry}` };
}

test('a finding says where it is, of which certificate, and what to do', () => {
  const text = describeFindings(judgeSource(source({ 'leaf.pem': `\n${leaf.pem}` }), options), plain);
  const [head, remedy, ...rest] = text.split('\n');
  assert.equal(
    head,
    'cas/leaf.pem:2: error NotCa: certificate 1: not a CA, basicConstraints is missing or CA:FALSE (CN=Leaf)',
  );
  assert.match(remedy ?? '', /^ {4}→ Use the certificate of the CA/);
  assert.match(rest.join('\n'), /^cas\/leaf\.pem:2: warning NotSelfSigned|^$/);
});

test('of more than a person reads, the first are told, and how many there are', () => {
  const text = describeFindings(
    judgeSource(source({ a: '-----BEGIN X-----\n-----END X-----\n'.repeat(150) }), options),
    plain,
  );
  assert.equal(text.match(/^cas\/a:/gm)?.length, 100);
  assert.match(text, /\n… and 50 more findings; --json of validate has them all\n$/);
});

test('what is said of the whole is placed at its name', () => {
  assert.match(describeFindings(judgeSource(source({}), options), plain), /^folder cas: error SourceEmpty: /);
});

test('errors and warnings have colours of their own', () => {
  const painted = describeFindings(
    judgeSource(source({ a: leaf.pem }), options),
    (style, text) => `<${style} ${text}>`,
  );
  assert.match(painted, /^<bold cas\/a:1>: <red error NotCa>: /);
  const warned = judgeSource(source({ a: leaf.pem }), { ...options, nonCa: 'warning' });
  assert.match(
    describeFindings(warned, (style, text) => `<${style} ${text}>`),
    /^<bold cas\/a:1>: <yellow warning NotCa>/,
  );
});

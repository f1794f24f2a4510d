import assert from 'node:assert/strict';
import { test } from 'node:test';
import { admit } from '../../agent/trust/admission.ts';
import { createExcerpts } from '../../agent/trust/excerpt.ts';
import { createCertificate, encodePem, fixedNow } from '../support/certificates.ts';

const { pem, keyPem, keys } = createCertificate();
const lines = pem.split('\n');

function excerpts(text: string): readonly (string | undefined)[] {
  const entries = new Map([['a', Buffer.from(text)]]);
  const { findings } = admit(entries, { maxCertificates: 10, nonCa: 'error', now: fixedNow });
  return findings.map(createExcerpts(entries, findings));
}

test('a line that begins or ends a block is shown, and a CR in it seen', () => {
  assert.deepEqual(excerpts(`# text\n ${pem}`), [' -----BEGIN CERTIFICATE-----']);
  assert.deepEqual(excerpts(pem.replaceAll('\n', '\r\n')), ['-----BEGIN CERTIFICATE-----\\u{d}']);
  assert.deepEqual(excerpts(encodePem('X509 CRL', Buffer.of(1))), ['-----BEGIN X509 CRL-----']);
});

test('of base64 only what does not belong there is shown', () => {
  const [first = '', second = '', ...rest] = lines;
  const broken = [first, `${second.slice(0, 9)}é${second.slice(9)}`, ...rest].join('\n');
  assert.deepEqual(excerpts(broken), [`${'·'.repeat(9)}é${'·'.repeat(55)}`]);
  assert.deepEqual(excerpts(`${first}\nAAA==\n-----END CERTIFICATE-----\n`), ['···==']);
});

test('of a body on the line of its BEGIN, too', () => {
  assert.match(excerpts(lines.join(''))[0] ?? '', /^-----BEGIN CERTIFICATE-----·+…$/);
});

test('nothing is shown of an entry with a private key, of a certificate, and of no line', () => {
  assert.deepEqual(
    excerpts(`${pem.replaceAll('\n', '\r\n')}${keyPem}`).filter((shown) => shown !== undefined),
    [],
  );
  assert.deepEqual(excerpts(createCertificate({ ca: false }).pem), [undefined]);
  assert.deepEqual(excerpts('text'), [undefined]);
});

test('no byte of a key is shown, also where it is said to be a certificate and spoilt', () => {
  const base64 = keys.privateKey.export({ format: 'der', type: 'pkcs8' }).toString('base64');
  for (const body of [base64, `${base64.slice(0, 5)}é${base64.slice(5)}`, base64.replaceAll(/.{10}/g, '$&,')]) {
    for (const text of [
      `${lines[0]}\n${body}\n-----END CERTIFICATE-----\n`,
      `${lines[0]}${body}-----END CERTIFICATE-----`,
    ]) {
      const shown = excerpts(text).join('');
      for (const piece of base64.match(/.{10}/g) ?? []) assert(!shown.includes(piece), shown);
    }
  }
});

test('a long line is cut, and what would move a cursor is escaped', () => {
  const [shown = ''] = excerpts(`${'\u001b[2J'.repeat(100)}${pem}`);
  assert.equal(Array.from(shown).length, 100);
  assert(!shown.includes('\u001b'));
});

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { createHostRoot } from '../../agent/host/root.ts';
import { readBundle, readBundleFile } from '../../agent/host/trust-store.ts';
import { fingerprintOf } from '../../agent/trust/certificate.ts';
import { createCertificate, encodePem, fixedNow } from '../support/certificates.ts';
import { createEmptyRoot } from '../support/sandbox.ts';

const execute = promisify(execFile);
const [one, two] = [createCertificate({ subject: 'One' }), createCertificate({ subject: 'Two' })];
const junk = Buffer.from('not a certificate');
const read = (text: string) => readBundle(Buffer.from(text));

test('every certificate of a file is found, with text, CRLF and other blocks around it', () => {
  const text = `# One\r\n${one.pem.replaceAll('\n', '\r\n')}Two\n\n${one.keyPem}${two.pem}${encodePem('GARBAGE', junk)}end`;
  const { fingerprints, broken } = read(text);
  assert.deepEqual(
    [...fingerprints],
    [one, two].map(({ der }) => fingerprintOf(der)),
  );
  assert.equal(broken, undefined);
});

test('the first block that does not load is named by its line, and the others are read all the same', () => {
  const { fingerprints, broken } = read(
    `${one.pem}text\n${encodePem('CERTIFICATE', junk)}${encodePem('CERTIFICATE', junk)}${two.pem}`,
  );
  assert.equal(fingerprints.size, 2);
  assert.equal(broken?.line, one.pem.split('\n').length + 1);
});

test('an absent file and an empty one hold nothing', async () => {
  await using host = await createEmptyRoot();
  const root = createHostRoot(host.root);
  await host.write('/empty', '');
  for (const path of ['/absent', '/empty']) {
    assert.deepEqual(await readBundleFile(root, path), { fingerprints: new Set(), broken: undefined });
  }
});

const body = one.pem.split('\n').slice(1, -2).join('\n');
const pieces = {
  certificate: two.pem,
  'certificate with CRLF': two.pem.replaceAll('\n', '\r\n'),
  'certificate on one line': `-----BEGIN CERTIFICATE-----\n${body.replaceAll('\n', '')}\n-----END CERTIFICATE-----\n`,
  'certificate under its old name': `-----BEGIN X509 CERTIFICATE-----\n${body}\n-----END X509 CERTIFICATE-----\n`,
  'trusted certificate': `-----BEGIN TRUSTED CERTIFICATE-----\n${body}\n-----END TRUSTED CERTIFICATE-----\n`,
  'blanks at the end of lines': two.pem.replaceAll('\n', ' \n'),
  text: 'Subject: CN=One\n\n  -----BEGIN X-----\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE\n',
  'private key': one.keyPem,
  'block of another kind': encodePem('GARBAGE', junk),
  'block with headers': `-----BEGIN GARBAGE-----\nProc-Type: 4,CLEAR\nX-Y: z\n\n${junk.toString('base64')}\n-----END GARBAGE-----\n`,
  'block that is empty': '-----BEGIN GARBAGE-----\n-----END GARBAGE-----\n',
  'certificate that is none': encodePem('CERTIFICATE', junk),
  'certificate cut short': two.pem.slice(0, 200),
  'certificate without an end': two.pem.split('\n').slice(0, -2).join('\n'),
  'certificate with another end': two.pem.replace('END CERTIFICATE', 'END X509 CRL'),
  'certificate with a stray character': two.pem.replace('MII', 'M!I'),
  'begin alone': '-----BEGIN CERTIFICATE-----\n',
  'other block without an end': '-----BEGIN GARBAGE-----\nMIIB\n',
  'other block with another end': '-----BEGIN GARBAGE-----\nMIIB\n-----END OTHER-----\n',
  'other block with a stray character': '-----BEGIN GARBAGE-----\nM!IB\n-----END GARBAGE-----\n',
} as const;

/** Whether the file loads and holds the certificate; a block without an end may swallow it. */
function isFine(content: string): boolean {
  const { fingerprints, broken } = read(content);
  return broken === undefined && fingerprints.has(fingerprintOf(one.der));
}

test('openssl and this code agree on each kind of block whether it spoils the file', async () => {
  await using host = await createEmptyRoot();
  await host.write('/one.pem', one.pem);
  for (const [name, piece] of Object.entries(pieces)) {
    for (const content of [piece + one.pem, one.pem + piece]) {
      await host.write('/bundle', content);
      assert.equal(isFine(content), await loads(host.at('/bundle'), host.at('/one.pem')), `${name}:\n${content}`);
    }
  }
});

test('a file is judged in a time that grows with its length, whatever it holds', () => {
  for (const filling of ['k: v ', 'a: ', 'a: b\n', ' ', '\n', 'AAAA', '-----END '])
    read(`-----BEGIN PGP MESSAGE-----\nComment: ${filling.repeat(20_000)}\n\n(garbled)\n-----END PGP MESSAGE-----\n`);
});

test('of any sequence of blocks that is fine by this code, openssl loads every certificate', async () => {
  await using host = await createEmptyRoot();
  await host.write('/one.pem', one.pem);
  const sequence = fc.array(fc.constantFrom(...Object.values(pieces)), { maxLength: 2 });
  let fine = 0;
  await fc.assert(
    fc.asyncProperty(sequence, sequence, async (before, after) => {
      const content = [...before, one.pem, ...after].join('');
      if (!isFine(content)) return;
      fine += 1;
      await host.write('/bundle', content);
      assert(await loads(host.at('/bundle'), host.at('/one.pem')));
    }),
    { numRuns: 300 },
  );
  assert(fine > 10, `${fine} were fine`);
});

/** Whether a program that uses OpenSSL loads the file and finds the certificate in it. */
async function loads(bundle: string, certificate: string): Promise<boolean> {
  const time = String(fixedNow.getTime() / 1000);
  const args = ['verify', '-attime', time, '-no-CApath', '-CAfile', bundle, certificate];
  return execute('openssl', args).then(
    () => true,
    () => false,
  );
}

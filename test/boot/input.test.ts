// What the boot says of its file: the same as the agent would, in the agent's codes, and nothing is installed of a bad one.

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type Admission, admit } from '../../agent/trust/admission.ts';
import { anchorName } from '../../agent/trust/observation.ts';
import { createCertificate, encodePem, fixedNow, type TestCertificate } from '../support/certificates.ts';
import { nameOf } from '../support/debian.ts';
import { createBootNode, input, list, type Ran, under } from './boot-node.ts';

const cas = Array.from({ length: 12 }, (_, index) => createCertificate({ subject: `CA ${index}` }));
const [one, two] = cas as [TestCertificate, TestCertificate, ...TestCertificate[]];
const pemOf = (...certificates: readonly TestCertificate[]): string => certificates.map(({ pem }) => pem).join('\n');
const begin = '-----BEGIN CERTIFICATE-----';
const end = '-----END CERTIFICATE-----';
const base64 = (text: string | Uint8Array): string => Buffer.from(text).toString('base64');
const keyDer = one.keys.privateKey.export({ format: 'der', type: 'pkcs8' });
const rsaKeyPem = createCertificate({ key: { kind: 'rsa', bits: 1024 } }).keys.privateKey.export({
  format: 'pem',
  type: 'pkcs1',
});
const encryptedKeyPem = one.keys.privateKey.export({
  format: 'pem',
  type: 'pkcs8',
  cipher: 'aes-256-cbc',
  passphrase: 'x',
});
const lineCount = one.pem.split('\n').length - 1;

function admitFile(content: string | Uint8Array): Admission {
  const entries = new Map([['certificates.pem', Buffer.from(content)]]);
  return admit(entries, { now: fixedNow, maxCertificates: 10, nonCa: 'error' });
}

/** `3 PrivateKey` for each finding of the script. */
function findingsOf({ log }: Ran): readonly string[] {
  return log.map((line) => {
    const match = /^node-trust-boot: \/etc\/node-trust\/certificates\.pem line (\d+): (\w+): .+; .+$/.exec(line);
    assert(match !== null, line);
    return `${match[1]} ${match[2]}`;
  });
}

/** The same for the errors of the agent, which names no line for a value as a whole. */
function errorsOf({ findings }: Admission): readonly string[] {
  return findings.filter(({ severity }) => severity === 'error').map(({ line = 1, code }) => `${line} ${code}`);
}

/** A bad file with what is wrong in it. */
const bad: readonly (readonly [title: string, content: string | Uint8Array, ...findings: readonly string[]])[] = [
  ['CRLF line ends', one.pem.replaceAll('\n', '\r\n'), '1 CrlfLineEndings'],
  ['a CR in one line', `# Corp\n${one.pem}# end\r\n`, `${lineCount + 2} CrlfLineEndings`],
  ['line ends of old Macs', `# Corp\r${one.pem.replaceAll('\n', '\r')}`, '1 CrlfLineEndings'],
  ['a BOM of UTF-8', `\ufeff${one.pem}`, '1 ByteOrderMark'],
  ['a BOM in the middle, of a file that was joined', `${one.pem}\ufeff${two.pem}`, `${lineCount + 1} ByteOrderMark`],
  ['UTF-16, little endian', Buffer.from(`\ufeff${one.pem}`, 'utf16le'), '1 ByteOrderMark'],
  ['UTF-16, big endian', Buffer.from(`\ufeff${one.pem}`, 'utf16le').swap16(), '1 ByteOrderMark'],
  ['UTF-16 without BOM', Buffer.from(one.pem, 'utf16le'), '1 NoCertificate'],
  ['DER', one.der, '1 DerEncoded'],
  ['a private key', one.pem + one.keyPem, `${lineCount + 1} PrivateKey`],
  ['a private key alone', one.keyPem, '1 PrivateKey'],
  ['a private key of PKCS #1', rsaKeyPem, '1 PrivateKey'],
  ['a private key of SEC 1', one.keys.privateKey.export({ format: 'pem', type: 'sec1' }), '1 PrivateKey'],
  ['an encrypted key', encryptedKeyPem, '1 PrivateKey'],
  ['a private key that lost its END', one.keyPem.replace(/-----END.*/, ''), '1 PrivateKey'],
  ['a private key that lost its BEGIN', `${one.keyPem.replace(/-----BEGIN.*\n/, '')}${one.pem}`, '4 PrivateKey'],
  ['a private key with a dash too few', one.keyPem.replaceAll('-----', '----'), '1 PrivateKey'],
  ['a private key under the label of a certificate', encodePem('CERTIFICATE', keyDer), '1 PrivateKey'],
  [
    'an encrypted key under the label of a certificate',
    encryptedKeyPem.replaceAll('ENCRYPTED PRIVATE KEY', 'CERTIFICATE'),
    '1 PrivateKey',
  ],
  ['base64 of PEM', base64(one.pem), '1 DoubleBase64'],
  ['wrapped base64 of PEM', base64(one.pem).replaceAll(/.{76}/g, '$&\r\n'), '1 DoubleBase64'],
  ['base64 of base64 of PEM', base64(base64(one.pem)), '1 DoubleBase64'],
  ['BEGIN without END', `${one.pem.replace(end, '')}\n${two.pem}`, '1 MalformedPem'],
  ['BEGIN without END, at the end', `${one.pem}${two.pem.replace(end, '')}`, `${lineCount + 1} MalformedPem`],
  ['END without BEGIN', one.pem.replace(begin, ''), `${lineCount} MalformedPem`],
  ['labels that do not match', one.pem.replace(end, '-----END X509 CRL-----'), '1 MalformedPem'],
  ['files joined without a line break', one.pem.trimEnd() + two.pem, `${lineCount} MalformedPem`],
  ['line breaks that were lost', one.pem.replaceAll('\n', ''), '1 MalformedPem'],
  ['an indented BEGIN', ` ${one.pem}`, '1 MalformedPem'],
  ['lower case', one.pem.replace(begin, begin.toLowerCase()), '1 MalformedPem'],
  ['dashes that a word processor made long', one.pem.replace(begin, '—–BEGIN CERTIFICATE—–'), '1 MalformedPem'],
  ['six dashes', one.pem.replace(begin, `-${begin}-`), '1 MalformedPem'],
  ['text behind an END', one.pem.replace(end, `${end} # Corp`), `${lineCount} MalformedPem`],
  ['PEM headers', one.pem.replace(begin, `${begin}\nProc-Type: 4,ENCRYPTED\n`), '1 MalformedPem'],
  ['a character that is not base64', one.pem.replace(/\nMII/, '\nMI!'), '2 InvalidBase64'],
  ['a character that is missing', one.pem.replace(/.\n-----END/, '\n-----END'), `${lineCount - 1} InvalidBase64`],
  ['an empty block', `${begin}\n${end}\n`, '1 MalformedCertificate'],
  ['base64 that is no certificate', encodePem('CERTIFICATE', Buffer.from('not one')), '1 MalformedCertificate'],
  ['a list of revoked ones', encodePem('X509 CRL', one.der), '1 UnexpectedPemBlock'],
  ['a trusted certificate of OpenSSL', encodePem('TRUSTED CERTIFICATE', one.der), '1 UnexpectedPemBlock'],
  ['text alone', 'Corp Root\n', '1 NoCertificate'],
  ['eleven certificates', pemOf(one, ...cas.slice(0, 11)), `${11 * (lineCount + 1) + 1} TooManyCertificates`],
  [
    'several faults',
    `${pemOf(one)}\r\n${encodePem('X509 CRL', one.der)}${two.keyPem}${one.pem.replace(end, '')}`,
    `${lineCount + 1} CrlfLineEndings`,
    `${lineCount + 2} UnexpectedPemBlock`,
    `${2 * lineCount + 2} PrivateKey`,
    `${2 * lineCount + 7} MalformedPem`,
  ],
  [
    'a fault that is seen late',
    `${one.pem.replace(end, '')}# end\r\n`,
    '1 MalformedPem',
    `${lineCount + 1} CrlfLineEndings`,
  ],
  ['a certificate that is cut off', encodePem('CERTIFICATE', one.der.slice(0, -9)), '1 MalformedCertificate'],
  ['bytes behind it', encodePem('CERTIFICATE', Buffer.concat([one.der, Buffer.of(0)])), '1 MalformedCertificate'],
];

for (const [title, content, ...findings] of bad) {
  under(`of a file with ${title} nothing is installed`, async (shell) => {
    await using node = await createBootNode();
    await node.write(`${node.family.anchors}/${nameOf(two)}.crt`, two.pem); // of an earlier boot, and not to be removed
    await node.write(list, `${nameOf(two)}\n`);
    await node.write(input, content);
    const before = await node.snapshot();
    const ran = await shell.boot(node);
    assert.equal(ran.code, 1, ran.said);
    assert.deepEqual(findingsOf(ran), findings);
    assert.deepEqual(findings, errorsOf(admitFile(content)), 'the agent says the same');
    assert.deepEqual(await node.snapshot(), before);
    assertSilent(ran, content);
  });
}

under('of a whole bundle no more is looked at than shows that it is one: a boot has little time', async (shell) => {
  await using node = await createBootNode();
  const broken = encodePem('CERTIFICATE', Buffer.from('not one'));
  await node.write(input, `${pemOf(...cas)}\n${broken}${two.keyPem}`);
  const line = 12 * (lineCount + 1);
  assert.deepEqual(findingsOf(await shell.boot(node)), [
    `${10 * (lineCount + 1) + 1} TooManyCertificates`,
    `${line + 4} PrivateKey`,
  ]);
});

under('of one certificate many times, or of many blocks that are none, no more is looked at either', async (shell) => {
  for (const block of [one.pem, encodePem('CERTIFICATE', Buffer.from('not one'))]) {
    await using node = await createBootNode();
    await node.write(input, `${block}\n`.repeat(60));
    const line = 50 * block.split('\n').length + 1;
    assert.equal(findingsOf(await shell.boot(node)).at(-1), `${line} TooManyCertificates`);
  }
});

under('what only openssl can tell is told where there is openssl', async (shell) => {
  const point = one.keys.publicKey.export({ format: 'der', type: 'spki' }).subarray(-64);
  const at = Buffer.from(one.der).indexOf(point);
  for (const [start, end] of [[40, 80] as const, [at, at + 32] as const]) {
    const der = Buffer.from(one.der).fill(0, start, end);
    await using node = await createBootNode();
    await node.write(input, encodePem('CERTIFICATE', der));
    const { code, said } = await shell.boot(node);
    assert.deepEqual([code, said.includes(': MalformedCertificate: ')], shell.hasOpenssl ? [1, true] : [0, false]);
  }
});

under('whatever the agent admits is installed, under the same names', (shell) =>
  fc.assert(
    fc.asyncProperty(goodFile, async (content) => {
      const admission = admitFile(content);
      assert(admission.accepted);
      await using node = await createBootNode();
      await node.write(input, content);
      const ran = await shell.boot(node);
      assert.equal(ran.code, 0, ran.said);
      const files = admission.certificates.map(({ certificate }) => `${anchorName(certificate.fingerprint)}.crt`);
      assert.deepEqual(await node.anchors(), files.sort());
      for (const { fingerprint, pem } of admission.bundle.certificates)
        assert.equal(await node.read(`${node.family.anchors}/${anchorName(fingerprint)}.crt`), pem);
    }),
    { numRuns: 8 },
  ),
);

under('a file that was damaged is judged as the agent judges it', (shell) =>
  fc.assert(
    fc.asyncProperty(damagedFile, async (content) => {
      const errors = errorsOf(admitFile(content));
      if (!shell.hasOpenssl) fc.pre(!errors.some((error) => error.endsWith('MalformedCertificate')));
      await using node = await createBootNode();
      await node.write(input, content);
      const ran = await shell.boot(node);
      assert.equal(ran.code, errors.length === 0 ? 0 : 1, ran.said);
      if (errors.length > 0) assert.deepEqual(await node.anchors(), []);
      assertSilent(ran, content);
    }),
    { numRuns: 25 },
  ),
);

/** Nothing of a body is repeated. */
function assertSilent({ said }: Ran, content: string | Uint8Array): void {
  const bodies =
    Buffer.from(content)
      .toString('latin1')
      .match(/[A-Za-z0-9+/=]{24,}/g) ?? [];
  for (const body of bodies)
    for (let at = 0; at + 24 <= body.length; at += 8) assert(!said.includes(body.slice(at, at + 24)));
}

const around = fc.constantFrom('', '\n', '# Corp Root\n', ' \t\n\n', 'Subject: CN=é, the BEGINNING\n', 'a - b -- c\n');
const goodFile = fc
  .array(fc.tuple(around, fc.constantFrom(...cas.slice(0, 10)), fc.integer({ min: 4, max: 120 })), {
    minLength: 1,
    maxLength: 13,
  })
  .map((blocks) => blocks.map(([text, { der }, width]) => text + wrap(der, width)).join(''));

function wrap(der: Uint8Array, width: number): string {
  return `${begin}\n${base64(der).replaceAll(new RegExp(`.{${width}}(?!$)`, 'g'), '$&\n')}\n${end}\n`;
}

/** Two certificates and a key, of which lines were lost, doubled, swapped or altered. */
const damagedFile = fc
  .tuple(
    fc.constantFrom(pemOf(one, two), `${one.pem}${two.keyPem}`, `# Corp\n${one.pem}`),
    fc.array(
      fc.tuple(
        fc.nat(),
        fc.constantFrom<(line: string, next: string) => readonly string[]>(
          (_, next) => [next],
          (line, next) => [line, line, next],
          (line, next) => [next, line],
          (line, next) => [line + next],
          (line, next) => [` ${line} `, next],
          (line, next) => [`${line}\r`, next],
          (line, next) => [line.slice(1), next],
          (line, next) => [line.replace('CERTIFICATE', 'PUBLIC KEY'), next],
          (line, next) => [line.replaceAll('--', '-'), next],
          (line, next) => [line.toLowerCase(), next],
          (line, next) => [`\ufeff${line}`, next],
          (line, next) => [`${line}=`, next],
          (line, next) => [`X: ${line}`, next],
        ),
      ),
      { minLength: 1, maxLength: 3 },
    ),
  )
  .map(([text, damages]) =>
    damages
      .reduce<readonly string[]>((lines, [seed, damage]) => {
        const at = seed % lines.length;
        return [...lines.slice(0, at), ...damage(lines[at] ?? '', lines[at + 1] ?? ''), ...lines.slice(at + 2)];
      }, text.split('\n'))
      .join('\n'),
  );

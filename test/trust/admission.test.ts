import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Admission, type AdmissionOptions, admit, type Finding } from '../../agent/trust/admission.ts';
import { admissionReasons } from '../../agent/trust/admission-reasons.ts';
import { emptyBundle } from '../../agent/trust/bundle.ts';
import { createCertificate, createServerCertificate, encodePem, fixedNow } from '../support/certificates.ts';

const one = createCertificate({ subject: 'CA 0' });
const two = createCertificate({ subject: 'CA 1' });
const three = createCertificate({ subject: 'CA 2' });
const cas = [
  one,
  two,
  three,
  ...Array.from({ length: 9 }, (_, index) => createCertificate({ subject: `More ${index}` })),
];
const options: AdmissionOptions = { now: fixedNow, maxCertificates: 10, nonCa: 'error' };

function admitText(
  entries: Readonly<Record<string, string | Uint8Array>>,
  changes: Partial<AdmissionOptions> = {},
): Admission {
  const bytes = Object.entries(entries).map(([entry, value]) => [entry, Buffer.from(value)] as const);
  return admit(new Map(bytes), { ...options, ...changes });
}

const tell = ({ findings }: Admission): string[] =>
  findings.map(({ entry, line, certificate, code }) => [entry, line, certificate, code].filter(Boolean).join(' '));

test('sound certificates are admitted, in the order of their entries', () => {
  const admission = admitText({ 'b.pem': one.pem + two.pem, 'a.pem': `# Corp\n${three.pem}` });
  assert.equal(admission.accepted, true);
  assert.deepEqual(admission.findings, []);
  assert.deepEqual(
    admission.certificates.map(({ entry, certificate }) => `${entry} ${certificate.subject}`),
    ['a.pem CN=CA 2', 'b.pem CN=CA 0', 'b.pem CN=CA 1'],
  );
  assert.equal(admission.bundle.certificates.length, 3);
});

test('a source without entries is empty', () => {
  const admission = admitText({});
  assert.deepEqual([admission.accepted, admission.bundle], [false, emptyBundle]);
  assert.deepEqual(admission.findings, [
    {
      code: 'SourceEmpty',
      severity: 'error',
      entry: '',
      message: 'the source holds no data',
      remedy: 'Add at least one PEM certificate, or delete the source if its trust is no longer wanted.',
    },
  ]);
});

test('a finding has the shape that the command line prints', () => {
  const { findings } = admitText({ 'corp.pem': `\n${createServerCertificate(one).pem}` });
  const [first] = findings;
  assert.equal(
    JSON.stringify(first),
    '{"code":"NotCa","severity":"error","entry":"corp.pem","certificate":1,"line":2,' +
      '"message":"not a CA, basicConstraints is missing or CA:FALSE (CN=localhost)",' +
      `"remedy":${JSON.stringify(admissionReasons.NotCa.remedy)}}`,
  );
});

test('one bad entry rejects the whole source, and the rest is judged as well', () => {
  const admission = admitText({ 'good.pem': one.pem, 'bad.pem': 'no certificate', 'key.pem': two.pem + two.keyPem });
  assert.equal(admission.accepted, false);
  assert.deepEqual(tell(admission), ['bad.pem NoCertificate', 'key.pem 11 PrivateKey']);
  assert.equal(admission.certificates.length, 2);
});

test('an entry without a certificate says so, unless it has another error', () => {
  const entries = {
    a: '',
    b: ' \n',
    c: 'text',
    d: Buffer.from(one.pem, 'utf16le'),
    e: Buffer.from(one.der).toString('base64'),
  };
  assert.deepEqual(
    tell(admitText(entries)),
    Object.keys(entries).map((entry) => `${entry} NoCertificate`),
  );
  assert.deepEqual(tell(admitText({ a: 'text\r\n', b: one.keyPem })), ['a 1 CrlfLineEndings', 'b 1 PrivateKey']);
});

test('a value that is not text gives that one finding', () => {
  const entries = {
    bom: Buffer.concat([Buffer.of(0xff, 0xfe), Buffer.from(`${one.pem}\r\n`, 'utf16le')]),
    der: one.der,
    twice: Buffer.from(`${one.pem}\r\n`).toString('base64'),
  };
  assert.deepEqual(tell(admitText(entries)), ['bom ByteOrderMark', 'der DerEncoded', 'twice DoubleBase64']);
});

test('all findings of an entry are told, sorted by line', () => {
  const text = [
    `\ufeff${one.pem}`,
    encodePem('X509 CRL', one.der),
    encodePem('CERTIFICATE', Buffer.from('garbage')),
    encodePem('CERTIFICATE', Buffer.alloc(0)),
    one.pem.replace('MII', 'M*I'),
    two.pem.slice(0, 100),
    encodePem('PKCS7', one.der),
  ].join('\n');
  assert.deepEqual(tell(admitText({ a: text.replace('\n\n', '\r\n\n') })), [
    'a 1 ByteOrderMark',
    'a 10 CrlfLineEndings',
    'a 12 UnexpectedPemBlock',
    'a 23 2 MalformedCertificate',
    'a 27 3 MalformedCertificate',
    'a 32 4 InvalidBase64',
    'a 42 5 MalformedPem',
    'a 45 UnexpectedPemBlock',
  ]);
});

test('a private key under the label of a certificate is a private key', () => {
  const der = one.keys.privateKey.export({ format: 'der', type: 'pkcs8' });
  assert.deepEqual(tell(admitText({ a: encodePem('CERTIFICATE', der) })), ['a 1 1 PrivateKey']);
});

test('the limit counts distinct certificates, and the first beyond it is named', () => {
  const all = cas.map(({ pem }) => pem).join('');
  const admission = admitText({ a: all, b: all });
  const [beyond, ...others] = admission.findings.filter(({ severity }) => severity === 'error');
  assert.equal(beyond?.code, 'TooManyCertificates');
  assert.equal(beyond?.message, 'the source holds 12 distinct certificates, at most 10 are allowed');
  assert.deepEqual([beyond?.entry, beyond?.certificate, others], ['a', 11, []]);
  assert.equal(admitText({ a: all, b: all }, { maxCertificates: 12 }).accepted, true);
});

test('a duplicate is a warning at its later place that names the first, and is judged once', () => {
  const leaf = createCertificate({ subject: 'Old', notAfter: new Date('2026-03-01T00:00:00Z') });
  const admission = admitText({ a: two.pem + leaf.pem, b: `\n${leaf.pem}` });
  assert.deepEqual(tell(admission), ['a 11 2 Expired', 'b 2 1 Duplicate']);
  assert.equal(admission.findings[1]?.message, 'the same as entry "a", certificate 2 (CN=Old)');
  assert.deepEqual([admission.accepted, admission.certificates.length], [true, 2]);
});

test('certificates that are not CAs are admitted where that is allowed', () => {
  const text = { a: createCertificate({ ca: false }).pem };
  assert.equal(admitText(text).accepted, false);
  assert.equal(admitText(text, { nonCa: 'warning' }).accepted, true);
});

test('order of entries, their names and text around blocks do not change the digest, and findings are sorted', () => {
  const pick = fc.subarray(cas, { minLength: 1, maxLength: 5 });
  const text = fc.string({ unit: 'grapheme', maxLength: 20 }).filter((value) => !/begin|end|[\r-]/i.test(value));
  const order = fc.func<[string], number>(fc.integer());
  fc.assert(
    fc.property(pick, text, order, (picked, around, rank) => {
      const plain = admit(new Map(picked.map(({ pem }, index) => [`${index}`, Buffer.from(pem)])), options);
      const shuffled = picked.toSorted((a, b) => rank(a.pem) - rank(b.pem));
      const dressed = shuffled.map(
        ({ pem }, index) => [`x${index}`, Buffer.from(`${around}\n${pem}${around}\n${pem}`)] as const,
      );
      const other = admit(new Map(dressed), options);
      assert.equal(other.bundle.digest, plain.bundle.digest);
      assert.deepEqual(tell(other), tell(admit(new Map(dressed.toReversed()), options)));
      assert.deepEqual(other.findings, other.findings.toSorted(byPlace));
    }),
    { numRuns: 50 },
  );
});

test('garbage is never admitted and never makes it throw', () => {
  const names = fc.string({ maxLength: 5 });
  const garbage = fc.uint8Array({ maxLength: 500 });
  fc.assert(
    fc.property(fc.array(fc.tuple(names, garbage), { maxLength: 4 }), (entries) => {
      const admission = admit(new Map(entries), options);
      assert.equal(admission.accepted, false);
      assert.ok(admission.findings.length > 0);
    }),
  );
});

test('damaged PEM never makes it throw, and what is admitted is unchanged or no longer signed by itself', () => {
  const source = Buffer.from(one.pem + two.pem);
  const removed = fc.oneof(fc.constantFrom(0, 1, source.length), fc.nat(80));
  const splice = fc.tuple(fc.nat(source.length), removed, fc.uint8Array({ maxLength: 20 }));
  const originals = [one, two].map(({ der }) => Buffer.from(der));
  fc.assert(
    fc.property(fc.array(splice, { minLength: 1, maxLength: 3 }), (splices) => {
      let damaged = source;
      for (const [at, count, added] of splices) {
        damaged = Buffer.concat([damaged.subarray(0, at), added, damaged.subarray(at + count)]);
      }
      const admission = admit(new Map([['a', damaged]]), options);
      if (!admission.accepted) return;
      const again = admitText({ a: admission.bundle.certificates.map(({ pem }) => pem).join('') });
      assert.equal(again.bundle.digest, admission.bundle.digest);
      for (const { der } of admission.bundle.certificates) {
        const isOriginal = originals.some((original) => original.equals(der));
        // Changed bytes inside of a certificate cannot all be seen, but its own signature no longer fits.
        assert.ok(isOriginal || admission.findings.some(({ code }) => code === 'NotSelfSigned'));
      }
    }),
    { numRuns: 1500 },
  );
});

test('nothing of a private key is repeated, however its block is damaged', () => {
  const body = one.keyPem.split('\n').slice(1, -2).join('');
  const runs = Array.from({ length: body.length - 11 }, (_, at) => body.slice(at, at + 12));
  const pieces = fc.subarray([
    '-----BEGIN PRIVATE KEY-----',
    '\n',
    body.slice(0, 64),
    '\n',
    body.slice(64),
    '\n',
    '-----END PRIVATE KEY-----',
    '\n',
  ]);
  const around = fc.constantFrom(
    '',
    one.pem,
    one.pem.trimEnd(),
    '-----BEGIN ',
    '-----BEGIN CERTIFICATE-----\n',
    'x',
    '\r\n',
  );
  fc.assert(
    fc.property(around, pieces, around, (before, middle, after) => {
      const admission = admitText({ a: before + middle.join('') + after });
      const told = JSON.stringify(admission.findings);
      assert.ok(!runs.some((run) => told.includes(run)));
      const holdsBlock = middle.length === 8;
      assert.ok(!holdsBlock || admission.findings.some(({ code }) => code === 'PrivateKey'));
      assert.ok(!holdsBlock || !admission.accepted);
    }),
    { numRuns: 1000 },
  );
});

function byPlace(a: Finding, b: Finding): number {
  return a.entry === b.entry ? (a.line ?? 0) - (b.line ?? 0) : a.entry < b.entry ? -1 : 1;
}

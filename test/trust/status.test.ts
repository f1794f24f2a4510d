import assert from 'node:assert/strict';
import { test } from 'node:test';
import { admit, type Finding } from '../../agent/trust/admission.ts';
import { describeFinding, formatAnnotations, type Status, sentence, soonestExpiry } from '../../agent/trust/status.ts';
import { makeBundle, makeCertificate } from '../support/bundles.ts';
import { fixedNow } from '../support/certificates.ts';

const certificate = makeCertificate('Root One');
const synced: Status = {
  state: 'Synced',
  reason: '',
  message: 'all is well',
  trusted: { bundle: makeBundle(certificate).digest, certificates: [{ entry: 'corp.pem', certificate }] },
  observed: 'sha256:00',
  findings: [],
  store: '/etc/ssl/certs/ca-certificates.crt',
  runtime: { kind: 'unit', unit: 'containerd.service' },
  warnings: [],
};

function manyFindings(count: number): readonly Finding[] {
  const entries = new Map(
    Array.from({ length: count }, (_, index) => [`entry-${String(index).padStart(4, '0')}`, Buffer.from('x')]),
  );
  return admit(entries, { now: fixedNow, maxCertificates: 10, nonCa: 'error' }).findings;
}

test('the annotations are those of the contract', () => {
  assert.deepEqual(formatAnnotations(synced), {
    'node-trust-agent/state': 'Synced',
    'node-trust-agent/reason': '',
    'node-trust-agent/message': 'all is well',
    'node-trust-agent/bundle': makeBundle(certificate).digest,
    'node-trust-agent/certificates': '1',
    'node-trust-agent/observed': 'sha256:00',
    'node-trust-agent/expires-at': certificate.notAfter.toISOString(),
    'node-trust-agent/details': JSON.stringify({
      version: 1,
      certificates: [
        {
          subject: 'CN=Root One',
          fingerprint: certificate.fingerprint,
          notAfter: certificate.notAfter.toISOString(),
          entry: 'corp.pem',
        },
      ],
      findings: [],
      store: '/etc/ssl/certs/ca-certificates.crt',
      runtime: { kind: 'unit', unit: 'containerd.service' },
    }),
  });
});

test('without certificates there is no expiry: the annotation is taken away', () => {
  const trusted = { bundle: makeBundle().digest, certificates: [] };
  assert.equal(soonestExpiry(trusted), undefined);
  assert.equal(formatAnnotations({ ...synced, trusted })['node-trust-agent/expires-at'], null);
});

test('what could not be found out leaves the annotations about it as they are', () => {
  const names = Object.keys(formatAnnotations({ ...synced, state: 'Failed', trusted: undefined }));
  for (const name of ['bundle', 'certificates', 'expires-at']) assert(!names.includes(`node-trust-agent/${name}`));
});

test('details of more than 16 KiB lose whole findings from the end and say how many', () => {
  const findings = manyFindings(500);
  const text = formatAnnotations({ ...synced, findings })['node-trust-agent/details'];
  assert(typeof text === 'string' && Buffer.byteLength(text) <= 16 * 1024);
  const details = JSON.parse(text) as { readonly findings: readonly Finding[]; readonly truncated: number };
  assert.deepEqual(details.findings, findings.slice(0, details.findings.length));
  assert.equal(details.truncated, 500 - details.findings.length);
  assert(details.findings.length > 10, 'as many as fit');
});

test('details that fit are whole and do not speak of truncation', () => {
  const text = formatAnnotations({ ...synced, findings: manyFindings(3) })['node-trust-agent/details'];
  assert(!String(text).includes('truncated'));
});

test('a message and its remedy are one sentence', () => {
  assert.equal(sentence('it is broken', 'Mend it.'), 'it is broken; mend it');
});

test('a finding is told with its place', () => {
  const finding = { severity: 'error', entry: 'a"b', message: 'bad', remedy: '' } as const;
  assert.equal(describeFinding({ ...finding, certificate: 2, line: 9 }), 'entry "a\\"b", certificate 2, line 9: bad');
  assert.equal(describeFinding({ ...finding, line: 9 }), 'entry "a\\"b", line 9: bad');
  assert.equal(describeFinding({ ...finding, entry: '' }), 'bad');
});

test('warnings count, too: details fit into their share of the annotations whatever was seen', () => {
  const warnings = Array.from({ length: 400 }, (_, index) => `warning ${index} ${'x'.repeat(200)}`);
  const details =
    formatAnnotations({ ...synced, warnings, findings: manyFindings(10) })['node-trust-agent/details'] ?? '';
  assert(Buffer.byteLength(details) <= 16 * 1024);
  const {
    certificates,
    warnings: kept,
    findings,
    truncated,
  } = JSON.parse(details) as Readonly<Record<string, never[]>>;
  assert.equal(certificates?.length, 1);
  assert.deepEqual([findings, Number(kept?.length) + Number(truncated)], [[], 410]);
});

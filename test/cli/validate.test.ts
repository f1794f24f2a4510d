import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createCertificate } from '../support/certificates.ts';
import { type CommandResult, nodeTrust } from '../support/command-line.ts';

const folder = await mkdtemp(join(tmpdir(), 'node-trust-validate-'));
after(() => rm(folder, { recursive: true }));

const corp = createCertificate({ subject: 'Corp Root' });
const other = createCertificate({ subject: 'Other Root' });

interface Answer {
  readonly version: number;
  readonly accepted: boolean;
  readonly certificates: readonly Readonly<Record<string, string>>[];
  readonly findings: readonly { readonly code: string; readonly entry: string; readonly line?: number }[];
}

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

async function validate(
  paths: readonly string[],
  input: string | Uint8Array = '',
): Promise<CommandResult & { readonly answer: Answer }> {
  const result = await nodeTrust(['validate', '--json', ...paths], input);
  return { ...result, answer: JSON.parse(result.out) as Answer };
}

function codes({ findings }: Answer): readonly string[] {
  return findings.map(({ code, entry }) => `${entry}: ${code}`);
}

test('a PEM file is one source with one entry named after it', async () => {
  const { code, answer } = await validate([await file('corp.pem', corp.pem + other.pem)]);
  assert.equal(code, 0);
  assert.equal(answer.version, 1);
  assert.equal(answer.accepted, true);
  assert.deepEqual(
    answer.certificates.map(({ entry, subject }) => [entry, subject]),
    [
      ['corp.pem', 'CN=Corp Root'],
      ['corp.pem', 'CN=Other Root'],
    ],
  );
  assert.deepEqual(Object.keys(answer.certificates[0] ?? {}), [
    'entry',
    'subject',
    'fingerprint',
    'notBefore',
    'notAfter',
  ]);
  assert.match(answer.certificates[0]?.['fingerprint'] ?? '', /^[0-9a-f]{64}$/);
});

test('a finding has the fields of the contract, in their order', async () => {
  const { answer } = await validate([await file('crlf.pem', corp.pem.replaceAll('\n', '\r\n'))]);
  assert.deepEqual(Object.keys(answer.findings[0] ?? {}), ['code', 'severity', 'entry', 'line', 'message', 'remedy']);
});

test('a folder is one source, an entry a file', async () => {
  const path = join(folder, 'cas');
  await mkdir(join(path, 'sub'), { recursive: true });
  await file('cas/a.pem', corp.pem);
  await file('cas/b.pem', corp.pem.replaceAll('\n', '\r\n'));
  const { code, answer } = await validate([path]);
  assert.equal(code, 1);
  assert.deepEqual(codes(answer), ['b.pem: CrlfLineEndings', 'b.pem: Duplicate']);
  assert.match((await nodeTrust(['validate', path])).err, /^note: .*cas\/sub is not a file and was not read\n$/);
});

test('what is larger than any Secret is not read, from a file or a pipe', async () => {
  const large = Buffer.alloc(4 * 1024 * 1024 + 1, 'a');
  const path = join(folder, 'large');
  await writeFile(path, large);
  for (const result of [await nodeTrust(['validate', path]), await nodeTrust(['validate', '-'], large)]) {
    assert.equal(result.code, 3);
    assert.match(result.err, /is larger than 4 MiB; a Secret holds at most 1 MiB/);
  }
});

test('an empty folder and an empty file are SourceEmpty', async () => {
  const path = join(folder, 'empty');
  await mkdir(path, { recursive: true });
  for (const source of [path, await file('empty.pem', '')]) {
    const { code, answer } = await validate([source]);
    assert.equal(code, 1);
    assert.deepEqual(codes(answer), [': SourceEmpty']);
  }
});

const data = { 'a.pem': Buffer.from(corp.pem).toString('base64') };
const manifest = {
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name: 's', namespace: 'n' },
  data,
  stringData: { b: other.pem },
};

test('a Secret manifest is read as JSON and as YAML, data and stringData', async () => {
  const indented = other.pem.trimEnd().replaceAll('\n', '\n    ');
  const yaml = `# a comment\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata:\n  a.pem: ${data['a.pem']}\nstringData:\n  b: |\n    ${indented}\n`;
  for (const text of [JSON.stringify(manifest), yaml]) {
    const { code, answer } = await validate([await file('secret', text)]);
    assert.equal(code, 0);
    assert.deepEqual(
      answer.certificates.map(({ entry }) => entry),
      ['a.pem', 'b'],
    );
  }
});

test('a Secret of another type is refused without a look at its data', async () => {
  const { code, answer } = await validate([
    await file('tls', JSON.stringify({ ...manifest, type: 'kubernetes.io/tls' })),
  ]);
  assert.equal(code, 1);
  assert.deepEqual(codes(answer), [': SourceWrongType']);
});

test('a manifest whose data is not base64 is rejected with the entry named, besides all that is right', async () => {
  const { code, answer } = await validate([
    await file('bad', JSON.stringify({ ...manifest, data: { z: 'not base64!' } })),
  ]);
  assert.equal(code, 1);
  assert.deepEqual(codes(answer), ['z: InvalidBase64']);
  assert.equal(answer.certificates.length, 1);
});

test('- is standard input, PEM or manifest', async () => {
  assert.equal((await validate(['-'], corp.pem)).answer.certificates.length, 1);
  assert.equal((await validate(['-'], JSON.stringify(manifest))).answer.certificates.length, 2);
});

test('a value encoded twice, as by base64 before kubectl, is found', async () => {
  const twice = { ...manifest, stringData: {}, data: { a: Buffer.from(data['a.pem']).toString('base64') } };
  assert.deepEqual(codes((await validate([await file('twice', JSON.stringify(twice))])).answer), ['a: DoubleBase64']);
});

test('several paths are several sources, each with its own limit', async () => {
  const many = (name: string): string =>
    Array.from({ length: 6 }, (_, index) => createCertificate({ subject: `${name} ${index}` }).pem).join('');
  const paths = [await file('six', many('A')), await file('six-more', many('B'))];
  assert.equal((await validate(paths)).answer.accepted, true);
  assert.equal((await nodeTrust(['validate', '--max-certificates', '5', ...paths])).code, 1);
});

test('of several paths, each certificate and each finding says which it is of', async () => {
  await mkdir(join(folder, 'one'), { recursive: true });
  await mkdir(join(folder, 'two'), { recursive: true });
  const paths = [await file('one/ca.pem', corp.pem), await file('two/ca.pem', `${corp.pem}x`)];
  const { certificates, findings } = (await validate(paths)).answer;
  assert.deepEqual(
    certificates.map(({ source, entry }) => [source, entry]),
    paths.map((path) => [path, 'ca.pem']),
  );
  const [found] = (await validate([paths[0] ?? '', await file('two/ca.pem', 'x')])).answer.findings;
  assert.deepEqual(Object.entries(found ?? {}).slice(0, 2), [
    ['source', paths[1]],
    ['code', 'NoCertificate'],
  ]);
  assert.deepEqual(findings, []);
  assert(!('source' in ((await validate(paths.slice(0, 1))).answer.certificates[0] ?? {})));
});

test('a certificate that is no CA is an error, and a warning with --allow-non-ca', async () => {
  const path = await file('leaf', createCertificate({ ca: false }).pem);
  assert.equal((await nodeTrust(['validate', path])).code, 1);
  const { code, out } = await nodeTrust(['validate', '--allow-non-ca', path]);
  assert.equal(code, 0);
  assert.match(out, /warning NotCa/);
});

test('people read a verdict, each certificate, each finding where it is with its line and its remedy, and a summary', async () => {
  const mixed = await file('mixed.pem', `${corp.pem}-----BEGIN X509 CRL-----\nAA==\n-----END X509 CRL-----\n`);
  const { out } = await nodeTrust(['validate', mixed, await file('corp.pem', corp.pem)]);
  assert.match(out, /mixed\.pem: REJECTED/);
  assert.match(out, /until 2036-06-01 {2}CN=Corp Root {2}\(mixed\.pem\)/);
  const line = corp.pem.split('\n').length;
  const [, place, code, shown, remedy] = /^(\S+): error (\S+): .*\n(.*)\n(.*)$/m.exec(out) ?? [];
  assert.deepEqual([place, code], [`${mixed}:${line}`, 'UnexpectedPemBlock']);
  assert.equal(shown, `    ${line} | -----BEGIN X509 CRL-----`);
  assert.match(remedy ?? '', /^ {4}→ Remove the block/);
  assert.match(out, /\n\n1 of 2 sources accepted; 2 certificates, 1 error, 0 warnings\n$/);
});

test('a finding is placed in the file of a folder, in the entry of a manifest, and on standard input', async () => {
  const crlf = corp.pem.replaceAll('\n', '\r\n');
  const path = join(folder, 'placed');
  await mkdir(path);
  const bad = await file('placed/bad.pem', crlf);
  assert((await nodeTrust(['validate', path])).out.includes(`\n${bad}:1: error CrlfLineEndings: `));
  const secret = await file('bad-secret', JSON.stringify({ kind: 'Secret', stringData: { 'x\u001b': crlf } }));
  assert((await nodeTrust(['validate', secret])).out.includes(`\n${secret}: x\\u{1b}:1: error CrlfLineEndings: `));
  assert.match((await nodeTrust(['validate', '-'], crlf)).out, /\n-:1: error CrlfLineEndings: /);
});

test('no part of a private key is printed, as an entry of its own or in a certificate block', async () => {
  const key = corp.keys.privateKey.export({ format: 'der', type: 'pkcs8' }).toString('base64');
  const spoilt = `-----BEGIN CERTIFICATE-----\n${key.slice(0, 40)}é${key.slice(40)}\n-----END CERTIFICATE-----\n`;
  for (const text of [corp.keyPem, corp.pem + corp.keyPem.replaceAll('\n', '\r\n'), spoilt, key]) {
    const { code, out, err } = await nodeTrust(['validate', '-'], text);
    assert.equal(code, 1);
    for (const piece of key.match(/.{8}/g) ?? []) assert(!`${out}${err}`.includes(piece), out);
  }
});

test('what cannot be read ends with 3 and names the path', async () => {
  const { code, err } = await nodeTrust(['validate', join(folder, 'missing')]);
  assert.equal(code, 3);
  assert.match(err, /missing could not be read: no such file or directory\n$/);
  assert.match((await nodeTrust(['validate', join(folder, 'missing')])).out, /^0 of 1 source accepted, 1 not read; 0 /);
  const both = await nodeTrust(['validate', '--json', join(folder, 'missing'), await file('good.pem', corp.pem)]);
  const { accepted, certificates } = JSON.parse(both.out) as { accepted: boolean; certificates: readonly unknown[] };
  assert.deepEqual([both.code, accepted, certificates.length], [3, false, 1], 'and hides no other verdict');
});

test('broken YAML, two Secrets and values that are no text are told apart from PEM', async () => {
  for (const [text, expected] of [
    ['kind: Secret\ndata: [', /neither PEM nor YAML/],
    [`${JSON.stringify(manifest)}\n---\n${JSON.stringify(manifest)}`, /holds 2 Secrets/],
    ['kind: Secret\ndata:\n  a: YQ==\n  b: YQ==\n  "a": Yg==\n', /manifest holds a key twice: look at line 5\n$/],
    ['kind: ConfigMap\n', /holds 0 Secrets/],
    ['kind: Secret\nstringData: {a: 1}\n', /must be text/],
  ] as const) {
    const { code, err } = await nodeTrust(['validate', await file('manifest', text)]);
    assert.equal(code, 3);
    assert.match(err, expected);
  }
});

test('what the YAML parser complains of is told by its line alone: the text may be a key', async () => {
  for (const value of ['|MIGHAgEAMBMG', '>MIGHAgEAMBMG', '*MIGHAgEAMBMG', '[MIGHAgEAMBMG']) {
    const { code, err, out } = await nodeTrust([
      'validate',
      await file('key', `kind: Secret\nstringData:\n  a: ${value}\n`),
    ]);
    assert.equal(code, 3);
    assert.match(err, /is neither PEM nor YAML(: look at line \d)?\n$/);
    assert.doesNotMatch(err + out, /MIGH/);
  }
});

test('a value that is no text is told as that, and the same standard input is not read twice', async () => {
  for (const bytes of [Buffer.from('1f8b0800000d0a00', 'hex'), Buffer.from('feedfeed000000020d', 'hex')])
    assert.deepEqual(codes((await validate(['-'], bytes)).answer), ['-: NoCertificate']);
  const { code, err } = await nodeTrust(['validate', '-', '-'], corp.pem);
  assert.equal(code, 2);
  assert.match(err, /standard input can be read once/);
});

test('what a manifest or a file is called does nothing to a terminal', async () => {
  const name = '\u001b[2J\u009b1Aforged\n1 of 1 sources accepted';
  const forged = JSON.stringify({ kind: 'Secret', metadata: { name }, data: { a: '' } });
  const path = join(folder, 'names');
  await mkdir(join(path, '\u001b[2Jsub\u009b1A'), { recursive: true });
  const results = [
    await nodeTrust(['validate', '-'], forged),
    await nodeTrust(['validate', '--json', '-'], forged),
    await nodeTrust(['validate', '-'], `{"kind":"Secret","data":{${JSON.stringify(name)}:1}}`),
    await nodeTrust(['validate', path, `${path}\u009b`]),
    await nodeTrust(['secret', '-'], JSON.stringify({ kind: 'Secret', stringData: { [name]: `${corp.pem}\r` } })),
  ];
  for (const { out, err } of results) {
    assert.doesNotMatch(out + err, /(?!\n)\p{Cc}/u);
    assert.doesNotMatch(out + err, /^1 of 1 sources accepted/m);
  }
});

test('usage errors end with 2', async () => {
  for (const args of [[], ['--jsno', 'a'], ['--json', '--json', 'a'], ['--max-certificates', '0', 'a']]) {
    const { code, err } = await nodeTrust(['validate', ...args]);
    assert.equal(code, 2);
    assert.match(err, /^node-trust validate: .*\nTry: node-trust validate --help\n$/s);
  }
});

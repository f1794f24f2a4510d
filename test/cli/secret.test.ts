import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { parse as parseYaml } from 'yaml';
import { secret } from '../../agent/cli/secret.ts';
import { validate } from '../../agent/cli/validate.ts';
import { fingerprintOf } from '../../agent/trust/certificate.ts';
import { selfSigned, startTestServer, temporaryFolder, writeKubeconfig } from '../support/api-fixture.ts';
import { createCertificate, encodePem, type TestCertificate } from '../support/certificates.ts';
import { type CommandResult, nodeTrust, runCommand } from '../support/command-line.ts';
import { encodePkcs7 } from '../support/pkcs7.ts';

const [corp, next, proxy] = ['Corp Root', 'Corp Root 2', 'Proxy'].map((subject) => createCertificate({ subject })) as [
  TestCertificate,
  TestCertificate,
  TestCertificate,
];

interface Printed {
  readonly metadata: object;
  readonly data: Readonly<Record<string, string>>;
}

function parse({ code, out, err }: CommandResult): Printed {
  assert.equal(code, 0, err);
  return JSON.parse(out) as Printed;
}

/** Each certificate under its key. */
function certificates(result: CommandResult): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(parse(result).data).map(([key, value]) => [key, Buffer.from(value, 'base64').toString()]),
  );
}

function manifest(data: Readonly<Record<string, string | Uint8Array>>, metadata: object = {}): string {
  const encoded = Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString('base64')]);
  const place = { namespace: 'trust', name: 'cas', ...metadata };
  return JSON.stringify({ apiVersion: 'v1', kind: 'Secret', metadata: place, data: Object.fromEntries(encoded) });
}

async function files(
  t: TestContext,
  contents: Readonly<Record<string, string | Uint8Array>>,
): Promise<readonly string[]> {
  const folder = temporaryFolder(t);
  return Promise.all(
    Object.entries(contents).map(async ([name, content]) => {
      await writeFile(join(folder, name), content);
      return join(folder, name);
    }),
  );
}

test('secret makes a manifest that validate accepts, in YAML and in JSON', async () => {
  for (const format of [[], ['--json']]) {
    const { code, out } = await nodeTrust(['secret', ...format, '-'], corp.pem);
    assert.equal(code, 0);
    assert.match(out, /custom-ca-trust-secret/);
    const judged = await nodeTrust(['validate', '--json', '-'], out);
    assert.equal((JSON.parse(judged.out) as { readonly accepted: boolean }).accepted, true);
  }
});

test('secret names the Secret as it is told', async () => {
  const { metadata } = parse(await runCommand(secret, ['--json', '--name', 'trust/cas', '-'], corp.pem));
  assert.deepEqual(metadata, { namespace: 'trust', name: 'cas' });
});

test('secret takes every form there is, tells what it converted, and gives each certificate an entry', async (t) => {
  const paths = await files(t, {
    'corp.p7b': encodePkcs7([corp.der, proxy.der]),
    'next.cer': next.der,
    'notes.pem': `\ufeff${corp.pem.replaceAll('\n', '\r\n')}`,
  });
  const result = await runCommand(secret, ['--json', ...paths]);
  assert.deepEqual(certificates(result), {
    'corp-root.pem': corp.pem,
    'proxy.pem': proxy.pem,
    'corp-root-2.pem': next.pem,
  });
  const [p7b = '', cer = '', notes = ''] = paths;
  assert.deepEqual(result.err.trimEnd().split('\n'), [
    `note: ${p7b}: converted into plain PEM from PKCS #7`,
    `note: ${cer}: converted into plain PEM from DER`,
    `note: ${notes}: converted into plain PEM from a byte order mark, CR in line ends`,
    `note: file ${notes}: CN=Corp Root is there already, and not added again`,
    'note: this is the whole Secret: of one that is there, kubectl replace --save-config -f - DELETES all other entries, and so does kubectl apply if kubectl apply made it; --merge adds to it instead',
  ]);
});

test('secret prints no manifest that the agent would reject, but why, where, and what to do', async (t) => {
  const [leaf = ''] = await files(t, { 'leaf.pem': createCertificate({ subject: 'Leaf', ca: false }).pem });
  const { code, out, err } = await runCommand(secret, [leaf]);
  assert.deepEqual([code, out], [1, '']);
  assert.match(err, /leaf\.pem:1: error NotCa: certificate 1: .*CN=Leaf.*\n {4}→ .*--allow-non-ca/);
  const allowed = await runCommand(secret, ['--allow-non-ca', leaf]);
  assert.equal(allowed.code, 0);
  assert.match(allowed.err, /^the Secret, leaf\.pem:1: warning NotCa: /);
  const [many = ''] = await files(t, { 'many.pem': corp.pem + next.pem + proxy.pem });
  assert.match((await runCommand(secret, ['--max-certificates', '2', many])).err, /error TooManyCertificates/);
});

test('secret refuses a source that holds nothing or something else, and one that cannot be read', async (t) => {
  const tls = JSON.stringify({ ...(JSON.parse(manifest({})) as object), type: 'kubernetes.io/tls' });
  const [empty = '', other = '', crl = ''] = await files(t, { empty: '', tls, crl: encodePem('X509 CRL', corp.der) });
  for (const [path, expected] of [
    [empty, /error SourceEmpty/],
    [other, /error SourceWrongType/],
    [crl, /error UnexpectedPemBlock/],
  ] as const) {
    const { code, out, err } = await runCommand(secret, [path, '-'], corp.pem);
    assert.deepEqual([code, out], [1, '']);
    assert.match(err, expected);
  }
  assert.equal((await runCommand(secret, [join(empty, 'nowhere')])).code, 3);
});

test('secret refuses a private key in every form, and repeats nothing of it', async () => {
  const pkcs8 = corp.keys.privateKey.export({ format: 'der', type: 'pkcs8' });
  const utf16 = Buffer.from(`\ufeff${corp.pem}${corp.keyPem}`, 'utf16le');
  const forms = [
    corp.pem + corp.keyPem,
    (corp.pem + corp.keyPem).replaceAll('\n', '\r\n'),
    utf16,
    pkcs8,
    pkcs8.toString('base64'),
    Buffer.from(corp.keyPem).toString('base64'),
    utf16.toString('base64'),
    encodePem('CERTIFICATE', pkcs8),
    manifest({ 'ca.pem': corp.pem, 'tls.key': corp.keyPem }),
  ];
  const secrets = [pkcs8.toString('base64'), Buffer.from(corp.keyPem).toString('base64'), pkcs8.toString('hex')];
  for (const form of forms) {
    for (const args of [
      ['-'],
      ...(typeof form === 'string' && form.startsWith('{') ? [['--merge', '-', '/dev/null']] : []),
    ]) {
      const { code, out, err } = await runCommand(secret, args, form);
      assert.deepEqual([code, out], [1, ''], err);
      assert.match(err, /error PrivateKey: /);
      for (const text of secrets) for (const piece of text.match(/.{12}/g) ?? []) assert(!err.includes(piece), err);
    }
  }
});

test('--merge adds to a Secret that is there, which keeps its name, its metadata and its entries', async (t) => {
  const text = `# ours\n${corp.pem}`;
  const metadata = {
    labels: { app: 'trust' },
    annotations: { 'node-trust-agent/on-delete': 'remove', 'kubectl.kubernetes.io/last-applied-configuration': '{}' },
    uid: '1',
    resourceVersion: '2',
    creationTimestamp: null,
  };
  const [file = '', more = ''] = await files(t, {
    'secret.json': manifest({ mine: text }, metadata),
    more: corp.pem + next.pem,
  });
  const result = await runCommand(secret, ['--json', '--merge', file, more]);
  assert.deepEqual(parse(result).metadata, {
    namespace: 'trust',
    name: 'cas',
    labels: { app: 'trust' },
    annotations: { 'node-trust-agent/on-delete': 'remove' },
  });
  assert.deepEqual(certificates(result), { mine: text, 'corp-root-2.pem': next.pem });
  assert.match(result.err, /^note: .*CN=Corp Root is there already, and not added again\n$/);
});

test('--merge mends entries that no agent would take, in their place, and fills a Secret that is empty', async (t) => {
  const [broken = '', empty = '', more = ''] = await files(t, {
    broken: manifest({ mine: corp.pem.replaceAll('\n', '\r\n') }),
    empty: manifest({}),
    more: next.pem,
  });
  const mended = certificates(await runCommand(secret, ['--json', '--merge', broken, more]));
  assert.deepEqual(mended, { mine: corp.pem, 'corp-root-2.pem': next.pem });
  const filled = certificates(await runCommand(secret, ['--json', '--merge', empty, more]));
  assert.deepEqual(filled, { 'corp-root-2.pem': next.pem });
});

test('the manifest of a Secret alone stays that Secret, with each entry mended in its place', async () => {
  const metadata = { labels: { team: 'a' }, annotations: { 'node-trust-agent/on-delete': 'remove' }, uid: '1' };
  const held = {
    'crlf.pem': corp.pem.replaceAll('\n', '\r\n'),
    'ca.der': next.der,
    twice: Buffer.from(proxy.pem).toString('base64'),
  };
  const result = await runCommand(secret, ['--json', '-'], manifest(held, metadata));
  const { uid: _, ...kept } = metadata;
  assert.deepEqual(parse(result).metadata, { namespace: 'trust', name: 'cas', ...kept });
  assert.deepEqual(certificates(result), { 'crlf.pem': corp.pem, 'ca.der': next.pem, twice: proxy.pem });
  const renamed = await runCommand(secret, ['--json', '--name', 'a/b', '-'], manifest(held, metadata));
  assert.deepEqual(parse(renamed).metadata, { namespace: 'a', name: 'b' });
});

test('what is refused is told in words that help whoever typed this', async (t) => {
  const [pem = '', p12 = ''] = await files(t, {
    'two.pem': corp.pem + next.pem,
    'ca.p12': Buffer.from(`30820100020103${'00'.repeat(253)}`, 'hex'),
  });
  const many = await runCommand(secret, ['--max-certificates', '1', pem]);
  assert(many.err.startsWith(`${pem}: error TooManyCertificates: the source holds 2 `), many.err);
  const { err } = await runCommand(secret, [p12]);
  assert.match(err, /error DerEncoded: .*\n {4}→ If it is PKCS #12, .*`openssl pkcs12 -in FILE -nokeys -cacerts`/);
  assert.doesNotMatch(err, /node-trust secret FILE/);
});

test('what is missing is asked for', async () => {
  for (const [args, code, expected] of [
    [['--rotate', 'old.pem'], 2, /--rotate OLD: expected NEW, .*\nTry: node-trust secret --help\n$/],
    [[], 2, /expected PEM, got nothing\nTry: node-trust secret --help\n$/],
    [['--merge', '-', 'new.pem'], 3, /standard input is empty; if there is no Secret yet, leave --merge out\n$/],
  ] as const) {
    const result = await runCommand(secret, args);
    assert.equal(result.code, code);
    assert.match(result.err, expected);
  }
});

test('a rotation has both certificates first, and the new one in the end', async (t) => {
  const [old = '', successor = ''] = await files(t, { old: corp.pem, new: next.pem });
  const both = await runCommand(secret, ['--json', '--rotate', old, successor]);
  assert.deepEqual(certificates(both), { 'corp-root.pem': corp.pem, 'corp-root-2.pem': next.pem });
  const end = await runCommand(secret, ['--json', '--rotate', old, '--final', successor]);
  assert.deepEqual(certificates(end), { 'corp-root-2.pem': next.pem });
  assert.match(end.err, /kubectl replace --save-config/);
});

test('a rotation in a Secret that holds others leaves those alone, and goes one step after the other', async (t) => {
  const [old = '', successor = '', before = ''] = await files(t, {
    old: corp.pem,
    new: next.pem,
    before: manifest({ 'a.pem': corp.pem, 'b.pem': proxy.pem }),
  });
  const rotate = (file: string, ...flags: readonly string[]): Promise<CommandResult> =>
    runCommand(secret, ['--json', '--merge', file, '--rotate', old, ...flags, successor]);
  const early = await rotate(before, '--final');
  assert.deepEqual([early.code, early.out], [1, '']);
  assert.match(early.err, /does not hold CN=Corp Root 2 .* yet; apply .*without --final/);
  const both = await rotate(before);
  assert.deepEqual(certificates(both), { 'a.pem': corp.pem, 'b.pem': proxy.pem, 'corp-root-2.pem': next.pem });
  const [during = ''] = await files(t, { during: both.out });
  assert.deepEqual(certificates(await rotate(during, '--final')), { 'b.pem': proxy.pem, 'corp-root-2.pem': next.pem });
});

test('usage that contradicts itself is told', async (t) => {
  const [file = ''] = await files(t, { file: corp.pem });
  for (const [args, expected] of [
    [[], /expected PEM, got nothing/],
    [['--final', file], /--final ends a rotation: expected --rotate OLD/],
    [['--name', 'a/b', '--merge', file, file], /keeps its name: leave --name out/],
    [['--merge', '-', '-'], /standard input can be read once/],
    [['--rotate', '-', '-'], /standard input can be read once/],
  ] as const) {
    const { code, err } = await runCommand(secret, args);
    assert.equal(code, 2);
    assert.match(err, expected);
  }
  const { code, err } = await runCommand(secret, ['--merge', file, file]);
  assert.equal(code, 3);
  assert.match(err, /is no manifest of a Secret; kubectl get secret NAME -o yaml prints one/);
});

test('what does not fit into a Secret is not printed', async (t) => {
  const [file = ''] = await files(t, { file: manifest({ mine: `${'text '.repeat(210_000)}\n${corp.pem}` }) });
  const { code, out, err } = await runCommand(secret, ['--merge', file, '-'], next.pem);
  assert.deepEqual([code, out], [1, '']);
  assert.match(err, /holds at most 1 MiB/);
});

test('what kubectl apply leaves of a Secret that it did not make, kubectl replace --save-config takes out', {
  skip: !existsSync('/usr/bin/kubectl') && '/usr/bin/kubectl is not there',
}, async (t) => {
  const server = await startTestServer(t, { tls: selfSigned(t, 'IP:127.0.0.1') });
  const kubeconfig = writeKubeconfig(t, server.kubeconfig());
  const folder = temporaryFolder(t);
  const kubectl = async (verb: string, made: CommandResult): Promise<readonly string[]> => {
    const child = spawn('/usr/bin/kubectl', ['--kubeconfig', kubeconfig, ...verb.split(' '), '-f', '-'], {
      env: { HOME: folder, PATH: '/usr/bin' },
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    child.stdin.end(made.out);
    assert.deepEqual(await once(child, 'close'), [0, null]);
    return Object.keys(server.get({ kind: 'Secret', namespace: 'trust', name: 'cas' })?.['data'] ?? {}).sort();
  };
  const [old = '', successor = '', more = '', held = ''] = await files(t, {
    old: corp.pem,
    new: next.pem,
    more: proxy.pem,
    held: manifest({ 'old.pem': corp.pem, 'new.pem': next.pem }),
  });
  const end = await runCommand(secret, ['--merge', held, '--rotate', old, '--final', successor]);
  server.put(JSON.parse(manifest({ 'old.pem': corp.pem, 'new.pem': next.pem })) as Parameters<typeof server.put>[0]);
  assert.deepEqual(await kubectl('apply', end), ['new.pem', 'old.pem'], 'apply takes nothing out');
  server.put(JSON.parse(manifest({ 'old.pem': corp.pem, 'new.pem': next.pem })) as Parameters<typeof server.put>[0]);
  assert.deepEqual(await kubectl('replace --save-config', end), ['new.pem']);
  const another = await runCommand(secret, ['--name', 'trust/cas', more]);
  assert.deepEqual(await kubectl('apply', another), ['proxy.pem'], 'and from then on apply takes out, too');
});

const subjects = [
  'Same',
  'Same',
  'same!',
  'ca',
  '',
  '東京',
  'Ünï côde',
  '__proto__',
  'x'.repeat(300),
  'null',
  '1e3',
  'a, CN=b',
];
const pool = subjects.map((subject) => createCertificate({ subject }));
const any = fc.subarray(pool, { minLength: 1, maxLength: 5 });

type Wrap = (bytes: Uint8Array) => Uint8Array;
const toText = (change: (text: string) => string | Uint8Array): Wrap => {
  return (bytes) => Buffer.from(change(Buffer.from(bytes).toString()));
};
const ofPem: readonly Wrap[] = [
  toText((text) => text),
  toText((text) => text.replaceAll('\n', '\r\n')),
  toText((text) => `\ufeff${text}`),
  toText((text) => Buffer.from(`\ufeff${text}`, 'utf16le')),
  toText((text) => Buffer.from(`\ufeff${text}`, 'utf16le').swap16()),
  toText((text) => Buffer.from(text.replaceAll('\n', '\r\n'), 'utf16le')),
  toText((text) => `subject: somebody\n${text.replaceAll(/^-----BEGIN/gm, 'text\n$&')}`),
  toText((text) => text.trimEnd()),
];
const ofBytes: readonly Wrap[] = [
  (bytes) => bytes,
  (bytes) => Buffer.from(Buffer.from(bytes).toString('base64')),
  (bytes) => Buffer.from(Buffer.from(bytes).toString('base64').replaceAll(/.{76}/g, '$&\r\n')),
];
interface Given {
  readonly bytes: Uint8Array;
  readonly held: readonly TestCertificate[];
}
const pems = (held: readonly TestCertificate[]): Buffer => Buffer.from(held.map(({ pem }) => pem).join(''));
const pkcs7 = (held: readonly TestCertificate[], indefinite = false): Uint8Array =>
  encodePkcs7(
    held.map(({ der }) => der),
    { indefinite },
  );
const given: fc.Arbitrary<Given> = fc.oneof(
  fc.tuple(any, fc.constantFrom(...ofPem)).map(([held, wrap]) => ({ bytes: wrap(pems(held)), held })),
  fc.tuple(any, fc.boolean()).map(([held, indefinite]) => ({ bytes: pkcs7(held, indefinite), held })),
  fc
    .tuple(any, fc.constantFrom('PKCS7', 'CMS'))
    .map(([held, label]) => ({ bytes: Buffer.from(encodePem(label, pkcs7(held))), held })),
  fc.constantFrom(...pool).map((one) => ({ bytes: one.der, held: [one] })),
);
const inputs = fc.array(
  fc
    .tuple(given, fc.array(fc.constantFrom(...ofBytes), { maxLength: 2 }))
    .map(([{ bytes, held }, wraps]) => ({ bytes: wraps.reduce((inner, wrap) => wrap(inner), bytes), held })),
  { minLength: 1, maxLength: 3 },
);
const key = fc.stringMatching(/^[-._a-zA-Z0-9]{1,12}$/).filter((name) => !name.startsWith('..'));
const heldSecret = fc.dictionary(key, given, { maxKeys: 3 });

test('whatever goes in, what is printed passes validate, and holds what went in', async (t) => {
  const folder = temporaryFolder(t);
  let [printed, refused] = [0, 0];
  await fc.assert(
    fc.asyncProperty(inputs, fc.option(heldSecret), fc.nat(8), fc.boolean(), async (given, held, limit, json) => {
      const expected = new Set([...given, ...Object.values(held ?? {})].flatMap((source) => source.held));
      const paths = given.map((_, index) => join(folder, `input-${index}`));
      for (const [index, { bytes }] of given.entries()) await writeFile(paths[index] ?? '', bytes);
      const entries = Object.entries(held ?? {}).map(([name, { bytes }]) => [name, bytes] as const);
      await writeFile(join(folder, 'held'), manifest(Object.fromEntries(entries)));
      const merge = held === null ? [] : ['--merge', join(folder, 'held')];
      const limits = ['--max-certificates', String(limit + 1)];
      const made = await runCommand(secret, [...limits, ...merge, ...(json ? ['--json'] : []), ...paths]);
      assert.equal(made.code, expected.size > limit + 1 ? 1 : 0, made.err);
      if (made.code === 1) {
        refused += 1;
        assert.equal(made.out, '');
        return;
      }
      printed += 1;
      const judged = await runCommand(validate, ['--json', ...limits, '-'], made.out);
      assert.equal(judged.code, 0, judged.out);
      const { certificates } = JSON.parse(judged.out) as { readonly certificates: readonly { fingerprint: string }[] };
      assert.deepEqual(
        certificates.map(({ fingerprint }) => fingerprint).sort(),
        [...expected].map(({ der }) => fingerprintOf(der) as string).sort(),
      );
      const { data } = parseYaml(made.out) as Printed;
      for (const name of Object.keys(data)) assert.match(name, /^[-._a-zA-Z0-9]{1,253}$/);
      const again = await runCommand(secret, ['--json', ...limits, '--merge', '-', ...paths], made.out);
      assert.deepEqual(parse(again).data, data, 'once more adds nothing');
    }),
    { numRuns: 100 },
  );
  assert(printed > 20 && refused > 5, `${printed} printed, ${refused} refused`);
});

test('whatever is rotated, both steps pass validate', async (t) => {
  const folder = temporaryFolder(t);
  const [oldFile, newFile, secretFile] = [join(folder, 'old'), join(folder, 'new'), join(folder, 'secret')];
  let rotated = 0;
  await fc.assert(
    fc.asyncProperty(given, given, given, fc.boolean(), async (old, successor, other, merges) => {
      await writeFile(oldFile, old.bytes);
      await writeFile(newFile, successor.bytes);
      await writeFile(secretFile, manifest({ old: old.bytes, other: other.bytes }));
      const flags = ['--json', '--max-certificates', '99', '--rotate', oldFile];
      const going = old.held.filter((one) => !successor.held.includes(one));
      const held = merges ? other.held.filter((one) => !going.includes(one)) : [];
      const begun = await runCommand(secret, [...flags, ...(merges ? ['--merge', secretFile] : []), newFile]);
      if (going.length === 0) {
        assert.equal(begun.code, 1);
        assert.match(begun.err, /nothing to rotate/);
        return;
      }
      rotated += 1;
      const ended = await runCommand(
        secret,
        [...flags, '--final', ...(merges ? ['--merge', '-'] : []), newFile],
        begun.out,
      );
      for (const [step, expected] of [
        [begun, [...old.held, ...successor.held, ...held]],
        [ended, [...successor.held, ...held]],
      ] as const) {
        assert.equal(step.code, 0, step.err);
        const judged = await runCommand(validate, ['--json', '--max-certificates', '99', '-'], step.out);
        assert.equal(judged.code, 0, judged.out);
        const { certificates } = JSON.parse(judged.out) as { readonly certificates: readonly object[] };
        assert.equal(certificates.length, new Set(expected).size);
      }
    }),
    { numRuns: 40 },
  );
  assert(rotated > 10, String(rotated));
});

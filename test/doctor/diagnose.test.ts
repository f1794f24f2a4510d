// The set-ups that people call about, each broken in one place: the doctor names that place first, and finds nothing else to fail.

import assert from 'node:assert/strict';
import { connect, createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createCertificate, createServerCertificate, fixedNow } from '../support/certificates.ts';
import { secret } from '../support/cluster.ts';
import { updateStore } from '../support/sandbox.ts';
import {
  assertFails,
  assertWarns,
  closedPort,
  createLeaf,
  createPatient,
  listen,
  registryHost,
  startRegistry,
  summaryOf,
  tell,
} from './patient.ts';

const root = createCertificate({ subject: 'Corp Root' });
const intermediate = createCertificate({ subject: 'Corp Issuing CA', issuer: root });
const otherRoot = createCertificate({ subject: 'Other Root' });
const configToml = '[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/etc/containerd/certs.d"\n';
const day = 24 * 60 * 60 * 1000;
const past = (days: number): Date => new Date(fixedNow.getTime() - days * day);

test('a node on which all is well has nothing broken, and every check of its own passes', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const port = await startRegistry(t, { chain: [createLeaf(intermediate), intermediate] });
  const seen = await patient.examine(`${registryHost}:${port}/team/app:1.2`);
  assert.deepEqual([seen.first, seen.fails, seen.warns], [undefined, [], []], tell(seen));
  const skipped = seen.checks.filter(({ status }) => status === 'skipped').map(({ name }) => name);
  assert.deepEqual(skipped, ['certs.d', 'config', 'registries', 'token'], tell(seen));
});

test('a root that nobody here knows is to be put into the Secret', async (t) => {
  const patient = await createPatient(t);
  await patient.install([otherRoot]);
  for (const chain of [[createLeaf(root)], [createLeaf(intermediate), intermediate], [createLeaf(root), root]]) {
    const port = await startRegistry(t, { chain });
    const seen = await patient.examine(`${registryHost}:${port}`);
    assertFails(seen, 'UnknownRoot');
    assert.match(seen.first?.summary ?? '', /CN=Corp Root is known nowhere here/);
    assert.match(
      seen.first?.evidence.join('\n') ?? '',
      /secret kube-system\/custom-ca-trust-secret holds CN=Other Root/,
    );
  }
});

test('of a Secret that was not read nothing is said that nobody knows', async (t) => {
  const patient = await createPatient(t);
  await patient.install([otherRoot]);
  patient.api.fail({ resource: 'secrets' }, { kind: 'status', code: 503 });
  const unknown = await startRegistry(t, { chain: [createLeaf(root)] });
  const seen = await patient.examine(`${registryHost}:${unknown}`);
  assertFails(seen, 'UnknownRoot');
  const summary = 'CN=Corp Root is not trusted on this host; whether the Secret holds it is not known';
  assert.equal(seen.first?.summary, summary);
  assert.equal(summaryOf(seen, 'admitted'), 'skipped: the Secret was not read');
  const trusted = await startRegistry(t, { chain: [createLeaf(otherRoot)] });
  const other = await patient.examine(`${registryHost}:${trusted}`);
  assert.deepEqual(other.fails, [], tell(other));
  assert.equal(summaryOf(other, 'admitted'), 'skipped: the Secret was not read');
});

test('what puts a root into the Secret keeps what is there, and makes a Secret only where none is', async (t) => {
  const patient = await createPatient(t);
  const merge = (name: string): string =>
    `kubectl -n kube-system get secret ${name} -o yaml | node-trust secret --merge - root.pem | kubectl apply -f -`;
  const make = 'node-trust secret root.pem | kubectl apply -f -';
  const expired = createCertificate({ subject: 'Corp Root', notAfter: past(3) });
  const inspector = createCertificate({ subject: 'Corp TLS Inspection CA' });
  await patient.sandbox.write('/usr/local/share/ca-certificates/old.crt', expired.pem);
  await updateStore(patient.sandbox.root);
  for (const [code, issuer] of [
    ['UnknownRoot', root],
    ['RootExpired', expired],
    ['Intercepted', inspector],
  ] as const) {
    const target = `${registryHost}:${await startRegistry(t, { chain: [createLeaf(issuer)] })}`;
    const commandFor = async (changes: Parameters<typeof patient.examine>[1]): Promise<string | undefined> => {
      const { first } = await patient.examine(target, changes);
      assert.equal(first?.diagnosis?.code, code);
      return first.diagnosis?.command;
    };
    if (patient.api.get(secret) !== undefined) patient.api.delete(secret);
    assert.equal(await commandFor({}), make, 'there is none');
    const other = { namespace: 'other', name: 'cas' };
    assert.equal(
      await commandFor({ secret: other }),
      make.replace('root', '--name other/cas root'),
      'none of that name',
    );
    patient.apply({ 'other.pem': otherRoot.pem });
    assert.equal(await commandFor({}), merge('custom-ca-trust-secret'), 'there is one');
    const recover = patient.api.fail({ resource: 'secrets' }, { kind: 'status', code: 503 });
    assert.equal(await commandFor({}), merge('custom-ca-trust-secret'), 'nobody knows');
    recover();
  }
});

test('a Secret that holds the root with CRLF line ends is not admitted, and the finding says what to do', async (t) => {
  const patient = await createPatient(t);
  patient.apply({ 'corp.pem': root.pem.replaceAll('\n', '\r\n') });
  const port = await startRegistry(t, { chain: [createLeaf(root)] });
  const seen = await patient.examine(`${registryHost}:${port}`);
  assertFails(seen, 'SecretRejected');
  assert.match(seen.first?.evidence.join('\n') ?? '', /CrlfLineEndings: entry "corp\.pem"/);
  assert.match(seen.first?.diagnosis?.remedy ?? '', /dos2unix/);
});

test('a runtime that was started before the store had the root is stale', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root], { restartDelayMs: 3_600_000 });
  const port = await startRegistry(t, { chain: [createLeaf(root)] });
  const seen = await patient.examine(`${registryHost}:${port}`);
  assertFails(seen, 'RuntimeStale');
  assert.equal(seen.first?.diagnosis?.command, 'systemctl restart containerd.service');
  await patient.sandbox.write('/usr/local/share/ca-certificates/node-trust-0123456789abcdef.crt', '');
  assertFails(await patient.examine(`${registryHost}:${port}`), 'RuntimeStale');
});

test('a server that does not send its intermediate is told from an unknown root', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const port = await startRegistry(t, { chain: [createLeaf(intermediate)] });
  const seen = await patient.examine(`${registryHost}:${port}`);
  assertFails(seen, 'IntermediateMissing');
  assert.match(seen.first?.summary ?? '', /Corp Issuing CA/);
});

test('a chain in the wrong order is told, and fails nothing, since Go sorts it', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const port = await startRegistry(t, { chain: [createLeaf(intermediate), root, intermediate] });
  assertWarns(await patient.examine(`${registryHost}:${port}`), 'ChainOutOfOrder');
});

test('a certificate of the server that has expired is not for the node to mend', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const port = await startRegistry(t, { chain: [createLeaf(root, { notAfter: past(3) })] });
  const seen = await patient.examine(`${registryHost}:${port}`);
  assertFails(seen, 'LeafExpired');
  assert.match(seen.first?.summary ?? '', /CN=registry\.test expired 2026-05-29/);
});

test('an intermediate that has expired is told as such', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const expired = createCertificate({ subject: 'Corp Issuing CA', issuer: root, notAfter: past(3) });
  const port = await startRegistry(t, { chain: [createLeaf(expired), expired] });
  assertFails(await patient.examine(`${registryHost}:${port}`), 'IntermediateExpired');
});

test('a root that has expired is told as such, though it is trusted everywhere', async (t) => {
  const patient = await createPatient(t);
  const expired = createCertificate({ subject: 'Corp Root', notAfter: past(3) });
  await patient.install([expired]);
  const port = await startRegistry(t, { chain: [createLeaf(expired)] });
  assertFails(await patient.examine(`${registryHost}:${port}`), 'RootExpired');
});

test('a clock behind the beginning of a certificate is wrong if the server says so, and else the certificate is', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const port = await startRegistry(t, { chain: [createLeaf(root)] });
  const now = new Date('2024-06-01T00:00:00Z');
  const seen = await patient.examine(`${registryHost}:${port}`, { now });
  assertFails(seen, 'ClockWrong');
  assert.match(seen.first?.summary ?? '', /730 days behind/);
  const silent = await startRegistry(t, { chain: [createLeaf(root)], date: null });
  assertFails(await patient.examine(`${registryHost}:${silent}`, { now }), 'NotYetValid');
});

test('a clock that differs without consequence is told, and fails nothing', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const port = await startRegistry(t, { chain: [createLeaf(root)] });
  assertWarns(await patient.examine(`${registryHost}:${port}`, { now: past(1) }), 'ClockDiffers');
});

test('a certificate for another name is a mismatch, and subjectAltName alone counts', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const leaf = createServerCertificate(root, { subject: registryHost, names: ['other.test'] });
  const port = await startRegistry(t, { chain: [leaf] });
  const seen = await patient.examine(`${registryHost}:${port}`);
  assertFails(seen, 'NameMismatch');
  assert.match(seen.first?.summary ?? '', /not for registry\.test, but for DNS:other\.test/);
  const unnamed = await startRegistry(t, {
    chain: [createCertificate({ subject: registryHost, issuer: root, ca: false })],
  });
  const bare = await patient.examine(`${registryHost}:${unnamed}`);
  assertFails(bare, 'NameMismatch');
  assert.equal(bare.first?.summary, 'the certificate is not for registry.test: it has no subjectAltName');
  assert.match(
    bare.first?.diagnosis?.command ?? '',
    /<\/dev\/null \| openssl x509 -noout -subject -ext subjectAltName$/,
  );
});

test('a certificate that signed itself has no CA behind it', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const leaf = createCertificate({ subject: registryHost, names: [registryHost], ca: false });
  const port = await startRegistry(t, { chain: [leaf] });
  assertFails(await patient.examine(`${registryHost}:${port}`), 'SelfSignedLeaf');
});

test('a proxy that answers with the right name and an issuer of its own is told as what it is', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const inspector = createCertificate({ subject: 'Corp TLS Inspection CA' });
  const inspected = await startRegistry(t, { chain: [createLeaf(inspector), inspector] });
  assertFails(await patient.examine(`${registryHost}:${inspected}`), 'Intercepted');

  const leaf = createServerCertificate(otherRoot, { subject: 'ghcr.io', names: ['ghcr.io'] });
  const publicOne = await startRegistry(t, { chain: [leaf] });
  const seen = await patient.examine(`ghcr.io:${publicOne}/team/app`);
  assertFails(seen, 'Intercepted');
  assert.match(seen.first?.evidence.join('\n') ?? '', /public registry/);
});

test('a public root that an old store lacks is told from a proxy, at a public registry too', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const leaf = createServerCertificate(otherRoot, { subject: 'ghcr.io', names: ['ghcr.io'] });
  const port = await startRegistry(t, { chain: [leaf] });
  const seen = await patient.examine(`ghcr.io:${port}/team/app`, { publicRoots: [otherRoot.pem] });
  assertFails(seen, 'PublicRootMissing');
});

test('a token server with a certificate of another CA is a link of its own', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const leaf = createServerCertificate(otherRoot, { subject: 'auth.test', names: ['auth.test'] });
  const tokens = await startRegistry(t, { chain: [leaf] });
  const challenge = `Bearer realm="https://auth.test:${tokens}/token",service="registry.test"`;
  const port = await startRegistry(t, { chain: [createLeaf(root)], challenge });
  const seen = await patient.examine(`${registryHost}:${port}/team/app`);
  assertFails(seen, 'TokenServerUntrusted');
  assert.match(seen.first?.summary ?? '', /auth\.test:\d+ has a certificate below CN=Other Root/);
});

test('a foreign hosts.toml with a CA of its own is told to stand in the way of `_default`', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const port = await startRegistry(t, { chain: [createLeaf(root)] });
  const folder = `/etc/containerd/certs.d/${registryHost}:${port}`;
  await patient.sandbox.write(
    `${folder}/hosts.toml`,
    `server = "https://${registryHost}:${port}"\nca = "/etc/other.pem"\n`,
  );
  await patient.sandbox.write('/etc/other.pem', otherRoot.pem);
  assertWarns(await patient.examine(`${registryHost}:${port}`), 'HostsTomlShadows');
});

test('a root that is in `_default` alone does not reach a registry with a folder of its own', async (t) => {
  const patient = await createPatient(t);
  const port = await startRegistry(t, { chain: [createLeaf(root)] });
  await patient.sandbox.write('/etc/containerd/certs.d/_default/ca.crt', root.pem);
  assertWarns(await patient.examine(`${registryHost}:${port}`), 'ConfigPathMissing');
  await patient.sandbox.write('/etc/containerd/config.toml', configToml);
  const seen = await patient.examine(`${registryHost}:${port}`);
  assert.deepEqual([seen.first, seen.fails], [undefined, []], tell(seen));
  await patient.sandbox.write(
    `/etc/containerd/certs.d/${registryHost}:${port}/hosts.toml`,
    'server = "https://registry.test"\n',
  );
  assertFails(await patient.examine(`${registryHost}:${port}`), 'DefaultShadowed');
});

test('SSL_CERT_FILE in a drop-in of the unit leads the runtime to a store without the root', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const port = await startRegistry(t, { chain: [createLeaf(root)] });
  const dropIn = '/etc/systemd/system/containerd.service.d/10-ca.conf';
  await patient.sandbox.write(dropIn, '[Service]\nEnvironment="SSL_CERT_FILE=/etc/other.pem" SSL_CERT_DIR=/nowhere\n');
  await patient.sandbox.write('/etc/other.pem', otherRoot.pem);
  const seen = await patient.examine(`${registryHost}:${port}`);
  assertFails(seen, 'OtherStoreLacksRoot');
  assert.match(seen.first?.diagnosis?.command ?? '', /10-ca\.conf .*systemctl restart containerd\.service/);
  const folder = `/etc/containerd/certs.d/${registryHost}_${port}_`;
  await patient.sandbox.write('/etc/containerd/config.toml', configToml);
  await patient.sandbox.write(`${folder}/ca.crt`, root.pem);
  assertWarns(await patient.examine(`${registryHost}:${port}`), 'OtherStore');
  await patient.sandbox.remove(`${folder}/ca.crt`);
  await patient.sandbox.write('/etc/other.pem', root.pem);
  assertWarns(await patient.examine(`${registryHost}:${port}`), 'OtherStore');
});

test('a name without an address ends the way before it begins', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const lookup = (name: string) => Promise.reject(new Error(`getaddrinfo ENOTFOUND ${name}`));
  const seen = await patient.examine('registry.invalid/team/app', { lookup });
  assertFails(seen, 'NameNotFound');
  assert.match(seen.first?.diagnosis?.command ?? '', /getent ahosts registry\.invalid/);
});

test('a port where nothing listens refuses', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const port = await closedPort();
  assertFails(await patient.examine(`${registryHost}:${port}`), 'ConnectionRefused');
});

test('a server that speaks plain HTTP where TLS is wanted is told as such', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const port = await startRegistry(t, {});
  assertFails(await patient.examine(`${registryHost}:${port}`), 'PlainHttp');
});

test('a server that speaks TLS where plain HTTP was asked for is told as such, whether it says so in HTTP or hangs up', async (t) => {
  const patient = await createPatient(t);
  const ports = [await startRegistry(t, { chain: [createLeaf(root)] }), await startTlsThatAnswersHttp(t)];
  for (const port of ports) {
    const seen = await patient.examine(`http://${registryHost}:${port}`);
    assertFails(seen, 'TlsWanted');
    assert.equal(seen.first?.summary, 'plain HTTP was asked for, and the server does not speak it');
    assert.deepEqual(seen.first?.evidence, [`${registryHost}:${port}: it speaks TLSv1.3`]);
    assert.equal(seen.first?.diagnosis?.command, `curl -v --max-time 5 https://${registryHost}:${port}/v2/`);
    for (const name of ['clock', 'token']) assert.match(summaryOf(seen, name), /^skipped: an earlier link is broken$/);
  }
  const plain = await startRegistry(t, {});
  assert.deepEqual((await patient.examine(`http://${registryHost}:${plain}`)).fails, []);
});

/** As nginx and servers of Go do. */
async function startTlsThatAnswersHttp(t: TestContext): Promise<number> {
  const behind = await startRegistry(t, { chain: [createLeaf(root)] });
  const server = createServer((socket) => {
    socket.once('data', (first: Buffer) => {
      if (!isHandshake(first)) return socket.end('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n');
      const upstream = connect(behind, '127.0.0.1');
      upstream.on('error', () => socket.destroy());
      upstream.write(first);
      return socket.pipe(upstream).pipe(socket);
    });
  });
  return listen(t, server);
}

/** RFC 8446, 5.1. */
const isHandshake = (bytes: Uint8Array): boolean => bytes[0] === 22;

test('a certificate that was taken out of the Secret and is trusted still is told with the file that holds it', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  await patient.sandbox.write('/usr/local/share/ca-certificates/admins.crt', root.pem);
  await patient.install([otherRoot]);
  const port = await startRegistry(t, { chain: [createLeaf(root)] });
  const seen = await patient.examine(`${registryHost}:${port}`);
  assertWarns(seen, 'StillTrusted');
  assert.match(seen.first?.summary ?? '', /\/usr\/local\/share\/ca-certificates\/admins\.crt/);
});

test('a root that an administrator has installed needs no Secret', async (t) => {
  const patient = await createPatient(t);
  await patient.sandbox.write('/usr/local/share/ca-certificates/admins.crt', root.pem);
  await updateStore(patient.sandbox.root);
  const port = await startRegistry(t, { chain: [createLeaf(root)] });
  const seen = await patient.examine(`${registryHost}:${port}`);
  assert.deepEqual(seen.fails, [], tell(seen));
});

test('an intermediate in a Secret that is rejected does not stand before a root that is trusted', async (t) => {
  const patient = await createPatient(t);
  await patient.sandbox.write('/usr/local/share/ca-certificates/admins.crt', root.pem);
  await updateStore(patient.sandbox.root);
  await patient.sandbox.runtime.systemctl('restart', 'containerd.service');
  patient.apply({ 'issuing.pem': intermediate.pem.replaceAll('\n', '\r\n') });
  const port = await startRegistry(t, { chain: [createLeaf(intermediate), intermediate] });
  const seen = await patient.examine(`${registryHost}:${port}`);
  assert.deepEqual([seen.first, seen.fails], [undefined, []], tell(seen));
});

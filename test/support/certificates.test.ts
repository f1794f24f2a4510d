import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { duplexPair } from 'node:stream';
import { test } from 'node:test';
import { connect, TLSSocket } from 'node:tls';
import { createCertificate, createServerCertificate, extendedKeyUsages, fixedNow } from './certificates.ts';
import { distinguishedName, element, integer, oid, time } from './der.ts';

const read = ({ pem }: { readonly pem: string }): X509Certificate => new X509Certificate(pem);

test('a certificate is by default a self-signed CA on P-256 that is valid at the fixed instant', () => {
  const certificate = createCertificate();
  const x509 = read(certificate);
  assert.equal(x509.subject, 'CN=Test CA');
  assert.equal(x509.issuer, 'CN=Test CA');
  assert.equal(x509.ca, true);
  assert.equal(x509.keyUsage, undefined);
  assert.equal(x509.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1');
  assert.equal(x509.signatureAlgorithm, 'ecdsa-with-SHA256');
  assert.ok(x509.verify(x509.publicKey));
  assert.ok(x509.validFromDate < fixedNow && fixedNow < x509.validToDate);
  assert.equal(x509.toString(), certificate.pem);
  assert.deepEqual(new Uint8Array(x509.raw), certificate.der);
  assert.ok(x509.checkPrivateKey(createPrivateKey(certificate.keyPem)));
});

test('an issued certificate names its issuer and verifies with its key', () => {
  const root = createCertificate({ subject: 'Root' });
  const intermediate = createCertificate({ subject: 'Intermediate', issuer: root });
  const x509 = read(intermediate);
  assert.equal(x509.issuer, 'CN=Root');
  assert.ok(x509.checkIssued(read(root)));
  assert.ok(x509.verify(root.keys.publicKey));
  assert.equal(x509.verify(x509.publicKey), false);
});

test('the dates are those asked for, on both sides of 2050', () => {
  const notBefore = new Date('2024-02-29T12:34:56Z');
  const notAfter = new Date('2061-01-01T00:00:00Z');
  const x509 = read(createCertificate({ notBefore, notAfter }));
  assert.deepEqual(x509.validFromDate, notBefore);
  assert.deepEqual(x509.validToDate, notAfter);
});

test('basicConstraints say CA:FALSE or are missing when asked for, and version 1 has no extensions', () => {
  const withText = (text: string): ((der: { readonly der: Uint8Array }) => boolean) => {
    const extension = oid(text);
    return ({ der }) => Buffer.from(der).includes(extension);
  };
  const hasConstraints = withText('2.5.29.19');
  const leaf = createCertificate({ ca: false });
  const missing = createCertificate({ ca: 'missing' });
  const first = createCertificate({ version: 1 });
  assert.deepEqual([leaf, missing, first].map(hasConstraints), [true, false, false]);
  assert.deepEqual(
    [leaf, missing, first].map((certificate) => read(certificate).ca),
    [false, false, false],
  );
  assert.equal(withText('2.5.29.14')(first), false);
});

test('the extended key usage is the one asked for', () => {
  const usages = [extendedKeyUsages.clientAuth, extendedKeyUsages.any];
  assert.deepEqual(read(createCertificate({ extendedKeyUsage: usages })).keyUsage, usages);
});

test('keys have the type, the size and the curve asked for', () => {
  const details = (['P-192', 'P-384'] as const).map(
    (curve) => read(createCertificate({ key: { kind: 'ec', curve } })).publicKey.asymmetricKeyDetails?.namedCurve,
  );
  assert.deepEqual(details, ['prime192v1', 'secp384r1']);
  const rsa = read(createCertificate({ key: { kind: 'rsa', bits: 1024 } })).publicKey;
  assert.equal(rsa.asymmetricKeyDetails?.modulusLength, 1024);
  assert.equal(read(createCertificate({ key: { kind: 'ed25519' } })).publicKey.asymmetricKeyType, 'ed25519');
});

test('every signature algorithm names itself and verifies', () => {
  const rsa = createCertificate({ key: { kind: 'rsa', bits: 1024 } });
  const ec = createCertificate();
  const cases = [
    [rsa, 'rsa-md5', 'md5WithRSAEncryption'],
    [rsa, 'rsa-sha1', 'sha1WithRSAEncryption'],
    [rsa, 'rsa-sha256', 'sha256WithRSAEncryption'],
    [rsa, 'rsa-pss-sha1', 'rsassaPss'],
    [ec, 'ecdsa-sha1', 'ecdsa-with-SHA1'],
    [ec, 'ecdsa-sha384', 'ecdsa-with-SHA384'],
  ] as const;
  for (const [issuer, signature, name] of cases) {
    const x509 = read(createCertificate({ subject: 'Issued', issuer, signature }));
    assert.equal(x509.signatureAlgorithm, name);
    assert.ok(x509.verify(issuer.keys.publicKey), name);
  }
});

test('a client that trusts the CA accepts the server certificate, for its name and for its address', async () => {
  const ca = createCertificate();
  const server = createServerCertificate(ca);
  assert.equal(read(server).subjectAltName, 'DNS:localhost, IP Address:127.0.0.1');
  for (const servername of ['localhost', '127.0.0.1']) {
    const [here, there] = duplexPair();
    const accepting = new TLSSocket(there, { isServer: true, cert: server.pem, key: server.keyPem });
    const client = connect({ socket: here, ca: ca.pem, host: servername });
    await once(client, 'secureConnect');
    assert.ok(client.authorized);
    client.destroy();
    accepting.destroy();
  }
});

test('openssl reads what was made', (context) => {
  const { pem } = createServerCertificate(createCertificate());
  const run = spawnSync('openssl', ['x509', '-noout', '-text'], { input: pem, encoding: 'utf8' });
  if (run.error !== undefined) return context.skip('openssl is not installed');
  assert.equal(run.status, 0, run.stderr);
  assert.match(
    run.stdout,
    /Version: 3[^]*CA:FALSE[^]*TLS Web Server Authentication[^]*DNS:localhost, IP Address:127\.0\.0\.1/,
  );
});

test('lengths, integers and object identifiers are encoded in their shortest form', () => {
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
  assert.equal(hex(element(0x04, Buffer.alloc(127))).slice(0, 4), '047f');
  assert.equal(hex(element(0x04, Buffer.alloc(128))).slice(0, 6), '048180');
  assert.equal(hex(element(0x04, Buffer.alloc(256))).slice(0, 8), '04820100');
  assert.deepEqual(
    [0n, 127n, 128n, 256n].map((value) => hex(integer(value))),
    ['020100', '02017f', '02020080', '02020100'],
  );
  assert.equal(hex(oid('1.2.840.113549')), '06062a864886f70d');
  assert.equal(Buffer.from(time(new Date('2049-12-31T23:59:59Z'))).toString('latin1', 2), '491231235959Z');
  assert.equal(Buffer.from(time(new Date('2050-01-01T00:00:00Z'))).toString('latin1', 2), '20500101000000Z');
  assert.equal(hex(distinguishedName('')), '3000');
});

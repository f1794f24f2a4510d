// What Go reads, in names and beside them, is held to Go itself, where there is a kubectl: it is written in Go, and loads the
// roots of a file with crypto/x509 as containerd does those of its host.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { parseCertificate } from '../../agent/trust/certificate.ts';
import { readElement, readElements } from '../../agent/trust/der.ts';
import { temporaryFolder } from '../support/api-fixture.ts';
import { createCertificate, createKeyPair, encodeExtension, encodePem, type KeySpec } from '../support/certificates.ts';
import { asn1Null, bitString, element, explicit, implicit, integer, oid, sequence } from '../support/der.ts';

const kubectl = ['/usr/bin/kubectl', '/usr/local/bin/kubectl'].find((path) => existsSync(path));
const url = implicit(6, Buffer.from('http://crl.test'));
const name = implicit(2, Buffer.from('a.test'));

/** The fields of a certificate (RFC 5280, 4.1), some of them others; its signature need not verify. */
function alter(changes: Readonly<Record<number, Uint8Array>>, outer?: Uint8Array): Uint8Array {
  const [tbs, algorithm, signature] = readElements(readElement(plain.der)?.content ?? plain.der) ?? [];
  assert(tbs && algorithm && signature);
  const fields = readElements(tbs.content)?.map(({ bytes }, at) => changes[at] ?? bytes) ?? [];
  return sequence(sequence(...fields), outer ?? algorithm.bytes, signature.bytes);
}

const plain = createCertificate();

const extended = (id: string, value: Uint8Array, critical = false) =>
  alter({ 7: explicit(3, sequence(encodeExtension(id, value, critical))) });
const named = (tag: number, text: string) =>
  alter({ 5: sequence(element(0x31, sequence(oid('2.5.4.3'), element(tag, Buffer.from(text, 'latin1'))))) });
const altName = (number: number, text: string) =>
  extended('2.5.29.17', sequence(implicit(number, Buffer.from(text, 'latin1'))));
const constrained = (number: number, ...bytes: readonly number[]) =>
  extended('2.5.29.30', sequence(explicit(0, sequence(implicit(number, Buffer.from(bytes))))), true);
const constrainedText = (number: number, text: string) => constrained(number, ...Buffer.from(text, 'latin1'));
const point = (...name: readonly Uint8Array[]) => extended('2.5.29.31', sequence(sequence(explicit(0, ...name))));
const issuer = sequence(element(0x31, sequence(oid('2.5.4.3'), element(0x13, Buffer.from('a_b')))));
/** 2.25, of UUIDs, and a number of 32 bits. */
const uuid = element(0x06, Buffer.of(0x69, 0x90, 0x80, 0x80, 0x80, 0x00));
const widest = element(0x06, Buffer.of(0x69, 0x87, 0xff, 0xff, 0xff, 0x7f));
const custom = (id: Uint8Array) => alter({ 7: explicit(3, sequence(sequence(id, element(0x04, asn1Null)))) });
const relative = explicit(1, sequence(oid('2.5.4.3'), element(0x0c, Buffer.from('a'))));

/** The bits of a subjectPublicKey, under any algorithm. */
function bitsOf(spec: KeySpec): Uint8Array {
  const info = createKeyPair(spec).publicKey.export({ format: 'der', type: 'spki' });
  return readElements(readElement(info)?.content ?? info)?.[1]?.content.subarray(1) ?? info;
}
const keyed = (id: string, parameters: Uint8Array | undefined, bits: Uint8Array) =>
  alter({ 6: sequence(sequence(oid(id), ...(parameters ? [parameters] : [])), bitString(bits)) });
const rsa = bitsOf({ kind: 'rsa', bits: 2048 });
const ec = bitsOf({ kind: 'ec', curve: 'P-256' });
const compressed = Buffer.of(2 + ((ec[64] ?? 0) % 2), ...ec.subarray(1, 33));
const ed25519 = bitsOf({ kind: 'ed25519' });
const p256 = oid('1.2.840.10045.3.1.7');

/** What Go cannot read, each with what is told of it; what it can read, with nothing. Some of it OpenSSL cannot read either. */
const forGo: Readonly<Record<string, readonly [der: Uint8Array, fault?: RegExp]>> = {
  'a PrintableString with an underscore': [named(0x13, 'a_b'), /PrintableString/],
  'a PrintableString with an at sign': [named(0x13, 'a@b'), /PrintableString/],
  'a PrintableString in Latin-1': [named(0x13, 'Z\xfcrich'), /PrintableString/],
  'a PrintableString of the issuer': [alter({ 3: issuer }), /PrintableString/],
  'a PrintableString with all that is allowed': [named(0x13, "aZ09 '()+,-./:=?*&")],
  'an IA5String beyond ASCII': [named(0x16, 'a\xe9'), /IA5String/],
  'an IA5String': [named(0x16, 'a_b@c')],
  'a NumericString with letters': [named(0x12, '12a'), /NumericString/],
  'a NumericString': [named(0x12, '1 2')],
  'a UTF8String that is not UTF-8': [named(0x0c, '\xff'), /its DER is not/],
  'a BMPString with half a character': [named(0x1e, '\0a\0'), /its DER is not/],
  'a BMPString': [named(0x1e, '\0a')],
  'a T61String in Latin-1': [named(0x14, 'Z\xfcrich')],
  'a UniversalString': [named(0x1c, '\0\0\0a'), /UniversalString/],
  'a VisibleString': [named(0x1a, 'a'), /its DER is not/],
  'a GeneralString': [named(0x1b, 'a'), /its DER is not/],
  'a part of a name under a UUID': [
    alter({ 5: sequence(element(0x31, sequence(uuid, element(0x0c, Buffer.from('a'))))) }),
    /part of its names/,
  ],
  'a negative serial number': [alter({ 1: element(0x02, Buffer.of(0x80)) }), /serial number/],
  'the serial number 0': [alter({ 1: integer(0n) })],
  'version 4': [alter({ 0: explicit(0, integer(3n)) }), /version/],
  'another signature algorithm outside': [alter({}, sequence(oid('1.2.840.10045.4.3.3'))), /two signature algorithms/],
  'a signature algorithm under a UUID': [alter({ 2: sequence(uuid) }, sequence(uuid)), /signature algorithm/],
  'an extension under a UUID': [custom(uuid), /31 bits/],
  'an extension under the greatest number of 31 bits': [custom(widest)],
  'a use under a UUID': [extended('2.5.29.37', sequence(uuid)), /extKeyUsage/],
  'an access method under a UUID': [
    extended('1.3.6.1.5.5.7.1.1', sequence(sequence(uuid, url))),
    /authorityInfoAccess/,
  ],
  'a critical authorityKeyIdentifier': [extended('2.5.29.35', sequence(), true), /authorityKeyIdentifier/],
  'a critical subjectKeyIdentifier': [extended('2.5.29.14', element(0x04, Buffer.of(1)), true), /subjectKeyIdentifier/],
  'a critical authorityInfoAccess': [
    extended('1.3.6.1.5.5.7.1.1', sequence(sequence(oid('1.3.6.1.5.5.7.48.1'), url)), true),
    /authorityInfoAccess/,
  ],
  'empty name constraints': [extended('2.5.29.30', sequence()), /nameConstraints/],
  'name constraints without a subtree': [extended('2.5.29.30', sequence(explicit(0))), /nameConstraints/],
  'excluded before permitted': [
    extended('2.5.29.30', sequence(explicit(1, sequence(name)), explicit(0, sequence(name)))),
    /nameConstraints/,
  ],
  'an IP constraint of 5 bytes': [constrained(7, 10, 0, 0, 0, 255), /mask of 5 bytes/],
  'an IP constraint whose mask has gaps': [constrained(7, 10, 0, 0, 0, 255, 0, 255, 0), /gaps/],
  'an IP constraint': [constrained(7, 10, 0, 0, 0, 255, 240, 0, 0)],
  'a DNS constraint beyond ASCII': [constrainedText(2, 'b\xfc'), /DNS name that is not ASCII/],
  'a DNS constraint with an empty label': [constrainedText(2, 'a..b'), /no domain/],
  'a DNS constraint that ends with a dot': [constrainedText(2, 'a.test.'), /no domain/],
  'a DNS constraint': [constrainedText(2, '.a_b.test')],
  'an e-mail constraint': [constrainedText(1, 'me@a.test')],
  'an e-mail constraint that is no domain': [constrainedText(1, 'me@a..test'), /no domain/],
  'a URI constraint that is an address': [constrainedText(6, '10.0.0.1'), /URI that is no domain/],
  'a URI constraint that is an address of version 6': [constrainedText(6, '2001:db8::1'), /URI that is no domain/],
  'a URI constraint with more than 255 in it': [constrainedText(6, '10.0.0.256')],
  'a URI constraint': [constrainedText(6, '.a.test')],
  'a distribution point relative to the issuer': [point(relative), /cRLDistributionPoints/],
  'a distribution point without a name': [point(), /cRLDistributionPoints/],
  'a DNS name beyond ASCII': [altName(2, 'b\xfccher.test'), /DNS name that is not ASCII/],
  'an e-mail address beyond ASCII': [altName(1, '\xe9@a.test'), /e-mail address that is not ASCII/],
  'an IP address of 5 bytes': [altName(7, '12345'), /IP address of 5 bytes/],
  'an IP address of version 6': [altName(7, '1234567890123456')],
  'an RSA key without the parameter NULL': [keyed('1.2.840.113549.1.1.1', undefined, rsa), /RSA key/],
  'an RSA key': [keyed('1.2.840.113549.1.1.1', asn1Null, rsa)],
  'a compressed point': [keyed('1.2.840.10045.2.1', p256, compressed), /compressed/],
  'an elliptic curve key': [keyed('1.2.840.10045.2.1', p256, ec)],
  'an Ed25519 key with parameters': [keyed('1.3.101.112', asn1Null, ed25519), /certificate that can be read/],
  'an Ed25519 key': [keyed('1.3.101.112', undefined, ed25519)],
  'keyUsage with padding set': [extended('2.5.29.15', element(0x03, Buffer.of(1, 0x07))), /keyUsage/],
  'keyUsage without bits but with padding': [extended('2.5.29.15', element(0x03, Buffer.of(1))), /keyUsage/],
  'keyUsage without bits': [extended('2.5.29.15', element(0x03, Buffer.of(0)))],
  ...Object.fromEntries(
    [
      'http://a.test:80/b?c=%zz#d',
      'http://[::1]:80/',
      'urn:x:%zz',
      'a/b:c',
      '',
      '/a',
      'http://me:pass@a_b/%20',
      'file:///a',
      '?a:b',
    ].map((text) => [`the URI ${text}`, [altName(6, text)]]),
  ),
  ...Object.fromEntries(
    [
      ':a',
      '1a:b',
      'http://a b/',
      'http://a/%zz',
      'http://a/\n',
      'http://a:b/',
      'http://a..b/',
      'http://a.test./',
      'http://[::1/',
      'http://a/\xe9',
      'a#%z',
    ].map((text) => [`the URI ${JSON.stringify(text)} that is none`, [altName(6, text), /URI/]]),
  ),
};

for (const [what, [der, fault]] of Object.entries(forGo)) {
  test(`${what}: Go ${fault ? 'cannot' : 'can'} read it, and that is ${fault ? 'told' : 'so'}`, async (t) => {
    const parsed = parseCertificate(der);
    const evidence = parsed.kind === 'malformed' ? parsed.evidence : (parsed.certificate.goFault ?? '');
    if (fault === undefined) assert.equal(evidence, '');
    else assert.match(evidence, fault);
    if (kubectl !== undefined) assert.equal(await isReadByGo(t, kubectl, der), fault === undefined, 'what Go says');
  });
}

/** By kubectl, which is written in Go: it loads the file before it finds that there is no server. */
async function isReadByGo(t: TestContext, kubectl: string, der: Uint8Array): Promise<boolean> {
  const folder = temporaryFolder(t);
  const file = join(folder, 'root.pem');
  await writeFile(file, encodePem('CERTIFICATE', der));
  const where = ['--server', 'https://127.0.0.1:1', '--certificate-authority', file, '--token', 'none'];
  const env = { HOME: folder, KUBECONFIG: '/dev/null', NO_PROXY: '*' };
  const call = promisify(execFile)(kubectl, [...where, 'get', '--raw', '/'], { env, timeout: 60_000 });
  const said = await call.then(String, (error: unknown) => String(error));
  const isRead = /refused/.test(said);
  assert(isRead || /unable to load root certificates|failed to parse certificate/.test(said), said);
  return isRead;
}

// The chain is judged as Go judges it: here Go itself is asked, where there is a kubectl. It is a program written in Go that verifies a server with
// crypto/x509 against the roots of one file, as containerd does against those of its host.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { judgeChain } from '../../agent/doctor/chain.ts';
import { temporaryFolder } from '../support/api-fixture.ts';
import {
  type CertificateOptions,
  createCertificate,
  createServerCertificate,
  extendedKeyUsages,
  type TestCertificate,
} from '../support/certificates.ts';
import { startRegistry } from './patient.ts';

const execute = promisify(execFile);
const kubectl = ['/usr/bin/kubectl', '/usr/local/bin/kubectl'].find((path) => existsSync(path));

const dayMs = 24 * 60 * 60 * 1000;
const inDays = (days: number): Date => new Date(Date.now() + days * dayMs);
/** Go goes by the machine's clock. */
const validity = { notBefore: inDays(-30), notAfter: inDays(365) };
const ca = (subject: string, options: CertificateOptions = {}) =>
  createCertificate({ subject, ...validity, ...options });
const server = (issuer: TestCertificate, options: CertificateOptions = {}) =>
  createServerCertificate(issuer, { ...validity, ...options });

const root = ca('Root');
const inter = ca('Inter', { issuer: root });
const inter2 = ca('Inter 2', { issuer: inter });
const other = ca('Other');
const expiredRoot = ca('Expired Root', { notAfter: inDays(-3) });
const expiredInter = ca('Expired Inter', { issuer: root, notAfter: inDays(-3) });
const futureRoot = ca('Future Root', { notBefore: inDays(3) });
const noCa = ca('No CA', { issuer: root, ca: false });
const missingCa = ca('Missing CA', { issuer: root, ca: 'missing' });
const renewed = ca('Root');
/** The same CA, certified by another root: a cross-certificate, which has expired. */
const cross = ca('Root', { issuer: expiredRoot, key: root.keys });
const rsa = ca('RSA Root', { key: { kind: 'rsa', bits: 2048 } });
const selfSigned = createCertificate({
  subject: 'localhost',
  names: ['localhost', '127.0.0.1'],
  ca: false,
  ...validity,
});
const trustedLeaf = server(other);
const clientRoot = ca('Client Root', { extendedKeyUsage: [extendedKeyUsages.clientAuth] });
const { serverAuth, clientAuth, any } = extendedKeyUsages;

interface Case {
  readonly chain: readonly TestCertificate[];
  readonly roots: readonly TestCertificate[];
  readonly accepted: boolean;
}

const cases: Readonly<Record<string, Case>> = {
  'a leaf below a root': { chain: [server(root)], roots: [root], accepted: true },
  'the root sent along': { chain: [server(inter), inter, root], roots: [root], accepted: true },
  'intermediates in the wrong order': { chain: [server(inter2), root, inter, inter2], roots: [root], accepted: true },
  'certificates that belong to nobody among them': {
    chain: [server(inter), other, inter],
    roots: [root],
    accepted: true,
  },
  'an intermediate that is not sent': { chain: [server(inter)], roots: [root], accepted: false },
  'an intermediate that is trusted itself': { chain: [server(inter)], roots: [inter], accepted: true },
  'an unknown root': { chain: [server(inter), inter, root], roots: [other], accepted: false },
  'a root of the same name with another key': { chain: [server(root)], roots: [renewed], accepted: false },
  'both of the same name': { chain: [server(root)], roots: [renewed, root], accepted: true },
  'an expired leaf': { chain: [server(root, { notAfter: inDays(-1) })], roots: [root], accepted: false },
  'a leaf for later': { chain: [server(root, { notBefore: inDays(1) })], roots: [root], accepted: false },
  'an expired intermediate': { chain: [server(expiredInter), expiredInter], roots: [root], accepted: false },
  'an expired root': { chain: [server(expiredRoot)], roots: [expiredRoot], accepted: false },
  'a root for later': { chain: [server(futureRoot)], roots: [futureRoot], accepted: false },
  'an expired way beside a good one': { chain: [server(root), cross], roots: [expiredRoot, root], accepted: true },
  'an intermediate that is no CA': { chain: [server(noCa), noCa], roots: [root], accepted: false },
  'an intermediate that does not say that it is a CA': {
    chain: [server(missingCa), missingCa],
    roots: [root],
    accepted: false,
  },
  'another name': { chain: [server(root, { names: ['other.test'] })], roots: [root], accepted: false },
  'a common name alone': { chain: [server(root, { names: [], subject: 'localhost' })], roots: [root], accepted: false },
  'a self-signed leaf that is unknown': { chain: [selfSigned], roots: [root], accepted: false },
  'a self-signed leaf that is trusted': { chain: [selfSigned], roots: [selfSigned], accepted: true },
  'a leaf that is trusted itself': { chain: [trustedLeaf], roots: [trustedLeaf], accepted: true },
  'a leaf for clients': { chain: [server(root, { extendedKeyUsage: [clientAuth] })], roots: [root], accepted: false },
  'a leaf for any use': { chain: [server(root, { extendedKeyUsage: [any] })], roots: [root], accepted: true },
  'a leaf for no named use': { chain: [server(root, { extendedKeyUsage: [] })], roots: [root], accepted: true },
  'a leaf signed with SHA-1': { chain: [server(rsa, { signature: 'rsa-sha1' })], roots: [rsa], accepted: false },
  'an intermediate that is not for servers': {
    chain: withInter(ca('Client CA', { issuer: root, extendedKeyUsage: [clientAuth] })),
    roots: [root],
    accepted: false,
  },
  'a root that is not for servers': { chain: [server(clientRoot)], roots: [clientRoot], accepted: false },
  'an intermediate for servers': {
    chain: withInter(ca('Server CA', { issuer: root, extendedKeyUsage: [serverAuth] })),
    roots: [root],
    accepted: true,
  },
};

function withInter(issuer: TestCertificate): readonly TestCertificate[] {
  return [server(issuer), issuer];
}

for (const [name, { chain, roots, accepted }] of Object.entries(cases)) {
  test(`${name}: Go ${accepted ? 'accepts' : 'refuses'} it, and so do we`, async (t) => {
    const load = (certificates: readonly TestCertificate[]) => certificates.map(({ der }) => new X509Certificate(der));
    const { root: known, faults } = judgeChain(load(chain), load(roots), 'localhost', new Date());
    assert.equal(known !== undefined && faults.length === 0, accepted, JSON.stringify(faults));
    if (kubectl !== undefined) assert.equal(await askGo(t, kubectl, chain, roots), accepted, 'what Go says');
  });
}

async function askGo(
  t: TestContext,
  kubectl: string,
  chain: readonly TestCertificate[],
  roots: readonly TestCertificate[],
): Promise<boolean> {
  const port = await startRegistry(t, { chain });
  const folder = temporaryFolder(t);
  const file = join(folder, 'roots.pem');
  await writeFile(file, roots.map(({ pem }) => pem).join(''));
  const where = ['--server', `https://localhost:${port}`, '--certificate-authority', file, '--token', 'none'];
  const env = { HOME: folder, KUBECONFIG: '/dev/null', NO_PROXY: '*' };
  try {
    await execute(kubectl, [...where, '--request-timeout', '10s', 'get', '--raw', '/v2/'], {
      env,
      timeout: 60_000,
    });
    return true;
  } catch (error) {
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr) : '';
    assert.match(said, /x509: |tls: /, said);
    return false;
  }
}

test('CAs that all certify each other are judged after as few checks of signatures as Go allows itself', () => {
  const twins = Array.from({ length: 31 }, () => ca('Twin', { key: root.keys }));
  let checks = 0;
  const sent = [server(ca('Twin', { key: root.keys })), ...twins].map(({ der }) => {
    const certificate = new X509Certificate(der);
    const verify = certificate.verify.bind(certificate);
    certificate.verify = (key) => {
      checks += 1;
      return checks <= 1_000 && verify(key); // so that it ends
    };
    return certificate;
  });
  const { path, root: known } = judgeChain(sent, [new X509Certificate(other.der)], 'localhost', new Date());
  // Those of the search, then a few for each certificate: the longest path and the order.
  assert(checks <= 100 + 3 * sent.length, `${checks} checks`);
  assert.deepEqual([path.length, known], [8, undefined]);
});

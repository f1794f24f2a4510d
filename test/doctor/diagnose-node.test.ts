// What else can be broken on the node and in its cluster, one after the other.

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { diagnoses } from '../../agent/doctor/catalogue.ts';
import { writeKubeconfig } from '../support/api-fixture.ts';
import { createCertificate, extendedKeyUsages, fixedNow } from '../support/certificates.ts';
import { secret } from '../support/cluster.ts';
import { updateStore } from '../support/sandbox.ts';
import {
  assertFails,
  assertWarns,
  connectTo,
  createLeaf,
  createPatient,
  type Patient,
  registryHost,
  type Seen,
  startProxy,
  startRegistry,
  summaryOf,
  tell,
} from './patient.ts';

const root = createCertificate({ subject: 'Corp Root' });
const otherRoot = createCertificate({ subject: 'Other Root' });
const leaf = createLeaf(root);
const bundle = '/etc/ssl/certs/ca-certificates.crt';
const dropIns = '/etc/systemd/system/containerd.service.d';

const evidenceOf = ({ first }: Seen): string => first?.evidence.join('\n') ?? '';

test('a Secret that is rejected while its last good set stays breaks nothing yet', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  patient.apply({ 'corp.pem': root.pem, 'key.pem': root.keyPem });
  const port = await startRegistry(t, { chain: [leaf] });
  const seen = await patient.examine(`${registryHost}:${port}`);
  assertWarns(seen, 'LastGoodStays');
  assert.match(seen.first?.summary ?? '', /PrivateKey/);
  const said = JSON.stringify(seen.checks);
  assert(!said.includes(root.keyPem.split('\n')[1] ?? ''), 'nothing of the key is repeated');
});

test('a Secret in another form than PEM is seen for what it holds, and rejected', async (t) => {
  const patient = await createPatient(t);
  const port = await startRegistry(t, { chain: [leaf] });
  const forms = [root.der, Buffer.from(root.pem).toString('base64'), Buffer.from(`\ufeff${root.pem}`, 'utf16le')];
  for (const [index, form] of forms.entries()) {
    patient.apply({ 'corp.pem': form });
    const seen = await patient.examine(`${registryHost}:${port}`);
    assertFails(seen, 'SecretRejected');
    assert.match(seen.first?.summary ?? '', [/DerEncoded/, /DoubleBase64/, /ByteOrderMark/][index] ?? /never/);
  }
});

test('a good Secret of which nothing is on the host is an agent that is missing, or one that says why', async (t) => {
  const patient = await createPatient(t);
  patient.apply({ 'corp.pem': root.pem });
  const port = await startRegistry(t, { chain: [leaf] });
  const without = await patient.examine(`${registryHost}:${port}`);
  assertFails(without, 'NotInstalled');
  assert.match(evidenceOf(without), /no agent has written to the Node/);
  assert.match(without.first?.diagnosis?.command ?? '', /kubectl describe node node-1$/);
  const annotations = {
    'node-trust-agent/state': 'Failed',
    'node-trust-agent/reason': 'DiskFull',
    'node-trust-agent/message': 'no space',
  };
  patient.api.put({ kind: 'Node', metadata: { name: 'node-1', annotations } });
  assert.match(
    evidenceOf(await patient.examine(`${registryHost}:${port}`)),
    /the agent says Failed \(DiskFull\): no space/,
  );
});

test('an anchor that is not in the bundle, or in a bundle that does not load, is for the tool of the store', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const port = await startRegistry(t, { chain: [leaf] });
  const whole = await patient.sandbox.read(bundle);
  await patient.sandbox.write(bundle, whole.replace(root.pem, ''));
  await patient.sandbox.remove(`/etc/ssl/certs/${(await ourLink(patient)) ?? ''}`);
  assertFails(await patient.examine(`${registryHost}:${port}`), 'NotInBundle');
  await patient.sandbox.write(bundle, `${whole}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`);
  const broken = await patient.examine(`${registryHost}:${port}`);
  assertFails(broken, 'NotInBundle');
  assert.match(evidenceOf(broken), /line \d+: this block does not load/);
});

test("a root without its hash link is told, though Go's programs trust it", async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  for (const name of await patient.sandbox.list('/etc/ssl/certs'))
    if (/^[0-9a-f]{8}\.\d+$/.test(name)) await patient.sandbox.remove(`/etc/ssl/certs/${name}`);
  const port = await startRegistry(t, { chain: [leaf] });
  assertWarns(await patient.examine(`${registryHost}:${port}`), 'NotInLinks');
});

test('a runtime that does not run is told with its state', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  await patient.sandbox.runtime.systemctl('stop', 'containerd.service');
  const port = await startRegistry(t, { chain: [leaf] });
  assertFails(await patient.examine(`${registryHost}:${port}`), 'RuntimeUnknown');
});

test('a restart is told with when it was, and whether it was an agent that asked for it', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const port = await startRegistry(t, { chain: [leaf] });
  const evidence = async () => {
    const { checks } = await patient.examine(`${registryHost}:${port}`);
    return checks.find(({ name }) => name === 'runtime')?.evidence.join('\n') ?? '';
  };
  assert.match(await evidence(), /it was started 20\S+, by the agent, which asked for it 2026-06-01/);
  await patient.sandbox.runtime.systemctl('restart', 'containerd.service');
  assert.match(await evidence(), /it was started 20\S+, and no agent has recorded it/);
});

test('a store that an administrator wrote after the runtime was started may not be loaded', async (t) => {
  const patient = await createPatient(t);
  await patient.install([otherRoot]);
  await patient.sandbox.write('/usr/local/share/ca-certificates/admins.crt', root.pem);
  await updateStore(patient.sandbox.root);
  await patient.install([otherRoot]); // an agent notes that the process is good for what is its own
  const port = await startRegistry(t, { chain: [leaf] });
  // Started at boot, when the store was not written yet.
  await patient.sandbox.write('/run/sandbox/started-at', '1000000\n');
  assertWarns(await patient.examine(`${registryHost}:${port}`), 'RuntimeOlderThanStore');
  await patient.sandbox.runtime.systemctl('restart', 'containerd.service');
  const seen = await patient.examine(`${registryHost}:${port}`);
  assert.deepEqual([seen.fails, seen.warns], [[], []], tell(seen));
});

test('a root that left the Secret and lies on the host is on its way, or nobody takes it', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const { kind, namespace, name } = secret;
  patient.api.delete({ kind, namespace, name });
  const port = await startRegistry(t, { chain: [leaf] });
  assertWarns(await patient.examine(`${registryHost}:${port}`), 'NotYetWithdrawn');
});

test('a unit without the proxy of the shell is told, and shows no password', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const port = await startRegistry(t, { chain: [leaf] });
  const shell = new Map([['HTTPS_PROXY', 'http://user:hunter2@proxy.test:3128']]);
  const seen = await patient.examine(`${registryHost}:${port}`, { shell });
  assertWarns(seen, 'ProxyDiffers');
  assert.match(
    seen.first?.summary ?? '',
    /containerd\.service goes through no proxy, this shell through http:\/\/\*\*\*@proxy\.test:3128/,
  );
  assert(!JSON.stringify(seen.checks).includes('hunter2'));
  await patient.sandbox.write('/etc/environment', 'HTTPS_PROXY="http://proxy.test:3128"\n');
  const inPod = await patient.examine(`${registryHost}:${port}`, { shell: undefined });
  assert.match(inPod.first?.summary ?? '', /\/etc\/environment through http:\/\/proxy\.test:3128/);
});

test("the runtime's proxy is the way that is tried, and one that refuses is told", async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const proxy = await startRegistry(t, { listener: (_, response) => response.writeHead(403).end() });
  await patient.sandbox.write(
    `${dropIns}/proxy.conf`,
    `[Service]\nEnvironment=HTTPS_PROXY=http://user:hunter2@proxy.test:${proxy}\n`,
  );
  const shell = new Map([['HTTPS_PROXY', `http://user:hunter2@proxy.test:${proxy}`]]);
  const seen = await patient.examine(`${registryHost}/app`, { shell });
  assert.equal(seen.fails[0], 'ProxyRefused', tell(seen));
  assert(!JSON.stringify(seen.checks).includes('hunter2'));
});

test("a proxy of the runtime's that answers in the server's place is told by what is seen without it", async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const direct = await startRegistry(t, { chain: [leaf] });
  const inspected = await startRegistry(t, { chain: [createLeaf(otherRoot)] });
  const { port } = await startProxy(t, connectTo(inspected));
  await patient.sandbox.write(
    `${dropIns}/proxy.conf`,
    `[Service]\nEnvironment=HTTPS_PROXY=http://proxy.test:${port}\n`,
  );
  const shell = new Map([['HTTPS_PROXY', `http://proxy.test:${port}`]]);
  const seen = await patient.examine(`${registryHost}:${direct}`, { shell });
  assertFails(seen, 'Intercepted');
  assert.match(evidenceOf(seen), /without http:\/\/proxy\.test:\d+ the server shows another certificate/);
});

test('servers that are wrong in other ways are told as such', async (t) => {
  const patient = await createPatient(t);
  const rsa = createCertificate({ subject: 'RSA Root', key: { kind: 'rsa', bits: 2048 } });
  await patient.install([root, rsa]);
  const forClients = createLeaf(root, { extendedKeyUsage: [extendedKeyUsages.clientAuth] });
  assertFails(
    await patient.examine(`${registryHost}:${await startRegistry(t, { chain: [forClients] })}`),
    'NotForServers',
  );
  const sha1 = createLeaf(rsa, { signature: 'rsa-sha1' });
  assertFails(
    await patient.examine(`${registryHost}:${await startRegistry(t, { chain: [sha1] })}`),
    'InsecureSignature',
  );
  const mute = await startRegistry(t, { listener: (request) => request.socket.destroy() });
  assertFails(await patient.examine(`${registryHost}:${mute}`), 'HandshakeFailed');
  const unroutable = await patient.examine(`${registryHost}:${mute}`, {
    lookup: () => Promise.resolve(['255.255.255.255']),
  });
  assertFails(unroutable, 'ConnectionFailed');
});

test('a distribution that no agent knows is looked at as far as programs of Go go', async (t) => {
  const patient = await createPatient(t);
  const port = await startRegistry(t, { chain: [leaf] });
  await patient.sandbox.write('/etc/os-release', 'ID=fedora\n');
  patient.apply({ 'corp.pem': root.pem });
  const without = await patient.examine(`${registryHost}:${port}`);
  assertFails(without, 'NotInstalled');
  assert.match(evidenceOf(without), /UnsupportedDistribution/);
  await patient.sandbox.write('/etc/pki/tls/certs/corp.pem', root.pem);
  const seen = await patient.examine(`${registryHost}:${port}`);
  assert.deepEqual(seen.fails, [], tell(seen));
});

test('without an API server everything else is looked at', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  await patient.api.refuse();
  const port = await startRegistry(t, { chain: [leaf] });
  const seen = await patient.examine(`${registryHost}:${port}`);
  assert.deepEqual([seen.fails, seen.warns], [[], []], tell(seen));
  assert.match(summaryOf(seen, 'secret'), /^skipped: .*refused/);
  const stranger = await patient.examine(
    `${registryHost}:${await startRegistry(t, { chain: [createLeaf(otherRoot)] })}`,
  );
  assertFails(stranger, 'UnknownRoot');
  assert.match(evidenceOf(stranger), /secret kube-system\/custom-ca-trust-secret was not read: /);
  const named = patient.examine(`${registryHost}:${port}`, { kubeconfig: writeKubeconfig(t, '{}') });
  await assert.rejects(named, /names no API server/, 'a kubeconfig that was named has to be one');
});

test('a CA of the same name with another key was renewed', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const renewed = createCertificate({ subject: 'Corp Root' });
  const port = await startRegistry(t, { chain: [createLeaf(renewed)] });
  const seen = await patient.examine(`${registryHost}:${port}`);
  assertFails(seen, 'UnknownRoot');
  assert.match(evidenceOf(seen), /with another key: the CA was renewed/);
});

test('a node is looked at without being changed', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root], { restartDelayMs: 3_600_000 });
  const before = await snapshot(patient);
  const port = await startRegistry(t, { chain: [leaf] });
  await patient.examine(`${registryHost}:${port}`, { now: fixedNow });
  assert.deepEqual(await snapshot(patient), before);
  const calls = (await patient.sandbox.runtime.calls()).filter((call) => !call.startsWith('show '));
  assert.deepEqual(calls, ['restart containerd.service'], 'the sandbox itself started it');
  assert.deepEqual(patient.api.writes(), []);
});

test('every diagnosis is one that a test reaches', async () => {
  const names = (await readdir(import.meta.dirname)).filter((name) => name.startsWith('diagnose'));
  const texts = await Promise.all(names.map((name) => readFile(`${import.meta.dirname}/${name}`, 'utf8')));
  const reached = new Set(texts.flatMap((text) => [...text.matchAll(/'([A-Z]\w+)',?\s*\)/g)].map(([, code]) => code)));
  const asserted = new Set(texts.flatMap((text) => [...text.matchAll(/\[0\], '(\w+)'/g)].map(([, code]) => code)));
  const missing = Object.keys(diagnoses).filter((code) => !reached.has(code) && !asserted.has(code));
  assert.deepEqual(missing, []);
});

async function ourLink({ sandbox }: Patient): Promise<string | undefined> {
  return (await sandbox.list('/etc/ssl/certs')).find((name) => name.startsWith('node-trust-'));
}

async function snapshot({ sandbox }: Patient): Promise<readonly (readonly [string, string])[]> {
  const folders = ['/etc/ssl/certs', '/usr/local/share/ca-certificates', '/var/lib/node-trust-agent'];
  const files = await Promise.all(
    folders.map(async (folder) => {
      const names = await sandbox.list(folder);
      return Promise.all(
        names.map(
          async (name) => [`${folder}/${name}`, await sandbox.read(`${folder}/${name}`).catch(() => '')] as const,
        ),
      );
    }),
  );
  return files.flat();
}

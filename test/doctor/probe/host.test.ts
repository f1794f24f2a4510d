import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostFacts } from '../../../agent/doctor/facts.ts';
import { readHost } from '../../../agent/doctor/probe/host.ts';
import { createHostRoot } from '../../../agent/host/root.ts';
import { createCertificate } from '../../support/certificates.ts';
import { createEmptyRoot, createSandbox, type EmptyRoot } from '../../support/sandbox.ts';

const { signal } = new AbortController();
const [one, two, three] = ['One', 'Two', 'Three'].map((subject) => createCertificate({ subject }));
const pemOf = (certificate: { readonly pem: string } | undefined): string => certificate?.pem ?? '';

async function read({ root }: EmptyRoot): Promise<HostFacts> {
  const host = await readHost(createHostRoot(root), 'registry.test', () => Promise.resolve(undefined), signal);
  assert(host.kind === 'known');
  return host.value;
}

test("a unit's variables come from its own file, its drop-ins in their order, and environment files", async () => {
  await using host = await createEmptyRoot();
  const unit = 'containerd.service';
  await host.write(
    `/usr/lib/systemd/system/${unit}`,
    '[Service]\nEnvironment=A=unit B=unit\nEnvironmentFile=-/etc/default/x\n',
  );
  await host.write(`/usr/lib/systemd/system/${unit}.d/10.conf`, '[Service]\nEnvironment=A=vendor\n');
  await host.write(`/etc/systemd/system/${unit}.d/10.conf`, '[Service]\nEnvironment=C=etc\n');
  await host.write(`/run/systemd/system/${unit}.d/20.conf`, '[Service]\nEnvironment=B=run\n');
  await host.write(`/etc/systemd/system/${unit}.d/readme.txt`, '[Service]\nEnvironment=E=text\n');
  await host.write('/opt/linked.conf', '[Service]\nEnvironment=L=linked\n');
  await host.link(`/etc/systemd/system/${unit}.d/30.conf`, '/opt/linked.conf');
  await host.write('/etc/default/x', 'D=file\n');
  const { unit: found } = await read(host);
  assert(found.kind === 'known');
  const values = [...found.value.variables].map(([name, { value }]) => `${name}=${value}`).sort();
  assert.deepEqual(
    values,
    ['A=unit', 'B=run', 'C=etc', 'D=file', 'L=linked'],
    '10.conf of /etc stands for the one of /usr/lib',
  );
  assert.match(found.value.variables.get('B')?.path ?? '', /^\/run\/systemd/);
});

test('a unit file of an administrator stands for the one of the package', async () => {
  await using host = await createEmptyRoot();
  await host.write('/usr/lib/systemd/system/k3s.service', '[Service]\nEnvironment=A=1\n');
  await host.write('/etc/systemd/system/k3s.service', '[Service]\nEnvironment=B=2\n');
  const { unit } = await read(host);
  assert(unit.kind === 'known');
  assert.deepEqual([unit.value.unit, [...unit.value.variables.keys()]], ['k3s.service', ['B']]);
});

test('roots are those that a program of Go loads: the first bundle, and every file of the folders', async () => {
  await using host = await createEmptyRoot();
  await host.write(
    '/etc/ssl/certs/ca-certificates.crt',
    `-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n${pemOf(one)}`,
  );
  await host.write('/etc/pki/tls/certs/ca-bundle.crt', pemOf(two));
  await host.write('/etc/ssl/cert.pem', pemOf(three));
  const { roots, store, broken } = await read(host);
  assert.deepEqual(
    roots.map(({ certificate, path }) => `${certificate.subject} ${path}`),
    ['CN=One /etc/ssl/certs/ca-certificates.crt', 'CN=Two /etc/pki/tls/certs/ca-bundle.crt'],
  );
  assert.match(store, /^\/etc\/ssl\/certs\/ca-certificates\.crt \(UnsupportedDistribution/);
  assert.match(broken ?? '', /line 1: this block does not load/);
});

test('SSL_CERT_FILE and SSL_CERT_DIR each stand for their half of the store', async () => {
  await using host = await createEmptyRoot();
  await host.write('/etc/ssl/certs/ca-certificates.crt', pemOf(one));
  await host.write('/own/file.pem', pemOf(two));
  await host.write('/own/folder/x', pemOf(three));
  const rootsWith = async (variables: string): Promise<readonly string[] | undefined> => {
    await host.write('/etc/systemd/system/containerd.service', `[Service]\nEnvironment=${variables}\n`);
    const { unit } = await read(host);
    return unit.kind === 'known' ? unit.value.ownRoots?.map(({ certificate }) => certificate.subject) : undefined;
  };
  assert.deepEqual(await rootsWith('A=1'), undefined);
  assert.deepEqual(
    await rootsWith('SSL_CERT_FILE=/own/file.pem'),
    ['CN=Two', 'CN=One'],
    'the folder of the host counts still',
  );
  assert.deepEqual(await rootsWith('SSL_CERT_DIR=/nowhere:/own/folder'), ['CN=One', 'CN=Three']);
  assert.deepEqual(await rootsWith('SSL_CERT_FILE=/own/file.pem SSL_CERT_DIR=/own/folder'), ['CN=Two', 'CN=Three']);
});

test('the start of a unit is told without its clock, and a host without a unit says so', async () => {
  await using sandbox = await createSandbox({ roots: 1 });
  const before = Date.now() - 60_000;
  const { unit } = await read(sandbox);
  assert(unit.kind === 'known' && unit.value.startedAt !== undefined && unit.value.storeWrittenAt !== undefined);
  assert(unit.value.startedAt.getTime() > before && unit.value.startedAt.getTime() <= Date.now());
  await using empty = await createEmptyRoot();
  const none = await read(empty);
  assert.equal(none.unit.kind, 'unknown');
});

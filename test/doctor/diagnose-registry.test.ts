// What the runtime is told about one registry, and the registry's token server.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { createCertificate, createServerCertificate } from '../support/certificates.ts';
import {
  assertFails,
  assertWarns,
  closedPort,
  createLeaf,
  createPatient,
  listen,
  registryHost,
  type Seen,
  startRegistry,
  summaryOf,
  tell,
} from './patient.ts';

const root = createCertificate({ subject: 'Corp Root' });
const leaf = createLeaf(root);
const configToml = '[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/etc/containerd/certs.d"\n';

test('a token server is judged with the same eyes', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const ask = async (realm: string): Promise<Seen> => {
    const port = await startRegistry(t, { chain: [leaf], challenge: `Bearer realm="${realm}",service="x"` });
    return patient.examine(`${registryHost}:${port}/app`);
  };
  assertFails(await ask(`https://auth.test:${await closedPort()}/token`), 'TokenServerBroken');
  const misnamed = await startRegistry(t, { chain: [leaf] });
  const seen = await ask(`https://auth.test:${misnamed}/token`);
  assertFails(seen, 'TokenServerBroken');
  assert.match(seen.first?.summary ?? '', /auth\.test:\d+: the certificate is not for auth\.test/);
  assertWarns(await ask(`http://auth.test:${await startRegistry(t, {})}/token`), 'TokenOverHttp');
  const good = createServerCertificate(root, { subject: 'auth.test', names: ['auth.test'] });
  const well = await ask(`https://auth.test:${await startRegistry(t, { chain: [good] })}/token`);
  assert.deepEqual([well.fails, well.warns], [[], []], tell(well));
  assert.match(summaryOf(well, 'token'), /^pass: auth\.test:\d+, below CN=Corp Root$/);
});

test('a token server below a root that has no more than the name of the trusted one is not trusted', async (t) => {
  const patient = await createPatient(t);
  const renewed = createCertificate({ subject: 'Corp Root' });
  const auth = createServerCertificate(renewed, { subject: 'auth.test', names: ['auth.test'] });
  const tokens = await startRegistry(t, { chain: [auth, renewed] });
  const challenge = `Bearer realm="https://auth.test:${tokens}/token",service="x"`;
  const port = await startRegistry(t, { chain: [leaf], challenge });
  assertFails(await patient.examine(`${registryHost}:${port}/app`), 'UnknownRoot');
  await patient.install([root]);
  assertFails(await patient.examine(`${registryHost}:${port}/app`), 'TokenServerUntrusted');
});

test('what hosts.toml says of a registry is told: another server, no verification, a CA that is not there', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const port = await startRegistry(t, { chain: [leaf] });
  const registry = `${registryHost}:${port}`;
  const folder = `/etc/containerd/certs.d/${registryHost}_${port}_`;
  const say = async (toml: string): Promise<Seen> => {
    await patient.sandbox.write(`${folder}/hosts.toml`, `server = "https://${registry}"\n${toml}`);
    return patient.examine(registry);
  };
  assert.deepEqual((await say('')).first, undefined);
  const mirrored = await say('[host."https://user:hunter2@mirror.test:5000/v2"]\ncapabilities = ["pull"]\n');
  assertWarns(mirrored, 'HostsTomlRedirects');
  assert.equal(mirrored.first?.diagnosis?.command, 'node-trust doctor https://mirror.test:5000/v2');
  const bare = await say('[host."robot:hunter2@mirror.test"]\n');
  assertWarns(bare, 'HostsTomlRedirects');
  assert.equal(bare.first?.diagnosis?.command, 'node-trust doctor mirror.test');
  assertWarns(await say('skip_verify = true\n'), 'SkipVerify');
  const twice = await say(`ca = "missing.pem"\n[host."https://${registry}"]\nca = "missing.pem"\n`);
  assertFails(twice, 'HostsTomlBroken');
  assert.deepEqual(twice.first?.evidence, [
    `${folder}/hosts.toml names https://${registry}`,
    `${folder}/missing.pem is named there and does not exist`,
  ]);
  const garbled = await say('ca = \npassword = "hunter2"\n');
  assertWarns(garbled, 'ConfigUnreadable');
  assert.match(garbled.first?.summary ?? '', /hosts\.toml: it cannot be parsed, line 2/);
  assert(!JSON.stringify([...mirrored.checks, ...bare.checks, ...garbled.checks]).includes('hunter2'));
});

test('a CA in hosts.toml counts for the server in whose table it stands', async (t) => {
  const patient = await createPatient(t);
  const port = await startRegistry(t, { chain: [leaf] });
  const registry = `${registryHost}:${port}`;
  const folder = `/etc/containerd/certs.d/${registryHost}_${port}_`;
  await patient.sandbox.write('/etc/containerd/config.toml', configToml);
  await patient.sandbox.write(`${folder}/corp.pem`, root.pem);
  const say = async (toml: string): Promise<Seen> => {
    await patient.sandbox.write(`${folder}/hosts.toml`, toml);
    return patient.examine(registry);
  };
  const mirrored = await say(`server = "https://${registry}"\n[host."https://mirror.test"]\nca = "corp.pem"\n`);
  assertFails(mirrored, 'UnknownRoot');
  const where = `${folder}/hosts.toml names it for another server alone`;
  assert(mirrored.first?.evidence.includes(where) === true, tell(mirrored));
  assertFails(await say('server = "https://mirror.test"\nca = "corp.pem"\n[host]\n'), 'UnknownRoot');
  for (const toml of [
    `server = "https://${registry}"\nca = "corp.pem"\n[host."https://mirror.test"]\n`,
    'ca = "corp.pem"\n[host]\n',
    `[host."https://${registry}"]\nca = "corp.pem"\n`,
  ])
    assert.deepEqual((await say(toml)).fails, [], toml);
});

test('a hosts.toml whose CA stands at its top without a [host] table is one that containerd before 2 ignores', async (t) => {
  const patient = await createPatient(t);
  const port = await startRegistry(t, { chain: [leaf] });
  const folder = `/etc/containerd/certs.d/${registryHost}:${port}`;
  await patient.sandbox.write(`${folder}/corp.pem`, root.pem);
  await patient.sandbox.write(`${folder}/hosts.toml`, 'ca = "corp.pem"\n');
  await patient.sandbox.write('/etc/containerd/config.toml', configToml);
  assertWarns(await patient.examine(`${registryHost}:${port}`), 'HostsTomlIgnored');
  await patient.sandbox.write(`${folder}/hosts.toml`, 'ca = "corp.pem"\n[host]\n');
  assert.equal((await patient.examine(`${registryHost}:${port}`)).first, undefined);
});

test('an empty CA file in a folder without hosts.toml fails every pull', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const port = await startRegistry(t, { chain: [leaf] });
  await patient.sandbox.write(`/etc/containerd/certs.d/_default/ca.crt`, '');
  assertFails(await patient.examine(`${registryHost}:${port}`), 'HostsTomlBroken');
});

test('config.toml with mirrors and config_path keeps the runtime from serving, through an import too', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const port = await startRegistry(t, { chain: [leaf] });
  const plugin = 'plugins."io.containerd.grpc.v1.cri".registry';
  await patient.sandbox.write(
    '/etc/containerd/config.toml',
    `imports = ["/etc/containerd/conf.d/*.toml"]\n[${plugin}]\nconfig_path = "/etc/containerd/certs.d"\n`,
  );
  assert.deepEqual((await patient.examine(`${registryHost}:${port}`)).first, undefined);
  await patient.sandbox.write(
    '/etc/containerd/conf.d/mirrors.toml',
    `[${plugin}.mirrors."docker.io"]\nendpoint = ["https://mirror.test"]\n`,
  );
  const seen = await patient.examine(`${registryHost}:${port}`);
  assertFails(seen, 'MirrorsWithConfigPath');
  await patient.sandbox.write('/etc/containerd/config.toml', 'imports = ["/etc/containerd/conf.d/*.toml"]\n');
  await patient.sandbox.write('/etc/containerd/certs.d/other.test/ca.crt', root.pem);
  assert.equal((await patient.examine(`${registryHost}:${port}`)).first, undefined, 'mirrors alone are well');
  assert.match(seen.first?.summary ?? '', /conf\.d\/mirrors\.toml has mirrors \(docker\.io\)/);
});

test('registries.yaml of k3s is looked at for this registry', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const port = await startRegistry(t, { chain: [leaf] });
  const registry = `${registryHost}:${port}`;
  const say = async (yaml: string): Promise<Seen> => {
    await patient.sandbox.write('/etc/rancher/k3s/registries.yaml', yaml);
    return patient.examine(registry);
  };
  assert.match(summaryOf(await say('mirrors: {}\n'), 'registries'), /^pass: /);
  assertWarns(await say(`mirrors: {"${registry}": {endpoint: ["https://mirror.test"]}}\n`), 'RegistriesRedirect');
  assertFails(await say(`configs: {"${registry}": {tls: {ca_file: /none.pem}}}\n`), 'RegistriesCaBroken');
  assertWarns(await say(`configs: {"${registry}": {tls: {insecure_skip_verify: true}}}\n`), 'SkipVerify');
  assertWarns(await say('mirrors: [\n'), 'ConfigUnreadable');
});

test('a server that wants a client certificate is no server to pull from, unless containerd has been given one', async (t) => {
  const patient = await createPatient(t);
  await patient.install([root]);
  const options = { cert: leaf.pem, key: leaf.keyPem, ca: root.pem, requestCert: true, minVersion: 'TLSv1.3' } as const;
  const port = await listen(t, createTlsServer(options));
  const registry = `${registryHost}:${port}`;
  const folder = `/etc/containerd/certs.d/${registryHost}_${port}_`;
  await patient.sandbox.write('/etc/containerd/config.toml', configToml);
  const seen = await patient.examine(registry);
  assertFails(seen, 'HandshakeFailed');
  const summary = `${registry} wants a client certificate, and containerd has been given none for it`;
  assert.deepEqual(
    [seen.first?.summary, seen.first?.evidence],
    [summary, ['it answers: tlsv13 alert certificate required']],
  );
  for (const [name, text] of [
    ['client.cert', root.pem],
    ['hosts.toml', 'client = "client.pem"\n[host]\n'],
    ['hosts.toml', `[host."https://${registry}"]\nclient = [["client.cert", "client.key"]]\n`],
  ] as const) {
    await patient.sandbox.write(`${folder}/${name}`, text);
    assert.match(
      summaryOf(await patient.examine(registry), 'tls'),
      /^pass: .* and containerd has been given one$/,
      text,
    );
  }
  await patient.sandbox.write(`${folder}/hosts.toml`, '[host."https://mirror.test"]\nclient = "client.pem"\n');
  assert((await patient.examine(registry)).fails.includes('HandshakeFailed'), 'the one for a mirror is for that alone');
});

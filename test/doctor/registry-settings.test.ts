import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  folderNames,
  parseContainerdConfig,
  parseHosts,
  readRegistries,
} from '../../agent/doctor/registry-settings.ts';

test('hosts.toml gives its hosts in their order and the server last, each with its CAs', () => {
  const text = `server = "https://registry.corp"
ca = "/etc/own.pem"

[host."https://mirror.corp"]
  capabilities = ["pull", "resolve"]
  ca = ["a.crt", "/b.crt"]
  skip_verify = true
  client = [["a.cert", "a.key"]]
`;
  assert.deepEqual(parseHosts(text).entries, [
    { server: 'https://mirror.corp', skipVerify: true, hasClient: true, ca: ['a.crt', '/b.crt'] },
    { server: 'https://registry.corp', skipVerify: false, hasClient: false, ca: ['/etc/own.pem'] },
  ]);
});

test('credentials of a server are not kept, in whatever form they are written', () => {
  for (const [written, kept] of [
    ['https://user:hunter2@mirror.corp', 'https://mirror.corp'],
    ['robot:hunter2@mirror.corp', 'mirror.corp'],
    [' https://user:hunter2@mirror.corp/v2', 'https://mirror.corp/v2'],
    ['https://user:hun/ter2@mirror.corp', 'https://mirror.corp'],
    ['https://user:hun?ter2@mirror.corp', 'https://mirror.corp'],
    ['https://mirror.corp/v2?token=hunter2', 'https://mirror.corp/v2'],
  ] as const) {
    assert.equal(parseHosts(`[host."${written}"]\n`).entries[0]?.server, kept);
    assert.equal(parseHosts(`server = "${written}"\n`).entries[0]?.server, kept);
    assert.deepEqual(readRegistries({ mirrors: { a: { endpoint: [written] } } }, 'a').endpoints, [kept]);
    const { mirrors } = parseContainerdConfig(`[plugins.cri.registry.mirrors."${written}"]\n`);
    assert.deepEqual(mirrors, [kept]);
  }
});

test('what has another shape than documented counts as not there', () => {
  assert.deepEqual(parseHosts('server = 1\nhost = "x"\nca = [1, "a"]\n'), {
    entries: [{ server: '', skipVerify: false, hasClient: false, ca: ['a'] }],
    hasTable: false,
  });
  assert(parseHosts('ca = "a"\n[host]\n').hasTable, 'an empty one is one');
  assert.deepEqual(parseContainerdConfig('plugins = 1\nimports = "/etc/x.toml"\n'), {
    configPath: [],
    imports: ['/etc/x.toml'],
    mirrors: [],
    tls: new Map(),
  });
  assert.deepEqual(readRegistries(null, 'a'), { endpoints: [], tls: undefined });
});

for (const [version, plugin] of [
  [2, 'io.containerd.grpc.v1.cri'],
  [3, 'io.containerd.cri.v1.images'],
] as const) {
  test(`config.toml of version ${version} has its registries in the plugin ${plugin}`, () => {
    const config = parseContainerdConfig(`version = ${version}
[plugins."${plugin}".registry]
  config_path = "/etc/containerd/certs.d:/etc/docker/certs.d"
  [plugins."${plugin}".registry.mirrors."docker.io"]
    endpoint = ["https://mirror.corp"]
  [plugins."${plugin}".registry.configs."registry.corp".tls]
    insecure_skip_verify = true
    ca_file = "/etc/corp.pem"
    cert_file = "/etc/corp.cert"
`);
    assert.deepEqual(config, {
      configPath: ['/etc/containerd/certs.d', '/etc/docker/certs.d'],
      imports: [],
      mirrors: ['docker.io'],
      tls: new Map([['registry.corp', { skipVerify: true, hasClient: true, ca: '/etc/corp.pem' }]]),
    });
  });
}

test('a client certificate may be one file, files, or pairs of them', () => {
  for (const client of ['"a"', '["a"]', '[["a", "b"]]', '[["a", ""]]'])
    assert.equal(parseHosts(`client = ${client}\n`).entries[0]?.hasClient, true, client);
  for (const client of ['""', '[]', '[[]]', '1'])
    assert.equal(parseHosts(`client = ${client}\n`).entries[0]?.hasClient, false, client);
});

test('registries.yaml is asked for the registry, and else for all', () => {
  const document = {
    mirrors: { '*': { endpoint: ['https://all.corp'] }, 'registry.corp': { endpoint: 'https://one.corp' } },
    configs: { 'registry.corp': { tls: { ca_file: '/ca.pem' } } },
  };
  assert.deepEqual(readRegistries(document, 'registry.corp'), {
    endpoints: ['https://one.corp'],
    tls: { skipVerify: false, hasClient: false, ca: '/ca.pem' },
  });
  assert.deepEqual(readRegistries(document, 'other.corp'), { endpoints: ['https://all.corp'], tls: undefined });
});

test('a registry with a port has two names for its folder', () => {
  assert.deepEqual(folderNames('registry.corp:5000'), ['registry.corp_5000_', 'registry.corp:5000']);
  assert.deepEqual(folderNames('docker.io'), ['docker.io']);
});

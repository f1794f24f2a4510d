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
`;
  assert.deepEqual(parseHosts(text).entries, [
    { server: 'https://mirror.corp', skipVerify: true, ca: ['a.crt', '/b.crt'] },
    { server: 'https://registry.corp', skipVerify: false, ca: ['/etc/own.pem'] },
  ]);
});

test('a password in the URL of a server is not kept', () => {
  const hosts = parseHosts('[host."https://user:secret@mirror.corp"]\n');
  assert.equal(hosts.entries[0]?.server, 'https://mirror.corp');
  const { endpoints } = readRegistries({ mirrors: { a: { endpoint: ['https://user:secret@mirror.corp/v2'] } } }, 'a');
  assert.deepEqual(endpoints, ['https://mirror.corp/v2']);
});

test('what has another shape than documented counts as not there', () => {
  assert.deepEqual(parseHosts('server = 1\nhost = "x"\nca = [1, "a"]\n'), {
    entries: [{ server: '', skipVerify: false, ca: ['a'] }],
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
`);
    assert.deepEqual(config, {
      configPath: ['/etc/containerd/certs.d', '/etc/docker/certs.d'],
      imports: [],
      mirrors: ['docker.io'],
      tls: new Map([['registry.corp', { skipVerify: true, ca: '/etc/corp.pem' }]]),
    });
  });
}

test('registries.yaml is asked for the registry, and else for all', () => {
  const document = {
    mirrors: { '*': { endpoint: ['https://all.corp'] }, 'registry.corp': { endpoint: 'https://one.corp' } },
    configs: { 'registry.corp': { tls: { ca_file: '/ca.pem' } } },
  };
  assert.deepEqual(readRegistries(document, 'registry.corp'), {
    endpoints: ['https://one.corp'],
    tls: { skipVerify: false, ca: '/ca.pem' },
  });
  assert.deepEqual(readRegistries(document, 'other.corp'), { endpoints: ['https://all.corp'], tls: undefined });
});

test('a registry with a port has two names for its folder', () => {
  assert.deepEqual(folderNames('registry.corp:5000'), ['registry.corp_5000_', 'registry.corp:5000']);
  assert.deepEqual(folderNames('docker.io'), ['docker.io']);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatServer, parseTarget } from '../../agent/doctor/target.ts';

/** What was typed, and what it was taken for: kind, registry, server, repository. */
const targets: readonly (readonly [string, string, string, string, string])[] = [
  ['registry.corp/team/app:1.2', 'image', 'registry.corp', 'https://registry.corp:443', 'team/app'],
  [
    `registry.corp:5000/app@sha256:${'0a'.repeat(32)}`,
    'image',
    'registry.corp:5000',
    'https://registry.corp:5000',
    'app',
  ],
  ['localhost/app', 'image', 'localhost', 'https://localhost:443', 'app'],
  ['nginx', 'image', 'docker.io', 'https://registry-1.docker.io:443', 'library/nginx'],
  ['redis:7', 'image', 'docker.io', 'https://registry-1.docker.io:443', 'library/redis'],
  ['team/app:1.2', 'image', 'docker.io', 'https://registry-1.docker.io:443', 'team/app'],
  ['docker.io/library/nginx', 'image', 'docker.io', 'https://registry-1.docker.io:443', 'library/nginx'],
  ['index.docker.io/team/app', 'image', 'docker.io', 'https://registry-1.docker.io:443', 'team/app'],
  ['registry.corp', 'host', 'registry.corp', 'https://registry.corp:443', ''],
  ['registry:5000', 'host', 'registry:5000', 'https://registry:5000', ''],
  ['localhost', 'host', 'localhost', 'https://localhost:443', ''],
  ['10.0.0.1:443', 'host', '10.0.0.1:443', 'https://10.0.0.1:443', ''],
  ['[::1]:5000', 'host', '[::1]:5000', 'https://::1:5000', ''],
  ['[::1]:5000/app', 'image', '[::1]:5000', 'https://::1:5000', 'app'],
  ['https://registry.corp', 'url', 'registry.corp', 'https://registry.corp:443', ''],
  ['https://registry.corp:443/v2/', 'url', 'registry.corp', 'https://registry.corp:443', ''],
  ['http://registry.corp:8080/v2/', 'url', 'registry.corp:8080', 'http://registry.corp:8080', ''],
  ['https://[::1]:5000', 'url', '[::1]:5000', 'https://::1:5000', ''],
];

for (const [text, readAs, registry, server, repository] of targets) {
  test(`${text} is taken for ${readAs === 'image' ? 'an image' : `a ${readAs}`} at ${registry}`, () => {
    const target = parseTarget(text);
    const { scheme, host, port } = target.server;
    assert.deepEqual(
      [target.readAs, target.registry, `${scheme}://${host}:${port}`, target.repository],
      [readAs, registry, server, repository],
    );
  });
}

test('what is none of them says what was expected', () => {
  for (const text of [
    '',
    'not a target',
    'ftp://registry.corp',
    'https://',
    'registry.corp:0',
    'registry.corp:70000',
    'UPPER/app',
    '-',
    'bob:hunter2@registry.corp:5000', // credentials, which would not be taken off
  ])
    assert.throws(() => parseTarget(text), /expected an image, HOST:PORT or a URL, got "/, text);
});

test('credentials in a URL are not repeated', () => {
  assert.equal(parseTarget('https://user:secret@registry.corp/v2/').asked, 'https://registry.corp/v2/');
});

test('credentials in what is refused are not repeated, and a password with a slash is not taken for a host', () => {
  for (const [text, shown] of [
    ['robot:hunter2@registry.corp/app', '***@registry.corp/app'],
    ['docker://robot:hunter2@registry.corp/app', 'docker://***@registry.corp/app'],
    ['https://robot:hunter2@registry.corp:99999', 'https://***@registry.corp:99999'],
    ['https://robot:12/hunter2@registry.corp', 'https://***@registry.corp'],
    ['https://robot:12?hunter2@registry.corp', 'https://***@registry.corp'],
    ['ftp://registry.corp/?token=hunter2', 'ftp://registry.corp/'],
  ] as const)
    assert.throws(() => parseTarget(text), { message: `expected an image, HOST:PORT or a URL, got "${shown}"` });
});

test('a server is shown without the port that goes without saying, and IPv6 in brackets', () => {
  assert.equal(formatServer({ scheme: 'https', host: 'a.test', port: 443 }), 'a.test');
  assert.equal(formatServer({ scheme: 'http', host: 'a.test', port: 443 }), 'a.test:443');
  assert.equal(formatServer({ scheme: 'https', host: '::1', port: 5000 }), '[::1]:5000');
});

test('whatever is typed is a target or a problem that is told', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.webUrl(), fc.domain()), (text) => {
      try {
        const { server } = parseTarget(text);
        assert(server.host !== '' && server.port > 0 && server.port < 65_536);
      } catch (error) {
        assert.match(String(error), /expected an image, HOST:PORT or a URL, got/);
      }
    }),
  );
});

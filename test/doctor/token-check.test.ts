import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseChallenge } from '../../agent/doctor/token-check.ts';

test('a challenge names the token server, and what is asked of it for this image', () => {
  const challenge = 'Bearer realm="https://auth.corp:8443/token",service="registry.corp",scope="x"';
  assert.deepEqual(parseChallenge(challenge, 'team/app'), {
    server: { scheme: 'https', host: 'auth.corp', port: 8443 },
    realm: 'https://auth.corp:8443/token',
    path: '/token?service=registry.corp&scope=repository%3Ateam%2Fapp%3Apull',
  });
});

test('parameters may come in any order, with blanks, without quotes and in capital letters', () => {
  const found = parseChallenge('bearer  Service=registry , REALM="https://auth.corp/to\\"ken"', '');
  assert.deepEqual([found?.server.host, found?.path], ['auth.corp', '/to%22ken?service=registry']);
});

test('what is no Bearer with a URL sends nowhere', () => {
  for (const challenge of [
    'Basic realm="https://auth.corp"',
    'Bearer realm="auth"',
    'Bearer realm="file:///etc"',
    'Bearer',
    '',
  ])
    assert.equal(parseChallenge(challenge, ''), undefined, challenge);
});

test('credentials in a realm are neither shown nor sent', () => {
  const found = parseChallenge('Bearer realm="https://user:secret@auth.corp/token"', '');
  assert.deepEqual([found?.realm, found?.path], ['https://auth.corp/token', '/token']);
});

test('whatever a server sends as a challenge is one, or none', () => {
  const parts = fc.constantFrom(
    'Bearer ',
    'realm=',
    '"https://',
    'auth.test',
    ':99999',
    '/',
    '\\',
    '"',
    ',',
    'service=',
    '%',
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(parts).map((words) => words.join('')),
      ),
      (challenge) => {
        const found = parseChallenge(challenge, 'app');
        assert(found === undefined || found.path.startsWith('/'));
      },
    ),
  );
});

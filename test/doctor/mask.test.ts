import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { maskCredentials } from '../../agent/doctor/mask.ts';

test('whatever the password is made of, nothing of it is shown', () => {
  const scheme = fc.constantFrom('', 'https://', ' https://', 'docker://', '//');
  // Before two slashes, a user is nothing but a scheme.
  const password = fc.string().filter((text) => !text.startsWith('//'));
  const rest = fc.constantFrom('mirror.corp', 'mirror.corp:5000/v2', '[::1]:5000');
  fc.assert(
    fc.property(scheme, password, rest, fc.string(), (before, secret, after, token) => {
      const query = `?t=${token.replaceAll('@', '')}`;
      const shown = maskCredentials(`${before}robot:${secret}@${after}${query}`, '***@');
      assert(shown === `***@${after}` || shown === `${before.trim()}***@${after}`, shown);
    }),
  );
});

test('what holds no credentials is shown as it is written', () => {
  for (const text of ['mirror.corp', 'https://mirror.corp/v2', 'not a target', ''])
    assert.equal(maskCredentials(text, '***@'), text);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { maskProxy, proxyFor } from '../../agent/doctor/proxy.ts';
import { parseTarget } from '../../agent/doctor/target.ts';

const ask = (variables: Readonly<Record<string, string>>, url: string): string | undefined =>
  proxyFor(new Map(Object.entries(variables)), parseTarget(url).server);

test('the proxy is the one for the scheme, in capital letters first', () => {
  const both = { HTTPS_PROXY: 'http://upper:3128', https_proxy: 'http://lower:3128', http_proxy: 'http://plain:3128' };
  assert.equal(ask(both, 'https://registry.corp'), 'http://upper:3128');
  assert.equal(ask({ https_proxy: 'lower:3128' }, 'https://registry.corp'), 'http://lower:3128');
  assert.equal(ask(both, 'http://registry.corp'), 'http://plain:3128');
  assert.equal(ask({}, 'https://registry.corp'), undefined);
});

test('loopback never goes through a proxy', () => {
  for (const url of ['https://localhost:5000', 'https://127.0.0.1:5000', 'https://[::1]:5000'])
    assert.equal(ask({ HTTPS_PROXY: 'http://proxy:3128' }, url), undefined, url);
});

/** NO_PROXY, a URL, and whether it is excepted: as httpproxy of golang.org/x/net has it. */
const exceptions: readonly (readonly [string, string, boolean])[] = [
  ['registry.corp', 'https://registry.corp', true],
  ['corp', 'https://registry.corp', true],
  ['.corp', 'https://registry.corp', true],
  ['*.corp', 'https://registry.corp', true],
  ['.registry.corp', 'https://registry.corp', false],
  ['gistry.corp', 'https://registry.corp', false],
  ['REGISTRY.CORP', 'https://registry.corp', true],
  ['other.corp, registry.corp', 'https://registry.corp', true],
  ['*', 'https://registry.corp', true],
  ['registry.corp:5000', 'https://registry.corp:5000', true],
  ['registry.corp:5000', 'https://registry.corp', false],
  ['10.0.0.0/8', 'https://10.1.2.3', true],
  ['10.0.0.0/8', 'https://11.1.2.3', false],
  ['10.0.0.0/8', 'https://registry.corp', false],
  ['10.1.2.3', 'https://10.1.2.3', true],
  ['10.1.2.3:5000', 'https://10.1.2.3', false],
  ['fd00::/8', 'https://[fd00::1]:5000', true],
  ['10.0.0.0/99', 'https://10.1.2.3', false],
  ['', 'https://registry.corp', false],
];

for (const [noProxy, url, isExcepted] of exceptions) {
  test(`NO_PROXY=${noProxy} ${isExcepted ? 'excepts' : 'does not except'} ${url}`, () => {
    const proxy = ask({ HTTPS_PROXY: 'http://proxy:3128', NO_PROXY: noProxy }, url);
    assert.equal(proxy === undefined, isExcepted);
  });
}

test('a proxy is shown without its credentials', () => {
  assert.equal(maskProxy('http://proxy:3128'), 'http://proxy:3128');
  assert.equal(maskProxy('http://user:secret@proxy:3128/path?x'), 'http://***@proxy:3128');
  assert.equal(maskProxy('http://user:sec%'), 'a URL that cannot be read');
  assert.equal(maskProxy('http://user:12/hunter2@proxy:3128'), 'a URL that cannot be read');
});

test('an empty variable does not hide the one in small letters, as for Go', () => {
  const small = { HTTPS_PROXY: '', https_proxy: 'http://proxy:3128' };
  assert.equal(ask(small, 'https://registry.corp'), 'http://proxy:3128');
  assert.equal(ask({ ...small, NO_PROXY: '', no_proxy: 'corp' }, 'https://registry.corp'), undefined);
});

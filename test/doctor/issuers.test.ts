import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isInspector, isPublicRegistry } from '../../agent/doctor/issuers.ts';

test('public registries are known with what is below them, and not by their ends alone', () => {
  for (const host of ['ghcr.io', 'registry-1.docker.io', 'corp.azurecr.io', 'europe-docker.pkg.dev'])
    assert(isPublicRegistry(host), host);
  for (const host of ['registry.corp', 'notghcr.io', 'ghcr.io.corp']) assert(!isPublicRegistry(host), host);
});

test('CAs of inspecting proxies are known by product and by word', () => {
  for (const name of [
    'CN=Zscaler Root CA',
    'O=Fortinet, CN=FortiGate CA',
    'CN=mitmproxy',
    'CN=Corp Proxy CA',
    'CN=Corp TLS Inspection',
  ])
    assert(isInspector(name), name);
  for (const name of ['CN=Corp Root', 'CN=Proximus CA', 'CN=ISRG Root X1', 'CN=Corp Issuing CA 2'])
    assert(!isInspector(name), name);
});

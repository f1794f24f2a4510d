import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import type { EndpointFacts } from '../../../agent/doctor/facts.ts';
import { type ProbeOptions, probeEndpoint } from '../../../agent/doctor/probe/endpoint.ts';
import { createCertificate, createServerCertificate, fixedNow } from '../../support/certificates.ts';
import { connectTo, listen, startProxy, startRegistry } from '../patient.ts';

const root = createCertificate({ subject: 'Root' });
const inter = createCertificate({ subject: 'Inter', issuer: root });
const other = createCertificate({ subject: 'Other' });
const leaf = createServerCertificate(inter, { names: ['registry.test'], subject: 'registry.test' });
const { signal } = new AbortController();
const lookup = () => Promise.resolve(['127.0.0.1']);

function probe(port: number, options: Partial<ProbeOptions> = {}, host = 'registry.test'): Promise<EndpointFacts> {
  const server = { scheme: 'https', host, port } as const;
  return probeEndpoint(server, { proxy: undefined, path: '/v2/', lookup, ...options }, signal);
}

const subjectsOf = ({ tls }: EndpointFacts): readonly string[] =>
  tls.kind === 'chain' ? tls.sent.map(({ subject }) => subject) : [tls.kind];

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`over ${version} a chain is kept as it was sent: out of order, with strangers and twice`, async (t) => {
    for (const chain of [[leaf], [leaf, inter, root], [leaf, root, inter], [leaf, other, root, inter, inter]]) {
      const cert = chain.map(({ pem }) => pem).join('');
      const server = createTlsServer({ cert, key: leaf.keyPem, minVersion: version, maxVersion: version }, hangUp);
      const seen = await probe(await listen(t, server));
      assert.deepEqual(
        subjectsOf(seen),
        chain.map(({ subject }) => `CN=${subject}`),
      );
      assert.equal(seen.tls.kind === 'chain' && seen.tls.protocol, version);
    }
  });
}

test('the answer is told with its status, time and challenges, to a request with nothing of anybody in it', async (t) => {
  const asked: unknown[] = [];
  const listener: RequestListener = ({ method, url, headers }, response) => {
    asked.push({ method, url, headers });
    response.setHeader('WWW-Authenticate', ['Basic realm="x"', 'Bearer realm="https://auth.test/token"']);
    response.writeHead(401, { Date: fixedNow.toUTCString() }).end();
  };
  const port = await startRegistry(t, { chain: [leaf, inter], listener });
  const { http } = await probe(port);
  const challenges = ['Basic realm="x"', 'Bearer realm="https://auth.test/token"'];
  assert.deepEqual(http, { kind: 'answer', status: 401, date: fixedNow, challenges });
  const headers = {
    host: `registry.test:${port}`,
    accept: '*/*',
    'user-agent': 'node-trust doctor',
    connection: 'close',
  };
  assert.deepEqual(asked, [{ method: 'GET', url: '/v2/', headers }]);
});

test('the server is asked for the name, by SNI, and not where the name is an address', async (t) => {
  const names: (string | false | null)[] = [];
  const server = createTlsServer({ cert: leaf.pem, key: leaf.keyPem }, (socket) => {
    names.push(socket.servername);
    hangUp(socket);
  });
  const port = await listen(t, server);
  await probe(port);
  const seen = await probe(port, {}, '127.0.0.1');
  assert.deepEqual([names, seen.dns.kind], [['registry.test', false], 'needless']);
});

test('a port that refuses is told so even where another address cannot be reached at all', async (t) => {
  const server = createServer();
  const port = await listen(t, server);
  server.close();
  const { tcp } = await probe(port, { lookup: () => Promise.resolve(['255.255.255.255', '127.0.0.1']) });
  assert.equal(tcp.kind, 'refused', JSON.stringify(tcp));
});

test('the second address is taken where the first does not answer', async (t) => {
  const port = await startRegistry(t, { chain: [leaf, inter] });
  const { tcp } = await probe(port, { lookup: () => Promise.resolve(['127.0.0.2', '127.0.0.1']) });
  assert.deepEqual(tcp, { kind: 'connected', address: `127.0.0.1:${port}` });
});

test('a server that speaks plain HTTP is told from one that speaks neither', async (t) => {
  assert.deepEqual((await probe(await startRegistry(t, {}))).tls.kind, 'plain-http');
  const noise = createServer((socket) => socket.end('220 mail.test ESMTP\r\n'));
  assert.deepEqual((await probe(await listen(t, noise))).tls.kind, 'failed');
});

test('who answers nothing ends each stage at its time, and nothing waits for them', async (t) => {
  const timeoutMs = 200;
  const silent = createServer();
  const port = await listen(t, silent);
  const mute = await probe(port, { timeoutMs });
  assert.deepEqual(mute.tls, { kind: 'failed', evidence: 'no answer to its first words in time' });
  const speechless = createTlsServer({ cert: leaf.pem, key: leaf.keyPem });
  const { http } = await probe(await listen(t, speechless), { timeoutMs });
  assert.deepEqual(http, { kind: 'failed', evidence: 'no answer in time' });
  const { dns } = await probe(port, { timeoutMs, lookup: () => new Promise(() => {}) });
  assert.deepEqual(dns, { kind: 'failed', name: 'registry.test', evidence: 'the resolver did not answer in time' });
  const { tcp } = await probe(port, { timeoutMs, proxy: `http://127.0.0.1:${port}` });
  assert.equal(tcp.kind === 'proxy-refused' && tcp.evidence, 'the proxy does not answer in time');
});

test('a body that never ends is not read', async (t) => {
  const listener: RequestListener = (_, response) => {
    response.write('x'.repeat(1024));
  };
  const { http } = await probe(await startRegistry(t, { chain: [leaf, inter], listener }));
  assert.equal(http.kind === 'answer' && http.status, 200);
});

test('through a proxy it is the proxy whose name is resolved, and the server that is asked for its chain', async (t) => {
  const port = await startRegistry(t, { chain: [leaf, inter] });
  const proxy = await startProxy(t, connectTo(port));
  const seen = await probe(443, { proxy: `http://user:secret@proxy.test:${proxy.port}` });
  assert.deepEqual(subjectsOf(seen), ['CN=registry.test', 'CN=Inter'], JSON.stringify(seen));
  assert.deepEqual(
    [seen.proxy, seen.dns.kind === 'resolved' && seen.dns.name],
    [`http://***@proxy.test:${proxy.port}`, 'proxy.test'],
  );
  assert.deepEqual(proxy.asked, [['registry.test:443', undefined]], 'no credentials are sent');
});

test('a proxy that refuses is told with its answer', async (t) => {
  const proxy = await startProxy(t, (socket) => socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n'));
  const { tcp, tls } = await probe(443, { proxy: `http://proxy.test:${proxy.port}` });
  assert.deepEqual([tcp.kind, tls.kind], ['proxy-refused', 'not-reached']);
  assert.match(tcp.kind === 'proxy-refused' ? tcp.evidence : '', /407 Proxy Authentication Required/);
});

/** After the handshake, without a word of HTTP. */
const hangUp = (socket: Socket): void => void socket.end();

test('a proxy that speaks no HTTP is not gone to, and nothing is said of the server', async () => {
  for (const proxy of ['socks5://proxy.test:1080', 'https://proxy.test:3128', 'http://[']) {
    const { dns, tcp, tls } = await probe(443, { proxy });
    assert.deepEqual([dns.kind, tcp.kind, tls.kind], ['needless', 'not-reached', 'not-reached'], proxy);
  }
});

test('a server that changes the protocol, and one that ends without a word, are answers too', async (t) => {
  const answers = async (words: string): Promise<EndpointFacts['http']> => {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => socket.end(words));
    });
    const port = await listen(t, server);
    const plain = { scheme: 'http', host: 'registry.test', port } as const;
    return (await probeEndpoint(plain, { proxy: undefined, path: '/v2/', lookup }, signal)).http;
  };
  const changed = await answers('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
  assert.deepEqual([changed.kind, changed.kind === 'answer' && changed.status], ['answer', 101]);
  assert.equal((await answers('')).kind, 'failed');
});

test('a server that wants a client certificate, which with TLS 1.3 it says after the handshake, is told from one that fails', async (t) => {
  const options = { cert: leaf.pem, key: leaf.keyPem, ca: root.pem, requestCert: true, minVersion: 'TLSv1.3' } as const;
  const seen = await probe(await listen(t, createTlsServer(options, hangUp)));
  assert.equal(seen.tls.kind, 'chain');
  assert.deepEqual(seen.http, { kind: 'client-wanted', evidence: 'tlsv13 alert certificate required' });
});

test('of an error of OpenSSL the reason is told, and no path of its sources', async (t) => {
  const options = {
    cert: leaf.pem,
    key: leaf.keyPem,
    ciphers: 'ECDHE-ECDSA-AES128-SHA',
    maxVersion: 'TLSv1.1',
  } as const;
  const old = await probe(await listen(t, createTlsServer({ ...options, minVersion: 'TLSv1' }, hangUp)));
  assert.deepEqual(old.tls, { kind: 'failed', evidence: 'tlsv1 alert protocol version' });
});

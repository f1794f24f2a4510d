import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tellFailure, wantsClient } from '../../../agent/doctor/probe/failure.ts';

const raw = (reason: string): string =>
  `40F3C896037F0000:error:0A00042E:SSL routines:ssl3_read_bytes:${reason}:../deps/openssl/openssl/ssl/record/rec_layer_s3.c:918:SSL alert number 70\n`;

test('of what OpenSSL says its reason is told', () => {
  const reason = 'tlsv1 alert protocol version';
  assert.equal(tellFailure(Object.assign(new Error(raw('x')), { reason })), reason);
  assert.equal(
    tellFailure(new Error(`write EPROTO ${raw('ssl/tls alert handshake failure')}`)),
    'ssl/tls alert handshake failure',
  );
  assert.equal(tellFailure(new Error('error:0A00018A:SSL routines::dh key too small')), 'dh key too small');
  assert.equal(tellFailure(new Error('connect ECONNREFUSED 127.0.0.1:1\n')), 'connect ECONNREFUSED 127.0.0.1:1');
});

test('whose client certificate is missing is told by the code', () => {
  const of = (code: string): boolean => wantsClient(Object.assign(new Error('x'), { code }));
  assert(of('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED') && of('ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE'));
  assert(!of('ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION') && !of('ECONNRESET') && !wantsClient(undefined));
});

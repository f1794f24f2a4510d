// An embedded API server and kubeconfig files for one test, gone when the test is.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type ApiServer, type ApiServerOptions, startApiServer } from './api-server.ts';

export async function startTestServer(t: TestContext, options: ApiServerOptions = {}): Promise<ApiServer> {
  const server = await startApiServer(options);
  t.after(() => server.close());
  return server;
}

export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'node-trust-kube-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** The path of a kubeconfig with this text. */
export function writeKubeconfig(t: TestContext, text: string): string {
  const path = join(temporaryFolder(t), 'kubeconfig');
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

/** PEM of a self-signed server certificate for this subject alternative name, such as `IP:127.0.0.1`. */
export function selfSigned(t: TestContext, altName: string): { readonly cert: string; readonly key: string } {
  const folder = temporaryFolder(t);
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key];
  const names = ['-subj', '/CN=kube-apiserver', '-addext', `subjectAltName=${altName}`];
  execFileSync('openssl', ['req', '-x509', '-days', '2', ...newKey, '-out', cert, ...names], { stdio: 'pipe' });
  return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
}

// A private registry: Debian's docker-registry behind TLS, with a certificate of a private CA, and one small image in it.

import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServerCertificate, type TestCertificate } from '../../support/certificates.ts';
import { until } from '../../support/until.ts';
import { docker, labels } from './engine.ts';
import { registryImage } from './images.ts';

export interface Registry extends AsyncDisposable {
  /** What a node has to call it: its certificate is for this name. */
  readonly host: string;
  readonly address: string;
  /** A reference to the image that it has. */
  readonly image: string;
}

const port = 5000;
const settings = `version: 0.1
storage:
  filesystem:
    rootdirectory: /var/lib/docker-registry
http:
  addr: :${port}
  tls:
    certificate: /etc/docker/registry/cert.pem
    key: /etc/docker/registry/key.pem
`;

export async function startRegistry(host: string, issuer: TestCertificate): Promise<Registry> {
  const { pem, keyPem } = createServerCertificate(issuer, { subject: host, names: [host] });
  const image = await registryImage();
  const labelled = Object.entries(labels).flatMap(([key, value]) => ['--label', `${key}=${value}`]);
  const id = await docker('create', ...labelled, image);
  const folder = await mkdtemp(join(tmpdir(), 'node-trust-registry-'));
  try {
    for (const [name, content] of Object.entries({ 'config.yml': settings, 'cert.pem': pem, 'key.pem': keyPem })) {
      await writeFile(join(folder, name), content);
    }
    await docker('cp', `${folder}/.`, `${id}:/etc/docker/registry`);
  } finally {
    await rm(folder, { recursive: true });
  }
  await docker('start', id);
  const address = await docker('inspect', '--format', '{{.NetworkSettings.IPAddress}}', id);
  const client = createClient(address, host, issuer.pem);
  await until(() =>
    client('GET', '/v2/').then(
      () => true,
      () => false,
    ),
  );
  await push(client, 'app', '1');
  return {
    host,
    address,
    image: `${host}:${port}/app:1`,
    async [Symbol.asyncDispose]() {
      await docker('rm', '-f', '-v', id);
    },
  };
}

interface Answer {
  readonly location: string;
}
type RegistryClient = (method: string, path: string, body?: Uint8Array, type?: string) => Promise<Answer>;

function createClient(address: string, servername: string, ca: string): RegistryClient {
  const agent = new Agent({ ca, servername });
  return (method, path, body, type = 'application/octet-stream') =>
    new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { 'content-type': type, 'content-length': body.length };
      const outgoing = request({ host: address, port, method, path, headers, agent }, (incoming) => {
        incoming.resume();
        incoming.on('end', () => {
          const { statusCode = 0, headers: answered } = incoming;
          if (statusCode >= 400) reject(new Error(`the registry answers ${method} ${path} with ${statusCode}`));
          else resolve({ location: answered.location ?? '' });
        });
      });
      outgoing.on('error', reject);
      outgoing.end(body);
    });
}

/** An image of one empty layer (OCI image specification). */
async function push(client: RegistryClient, name: string, tag: string): Promise<void> {
  const layer = new Uint8Array(1024); // two blocks of zeros are an empty tar archive
  const config = encode({
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    rootfs: { type: 'layers', diff_ids: [digest(layer)] },
  });
  for (const blob of [layer, config]) {
    const { location } = await client('POST', `/v2/${name}/blobs/uploads/`);
    const { pathname, searchParams } = new URL(location, 'https://registry');
    searchParams.set('digest', digest(blob));
    await client('PUT', `${pathname}?${searchParams.toString()}`, blob);
  }
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = {
    schemaVersion: 2,
    mediaType,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digest(config), size: config.length },
    layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: digest(layer), size: layer.length }],
  };
  await client('PUT', `/v2/${name}/manifests/${tag}`, encode(manifest), mediaType);
}

function encode(document: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(document));
}

function digest(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

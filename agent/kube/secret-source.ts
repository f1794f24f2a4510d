// The Secret as a source of certificates: what it says at one moment. It is absent only when two reads in a row get the
// API server's own NotFound; one read may have met an API server whose store lags or is being restored. A Secret of
// another type may hold a private key, so its data is not looked at. Judges no certificate.

import { setTimeout as delay } from 'node:timers/promises';
import type { Source, SourceSnapshot } from '../trust/source.ts';
import { type AnswerObject, metadataOf, recordAt, textAt, textMapAt } from './answer-object.ts';
import type { KubeClient } from './client.ts';
import { KubeError } from './kube-error.ts';

export interface SecretSourceOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly name: string;
  /** Between the two reads that make a deletion a fact. */
  readonly confirmDelayMs?: number;
}

const onDeleteAnnotation = 'node-trust-agent/on-delete';

export function createSecretSource({ client, namespace, name, confirmDelayMs = 500 }: SecretSourceOptions): Source {
  const object = `secret ${namespace}/${name}`;
  const path = secretsPath(namespace, name);

  const readOnce = async (signal: AbortSignal): Promise<SourceSnapshot> => {
    try {
      return snapshotOf(await client.call({ verb: 'get', path, object, name, kind: 'Secret' }, signal));
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      const { kind, ...failure } = error.failure;
      if (kind === 'not-found') return { kind: 'absent' };
      const code = kind === 'forbidden' ? 'SourceForbidden' : 'SourceUnavailable';
      return { ...failure, kind: 'unavailable', code };
    }
  };

  return {
    name: object,
    async read(signal) {
      const first = await readOnce(signal);
      if (first.kind !== 'absent') return first;
      await delay(confirmDelayMs, undefined, { signal });
      return readOnce(signal);
    },
  };
}

export function secretsPath(namespace: string, name?: string): string {
  const secrets = `/api/v1/namespaces/${encodeURIComponent(namespace)}/secrets`;
  return name === undefined ? secrets : `${secrets}/${encodeURIComponent(name)}`;
}

/** What a Secret says, as the API server gives it. */
export function snapshotOf(secret: AnswerObject): SourceSnapshot {
  const type = textAt(secret, 'type') ?? '';
  if (type !== '' && type !== 'Opaque') return { kind: 'wrong-type', type };
  const entries = new Map<string, Uint8Array>();
  for (const [key, value] of Object.entries(recordAt(secret, 'data'))) {
    // A null is an empty value. No entry vanishes: a source is admitted whole or not at all.
    entries.set(key, typeof value === 'string' ? Uint8Array.from(Buffer.from(value, 'base64')) : new Uint8Array());
  }
  const onDelete =
    textMapAt(metadataOf(secret), 'annotations').get(onDeleteAnnotation) === 'remove' ? 'remove' : 'grace';
  return { kind: 'present', entries, onDelete };
}

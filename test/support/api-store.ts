// The objects of the embedded API server and their history. It keeps what kube-apiserver keeps to: one rising
// resourceVersion for everything, optimistic concurrency, no new version for a write that changes nothing, events since
// a version until they are compacted away.

import { randomUUID } from 'node:crypto';
import { alreadyExists, badRequest, conflict, expired, invalid, notFound, type Resource } from './api-requests.ts';
import { type Fields, fieldsAt, fieldsOf, isFields, type Key, normalize } from './api-validation.ts';

/** What stays as it is while an object lives. */
interface Identity {
  readonly name: string;
  readonly namespace?: string;
  readonly uid: string;
  readonly creationTimestamp: string;
}

export interface Metadata extends Fields, Identity {
  readonly resourceVersion: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface ApiObject extends Fields {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Metadata;
}

export interface StoreEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly version: number;
  readonly resource: Resource;
  readonly object: ApiObject;
}

export type ObjectStore = ReturnType<typeof createObjectStore>;

export function createObjectStore() {
  const objects = new Map<string, ApiObject>();
  const listeners = new Set<(event: StoreEvent) => void>();
  let history: readonly StoreEvent[] = [];
  let version = 1;
  let compactedVersion = 1;

  const record = (type: StoreEvent['type'], key: Key, next: Fields, identity: Identity): ApiObject => {
    version += 1;
    const { group, kind } = key.resource;
    const object: ApiObject = {
      ...next,
      apiVersion: group === '' ? 'v1' : `${group}/v1`,
      kind,
      metadata: { ...fieldsAt(next, 'metadata'), ...identity, resourceVersion: String(version) },
    };
    if (type === 'DELETED') objects.delete(pathOf(key));
    else objects.set(pathOf(key), object);
    const event = { type, version, resource: key.resource, object };
    history = [...history, event];
    for (const listener of listeners) listener(event);
    return object;
  };

  const existing = (key: Key): ApiObject => {
    const object = objects.get(pathOf(key));
    if (object === undefined) throw notFound(key.resource, key.name);
    return object;
  };

  const replace = (key: Key, current: ApiObject, input: Fields): ApiObject => {
    const { resource, name } = key;
    const next = normalize(key, input);
    const metadata = fieldsAt(next, 'metadata');
    const { resourceVersion = current.metadata.resourceVersion, uid = current.metadata.uid } = metadata;
    if (metadata['name'] !== name) {
      throw badRequest(
        `the name of the object (${String(metadata['name'])}) does not match the name on the URL (${name})`,
      );
    }
    if (uid !== current.metadata.uid) {
      const why = `Precondition failed: UID in precondition: ${String(uid)}, UID in object meta: ${current.metadata.uid}`;
      throw conflict(resource, name, why);
    }
    if (resourceVersion !== current.metadata.resourceVersion) {
      const why = 'the object has been modified; please apply your changes to the latest version and try again';
      throw conflict(resource, name, why);
    }
    if (current['type'] !== next['type'] && resource.plural === 'secrets') {
      throw invalid(resource, name, `type: Invalid value: "${String(next['type'])}": field is immutable`);
    }
    const { namespace, creationTimestamp } = current.metadata;
    const identity = {
      name,
      uid: current.metadata.uid,
      creationTimestamp,
      ...(namespace === undefined ? {} : { namespace }),
    };
    const after = { ...next, metadata: { ...metadata, ...identity, resourceVersion } };
    return isSame(after, current) ? current : record('MODIFIED', key, after, identity);
  };

  return {
    version: (): number => version,

    get: (key: Key): ApiObject | undefined => objects.get(pathOf(key)),

    existing,

    list(resource: Resource, namespace: string | undefined): readonly ApiObject[] {
      return [...objects.values()].filter(
        ({ kind, metadata }) => kind === resource.kind && (namespace === undefined || metadata.namespace === namespace),
      );
    },

    create(resource: Resource, namespace: string | undefined, input: Fields): ApiObject {
      const given = fieldsAt(input, 'metadata');
      const prefix = given['generateName'];
      const generated = typeof prefix === 'string' ? `${prefix}${randomUUID().slice(0, 5)}` : '';
      const name = typeof given['name'] === 'string' && given['name'] !== '' ? given['name'] : generated;
      const next = normalize({ resource, namespace, name }, input);
      if ('namespace' in given && given['namespace'] !== namespace) {
        throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
      }
      const key = { resource, namespace, name };
      if (objects.has(pathOf(key))) throw alreadyExists(resource, name);
      const creationTimestamp = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
      const identity = {
        name,
        uid: randomUUID(),
        creationTimestamp,
        ...(namespace === undefined ? {} : { namespace }),
      };
      return record('ADDED', key, next, identity);
    },

    update: (key: Key, input: Fields): ApiObject => replace(key, existing(key), input),

    /** RFC 7386. As on the real server a conflict needs a resourceVersion in the patch. */
    patch(key: Key, patch: Fields): ApiObject {
      const current = existing(key);
      return replace(key, current, fieldsOf(mergePatch(current, patch)));
    },

    delete(key: Key): ApiObject {
      const current = existing(key);
      return record('DELETED', key, current, current.metadata);
    },

    /** The changes after a version; throws 410 Expired where they are not kept any more. */
    since(after: number): readonly StoreEvent[] {
      if (after < compactedVersion) throw expired(after, compactedVersion);
      return history.filter((event) => event.version > after);
    },

    /** Forgets every change up to now, as etcd does every five minutes. */
    compact: (): void => {
      history = [];
      compactedVersion = version;
    },

    onEvent(listener: (event: StoreEvent) => void): void {
      listeners.add(listener);
    },
  };
}

function pathOf({ resource, namespace, name }: Key): string {
  return `${resource.plural}/${namespace ?? ''}/${name}`;
}

function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isFields(patch)) return patch;
  const result: Record<string, unknown> = { ...fieldsOf(target) };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = mergePatch(result[key], value);
  }
  return result;
}

function isSame(one: unknown, other: unknown): boolean {
  if (!isFields(one) || !isFields(other)) return JSON.stringify(one) === JSON.stringify(other);
  const keys = new Set([...Object.keys(one), ...Object.keys(other)]);
  return [...keys].every((key) => isSame(one[key], other[key]));
}

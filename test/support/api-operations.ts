// One request carried out on the objects of the embedded API server: media types, bodies, and which answer each verb
// gives. Everything that goes wrong is thrown as an ApiError.

import { ApiError, type ApiRequest, badRequest, detailsOf, noSuchResource, success } from './api-requests.ts';
import type { ObjectStore } from './api-store.ts';
import { type Fields, isFields, type Key } from './api-validation.ts';
import { objectMatcher } from './api-watches.ts';

// kubectl apply sends the strategic one; for what is served here it differs from a plain merge in lists alone.
const patchTypes = ['application/merge-patch+json', 'application/strategic-merge-patch+json'];

/** The body of a write, undefined for reads. */
export async function readBody(
  { verb, query }: ApiRequest,
  contentType: string,
  chunks: AsyncIterable<Uint8Array>,
): Promise<Fields | undefined> {
  if (query.has('dryRun')) throw badRequest('dryRun is not supported by this server');
  if (verb !== 'create' && verb !== 'update' && verb !== 'patch') return undefined;
  const accepted = verb === 'patch' ? patchTypes : ['application/json'];
  const mediaType = contentType.replace(/;.*$/, '').trim();
  if (!accepted.includes(mediaType)) {
    const why = `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`;
    throw new ApiError(415, 'UnsupportedMediaType', why);
  }
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  const body = parseJson(Buffer.concat(parts).toString('utf8'));
  if (!isFields(body)) throw badRequest('the object provided is unrecognized (must be of type Object)');
  return body;
}

export interface Answer {
  readonly code: number;
  readonly object: { readonly metadata: { readonly name?: string; readonly resourceVersion?: string } };
}

/** The answer to anything but a watch. */
export function perform(store: ObjectStore, request: ApiRequest, body: Fields = {}): Answer {
  const { verb, resource, namespace, name } = request;
  if (verb === 'list') return { code: 200, object: listOf(store, request) };
  if (verb === 'create') return { code: 201, object: store.create(resource, namespace, body) };
  if (name === undefined) throw new ApiError(405, 'MethodNotAllowed', `the server does not allow ${verb} here`);
  const key: Key = { resource, namespace, name };
  switch (verb) {
    case 'get':
      return { code: 200, object: store.existing(key) };
    case 'update':
      return { code: 200, object: store.update(key, body) };
    case 'patch':
      return { code: 200, object: store.patch(key, body) };
    case 'delete':
      return { code: 200, object: success({ ...detailsOf(resource, name), uid: store.delete(key).metadata.uid }) };
    case 'watch':
    case 'deletecollection':
      throw noSuchResource();
    default:
      return verb satisfies never;
  }
}

function listOf(store: ObjectStore, request: ApiRequest): Answer['object'] & Fields {
  const { resource, namespace, query } = request;
  // Only an exact version can be too old for a list; any other answer may be newer than asked.
  if (query.get('resourceVersionMatch') === 'Exact') store.since(Number(query.get('resourceVersion')));
  const limit = Number(query.get('limit') ?? 0) || Number.POSITIVE_INFINITY;
  const token = parseContinue(query.get('continue'));
  if (token !== undefined) store.since(token.version);
  const version = token?.version ?? store.version();
  const found = store
    .list(resource, namespace)
    .filter(objectMatcher(request))
    .map((object) => [`${object.metadata.namespace ?? ''}/${object.metadata.name}`, object] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .filter(([key]) => key > (token?.after ?? ''));
  const page = found.slice(0, limit);
  const after = page.at(-1)?.[0] ?? '';
  const more = found.length > page.length ? { continue: JSON.stringify({ version, after }) } : {};
  return {
    kind: `${resource.kind}List`,
    apiVersion: resource.group === '' ? 'v1' : `${resource.group}/v1`,
    metadata: { resourceVersion: String(version), ...more },
    items: page.map(([, object]) => object),
  };
}

/** Opaque to clients: of which version the first page was, and the last key that was given. */
function parseContinue(token: string | null): { readonly version: number; readonly after: string } | undefined {
  if (token === null || token === '') return undefined;
  const parsed = parseJson(token);
  const { version, after } = isFields(parsed) ? parsed : {};
  if (typeof version === 'number' && typeof after === 'string') return { version, after };
  throw badRequest('continue key is not valid');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw badRequest('the body of the request is not JSON');
  }
}

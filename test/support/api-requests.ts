// What a request to the embedded API server means: URL to verb, resource and name; who may do it (RBAC); and the words of
// the Status objects that answer what goes wrong. Wording, codes and reasons are those of kube-apiserver.
// https://kubernetes.io/docs/reference/using-api/api-concepts/

export interface Resource {
  readonly plural: string;
  readonly kind: string;
  readonly group: string;
  readonly namespaced: boolean;
}

export const resources: readonly Resource[] = [
  { plural: 'secrets', kind: 'Secret', group: '', namespaced: true },
  { plural: 'events', kind: 'Event', group: '', namespaced: true },
  { plural: 'nodes', kind: 'Node', group: '', namespaced: false },
  { plural: 'pods', kind: 'Pod', group: '', namespaced: true },
  { plural: 'daemonsets', kind: 'DaemonSet', group: 'apps', namespaced: true },
  { plural: 'leases', kind: 'Lease', group: 'coordination.k8s.io', namespaced: true },
];

export function resourceOfKind(kind: string): Resource {
  const resource = resources.find((known) => known.kind === kind);
  if (resource === undefined) throw new Error(`the embedded API server does not serve the kind ${kind}`);
  return resource;
}

export type Verb = 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete' | 'deletecollection';

export interface ApiRequest {
  readonly verb: Verb;
  readonly resource: Resource;
  /** Undefined for cluster-scoped resources and for a list over all namespaces. */
  readonly namespace: string | undefined;
  /** From the path, or of a list or watch from the field selector metadata.name: that is what RBAC looks at. */
  readonly name: string | undefined;
  readonly query: URLSearchParams;
}

/** Undefined where no such resource is served. */
export function parseRequest(method: string, url: URL): ApiRequest | undefined {
  const path =
    /^\/(?:api|apis\/(?<group>[^/]+))\/v1(?:\/namespaces\/(?<namespace>[^/]+))?\/(?<plural>[^/]+)(?:\/(?<name>[^/]+))?$/.exec(
      url.pathname,
    )?.groups;
  const resource = resources.find(
    ({ plural, group }) => plural === path?.['plural'] && group === (path['group'] ?? ''),
  );
  if (path === undefined || resource === undefined) return undefined;
  const namespace = path['namespace'];
  if (resource.namespaced ? namespace === undefined && method !== 'GET' : namespace !== undefined) return undefined;
  const pathName = path['name'] === undefined ? undefined : decodeURIComponent(path['name']);
  const verb = verbOf(method, pathName !== undefined, url.searchParams.get('watch'));
  const name = pathName ?? fieldSelectorOf(url.searchParams).get('metadata.name');
  return verb && { verb, resource, namespace, name, query: url.searchParams };
}

function verbOf(method: string, hasName: boolean, watch: string | null): Verb | undefined {
  if (method === 'GET' && !hasName) return watch === 'true' || watch === '1' ? 'watch' : 'list';
  if (method === 'DELETE' && !hasName) return 'deletecollection';
  if (method === 'POST') return hasName ? undefined : 'create';
  const verbs: Readonly<Record<string, Verb>> = { GET: 'get', PUT: 'update', PATCH: 'patch', DELETE: 'delete' };
  return hasName ? verbs[method] : undefined;
}

export function fieldSelectorOf(query: URLSearchParams): ReadonlyMap<string, string> {
  return termsOf(query.get('fieldSelector'));
}

/** Equality alone. */
export function labelSelectorOf(query: URLSearchParams): ReadonlyMap<string, string> {
  return termsOf(query.get('labelSelector'));
}

function termsOf(selector: string | null): ReadonlyMap<string, string> {
  const terms = (selector ?? '').split(',').filter((term) => term !== '');
  return new Map(terms.map((term) => [term.replace(/==?.*$/s, ''), term.replace(/^[^=]*==?/s, '')]));
}

/** One rule of a Role, or with no namespace of a ClusterRole. `*` stands for all verbs or resources. */
export interface Rule {
  readonly verbs: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly namespace?: string;
}

export const admin: readonly Rule[] = [{ verbs: ['*'], resources: ['*'] }];

/** Names restrict a create too, and a list or watch without a selector: those have no name, so they are refused. */
export function isAllowed(rules: readonly Rule[], { verb, resource, namespace, name }: ApiRequest): boolean {
  return rules.some(
    (rule) =>
      (rule.verbs.includes('*') || rule.verbs.includes(verb)) &&
      (rule.resources.includes('*') || rule.resources.includes(resource.plural)) &&
      (rule.namespace === undefined || rule.namespace === namespace) &&
      (rule.resourceNames === undefined ||
        (verb !== 'create' && name !== undefined && rule.resourceNames.includes(name))),
  );
}

export interface StatusDetails {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
  readonly uid?: string;
  readonly retryAfterSeconds?: number;
}

/** https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/ */
export interface Status {
  readonly kind: 'Status';
  readonly apiVersion: 'v1';
  readonly metadata: Readonly<Record<string, never>>;
  readonly status: 'Failure' | 'Success';
  readonly message?: string;
  readonly reason?: string;
  readonly details?: StatusDetails;
  readonly code?: number;
}

export class ApiError extends Error {
  readonly status: Status & { readonly code: number };

  constructor(code: number, reason: string, message: string, details?: StatusDetails) {
    super(message);
    this.status = status(code, reason, message, details);
  }
}

export function status(
  code: number,
  reason: string,
  message: string,
  details?: StatusDetails,
): Status & { readonly code: number } {
  const base = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason } as const;
  return details === undefined ? { ...base, code } : { ...base, details, code };
}

export function success(details: StatusDetails): Status {
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details };
}

export function qualified({ plural, group }: Resource): string {
  return group === '' ? plural : `${plural}.${group}`;
}

export function detailsOf(resource: Resource, name: string | undefined): StatusDetails {
  return {
    ...(name === undefined ? {} : { name }),
    ...(resource.group === '' ? {} : { group: resource.group }),
    kind: resource.plural,
  };
}

export const reasonOfCode: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  409: 'Conflict',
  410: 'Expired',
  415: 'UnsupportedMediaType',
  422: 'Invalid',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
};

export const unauthorized = (): ApiError => new ApiError(401, 'Unauthorized', 'Unauthorized');

export const noSuchResource = (): ApiError =>
  new ApiError(404, 'NotFound', 'the server could not find the requested resource', {});

export function forbidden(request: ApiRequest, user: string): ApiError {
  const { verb, resource, namespace, name } = request;
  const what = name === undefined ? qualified(resource) : `${qualified(resource)} "${name}"`;
  const where = namespace === undefined ? 'at the cluster scope' : `in the namespace "${namespace}"`;
  const why = `User "${user}" cannot ${verb} resource "${resource.plural}" in API group "${resource.group}" ${where}`;
  return new ApiError(403, 'Forbidden', `${what} is forbidden: ${why}`, detailsOf(resource, name));
}

export function notFound(resource: Resource, name: string): ApiError {
  return new ApiError(404, 'NotFound', `${qualified(resource)} "${name}" not found`, detailsOf(resource, name));
}

export function conflict(resource: Resource, name: string, why: string): ApiError {
  const message = `Operation cannot be fulfilled on ${qualified(resource)} "${name}": ${why}`;
  return new ApiError(409, 'Conflict', message, detailsOf(resource, name));
}

export function alreadyExists(resource: Resource, name: string): ApiError {
  return new ApiError(
    409,
    'AlreadyExists',
    `${qualified(resource)} "${name}" already exists`,
    detailsOf(resource, name),
  );
}

export function badRequest(message: string): ApiError {
  return new ApiError(400, 'BadRequest', message);
}

export function invalid(resource: Resource, name: string, why: string): ApiError {
  const message = `${resource.kind}${resource.group === '' ? '' : `.${resource.group}`} "${name}" is invalid: ${why}`;
  return new ApiError(422, 'Invalid', message, { ...detailsOf(resource, name), kind: resource.kind });
}

export function expired(asked: number, oldest: number): ApiError {
  return new ApiError(410, 'Expired', `too old resource version: ${asked} (${oldest})`);
}

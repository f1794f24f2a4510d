// What the embedded API server says about itself, as much of it as kubectl asks for around the objects that are served:
// versions, resources, that a namespace exists (each one does), and for `kubectl apply` that the server validates fields
// itself.

import { type Resource, resources } from './api-requests.ts';

const groups = [...new Set(resources.map(({ group }) => group))].filter((group) => group !== '');
const verbs = ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch'];

/** Undefined where the path is none of these. */
export function discoveryDocument(path: string): unknown {
  if (path === '/version') return { major: '1', minor: '36', gitVersion: 'v1.36.0', platform: 'linux/amd64' };
  if (path === '/api') return { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] };
  if (path === '/apis') return { kind: 'APIGroupList', apiVersion: 'v1', groups: groups.map(apiGroup) };
  if (path === '/api/v1') return resourceList('');
  if (path === '/openapi/v3') return { paths: { 'api/v1': { serverRelativeURL: '/openapi/v3/api/v1' } } };
  if (path === '/openapi/v3/api/v1') return openApiDocument();
  const namespace = /^\/api\/v1\/namespaces\/([^/]+)$/.exec(path)?.[1];
  if (namespace !== undefined) return { kind: 'Namespace', apiVersion: 'v1', metadata: { name: namespace } };
  const group = groups.find((name) => path === `/apis/${name}/v1`);
  return group === undefined ? undefined : resourceList(group);
}

function apiGroup(name: string) {
  const version = { groupVersion: `${name}/v1`, version: 'v1' };
  return { name, versions: [version], preferredVersion: version };
}

function resourceList(group: string) {
  return {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: group === '' ? 'v1' : `${group}/v1`,
    resources: resources
      .filter((resource) => resource.group === group)
      .map(({ plural, kind, namespaced }) => ({
        name: plural,
        singularName: kind.toLowerCase(),
        kind,
        namespaced,
        verbs,
      })),
  };
}

// kubectl leaves validation to a server whose patches take the parameter fieldValidation.
function openApiDocument() {
  const parameters = [{ name: 'fieldValidation', in: 'query', schema: { type: 'string' } }];
  const pathOf = ({ plural, namespaced }: Resource): string =>
    `/api/v1/${namespaced ? 'namespaces/{namespace}/' : ''}${plural}/{name}`;
  const patchOf = ({ kind }: Resource) => ({
    patch: { parameters, 'x-kubernetes-group-version-kind': { group: '', version: 'v1', kind } },
  });
  const paths = resources.filter(({ group }) => group === '').map((resource) => [pathOf(resource), patchOf(resource)]);
  return { openapi: '3.0.0', info: { title: 'Kubernetes', version: 'v1.36.0' }, paths: Object.fromEntries(paths) };
}

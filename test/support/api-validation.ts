// What the embedded API server checks and fills in before it stores an object: names, labels, annotations, a Secret's
// data and type, an Event's namespace. Only what can matter to this project; unknown fields are kept as they come.

import { badRequest, invalid, type Resource } from './api-requests.ts';

export type Fields = Readonly<Record<string, unknown>>;

/** Where an object is. The namespace is undefined for cluster-scoped resources. */
export interface Key {
  readonly resource: Resource;
  readonly namespace: string | undefined;
  readonly name: string;
}

const namePattern = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;
const labelKey = /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const labelValue = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/;
const base64Pattern = /^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const maxAnnotations = 262_144;
const maxSecret = 1_048_576;

/** What defaulting makes of an object before it is stored. Throws 400 or 422 as an ApiError. */
export function normalize({ resource, namespace, name }: Key, input: Fields): Fields {
  if (name === '') throw invalid(resource, '', 'metadata.name: Required value: name or generateName is required');
  if (!namePattern.test(name) || name.length > 253) {
    throw invalid(
      resource,
      name,
      `metadata.name: Invalid value: "${name}": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'`,
    );
  }
  if (input['kind'] !== undefined && input['kind'] !== resource.kind) {
    throw badRequest(`no kind but ${resource.kind} is registered for version "v1" here`);
  }
  const metadata = normalizeMetadata(resource, name, fieldsAt(input, 'metadata'));
  if (resource.plural === 'secrets') return { ...normalizeSecret(resource, name, input), metadata };
  if (resource.plural === 'events') checkEvent(resource, name, namespace, input);
  return { ...input, metadata };
}

function normalizeMetadata(resource: Resource, name: string, metadata: Fields): Fields {
  const annotations = textsAt(resource, metadata, 'annotations');
  const labels = textsAt(resource, metadata, 'labels');
  for (const key of [...Object.keys(annotations), ...Object.keys(labels)]) {
    if (!labelKey.test(key)) {
      const rule = "name part must consist of alphanumeric characters, '-', '_' or '.'";
      throw invalid(
        resource,
        name,
        `metadata.${key in annotations ? 'annotations' : 'labels'}: Invalid value: "${key}": ${rule}`,
      );
    }
  }
  for (const value of Object.values(labels)) {
    if (!labelValue.test(value))
      throw invalid(
        resource,
        name,
        `metadata.labels: Invalid value: "${value}": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.'`,
      );
  }
  const size = Object.entries(annotations).reduce((sum, [key, value]) => sum + Buffer.byteLength(key + value), 0);
  if (size > maxAnnotations) {
    throw invalid(resource, name, `metadata.annotations: Too long: may not be more than ${maxAnnotations} bytes`);
  }
  const { annotations: _, labels: __, managedFields: ___, ...rest } = metadata;
  return { ...rest, name, ...(size > 0 ? { annotations } : {}), ...(Object.keys(labels).length > 0 ? { labels } : {}) };
}

function normalizeSecret(resource: Resource, name: string, input: Fields): Fields {
  const { stringData, data, type, ...rest } = input;
  const merged: Record<string, string> = {};
  for (const [key, value] of Object.entries(fieldsOf(data))) {
    if (typeof value !== 'string' || !base64Pattern.test(value)) {
      throw badRequest(`Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input byte 0`);
    }
    merged[key] = value;
  }
  for (const [key, value] of Object.entries(fieldsOf(stringData)))
    merged[key] = Buffer.from(String(value)).toString('base64');
  for (const key of Object.keys(merged)) {
    if (!/^[-._a-zA-Z0-9]{1,253}$/.test(key)) {
      throw invalid(
        resource,
        name,
        `data[${key}]: Invalid value: "${key}": a valid config key must consist of alphanumeric characters, '-', '_' or '.'`,
      );
    }
  }
  const size = Object.values(merged).reduce((sum, value) => sum + Buffer.byteLength(value, 'base64'), 0);
  if (size > maxSecret) throw invalid(resource, name, `data: Too long: may not be more than ${maxSecret} bytes`);
  const some = Object.keys(merged).length > 0 ? { data: merged } : {};
  return { ...rest, ...some, type: typeof type === 'string' && type !== '' ? type : 'Opaque' };
}

function checkEvent(resource: Resource, name: string, namespace: string | undefined, event: Fields): void {
  const involved = fieldsAt(event, 'involvedObject')['namespace'] ?? '';
  if (involved === '' ? namespace === 'default' || namespace === 'kube-system' : involved === namespace) return;
  throw invalid(
    resource,
    name,
    `involvedObject.namespace: Invalid value: ${JSON.stringify(involved)}: does not match event.namespace`,
  );
}

function textsAt(resource: Resource, fields: Fields, field: string): Readonly<Record<string, string>> {
  const texts: Record<string, string> = {};
  for (const [key, value] of Object.entries(fieldsAt(fields, field))) {
    if (typeof value !== 'string') {
      throw badRequest(
        `${resource.kind} in version "v1" cannot be handled as a ${resource.kind}: json: cannot unmarshal ${typeof value} into Go struct field ObjectMeta.metadata.${field} of type string`,
      );
    }
    texts[key] = value;
  }
  return texts;
}

export function fieldsAt(fields: Fields, field: string): Fields {
  return fieldsOf(fields[field]);
}

export function fieldsOf(value: unknown): Fields {
  return isFields(value) ? value : {};
}

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

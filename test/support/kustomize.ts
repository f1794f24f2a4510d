// Builds a kustomization for tests, on machines without kubectl too. It is a small reading of kustomize, not kustomize:
// resources, components, JSON 6902 patches and images, as far as manifests/ uses them; at anything else it throws.
// test/manifests.test.ts compares what it makes with what kubectl makes, where there is one.

import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type * as kubernetes from '@kubernetes/client-node';
import { parse, parseAllDocuments } from 'yaml';

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

/** The kinds that tests look into. */
interface Kinds {
  readonly ClusterRole: kubernetes.V1ClusterRole;
  readonly ClusterRoleBinding: kubernetes.V1ClusterRoleBinding;
  readonly DaemonSet: kubernetes.V1DaemonSet;
  readonly Role: kubernetes.V1Role;
  readonly RoleBinding: kubernetes.V1RoleBinding;
  readonly Secret: kubernetes.V1Secret;
  readonly ServiceAccount: kubernetes.V1ServiceAccount;
  readonly ValidatingAdmissionPolicy: kubernetes.V1ValidatingAdmissionPolicy;
  readonly ValidatingAdmissionPolicyBinding: kubernetes.V1ValidatingAdmissionPolicyBinding;
}

interface Kustomization {
  readonly resources?: readonly string[];
  readonly components?: readonly string[];
  readonly patches?: readonly Patch[];
  readonly images?: readonly { readonly name: string; readonly newName: string; readonly newTag: string }[];
}

interface Patch {
  readonly target: { readonly kind: string; readonly name: string };
  /** YAML of {@link Operation}s. */
  readonly patch: string;
}

/** https://datatracker.ietf.org/doc/html/rfc6902 */
interface Operation {
  readonly op: string;
  readonly path: string;
  readonly value?: unknown;
}

export function buildKustomization(folder: string): Promise<readonly Manifest[]> {
  return build(folder, []);
}

/** A component changes what is there before it. */
async function build(folder: string, before: readonly Manifest[]): Promise<readonly Manifest[]> {
  const text = await readFile(join(folder, 'kustomization.yaml'), 'utf8');
  const {
    apiVersion: _,
    kind: __,
    resources = [],
    components = [],
    patches = [],
    images = [],
    ...rest
  } = parse(text) as Kustomization & Partial<Manifest>;
  refuseUnknown(folder, rest);
  const read = (await Promise.all(resources.map((resource) => readResource(join(folder, resource))))).flat();
  let built = [...before, ...read];
  for (const component of components) built = [...(await build(join(folder, component), built))];
  for (const { target, patch, ...more } of patches) {
    refuseUnknown(folder, more);
    const targets = built.filter(({ kind, metadata }) => kind === target.kind && metadata.name === target.name);
    if (targets.length !== 1) throw new Error(`${folder}: ${targets.length} targets for ${JSON.stringify(target)}`);
    for (const operation of parse(patch) as readonly Operation[]) apply(operation, targets[0]);
  }
  for (const { name, newName, newTag, ...more } of images) {
    refuseUnknown(folder, more);
    const named = built.flatMap(containersOf).filter(({ image }) => image === name);
    if (named.length === 0) throw new Error(`${folder}: no container has the image ${name}`);
    for (const container of named) container.image = `${newName}:${newTag}`;
  }
  return built;
}

export async function readManifests(file: string): Promise<readonly Manifest[]> {
  return parseManifests(await readFile(file, 'utf8'));
}

export function parseManifests(text: string): readonly Manifest[] {
  return parseAllDocuments(text).map((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw error;
    return document.toJS() as Manifest;
  });
}

/** These manifests as what they say they are; nothing is checked. */
export function ofKind<Kind extends keyof Kinds>(manifests: readonly Manifest[], wanted: Kind): readonly Kinds[Kind][] {
  return manifests.filter(({ kind }) => kind === wanted) as readonly unknown[] as readonly Kinds[Kind][];
}

async function readResource(path: string): Promise<readonly Manifest[]> {
  return (await stat(path)).isDirectory() ? buildKustomization(path) : readManifests(path);
}

function refuseUnknown(folder: string, fields: object): void {
  const names = Object.keys(fields);
  if (names.length > 0) throw new Error(`${folder}: this reading of kustomize does not know ${names.join(', ')}`);
}

function containersOf(manifest: Manifest): readonly { image: string }[] {
  const { spec } = manifest as { spec?: { template?: { spec?: { containers?: readonly { image: string }[] } } } };
  return spec?.template?.spec?.containers ?? [];
}

function apply({ op, path, value }: Operation, document: unknown): void {
  const tokens = path.split('/').slice(1);
  const last = unescape(tokens.pop() ?? '');
  // RFC 6901; a list is reached by its indices, as an object is by its keys.
  const parent = tokens.reduce<unknown>((at, token) => (at as Record<string, unknown>)[unescape(token)], document);
  const place = parent as Record<string, unknown>;
  if (typeof parent !== 'object' || parent === null || (op !== 'add' && !Object.hasOwn(parent, last)))
    throw new Error(`${op} ${path}: there is nothing`);
  if (op === 'add' && last === '-' && Array.isArray(parent)) return void parent.push(value);
  if (op === 'test' && isDeepStrictEqual(place[last], value)) return;
  if (op === 'remove' && Array.isArray(parent)) parent.splice(Number(last), 1);
  else if (op === 'remove') delete place[last];
  else if (op === 'replace' || (op === 'add' && !Array.isArray(parent))) place[last] = value;
  else throw new Error(`${op} ${path} ${JSON.stringify(value)}: does not hold, or is not known here`);
}

function unescape(token: string): string {
  return token.replaceAll('~1', '/').replaceAll('~0', '~');
}

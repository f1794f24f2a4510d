// The images of the suite. Each is built from a recipe and tagged with the hash of all that goes into it, so that it is
// found again as long as nothing of that changes. Their bases come from the public registry, or from mmdebstrap where that
// is installed: then nothing but the machine's own apt and npm sources is needed.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { install, mayInstall } from '../../support/packages.ts';
import { docker, isProgram } from './engine.ts';

const run = promisify(execFile);
const checkout = fileURLToPath(new URL('../../..', import.meta.url));
const suite = 'bookworm';

/** Debian's suite that has this line of containerd; all of them install on bookworm. */
export const containerdSuites = { '1.6': suite, '1.7': 'trixie', '2': 'sid' } as const;
export type ContainerdLine = keyof typeof containerdSuites;

export function lineOf(text: string): ContainerdLine {
  const line = Object.keys(containerdSuites).find((known) => known === text);
  if (line === undefined)
    throw new Error(`no containerd ${text} is known, but ${Object.keys(containerdSuites).join(', ')}`);
  return line as ContainerdLine;
}

interface Bases {
  readonly debian: string;
  /** What the Dockerfile gets. */
  readonly args: Readonly<Record<string, string>>;
}

interface Recipe {
  readonly name: string;
  readonly dockerfile: string;
  readonly args?: Readonly<Record<string, string>>;
  /** Path in the build's context to a path on this machine. */
  readonly files?: Readonly<Record<string, string>>;
  /** Where given, stands for the files in the hash. */
  readonly version?: string;
}

let bases: Promise<Bases> | undefined;

/** The image of a node with this containerd. */
export async function nodeImage(line: ContainerdLine): Promise<string> {
  const { debian } = await findBases();
  const args = { DEBIAN: debian, SUITE: containerdSuites[line], SANDBOX_IMAGE: importedName(await tinyImage()) };
  const entry = { 'node-entry': join(import.meta.dirname, 'node-entry.sh') };
  const dockerfile = await readFile(join(import.meta.dirname, 'node.Dockerfile'), 'utf8');
  return ensure({ name: `node-${line}`, dockerfile, args, files: entry });
}

/** The agent, from the project's own Dockerfile. */
export async function agentImage(): Promise<string> {
  const { args } = await findBases();
  const names = (await readFile(join(checkout, '.dockerignore'), 'utf8')).split('\n');
  const files = names.flatMap((name) => (name.startsWith('!') ? [name.slice(1)] : []));
  return ensure({
    name: 'agent',
    dockerfile: await readFile(join(checkout, 'Dockerfile'), 'utf8'),
    args,
    files: Object.fromEntries(files.map((name) => [name, join(checkout, name)])),
  });
}

/** What sandboxes and bystanders run: a process that waits. */
export async function tinyImage(): Promise<string> {
  const { debian } = await findBases();
  const dockerfile = `ARG DEBIAN
FROM $DEBIAN AS build
RUN apt-get update && apt-get install -y --no-install-recommends busybox-static
FROM scratch
COPY --from=build /bin/busybox /bin/busybox
ENTRYPOINT ["/bin/busybox", "sleep", "1000000"]
`;
  return ensure({ name: 'tiny', dockerfile, args: { DEBIAN: debian } });
}

export async function registryImage(): Promise<string> {
  const { debian } = await findBases();
  const dockerfile = `ARG DEBIAN
FROM $DEBIAN
RUN apt-get update && apt-get install -y --no-install-recommends docker-registry
CMD ["docker-registry", "serve", "/etc/docker/registry/config.yml"]
`;
  return ensure({ name: 'registry', dockerfile, args: { DEBIAN: debian } });
}

/** How containerd names an image that Docker has saved. */
export function importedName(image: string): string {
  return `docker.io/${image}`;
}

function findBases(): Promise<Bases> {
  bases ??= isProgram('mmdebstrap').then((has) => (has ? makeBases() : pullBases()));
  return bases;
}

async function pullBases(): Promise<Bases> {
  const debian = `debian:${suite}-slim`;
  if ((await imagesNamed(debian)).length > 0) return { debian, args: {} };
  try {
    await docker('pull', debian);
  } catch (cause) {
    if (!mayInstall()) throw new Error(`neither can ${debian} be pulled nor is mmdebstrap here; install it`, { cause });
    await install('mmdebstrap');
    return makeBases();
  }
  return { debian, args: {} };
}

/** A Debian with this machine's apt sources and settings, and on it the npm, the registry and the CAs of this machine. */
async function makeBases(): Promise<Bases> {
  const debian = await makeDebian();
  const { stdout: npmCommand } = await run('sh', ['-c', 'readlink -f "$(command -v npm)"']);
  const npm = join(npmCommand.trim(), '../..');
  const folder = await mkdtemp(join(tmpdir(), 'node-trust-npm-'));
  try {
    const npmrc = join(folder, 'npmrc');
    await writeFile(npmrc, await npmSettings());
    const files = { npm, node: process.execPath, npmrc, 'cas.pem': '/etc/ssl/certs/ca-certificates.crt' };
    const dockerfile = `ARG DEBIAN
FROM $DEBIAN
RUN apt-get update && apt-get install -y --no-install-recommends libatomic1
COPY node /usr/local/bin/
COPY npm /usr/local/lib/node_modules/npm
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
COPY cas.pem /etc/ssl/certs/ca-certificates.crt
COPY npmrc /root/.npmrc
`;
    const { version } = JSON.parse(await readFile(join(npm, 'package.json'), 'utf8')) as { readonly version: string };
    const inputs = [version, process.version, await npmSettings(), await readFile(files['cas.pem'], 'utf8')].join('\n');
    const buildBase = await ensure({
      name: 'build-base',
      dockerfile,
      args: { DEBIAN: debian },
      files,
      version: inputs,
    });
    return { debian, args: { BUILD_BASE: buildBase, RUNTIME_BASE: debian } };
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function npmSettings(): Promise<string> {
  const lines = ['cafile=/etc/ssl/certs/ca-certificates.crt'];
  for (const key of ['registry', 'https-proxy', 'proxy']) {
    const { stdout } = await run('npm', ['config', 'get', key], { cwd: tmpdir() });
    if (stdout.trim() !== 'null') lines.push(`${key}=${stdout.trim()}`);
  }
  return `${lines.join('\n')}\n`;
}

async function makeDebian(): Promise<string> {
  const { stdout: known } = await run('apt-get', [
    'indextargets',
    '--format',
    '$(RELEASE) deb $(REPO_URI) $(RELEASE) $(COMPONENT)',
    'Created-By: Packages',
  ]);
  const ofSuite = known.split('\n').filter((line) => line.startsWith(suite) && line.endsWith(' main'));
  const sources = ofSuite.map((line) => line.slice(line.indexOf('deb ')));
  if (sources.length === 0) sources.push(`deb http://deb.debian.org/debian ${suite} main`);
  const { stdout: settings } = await run('apt-config', ['dump', '--format', '%f "%v";%n', ...aptSettings]);
  const options = settings.split('\n').filter((line) => line !== '' && !line.endsWith(' "";'));
  const tag = tagOf('debian', [...sources, ...options]);
  if ((await imagesNamed(tag)).length > 0) return tag;
  const folder = await mkdtemp(join(tmpdir(), 'node-trust-debian-'));
  try {
    const tar = join(folder, 'debian.tar');
    const args = options.map((option) => `--aptopt=${option}`);
    process.stderr.write(`building the image ${tag}\n`);
    await run('mmdebstrap', ['--quiet', '--variant=minbase', ...args, suite, tar, ...sources]);
    await docker('import', tar, tag);
  } finally {
    await rm(folder, { recursive: true });
  }
  return tag;
}

/** What of a machine's apt settings decides whether its sources can be read. */
const aptSettings = [
  'Acquire::Check-Valid-Until',
  'Acquire::Check-Date',
  'Acquire::http::Proxy',
  'Acquire::https::Proxy',
];

/** Finds the image or builds it, and then removes those of older recipes. */
async function ensure({ name, dockerfile, args = {}, files = {}, version }: Recipe): Promise<string> {
  const contents = version === undefined ? await Promise.all(Object.entries(files).map(digestFile)) : [version];
  const tag = tagOf(name, [dockerfile, JSON.stringify(args), ...contents]);
  if ((await imagesNamed(tag)).length > 0) return tag;
  const context = await mkdtemp(join(tmpdir(), 'node-trust-build-'));
  try {
    for (const [path, source] of Object.entries(files)) await cp(source, join(context, path), { recursive: true });
    await writeFile(join(context, 'Dockerfile'), dockerfile);
    const given = Object.entries(args).flatMap(([key, value]) => ['--build-arg', `${key}=${value}`]);
    process.stderr.write(`building the image ${tag}\n`);
    await docker('build', '--quiet', '--tag', tag, ...given, context);
  } finally {
    await rm(context, { recursive: true });
  }
  const older = (await imagesNamed(`node-trust-test/${name}`)).filter((known) => known !== tag);
  if (older.length > 0) await docker('image', 'rm', ...older).catch(() => {}); // one that is in use stays
  return tag;
}

function tagOf(name: string, contents: readonly string[]): string {
  const hash = createHash('sha256').update(JSON.stringify(contents)).digest('hex').slice(0, 16);
  return `node-trust-test/${name}:${hash}`;
}

async function imagesNamed(reference: string): Promise<readonly string[]> {
  const output = await docker('image', 'ls', '--format', '{{.Repository}}:{{.Tag}}', reference);
  return output.split('\n').filter(Boolean);
}

async function digestFile([path, source]: readonly [string, string]): Promise<string> {
  const entries = await readdir(source, { recursive: true, withFileTypes: true }).catch(() => undefined);
  const hash = createHash('sha256').update(path);
  if (entries === undefined) return hash.update(await readFile(source)).digest('hex');
  const names = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  for (const name of names.sort()) hash.update(name.slice(source.length)).update(await readFile(name));
  return hash.digest('hex');
}

// Nodes for the script that runs at boot: a host root with a fake of its distribution's tool, which notes how it is called
// and builds the bundle from one root of the distribution and the anchors it looks for, and a fake systemctl that answers
// what it is told. The script itself is the real one, under the shells that nodes have.

import { spawn } from 'node:child_process';
import { constants, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { access, lstat, readdir, readFile, readlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createCertificate, type TestCertificate } from '../support/certificates.ts';
import { install, mayInstall } from '../support/packages.ts';
import { createEmptyRoot, type EmptyRoot } from '../support/sandbox.ts';

export const script = fileURLToPath(new URL('../../image/boot/node-trust-boot', import.meta.url));
export const input = '/etc/node-trust/certificates.pem';
export const list = '/var/lib/node-trust-agent/boot.list';
export const record = '/run/node-trust-agent/boot';
export const state = '/var/lib/node-trust-agent/state.json';

export interface Ran {
  readonly code: number | null;
  /** The lines of the script. */
  readonly log: readonly string[];
  /** All that was said, on either stream. */
  readonly said: string;
}

export interface Shell {
  readonly name: string;
  readonly hasOpenssl: boolean;
  /** Why it cannot be had on this machine. */
  readonly skip?: string;
  boot({ root }: EmptyRoot, environment?: Readonly<Record<string, string>>): Promise<Ran>;
}

/** Programs of this machine, by their names, from a folder that holds links to them and nothing else. */
export function linkPrograms(names: readonly string[], target: (name: string) => string): string {
  const folder = mkdtempSync(join(tmpdir(), 'node-trust-programs-'));
  after(() => rmSync(folder, { recursive: true }));
  for (const name of names) symlinkSync(target(name), join(folder, name));
  return folder;
}

/** All that a node without the GNU tools and openssl must have. */
export const needed =
  'awk base64 cat chmod cut fold grep mkdir mv od rm sed sh sha256sum sleep sort stat sync tail timeout tr true wc'.split(
    ' ',
  );

const systemPath = '/usr/sbin:/usr/bin:/sbin:/bin';

/** The same, installed first where that may be. */
export async function findOrInstall(name: string, debianPackage = name): Promise<string | undefined> {
  const found = await findProgram(name);
  if (found !== undefined || !mayInstall()) return found;
  await install(debianPackage);
  return findProgram(name);
}

export async function findProgram(name: string): Promise<string | undefined> {
  for (const folder of systemPath.split(':')) {
    const path = join(folder, name);
    if (
      await access(path, constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return path;
  }
  return undefined;
}

export async function run(command: readonly string[], environment: Readonly<Record<string, string>>): Promise<Ran> {
  const [program = '', ...args] = command;
  const child = spawn(program, args, { env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise<number | null>((resolve, reject) => child.on('exit', resolve).on('error', reject));
  const [code, out, err] = await Promise.all([ended, text(child.stdout), text(child.stderr)]);
  return { code, log: err.split('\n').filter((line) => line !== ''), said: out + err };
}

const [dashPath, bashPath, busyboxPath] = await Promise.all(
  ['dash', 'bash', 'busybox'].map((name) => findOrInstall(name)),
);

const absent = (name: string): string => `${name} is not installed: the script was not tried under it`;

/** dash with the programs of this machine, openssl among them. */
export const dash: Shell = {
  name: 'dash',
  hasOpenssl: true,
  ...(dashPath === undefined ? { skip: absent('dash') } : {}),
  boot: ({ root }, more = {}) => run([dashPath ?? 'sh', script], { PATH: systemPath, NODE_TRUST_ROOT: root, ...more }),
};

const busyboxPrograms = busyboxPath === undefined ? '' : linkPrograms(needed, () => busyboxPath);

/** What is sh on most of the others. */
export const bash: Shell = {
  name: 'bash',
  hasOpenssl: true,
  ...(bashPath === undefined ? { skip: absent('bash') } : {}),
  boot: ({ root }, more = {}) =>
    run([bashPath ?? 'sh', '--posix', script], { PATH: systemPath, NODE_TRUST_ROOT: root, ...more }),
};

/** ash with the programs of busybox alone. */
const busybox: Shell = {
  name: 'busybox ash',
  hasOpenssl: false,
  ...(busyboxPath === undefined ? { skip: absent('busybox') } : {}),
  boot: ({ root }, more = {}) =>
    run([busyboxPath ?? 'sh', 'ash', script], { PATH: busyboxPrograms, NODE_TRUST_ROOT: root, ...more }),
};

/** Those that differ most. */
export const allShells: readonly Shell[] = [dash, busybox];

/** A test for each of the shells. */
export function under(title: string, body: (shell: Shell) => Promise<void>, shells = allShells): void {
  for (const shell of shells) test(`${title} (${shell.name})`, { skip: shell.skip ?? false }, () => body(shell));
}

export interface Family {
  /** What sh is there. */
  readonly sh: Shell;
  readonly release: string;
  readonly anchors: string;
  readonly suffix: string;
  readonly bundle: string;
  /** Where its tool is. */
  readonly tool: string;
  /** How the tool is called. */
  readonly call: string;
}

const debianLike = {
  sh: dash,
  anchors: '/usr/local/share/ca-certificates',
  suffix: '.crt',
  bundle: '/etc/ssl/certs/ca-certificates.crt',
  tool: '/usr/sbin/update-ca-certificates',
  call: 'update-ca-certificates',
};
const redHatLike = {
  sh: bash,
  anchors: '/etc/pki/ca-trust/source/anchors',
  suffix: '.crt',
  bundle: '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  tool: '/usr/bin/update-ca-trust',
  call: 'update-ca-trust extract',
};
const suse = {
  ...debianLike,
  sh: bash,
  anchors: '/etc/pki/trust/anchors',
  bundle: '/var/lib/ca-certificates/ca-bundle.pem',
};
const azure = { ...redHatLike, call: 'update-ca-trust' };

export const debian: Family = { ...debianLike, release: 'ID=debian\nVERSION_ID="12"\n' };
export const families: Readonly<Record<string, Family>> = {
  debian,
  ubuntu: { ...debianLike, release: 'ID_LIKE=debian\nID=ubuntu\n' },
  'a child of Ubuntu': { ...debianLike, release: 'ID=pop\nID_LIKE="ubuntu debian"\n' },
  fedora: { ...redHatLike, release: 'ID=fedora\n' },
  rocky: { ...redHatLike, release: 'ID="rocky"\nID_LIKE="rhel centos fedora"\n' },
  'amazon linux': { ...redHatLike, release: 'ID="amzn"\nID_LIKE="fedora"\n' },
  'azure linux': { ...azure, release: 'ID=azurelinux\nID_LIKE=fedora\n' },
  mariner: { ...azure, release: 'ID=mariner\n' },
  'opensuse leap': { ...suse, release: 'ID="opensuse-leap"\nID_LIKE="suse opensuse"\n' },
  sles: { ...suse, release: "ID='sles'\nID_LIKE='suse'\n" },
  flatcar: {
    ...debianLike,
    sh: bash,
    release: 'ID=flatcar\nID_LIKE=coreos\n',
    anchors: '/etc/ssl/certs',
    suffix: '.pem',
  },
  alpine: { ...debianLike, sh: busybox, release: 'ID=alpine\n' },
  arch: {
    sh: bash,
    release: 'ID=arch\n',
    anchors: '/etc/ca-certificates/trust-source/anchors',
    suffix: '.crt',
    bundle: '/etc/ssl/certs/ca-certificates.crt',
    tool: '/usr/bin/update-ca-trust',
    call: 'update-ca-trust',
  },
};

/** What the tool does instead of working, each time or at its next call alone. */
export type ToolFault = 'fails' | 'fails-once' | 'hangs-once' | 'idles';

export interface BootNode extends EmptyRoot {
  readonly family: Family;
  /** The tool's calls so far. */
  calls(): Promise<readonly string[]>;
  breakTool(fault: ToolFault): Promise<void>;
  mendTool(): Promise<void>;
  /** What systemctl says of containerd. */
  sayRuntime(activeState: string, invocationId: string): Promise<void>;
  /** The names of our anchors, in their order. */
  anchors(): Promise<readonly string[]>;
  /** Path to inode, time of change and content of everything there is, but for what the fakes note. */
  snapshot(): Promise<ReadonlyMap<string, string>>;
}

const distributionRoot = createCertificate({ subject: 'Root of the distribution' });

export async function createBootNode(family: Family = debian): Promise<BootNode> {
  const root = await createEmptyRoot();
  const { anchors, bundle, suffix, tool, release } = family;
  await root.write('/etc/os-release', release);
  await root.write('/fake/distribution.pem', distributionRoot.pem);
  await root.write('/fake/calls', '');
  await root.write('/fake/runtime', 'ActiveState=inactive\nInvocationID=\n');
  await root.write('/usr/bin/systemctl', '#!/bin/sh\ncat "$NODE_TRUST_ROOT/fake/runtime"\n', 0o755);
  await root.write(bundle, distributionRoot.pem);
  await root.write(tool, toolScript(anchors, suffix, bundle), 0o755);
  return {
    ...root,
    family,
    calls: async () => (await root.read('/fake/calls')).split('\n').filter((call) => call !== ''),
    breakTool: (fault) => root.write('/fake/fault', fault),
    mendTool: () => root.remove('/fake/fault'),
    sayRuntime: (activeState, id) => root.write('/fake/runtime', `ActiveState=${activeState}\nInvocationID=${id}\n`),
    anchors: () => listOurs(root, anchors),
    snapshot: () => snapshot(root),
  };
}

export async function listOurs(root: EmptyRoot, anchors: string): Promise<readonly string[]> {
  const names = await root.list(anchors).catch(() => []);
  return names.filter((name) => name.includes('node-trust-'));
}

function toolScript(anchors: string, suffix: string, bundle: string): string {
  return `#!/bin/sh
cd "$NODE_TRUST_ROOT" || exit 9
words=\${0##*/}
for word; do words="$words $word"; done
echo "$words" >> fake/calls
fault=$(cat fake/fault 2>/dev/null)
case $fault in *-once) rm fake/fault ;; esac
case $fault in
  fails*) exit 4 ;;
  hangs*) exec sleep 600 ;;
  idles) exit 0 ;;
esac
{
  cat fake/distribution.pem
  for anchor in .${anchors}/*${suffix}; do
    if [ -f "$anchor" ]; then echo "# $anchor" && cat "$anchor"; fi
  done
} > fake/bundle
mv fake/bundle .${bundle}
`;
}

export async function snapshot({ root }: EmptyRoot): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (const entry of await readdir(root, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name);
    const { ino, mtimeNs, ctimeNs, mode } = await lstat(path, { bigint: true });
    const content = entry.isSymbolicLink()
      ? await readlink(path)
      : entry.isFile()
        ? await readFile(path, 'latin1')
        : '';
    found.set(path.slice(root.length), [ino, mode, mtimeNs, ctimeNs, content].join(' '));
  }
  return new Map([...found].filter(([path]) => !path.startsWith('/fake')));
}

export function write(node: EmptyRoot, ...certificates: readonly TestCertificate[]): Promise<void> {
  return node.write(input, certificates.map(({ pem }) => pem).join('\n'));
}

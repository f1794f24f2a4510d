// A node without a machine: a temporary host root with a real trust store, built by this machine's own
// update-ca-certificates, and a fake runtime. The fake is a `systemctl` that knows one unit and a folder that stands for
// its process. It is faithful in what the agent and these tests use: the properties and exit codes of systemctl, a new
// InvocationID at each start, PID 1's link below /run/systemd/units, and a trust pool that is read at start (the bundle and
// every file beside it, as Go does) and then kept.

import { execFile } from 'node:child_process';
import { appendFile, copyFile, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const execute = promisify(execFile);
const mozilla = '/usr/share/ca-certificates/mozilla';
const unit = 'containerd.service';

/** A host root with nothing in it. */
export interface EmptyRoot extends AsyncDisposable {
  readonly root: string;
  /** A path of the sandbox's host on this machine. */
  at(hostPath: string): string;
  read(hostPath: string): Promise<string>;
  write(hostPath: string, content: string | Uint8Array, mode?: number): Promise<void>;
  link(hostPath: string, target: string): Promise<void>;
  list(hostPath: string): Promise<readonly string[]>;
  remove(hostPath: string): Promise<void>;
}

export interface Sandbox extends EmptyRoot {
  readonly runtime: SandboxRuntime;
}

export interface SandboxRuntime {
  /** What the running process trusts: PEM, as it was at its start. */
  trustPool(): Promise<string>;
  invocationId(): Promise<string>;
  /** Somebody other than the agent does this. */
  systemctl(...args: readonly string[]): Promise<string>;
  /** Every call of systemctl so far, somebody's and the agent's. */
  calls(): Promise<readonly string[]>;
  /** What the next restart does instead of working. */
  failNextRestart(how: 'fails' | 'hangs' | 'keeps-process'): Promise<void>;
}

export interface SandboxOptions {
  /** How many of the distribution's roots it has; a rebuild takes about 10 ms for each. */
  readonly roots?: number;
  readonly runtime?: boolean;
}

export async function createEmptyRoot(): Promise<EmptyRoot> {
  const root = await mkdtemp(join(tmpdir(), 'node-trust-sandbox-'));
  const at = (hostPath: string): string => join(root, hostPath);
  return {
    root,
    at,
    async write(hostPath, content, mode = 0o644) {
      await mkdir(dirname(at(hostPath)), { recursive: true });
      await writeFile(at(hostPath), content, { mode });
    },
    async link(hostPath, target) {
      await mkdir(dirname(at(hostPath)), { recursive: true });
      await symlink(target, at(hostPath));
    },
    read: (hostPath) => readFile(at(hostPath), 'utf8'),
    list: async (hostPath) => (await readdir(at(hostPath))).sort(),
    remove: (hostPath) => rm(at(hostPath), { recursive: true }),
    [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }),
  };
}

export async function createSandbox({ roots = 3, runtime = true }: SandboxOptions = {}): Promise<Sandbox> {
  const empty = await createEmptyRoot();
  const { root, at, write } = empty;
  const names = (await readdir(mozilla)).filter((name) => name.endsWith('.crt')).slice(0, roots);
  await mkdir(at('/usr/share/ca-certificates/mozilla'), { recursive: true });
  for (const name of names) await copyFile(join(mozilla, name), at(`/usr/share/ca-certificates/mozilla/${name}`));
  await write('/etc/os-release', 'ID=debian\nVERSION_ID="12"\n');
  await write('/etc/ca-certificates.conf', names.map((name) => `mozilla/${name}\n`).join(''));
  await mkdir(at('/usr/local/share/ca-certificates'), { recursive: true });
  await mkdir(at('/etc/ssl/certs'), { recursive: true });
  await updateStore(root);
  if (runtime) {
    await write(`/usr/lib/systemd/system/${unit}`, '[Service]\n');
    await mkdir(at('/run/systemd/system'), { recursive: true });
    await mkdir(at('/run/systemd/units'), { recursive: true });
    await write('/run/sandbox/calls', '');
    await write('/usr/bin/systemctl', systemctlScript(root), 0o755);
    await execute(at('/usr/bin/systemctl'), ['restart', unit]);
  }
  return {
    ...empty,
    runtime: {
      trustPool: () => readFile(at('/run/sandbox/trust-pool'), 'utf8'),
      invocationId: async () => (await readFile(at('/run/sandbox/invocation-id'), 'utf8')).trim(),
      systemctl: async (...args) => (await execute(at('/usr/bin/systemctl'), args)).stdout,
      calls: async () => (await readFile(at('/run/sandbox/calls'), 'utf8')).trimEnd().split('\n'),
      failNextRestart: (how) => appendFile(at('/run/sandbox/next-restart'), how),
    },
  };
}

/** As an administrator of the sandbox would run the distribution's tool. */
export async function updateStore(root: string): Promise<void> {
  await execute('/usr/sbin/update-ca-certificates', toolOptions(root));
}

/** Of update-ca-certificates(8), for this root instead of the machine. */
export function toolOptions(root: string): string[] {
  const options = {
    '--etccertsdir': join(root, 'etc/ssl/certs'),
    '--localcertsdir': '../../../usr/local/share/ca-certificates',
    '--certsdir': '../../../usr/share/ca-certificates',
    '--certsconf': join(root, 'etc/ca-certificates.conf'),
    '--hooksdir': join(root, 'etc/ca-certificates/update.d'),
  };
  return Object.entries(options).flat();
}

function systemctlScript(root: string): string {
  return `#!/bin/sh
# systemctl of a sandbox: a fake that knows ${unit}
set -eu
cd '${root}/run/sandbox'
link='${root}/run/systemd/units/invocation:${unit}'
echo "$*" >> calls
stop() { rm -f "$link"; echo "$1" > state; }
start() {
  cat '${root}'/etc/ssl/certs/* > trust-pool 2>/dev/null || true
  tr -d - < /proc/sys/kernel/random/uuid > invocation-id
  ln -sfn "$(cat invocation-id)" "$link"
  sed 's/ .*//; s/\\.\\(..\\)$/\\10000/' /proc/uptime > started-at
  echo active > state
}
for last; do :; done
if [ "$last" != ${unit} ]; then
  [ "$1" = show ] || { echo "Unit $last not found." >&2; exit 5; }
  printf 'LoadState=not-found\\nActiveState=inactive\\nSubState=dead\\nInvocationID=\\n'
  exit 0
fi
case $1 in
  show) printf 'LoadState=loaded\\nActiveState=%s\\nSubState=%s\\nInvocationID=%s\\n' "$(cat state)" "$(cat state)" "$(cat invocation-id)"
    printf 'ActiveEnterTimestampMonotonic=%s\\n' "$(cat started-at)" ;;
  start) start ;;
  stop) stop inactive ;;
  daemon-reload | reset-failed) ;;
  restart)
    how=$(cat next-restart 2>/dev/null || echo works)
    rm -f next-restart
    case $how in
      works) start ;;
      fails) stop failed; echo 'Job for ${unit} failed because the control process exited with error code.' >&2; exit 1 ;;
      hangs) exec sleep 600 ;;
      keeps-process) ;;
    esac ;;
  *) echo "Unknown command verb $1." >&2; exit 1 ;;
esac
`;
}

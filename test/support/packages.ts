// What the machine of a test run lacks: on one that belongs to nobody else, Debian's package is installed; anywhere else
// whoever needs it says what was left out.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** With CI=true, as root on Debian. */
export function mayInstall(): boolean {
  // oxlint-disable-next-line node/no-process-env -- how every CI says that it is one
  return process.env['CI'] === 'true' && process.getuid?.() === 0 && existsSync('/etc/debian_version');
}

/** One at a time, since apt-get locks; what another test file has installed meanwhile is not installed again. */
export async function install(...packages: readonly string[]): Promise<void> {
  const script = 'dpkg -s "$@" >/dev/null 2>&1 || { apt-get -qq update && apt-get -qq install -y "$@"; }';
  const lock = join(tmpdir(), 'node-trust-test-packages.lock');
  const child = spawn('flock', [lock, 'sh', '-c', script, 'sh', ...packages], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`apt-get install ${packages.join(' ')} ended with ${code}`);
}

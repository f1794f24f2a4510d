// Which trust store the host has, from os-release(5), with the evidence for it. Another family is one more row here
// and a store of its own. Where a distribution keeps us out by design, the row says what to do instead.

import { AgentError } from '../errors.ts';
import type { Commands } from './commands.ts';
import { createDebianStore } from './debian-store.ts';
import type { HostRoot } from './root.ts';
import type { TrustStore } from './trust-store.ts';

export interface Distribution {
  readonly family: string;
  /** Whether the store keeps certificates that are not CAs, so that `--allow-non-ca` makes sense. */
  readonly keepsNonCa: boolean;
  /** What was found where: `/etc/os-release: ID=debian VERSION_ID=12`. */
  readonly evidence: string;
  createStore(root: HostRoot, commands: Commands): TrustStore;
}

const families = [
  { family: 'debian', ids: ['debian', 'ubuntu'], keepsNonCa: true, createStore: createDebianStore },
] as const;

/** Read-only by design: os-release ID to the vendor's own way. */
const closed: ReadonlyMap<string, string> = new Map([
  ['talos', 'add the CA to the machine configuration (TrustedRootsConfig)'],
  ['bottlerocket', 'set settings.pki in the user data'],
  ['cos', 'use the containerd configuration of the node pool'],
]);

const files = ['/etc/os-release', '/usr/lib/os-release'];

/** Throws `UnsupportedDistribution`. ID is asked first, then ID_LIKE from left to right, as os-release(5) orders them. */
export async function detectDistribution(root: HostRoot): Promise<Distribution> {
  for (const file of files) {
    const bytes = await root.readFile(file);
    if (bytes === 'absent') continue;
    const facts = parseOsRelease(Buffer.from(bytes).toString('utf8'));
    const id = facts.get('ID') ?? 'linux';
    const like = facts.get('ID_LIKE') ?? '';
    const evidence = `${file}: ID=${id}${like && ` ID_LIKE="${like}"`} VERSION_ID=${facts.get('VERSION_ID') ?? ''}`;
    const instead = closed.get(id);
    if (instead !== undefined)
      throw new AgentError('UnsupportedDistribution', { evidence: `${evidence}; there, ${instead}` });
    for (const candidate of [id, ...like.split(' ')]) {
      const found = families.find(({ ids }) => ids.some((known) => known === candidate));
      if (found !== undefined) return { ...found, evidence };
    }
    throw new AgentError('UnsupportedDistribution', { evidence });
  }
  throw new AgentError('UnsupportedDistribution', { evidence: `neither ${files.join(' nor ')} exists` });
}

/** Shell-like assignments; quotes are taken off, escapes within double quotes undone (os-release(5)). */
export function parseOsRelease(text: string): ReadonlyMap<string, string> {
  const facts = new Map<string, string>();
  for (const line of text.split('\n')) {
    const match = /^([A-Z0-9_]+)=(.*)$/.exec(line.trim());
    if (match?.[1] === undefined || match[2] === undefined) continue;
    const value = /^(["'])(.*)\1$/.exec(match[2])?.[2] ?? match[2];
    facts.set(match[1], value.replaceAll(/\\(.)/g, '$1'));
  }
  return facts;
}

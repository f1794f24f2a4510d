// What every family's trust store can do, and what of it is alike for all: reading a bundle strictly.

import { hash, X509Certificate } from 'node:crypto';
import { type Certificate, type Fingerprint, fingerprintOf } from '../trust/certificate.ts';
import type { StorePlaces } from '../trust/drift.ts';
import type { AnchorName, StoreObservation } from '../trust/observation.ts';
import type { HostRoot } from './root.ts';

export interface TrustStore {
  readonly places: StorePlaces;
  /** Folders and files whose change means that somebody else touched the store. */
  readonly watched: readonly string[];
  /** `withdrawn` is what was taken away here: it must not be there any more. */
  observe(withdrawn: readonly AnchorName[]): Promise<StoreObservation>;
  /** {@link StoreObservation.version}, now. */
  version(): Promise<string>;
  /** Where we write. */
  readonly folders: readonly string[];
  /** Builds the new store beside the real one and verifies that. Throws `StoreBrokenBefore`, `StoreIncomplete`, `Tool…`. */
  stage(certificates: readonly Certificate[], without: readonly AnchorName[], signal: AbortSignal): Promise<void>;
  writeAnchor(certificate: Certificate): Promise<void>;
  removeAnchor(name: AnchorName): Promise<void>;
  unindex(names: readonly AnchorName[], signal: AbortSignal): Promise<void>;
  reindex(signal: AbortSignal): Promise<void>;
  /** Runs the family's tool and reads back. */
  rebuild(wish: Rebuild, signal: AbortSignal): Promise<Rebuilt>;
  /** Tells the hooks of the family's tool once more. */
  retell(names: readonly string[], signal: AbortSignal): Promise<Untold>;
}

export interface Rebuild {
  /** Ours that stay. */
  readonly certificates: readonly Certificate[];
  /** Anchors of ours that went. */
  readonly withdrawn?: readonly AnchorName[];
  /** Anchors that are left to somebody who fights over them, there or not. */
  readonly leftAlone?: readonly AnchorName[];
  /** Of an earlier rebuild. */
  readonly untold?: readonly string[];
}

/** What hooks that feed other stores from this one could not be told. */
export interface Untold {
  /** Names of the store's links, of ours and of others. */
  readonly names: readonly string[];
  /** Why. */
  readonly warnings: readonly string[];
}

export interface Rebuilt {
  /** {@link StoreObservation.version} of what was read back. */
  readonly version: string;
  /** Foreign certificates that left with their own input. */
  readonly warnings: readonly string[];
  readonly untold: Untold;
  /** Somebody, the boot unit say, has put an anchor of ours there meanwhile, and it is in the store. */
  readonly isOutdated: boolean;
}

export interface BundleReading {
  readonly fingerprints: ReadonlySet<Fingerprint>;
  /** The first block that does not load, with its line; OpenSSL's users then load nothing of the file. */
  readonly broken: { readonly line: number; readonly evidence: string } | undefined;
}

const blocks = /^-----BEGIN (.*)-----\s*$[^]*?(?=^-----BEGIN |$(?![^]))/gm;
const certificateLabel = /^(?:TRUSTED |X509 )?CERTIFICATE$/;
/**
 * Reads a file of certificates as OpenSSL's users load it: each block is given to OpenSSL's own PEM reader, so CRLF and
 * text between blocks are fine here and one bad block spoils the file. A block of another kind does not count, but
 * OpenSSL decodes it too.
 */
export function readBundle(bytes: Uint8Array): BundleReading {
  const text = Buffer.from(bytes).toString('latin1');
  const fingerprints = new Set<Fingerprint>();
  let broken: BundleReading['broken'];
  for (const { 0: block, 1: label = '', index } of text.matchAll(blocks)) {
    const evidence = certificateLabel.test(label) ? addCertificate(block, fingerprints) : findBlockFault(label, block);
    if (evidence !== undefined) broken ??= { line: text.slice(0, index).split('\n').length, evidence };
  }
  return { fingerprints, broken };
}

/** An absent file holds nothing. */
export async function readBundleFile(root: HostRoot, path: string): Promise<BundleReading> {
  const bytes = await root.readFile(path);
  return bytes === 'absent' ? { fingerprints: new Set(), broken: undefined } : readBundle(bytes);
}

function addCertificate(block: string, fingerprints: Set<Fingerprint>): string | undefined {
  const fingerprint = loadBlock(block);
  if (fingerprint === undefined) return 'this block does not load as a certificate';
  fingerprints.add(fingerprint);
  return undefined;
}

/** What each block has loaded as, by the block's SHA-256: a pass reads the same hundred and more roots six times. */
const loadedBefore = new Map<string, Fingerprint>();
const maxLoadedBefore = 1_000;

function loadBlock(block: string): Fingerprint | undefined {
  const key = hash('sha256', block);
  const before = loadedBefore.get(key);
  if (before !== undefined) return before;
  try {
    const fingerprint = fingerprintOf(new X509Certificate(block).raw);
    if (loadedBefore.size >= maxLoadedBefore) loadedBefore.clear();
    loadedBefore.set(key, fingerprint);
    return fingerprint;
  } catch {
    return undefined;
  }
}

/** What keeps a bundle from being loaded with all of these, or undefined. */
export function findFault(
  { fingerprints, broken }: BundleReading,
  certificates: readonly Certificate[],
): string | undefined {
  if (broken !== undefined) return `line ${broken.line}: ${broken.evidence}`;
  const lacking = certificates.filter(({ fingerprint }) => !fingerprints.has(fingerprint));
  const names = lacking.map(({ subject, fingerprint }) => `${subject} (${fingerprint.slice(0, 16)})`);
  return names.length === 0 ? undefined : `it lacks ${names.join(', ')}`;
}

/** A block of any other kind is headers (RFC 1421) with the lines that go on with them, a body, and an end of the same name. */
function findBlockFault(label: string, block: string): string | undefined {
  const end = block.lastIndexOf(`\n-----END ${label}-----`);
  const fault = `this block, ${label.slice(0, 40)}, is not well-formed PEM`;
  if (end === -1) return fault;
  const lines = block.slice(0, end).split('\n').slice(1);
  const isHeader = (line: string, at: number): boolean => /^[\w-]+: /.test(line) || (at > 0 && /^[ \t]/.test(line));
  const bodyAt = lines.findIndex((line, at) => line.trim() !== '' && !isHeader(line, at));
  const body = bodyAt === -1 ? '' : lines.slice(bodyAt).join('');
  return /^[A-Za-z0-9+/=][A-Za-z0-9+/=\s]*$/.test(body) ? undefined : fault;
}

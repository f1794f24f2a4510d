// Loads the agent into the simulation: its timers, /proc, the CRI and the kubelet's health are replaced by stand-ins, what is pure and slow
// (parsing a certificate) is remembered, and a planted defect, if one is asked for, is put into the text of a file.
// A snippet that is not found exactly once is an error: a defect that is not planted would prove nothing.

import { registerHooks } from 'node:module';
import type { Mutation } from './mutations.ts';

const standIns = new URL('./stand-ins.ts', import.meta.url).href;
const agent = new URL('../../agent/', import.meta.url).href;

/** What else of the machine a file of the agent looks at. */
const machines: ReadonlySet<string> = new Set([
  'host/lock.ts node:fs/promises',
  'host/health.ts node:http',
  'host/health.ts ./cri.ts',
]);

/** Pure functions of many milliseconds in all, each with a memory of its arguments. */
const remembered: readonly (readonly [file: string, snippet: string, replacement: string])[] = [
  [
    'trust/certificate.ts',
    'export function parseCertificate(der: Uint8Array): ParsedCertificate {',
    `const parsedBefore = new Map<string, ParsedCertificate>();
export function parseCertificate(der: Uint8Array): ParsedCertificate {
  const key = Buffer.from(der.buffer, der.byteOffset, der.byteLength).toString('latin1');
  const before = parsedBefore.get(key) ?? parseAnew(der);
  if (parsedBefore.size < 2_000) parsedBefore.set(key, before);
  return before;
}
function parseAnew(der: Uint8Array): ParsedCertificate {`,
  ],
  [
    'host/trust-store.ts',
    'export function readBundle(bytes: Uint8Array): BundleReading {',
    `const readBefore = new Map<string, BundleReading>();
export function readBundle(bytes: Uint8Array): BundleReading {
  const key = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
  const before = readBefore.get(key) ?? readAnew(bytes);
  if (readBefore.size < 5_000) readBefore.set(key, before);
  return before;
}
function readAnew(bytes: Uint8Array): BundleReading {`,
  ],
  [
    'host/facts.ts',
    'function parseFacts(text: string): Parsed {',
    `let parsedLast: { readonly text: string; readonly parsed: Parsed } | undefined;
function parseFacts(text: string): Parsed {
  if (parsedLast?.text !== text) parsedLast = { text, parsed: parseAnew(text) };
  return parsedLast.parsed;
}
function parseAnew(text: string): Parsed {`,
  ],
];

export function loadWith(mutation: Mutation | undefined): void {
  const planted = (mutation?.changes ?? []).map(
    ({ file, snippet, replacement }) => [file, snippet, replacement] as const,
  );
  registerHooks({
    resolve(specifier, context, next) {
      const isAgents = context.parentURL?.startsWith(agent) === true;
      if (isAgents && specifier === 'node:timers/promises') return { url: standIns, shortCircuit: true };
      const importer = context.parentURL?.slice(agent.length);
      if (isAgents && machines.has(`${importer} ${specifier}`)) return { url: standIns, shortCircuit: true };
      return next(specifier, context);
    },
    load(url, context, next) {
      const loaded = next(url, context);
      const file = url.startsWith(agent) ? url.slice(agent.length) : undefined;
      const changes = [...planted, ...remembered].filter(([name]) => name === file);
      if (changes.length === 0 || loaded.source === undefined || loaded.source === null) return loaded;
      const text = typeof loaded.source === 'string' ? loaded.source : new TextDecoder().decode(loaded.source);
      return {
        ...loaded,
        source: changes.reduce((source, [, snippet, by]) => replaceOnce(source, snippet, by, url), text),
      };
    },
  });
}

function replaceOnce(source: string, snippet: string, replacement: string, file: string): string {
  const parts = source.split(snippet);
  if (parts.length === 2) return parts.join(replacement);
  throw new Error(`${file}: expected once, found ${parts.length - 1} times: ${snippet}`);
}

// What a Secret holds after certificates were added to it or taken out: an entry a certificate, under a name that says which
// it is. Entries that were there keep their names and, unless they lose a certificate, their bytes. Takes admitted entries.

import { type Certificate, type Fingerprint, parseCertificate } from './certificate.ts';
import { scanPem } from './pem.ts';
import type { Entries } from './source.ts';

/** Of one entry or of all, in order, with those that stand in it twice. */
export function certificatesIn(entries: Entries): readonly Certificate[] {
  return [...entries.values()].flatMap((bytes) =>
    scanPem(bytes).certificates.flatMap(({ der }) => {
      const parsed = parseCertificate(der);
      return parsed.kind === 'certificate' ? [parsed.certificate] : [];
    }),
  );
}

export function fingerprintsOf(certificates: readonly Certificate[]): ReadonlySet<Fingerprint> {
  return new Set(certificates.map(({ fingerprint }) => fingerprint));
}

/** A certificate that is there already is not added again. */
export function addCertificates(entries: Entries, certificates: readonly Certificate[]): Entries {
  const known = fingerprintsOf(certificatesIn(entries));
  const distinct = new Map(certificates.map((certificate) => [certificate.fingerprint, certificate]));
  const added = [...distinct.values()].filter(({ fingerprint }) => !known.has(fingerprint));
  return new Map([...entries, ...nameCertificates(added, new Set(entries.keys()))]);
}

/** An entry that has none left goes. */
export function removeCertificates(entries: Entries, gone: ReadonlySet<Fingerprint>): Entries {
  return new Map(
    [...entries].flatMap(([entry, bytes]): [string, Uint8Array][] => {
      const held = certificatesIn(new Map([[entry, bytes]]));
      const kept = held.filter(({ fingerprint }) => !gone.has(fingerprint));
      if (kept.length === held.length) return [[entry, bytes]];
      return kept.length === 0 ? [] : [[entry, encode(kept)]];
    }),
  );
}

const encode = (certificates: readonly Certificate[]): Uint8Array =>
  Buffer.from(certificates.map(({ pem }) => pem).join(''));

/** After its subject, and with a piece of the fingerprint where that does not tell it from others. */
function nameCertificates(certificates: readonly Certificate[], taken: ReadonlySet<string>): Entries {
  const names = certificates.map(({ subject }) => describeSubject(subject));
  const named = new Map<string, Uint8Array>();
  for (const [index, certificate] of certificates.entries()) {
    const name = names[index] ?? '';
    const isOnly = name !== '' && names.indexOf(name) === names.lastIndexOf(name);
    for (const candidate of listNames(name || 'ca', isOnly, certificate.fingerprint)) {
      if (taken.has(candidate) || named.has(candidate)) continue;
      named.set(candidate, encode([certificate]));
      break;
    }
  }
  return named;
}

// Somebody may have made two certificates that agree in name and in a few digits: none may take the other's place.
function* listNames(name: string, isOnly: boolean, fingerprint: Fingerprint): Generator<string> {
  if (isOnly) yield `${name}.pem`;
  yield `${name}-${fingerprint.slice(0, 8)}.pem`;
  yield `${name}-${fingerprint}.pem`;
  for (let count = 2; ; count += 1) yield `${name}-${fingerprint}-${count}.pem`;
}

const maxName = 60;

/** Its common name, or the last part of its name that says anything, in what a Secret's key may hold; may be empty. */
function describeSubject(subject: string): string {
  const parts = [...subject.matchAll(/(?:^|, )([A-Za-z0-9.]+)=(.*?)(?=, [A-Za-z0-9.]+=|$)/g)];
  const named = parts.findLast(([, type]) => type === 'CN') ?? parts.at(-1);
  return (named?.[2] ?? '')
    .normalize('NFKD')
    .toLowerCase()
    .replaceAll(/\p{M}/gu, '')
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, maxName)
    .replaceAll(/^-|-$/g, '');
}

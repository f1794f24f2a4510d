// What a certificate says in its extensions and in the parameters of its signature (RFC 5280, 4.2; RFC 4055), of which
// node:crypto shows too little: it knows basicConstraints only mixed with key usage. Reads certificates that node:crypto has
// read, and is strict where that is not: an extension of a known kind must be of its form, since readers of the host may skip
// the whole certificate. What Go refuses beyond that is told: its programs skip the certificate without a word. A library for
// it takes longer to load than all else that a short command does; tests hold this to one, and to Go.

import { childrenOf, type Element, formatOid, hasLongArc, isOid, onlyElement, readElements } from './der.ts';
import { findAltNameFault, findConstraintFault, findNameFault, firstOf, isGeneralName, isName } from './names.ts';

export interface Extensions {
  /** As basicConstraints says; false where that is missing. */
  readonly isCa: boolean;
  /** Object identifiers; undefined where the extension is missing, which allows every use. */
  readonly extendedKeyUsage: readonly string[] | undefined;
  /** The hash of RSASSA-PSS, an object identifier; undefined under any other algorithm. */
  readonly pssHash: string | undefined;
  /** Why Go's crypto/x509 cannot read the certificate; undefined where it can. */
  readonly goFault: string | undefined;
}

/** Names of directories in general names nest deepest, some ten levels. */
const maxDepth = 32;

const boolean = 0x01;
const bitString = 0x03;
const octetString = 0x04;
const sequence = 0x30;
const context0 = 0xa0;
const context1 = 0xa1;
const context3 = 0xa3;

/** A text for what is wrong with them. Never throws. */
export function readExtensions(der: Uint8Array): Extensions | string {
  const unreadable = 'its extensions cannot be read';
  const [tbs, algorithm] = childrenOf(onlyElement(der));
  const fields = tbs && readElements(tbs.content);
  if (fields === undefined || algorithm === undefined) return unreadable;
  const wrapper = fields.find(({ tag }) => tag === context3);
  const list = wrapper === undefined ? new Uint8Array() : onlyElement(wrapper.content)?.content;
  const extensions = list && readElements(list);
  if (extensions === undefined) return unreadable;
  const first = fields[0]?.tag === context0 ? 1 : 0; // the version, which may be left out
  if (![fields[first + 2], fields[first + 4]].every(isName)) return 'its names cannot be read';
  const [algorithmId, parameters] = childrenOf(algorithm);
  if (algorithmId === undefined || !isOid(algorithmId)) return 'its signature algorithm cannot be read';
  const isPss = formatOid(algorithmId.content) === rsaPss;
  if (isPss && parameters?.tag !== sequence) return 'its signature algorithm cannot be read';
  const values = new Map<string, Element>();
  const faults: (string | undefined)[] = [findFieldFault(fields, first, algorithm)];
  for (const extension of extensions) {
    const parts = childrenOf(extension);
    const [id, value] = [parts[0], parts.at(-1)];
    const isWhole = parts.length === 2 || (parts.length === 3 && isBoolean(parts[1]));
    if (!isWhole || id === undefined || !isOid(id) || value?.tag !== octetString) return unreadable;
    const name = formatOid(id.content);
    if (values.has(name)) return 'it holds the same extension twice';
    const form = forms.get(name);
    const content = form === undefined ? value : onlyElement(value.content);
    if (content === undefined || (form !== undefined && !(isWellFormed(content) && form(content))))
      return `its extension ${name} is not of the form of its kind`;
    values.set(name, content);
    if (hasLongArc(id.content)) faults.push('an extension has an object identifier with a number above 31 bits');
    faults.push(goRules.get(name)?.(content, parts.length === 3 && parts[1]?.content[0] === 0xff));
  }
  const usage = values.get('2.5.29.37');
  return {
    isCa: childrenOf(values.get('2.5.29.19')).some(({ tag, content }) => tag === boolean && content[0] === 0xff),
    extendedKeyUsage: usage && childrenOf(usage).map(({ content }) => formatOid(content)),
    pssHash: isPss && parameters ? readPssHash(parameters) : undefined,
    goFault: faults.find((fault) => fault !== undefined),
  };
}

/** What Go wants of the fields before the extensions. */
function findFieldFault(fields: readonly Element[], first: 0 | 1, algorithm: Element): string | undefined {
  const version = fields[0] && first === 1 ? onlyElement(fields[0].content)?.content : Uint8Array.of(0);
  if (version?.length !== 1 || (version[0] ?? 3) > 2) return 'its version is none of 1, 2 and 3';
  const [serial, inner, issuer, , subject, key] = fields.slice(first);
  if ((serial?.content[0] ?? 0x80) >= 0x80) return 'its serial number is negative';
  if (inner === undefined || Buffer.compare(inner.bytes, algorithm.bytes) !== 0)
    return 'its two signature algorithms, inside and outside of what is signed, differ';
  const longArc = findArcFault('signature algorithm', childrenOf(algorithm).slice(0, 1));
  return longArc ?? (issuer && findNameFault(issuer)) ?? (subject && findNameFault(subject)) ?? findKeyFault(key);
}

/** Of subjectPublicKeyInfo (RFC 3279, 2.3; RFC 5480, 2). Curves that Go does not have are told of by their name. */
function findKeyFault(info: Element | undefined): string | undefined {
  const [algorithm, key] = childrenOf(info);
  const [id, parameters] = childrenOf(algorithm);
  switch (id && formatOid(id.content)) {
    case '1.2.840.113549.1.1.1':
      return parameters?.tag === 0x05 ? undefined : 'its RSA key lacks the parameter NULL';
    case '1.2.840.10045.2.1':
      if (parameters?.tag !== 0x06) return 'its elliptic curve is written out instead of named';
      return key?.content[1] === 4 ? undefined : 'the point of its elliptic curve key is compressed';
    default:
      return undefined;
  }
}

type GoRule = (content: Element, isCritical: boolean) => string | undefined;

/** What Go wants of extensions beyond their forms. */
const goRules: ReadonlyMap<string, GoRule> = new Map<string, GoRule>([
  ['2.5.29.14', (_, isCritical) => (isCritical ? 'its subjectKeyIdentifier is marked critical' : undefined)],
  ['2.5.29.15', findBitsFault],
  ['2.5.29.17', (content) => firstOf(childrenOf(content), findAltNameFault)],
  ['2.5.29.30', findConstraintsFault],
  ['2.5.29.31', (content) => firstOf(childrenOf(content), findPointFault)],
  ['2.5.29.35', (_, isCritical) => (isCritical ? 'its authorityKeyIdentifier is marked critical' : undefined)],
  ['2.5.29.37', (content) => findArcFault('extKeyUsage', childrenOf(content))],
  [
    '1.3.6.1.5.5.7.1.1',
    (content, isCritical) =>
      isCritical
        ? 'its authorityInfoAccess is marked critical'
        : findArcFault('authorityInfoAccess', methodsOf(content)),
  ],
]);

const methodsOf = (access: Element): readonly Element[] =>
  childrenOf(access).flatMap((description) => childrenOf(description).slice(0, 1));

function findArcFault(name: string, ids: readonly Element[]): string | undefined {
  const isLong = ids.some(({ content }) => hasLongArc(content));
  return isLong ? `its ${name} holds an object identifier with a number above 31 bits` : undefined;
}

/** The bits of the last byte that are not used must be 0. */
function findBitsFault({ content }: Element): string | undefined {
  const [unused = 0] = content;
  const last = content.length > 1 ? (content.at(-1) ?? 0) : 0xff;
  return last % 2 ** unused === 0 ? undefined : 'its keyUsage has bits set that it says are not used';
}

function findConstraintsFault(constraints: Element): string | undefined {
  const parts = childrenOf(constraints);
  const [first, second, ...others] = parts;
  if (first === undefined || parts.some((part) => childrenOf(part).length === 0))
    return 'its nameConstraints are empty';
  const isInOrder = second === undefined || (first.tag === context0 && second.tag === context1 && others.length === 0);
  if (!isInOrder) return 'its nameConstraints are not first the permitted and then the excluded subtrees';
  return firstOf(parts.flatMap(childrenOf), findConstraintFault);
}

function findPointFault(point: Element): string | undefined {
  const [name] = childrenOf(point);
  if (name?.tag !== context0 || childrenOf(name)[0]?.tag === context0) return undefined;
  return 'its cRLDistributionPoints hold one without a full name, such as one relative to the issuer';
}

/** RFC 5280, 4.2.1 and 4.2.2.1. */
const forms: ReadonlyMap<string, (content: Element) => boolean> = new Map([
  ['2.5.29.14', ({ tag }) => tag === octetString], // subjectKeyIdentifier
  ['2.5.29.15', ({ tag, content: [unused = 8] }) => tag === bitString && unused < 8], // keyUsage
  ['2.5.29.17', listOf(isGeneralName)], // subjectAltName
  ['2.5.29.18', listOf(isGeneralName)], // issuerAltName
  ['2.5.29.19', isBasicConstraints],
  ['2.5.29.30', listOf(({ tag }) => tag === context0 || tag === context1)], // nameConstraints
  ['2.5.29.31', listOf(isDistributionPoint)], // cRLDistributionPoints
  ['2.5.29.32', listOf(isPolicy)], // certificatePolicies
  ['2.5.29.35', listOf(({ tag }) => tag === 0x80 || tag === context1 || tag === 0x82)], // authorityKeyIdentifier
  ['2.5.29.37', listOf(isOid)], // extKeyUsage
  ['1.3.6.1.5.5.7.1.1', listOf(isAccessDescription)], // authorityInfoAccess
]);

function listOf(isItem: (item: Element) => boolean): (content: Element) => boolean {
  return ({ tag, content }) => tag === sequence && readElements(content)?.every(isItem) === true;
}

function isDistributionPoint(point: Element): boolean {
  const parts = childrenOf(point);
  const names = parts.filter(({ tag }) => tag === context0).flatMap(childrenOf);
  return (
    point.tag === sequence &&
    parts.every(({ tag }) => tag === context0 || tag === 0x81 || tag === 0xa2) &&
    names.every((name) => name.tag === context1 || (name.tag === context0 && childrenOf(name).every(isGeneralName)))
  );
}

function isPolicy(policy: Element): boolean {
  const [id, qualifiers, ...others] = childrenOf(policy);
  const isQualified = qualifiers === undefined || listOf(({ tag }) => tag === sequence)(qualifiers);
  return policy.tag === sequence && isOid(id) && isQualified && others.length === 0;
}

function isAccessDescription(description: Element): boolean {
  const [method, location, ...others] = childrenOf(description);
  const isPair = location !== undefined && others.length === 0;
  return description.tag === sequence && isOid(method) && isPair && isGeneralName(location);
}

function isBasicConstraints(content: Element): boolean {
  const parts = childrenOf(content);
  const tags = parts.map(({ tag }) => tag).join();
  const areBooleans = parts.every((part) => part.tag !== boolean || isBoolean(part));
  return listOf(() => true)(content) && areBooleans && ['', '1', '2', '1,2'].includes(tags);
}

/** Of DER it is 0 or 255: readers differ about all others. */
const isBoolean = (part: Element | undefined): boolean =>
  part?.tag === boolean && /^(0|255)$/.test(part.content.join());

/** SHA-1 is what it means by leaving it out. */
function readPssHash(parameters: Element): string {
  const hash = childrenOf(parameters).find(({ tag }) => tag === context0);
  const [named] = childrenOf(childrenOf(hash)[0]);
  return named === undefined ? sha1 : formatOid(named.content);
}

const rsaPss = '1.2.840.113549.1.1.10';
export const sha1 = '1.3.14.3.2.26';

/** Constructed elements hold elements alone, down to the last. */
function isWellFormed({ tag, content }: Element, depth = 0): boolean {
  if ((tag & 0x20) === 0) return true;
  return depth < maxDepth && readElements(content)?.every((inner) => isWellFormed(inner, depth + 1)) === true;
}

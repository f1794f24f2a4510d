// What a certificate says in its extensions and in the parameters of its signature (RFC 5280, 4.2; RFC 4055), of which
// node:crypto shows too little: it knows basicConstraints only mixed with key usage. Reads certificates that node:crypto has
// read, and is strict where that is not: an extension of a known kind must be of its form, since readers of the host may skip
// the whole certificate. A library for it takes longer to load than all else that a short command does; a test holds this to
// one.

import { type Element, formatOid, isOid, readElements } from './der.ts';

export interface Extensions {
  /** As basicConstraints says; false where that is missing. */
  readonly isCa: boolean;
  /** Object identifiers; undefined where the extension is missing, which allows every use. */
  readonly extendedKeyUsage: readonly string[] | undefined;
  /** The hash of RSASSA-PSS, an object identifier; undefined under any other algorithm. */
  readonly pssHash: string | undefined;
}

/** Names of directories in general names nest deepest, some ten levels. */
const maxDepth = 32;

const boolean = 0x01;
const bitString = 0x03;
const octetString = 0x04;
const sequence = 0x30;
const set = 0x31;
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
  for (const extension of extensions) {
    const parts = childrenOf(extension);
    const [id, value] = [parts[0], parts.at(-1)];
    const isWhole = parts.length === 2 || (parts.length === 3 && parts[1]?.tag === boolean);
    if (!isWhole || id === undefined || !isOid(id) || value?.tag !== octetString) return unreadable;
    const name = formatOid(id.content);
    if (values.has(name)) return 'it holds the same extension twice';
    const form = forms.get(name);
    const content = form === undefined ? value : onlyElement(value.content);
    if (content === undefined || (form !== undefined && !(isWellFormed(content) && form(content))))
      return `its extension ${name} is not of the form of its kind`;
    values.set(name, content);
  }
  const usage = values.get('2.5.29.37');
  return {
    isCa: childrenOf(values.get('2.5.29.19')).some(({ tag, content }) => tag === boolean && content[0] === 0xff),
    extendedKeyUsage: usage && childrenOf(usage).map(({ content }) => formatOid(content)),
    pssHash: isPss && parameters ? readPssHash(parameters) : undefined,
  };
}

/** UTF8String, NumericString, PrintableString, T61String, IA5String, VisibleString, GeneralString, UniversalString, BMPString. */
const stringTags: ReadonlySet<number> = new Set([0x0c, 0x12, 0x13, 0x14, 0x16, 0x1a, 0x1b, 0x1c, 0x1e]);

/** Of issuer and subject: sets of pairs of an object identifier and a text. */
function isName(name: Element | undefined): boolean {
  const isPair = (pair: Element): boolean => {
    const [type, value, ...others] = childrenOf(pair);
    return isOid(type) && value !== undefined && stringTags.has(value.tag) && others.length === 0;
  };
  return name !== undefined && listOf((part) => part.tag === set && childrenOf(part).every(isPair))(name);
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

/** Four of its nine kinds hold other elements (RFC 5280, 4.2.1.6). */
function isGeneralName({ tag, content }: Element): boolean {
  if ([0x81, 0x82, 0x86, 0x87, 0x88].includes(tag)) return true;
  if (tag === 0xa0) return isOid(readElements(content)?.[0]); // otherName
  if (tag === 0xa4) return isName(onlyElement(content)); // directoryName
  return tag === 0xa3 || tag === 0xa5;
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
  // A BOOLEAN of DER is 0 or 255: readers differ about all others.
  const isBoolean = parts.every((part) => part.tag !== boolean || /^(0|255)$/.test(part.content.join()));
  return listOf(() => true)(content) && isBoolean && ['', '1', '2', '1,2'].includes(tags);
}

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

function onlyElement(bytes: Uint8Array): Element | undefined {
  const [element, ...others] = readElements(bytes) ?? [];
  return others.length === 0 ? element : undefined;
}

const childrenOf = (element: Element | undefined): readonly Element[] =>
  (element && readElements(element.content)) ?? [];

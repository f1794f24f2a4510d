// Names in certificates: those of issuer and subject, and general names (RFC 5280, 4.1.2.4 and 4.2.1.6). The forms are what
// any reader wants; the faults are what Go, and with it containerd and the kubelet, refuses beyond that. Of what Go releases
// disagree about, a fault is only what the releases in use refuse. Texts of the input never appear in a fault.

import { childrenOf, type Element, hasLongArc, isOid, onlyElement, readElements } from './der.ts';

const sequence = 0x30;
const set = 0x31;

/** Of general names (RFC 5280, 4.2.1.6). */
const email = 0x81;
const dns = 0x82;
const uri = 0x86;
const ip = 0x87;

/** UTF8String, NumericString, PrintableString, T61String, IA5String, VisibleString, GeneralString, UniversalString, BMPString. */
const stringTags: ReadonlySet<number> = new Set([0x0c, 0x12, 0x13, 0x14, 0x16, 0x1a, 0x1b, 0x1c, 0x1e]);

/** Sets of pairs of an object identifier and a text. */
export function isName(name: Element | undefined): boolean {
  const isPair = (pair: Element): boolean => {
    const [type, value, ...others] = childrenOf(pair);
    return isOid(type) && value !== undefined && stringTags.has(value.tag) && others.length === 0;
  };
  if (name?.tag !== sequence) return false;
  return readElements(name.content)?.every((part) => part.tag === set && childrenOf(part).every(isPair)) === true;
}

/** Four of its nine kinds hold other elements. */
export function isGeneralName({ tag, content }: Element): boolean {
  if ([email, dns, uri, ip, 0x88].includes(tag)) return true;
  if (tag === 0xa0) return isOid(readElements(content)?.[0]); // otherName
  if (tag === 0xa4) return isName(onlyElement(content)); // directoryName
  return tag === 0xa3 || tag === 0xa5;
}

/** Of issuer or subject. */
export function findNameFault(name: Element): string | undefined {
  const pairs = childrenOf(name).flatMap(childrenOf).map(childrenOf);
  return firstOf(pairs, ([type, value]) => {
    if (type !== undefined && hasLongArc(type.content))
      return 'a part of its names is of a type with a number above 31 bits';
    return value && findStringFault(value);
  });
}

function findStringFault({ tag, content }: Element): string | undefined {
  const text = latin1(content);
  switch (tag) {
    case 0x12:
      return /^[0-9 ]*$/.test(text) ? undefined : 'a NumericString of its names holds other characters than digits';
    case 0x13:
      // Go takes an asterisk and an ampersand, too, which certificates in use have.
      return /^[A-Za-z0-9 '()+,\-./:=?*&]*$/.test(text)
        ? undefined
        : 'a PrintableString of its names holds characters that are not allowed there, such as _ or @';
    case 0x16:
      return isAscii(content) ? undefined : 'an IA5String of its names is not ASCII';
    case 0x0c:
    case 0x14:
    case 0x1e:
      return undefined; // OpenSSL has found those that are not whole
    default:
      return 'its names hold a string of a kind that Go does not know, such as UniversalString';
  }
}

/** Of subjectAltName. */
export function findAltNameFault({ tag, content }: Element): string | undefined {
  const kind = asciiKinds.get(tag);
  if (kind !== undefined && !isAscii(content)) return `its subjectAltName holds ${kind} that is not ASCII`;
  if (tag === ip && content.length !== 4 && content.length !== 16)
    return `its subjectAltName holds an IP address of ${content.length} bytes`;
  return tag === uri && !isUri(latin1(content)) ? 'its subjectAltName holds a URI that cannot be parsed' : undefined;
}

/** Of a subtree in nameConstraints. */
export function findConstraintFault(subtree: Element): string | undefined {
  const [base] = childrenOf(subtree);
  if (subtree.tag !== sequence || base === undefined) return 'its nameConstraints hold something that is no subtree';
  const { tag, content } = base;
  if (tag === ip) {
    if (content.length !== 8 && content.length !== 32)
      return `its nameConstraints hold an IP address with its mask of ${content.length} bytes`;
    return isMask(content.subarray(content.length / 2)) ? undefined : 'its nameConstraints hold an IP mask with gaps';
  }
  const kind = asciiKinds.get(tag);
  if (kind === undefined) return undefined;
  if (!isAscii(content)) return `its nameConstraints hold ${kind} that is not ASCII`;
  const text = latin1(content);
  const domain = tag === email ? text.slice(text.lastIndexOf('@') + 1) : text;
  const isWrong = !isDomain(domain.replace(/^\./, '')) || domain === '.' || (tag === uri && isAddress(text));
  return isWrong ? `its nameConstraints hold ${kind} that is no domain` : undefined;
}

const asciiKinds: ReadonlyMap<number, string> = new Map([
  [email, 'an e-mail address'],
  [dns, 'a DNS name'],
  [uri, 'a URI'],
]);

/** As Go's net/url takes it, which is less strict than RFC 3986, and a host that is a domain as Go sees one. */
function isUri(text: string): boolean {
  const [whole = '', ...fragments] = text.split('#');
  const [beforeQuery = ''] = whole.split('?');
  const isEscaped = (part: string): boolean => !/%(?![0-9a-f]{2})/i.test(part);
  if (/\p{Cc}/u.test(text) || text.startsWith(':') || !isEscaped(fragments.join('#'))) return false;
  const [scheme = ''] = /^[a-z][a-z0-9+.-]*:/i.exec(beforeQuery) ?? [];
  const rest = beforeQuery.slice(scheme.length);
  if (scheme !== '' && !rest.startsWith('/')) return true;
  if (/^[^/]*:/.test(rest) || !isEscaped(rest)) return false;
  const [, authority] = /^\/\/([^/]*)/.exec(rest) ?? [];
  if (authority === undefined) return true;
  const host = authority.slice(authority.lastIndexOf('@') + 1);
  const isPortNumber = host.startsWith('[') ? /\](?::\d*)?$/.test(host) : /^[^:]*$|:\d*$/.test(host);
  return isPortNumber && !/[ \\^`{|}]/.test(host) && isDomain(host);
}

/** Also the empty one; labels are not looked into. */
function isDomain(text: string): boolean {
  return text === '' || (/^[!-~]+$/.test(text) && text.split('.').every((label) => label !== ''));
}

function isAddress(text: string): boolean {
  if (/^[0-9a-f:.]*:[0-9a-f:.]*$/i.test(text)) return URL.canParse(`http://[${text}]/`);
  return /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/.test(text);
}

/** Ones, then zeros. */
function isMask(mask: Uint8Array): boolean {
  return /^1*0*$/.test(Array.from(mask, (byte) => byte.toString(2).padStart(8, '0')).join(''));
}

export function firstOf<T>(items: readonly T[], findFault: (item: T) => string | undefined): string | undefined {
  for (const item of items) {
    const fault = findFault(item);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

const isAscii = (bytes: Uint8Array): boolean => bytes.every((byte) => byte < 0x80);

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

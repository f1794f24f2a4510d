// The root of the chain on its way from the Secret to the store of the host. Each link is looked at only while those before it
// hold, so that one fault is told once.

import type { Fingerprint } from '../trust/certificate.ts';
import { anchorName, type StoreObservation } from '../trust/observation.ts';
import { annotationPrefix } from '../trust/status.ts';
import type { CheckName } from './catalogue.ts';
import { findGoFault, nameOf } from './certificate-text.ts';
import { isGap, isSelfSigned } from './chain.ts';
import { checkIssuer, describe, rootName, withoutChain } from './chain-checks.ts';
import { broken, type Check, notKnown, pass, skipped } from './check.ts';
import type { Facts } from './facts.ts';
import { certificatesFor, certificatesOf } from './hosts-folder.ts';
import { brokenUntilInSecret, placeOf } from './into-secret.ts';
import { findRejection, rejectionOfSecret } from './rejection.ts';
import { isPrint, type SourceView, type View } from './view.ts';

export function checkTrust(view: View): readonly Check[] {
  const issuer = checkIssuer(view);
  const { root } = view;
  if (root === undefined) {
    const isIntercepted = issuer.status === 'fail';
    const rest = links.map(([name]) =>
      name === 'admitted' && view.facts.secret.kind === 'unknown'
        ? notKnown(name, secretUnread)
        : skipped(name, 'no root to look for'),
    );
    const unknown = checkUnknown(view, isIntercepted);
    const rejected = unknown.diagnosis?.code === 'UnknownRoot' ? checkRejected(view, unknown) : undefined;
    if (rejected === undefined) return [issuer, unknown, ...rest];
    return [issuer, skipped('secret', whatIsMeant), rejected, ...rest.slice(1)];
  }
  let isHeldUp = false;
  const rest = links.map(([name, check]) => {
    if (isHeldUp) return skipped(name, 'an earlier link is broken');
    const found = check(view, root);
    isHeldUp = found.status === 'fail';
    return found;
  });
  return [issuer, checkSecret(view, root), ...rest];
}

type Link = readonly [name: CheckName, check: (view: View, root: Fingerprint) => Check];
const links: readonly Link[] = [
  ['admitted', checkAdmitted],
  ['anchor', checkAnchor],
  ['bundle', checkBundle],
  ['links', checkLinks],
];

/** A root that is in no store and no source; whether it shall be is for whoever reads this. */
function checkUnknown(view: View, isIntercepted: boolean): Check {
  const { chain, facts, host, sources, isPublic } = view;
  if (chain === undefined) return withoutChain('secret', facts.endpoint);
  if (chain.faults.some(isGap)) return skipped('secret', 'the chain does not lead to a root');
  if (isIntercepted) return skipped('secret', 'whether that issuer is to be trusted at all is to be decided first');
  const issuer = rootName(chain);
  const last = chain.path.at(-1);
  const known = [
    ...(host?.roots ?? []).map(({ certificate }) => certificate),
    ...sources.flatMap(({ sighted }) => sighted),
  ];
  const isRenewed = known.some(({ subject }) => nameOf(subject) === issuer);
  const evidence = [
    describeSecret(view),
    ...(host === undefined ? [] : [`none of the ${host.roots.length} certificates of ${host.store} is it`]),
    ...(last === undefined
      ? []
      : [`the last certificate ${isSelfSigned(last) ? 'sent is it' : 'that leads there'}: ${describe(last)}`]),
    ...tellMirrors(view, issuer),
    ...(isRenewed ? ['a certificate of that name is known here, with another key: the CA was renewed'] : []),
  ];
  if (isPublic)
    return broken('PublicRootMissing', `${issuer} is a public root, and unknown here`, evidence, {
      unit: unitOf(view),
    });
  const summary =
    facts.secret.kind === 'unknown'
      ? `${issuer} is not trusted on this host; whether the Secret holds it is not known`
      : `${issuer} is known nowhere here`;
  return brokenUntilInSecret('UnknownRoot', summary, evidence, view);
}

/** A CA in the table of a mirror looks as if it were given for the registry. */
function tellMirrors({ host, facts }: View, issuer: string): readonly string[] {
  const folder = host?.registry.own ?? host?.registry.byDefault;
  const own = certificatesFor(folder, facts.target);
  const others = certificatesOf(folder).filter((certificate) => !own.includes(certificate));
  const isNamed = others.some(({ subject }) => nameOf(subject) === issuer);
  return isNamed ? [`${folder?.path}/hosts.toml names it for another server alone`] : [];
}

const whatIsMeant = 'what the Secret is meant to hold cannot be told: it is not admitted';

/** What a Secret holds that is not admitted may be the root that nobody has seen: that is to be mended first. */
function checkRejected(view: View, unknown: Pick<Check, 'summary' | 'evidence'>): Check | undefined {
  const rejection = rejectionOfSecret(view);
  if (rejection === undefined) return undefined;
  const evidence = [...rejection.evidence, ...unknown.evidence, ...tellAgent(view.facts)];
  const values = { ...placeOf(view.facts), remedy: rejection.remedy };
  return broken('SecretRejected', `${rejection.summary}; ${unknown.summary}`, evidence, values);
}

function describeSecret(view: View): string {
  const { secret, secretName } = view.facts;
  if (secret.kind === 'unknown') return `${secretName} was not read: ${secret.why}`;
  if (secret.value.kind === 'absent') return `${secretName} does not exist`;
  const rejection = rejectionOfSecret(view);
  const names = view.sources
    .filter(({ isSecret }) => isSecret)
    .flatMap(({ sighted }) => sighted.map(({ subject }) => nameOf(subject)));
  return names.length === 0
    ? (rejection?.summary ?? `${secretName} holds no certificate`)
    : `${secretName} holds ${[...new Set(names)].join('; ')}`;
}

function checkSecret(view: View, root: Fingerprint): Check {
  const { facts, host, chain } = view;
  const name = chain === undefined ? '' : rootName(chain);
  const [holder] = holdersOf(view, root);
  if (holder !== undefined) return pass('secret', `${name} is in ${holder.name}`);
  if (isOurs(view, root)) {
    if (facts.secret.kind === 'unknown') return notKnown('secret', facts.secret.why);
    if (rejectionOfSecret(view) !== undefined) return skipped('secret', whatIsMeant);
    const summary = `${name} is not in ${facts.secretName}, and lies on the host as ${anchorName(root)}`;
    return broken('NotYetWithdrawn', summary, tellAgent(facts), { node: facts.nodeName ?? 'NODE' });
  }
  const path = pathOf(view, root);
  if (path === undefined && facts.secret.kind === 'unknown') return notKnown('secret', facts.secret.why);
  if (path === undefined) return skipped('secret', `${name} is not in it, and elsewhere only where it is not read`);
  if (host?.withdrawn.includes(anchorName(root)) === true) {
    const summary = `${name} was taken away, and is trusted still through ${path}`;
    return broken('StillTrusted', summary, [`an agent has taken ${anchorName(root)} away`], {
      path,
      unit: unitOf(view),
    });
  }
  return pass('secret', `not needed: ${name} is trusted through ${path}`);
}

function checkAdmitted(view: View, root: Fingerprint): Check {
  const holders = holdersOf(view, root);
  const accepted = holders.find(({ admission }) => admission?.accepted === true);
  if (accepted !== undefined) return pass('admitted', `${accepted.name} is admitted`);
  // Of ours, the source may be what is rejected for not being readable.
  const rejection = findRejection(holders[0]) ?? (isOurs(view, root) ? rejectionOfSecret(view) : undefined);
  if (rejection === undefined) {
    const isNeedless = pathOf(view, root) !== undefined && !isOurs(view, root);
    const isUnknown = view.facts.secret.kind === 'unknown' && !isNeedless;
    return (isUnknown ? notKnown : skipped)('admitted', whyNoHolder(view.facts));
  }
  const values = { ...placeOf(view.facts), remedy: rejection.remedy };
  const code = view.isInStore ? 'LastGoodStays' : 'SecretRejected';
  return broken(code, rejection.summary, [...rejection.evidence, ...tellAgent(view.facts)], values);
}

function checkAnchor(view: View, root: Fingerprint): Check {
  const { host, facts, isInStore, isInFolder } = view;
  if (host === undefined) return notKnown('anchor', whyNoHost(facts));
  if (isOurs(view, root)) return pass('anchor', `${anchorName(root)} lies on the host`);
  const path = pathOf(view, root);
  if (isInStore) return pass('anchor', `${path} brings it, and not an agent`);
  if (isInFolder) return skipped('anchor', `${path} holds it, which containerd reads by itself`);
  if (holdersOf(view, root).length === 0) return skipped('anchor', whyNoHolder(facts));
  const evidence = [...(host.observed.kind === 'unknown' ? [host.observed.why] : []), ...tellAgent(facts)];
  return broken('NotInstalled', `${anchorName(root)} is not on the host`, evidence, { node: facts.nodeName ?? 'NODE' });
}

function checkBundle(view: View, root: Fingerprint): Check {
  const { host, facts, isInStore, isInFolder, chain } = view;
  if (host === undefined) return notKnown('bundle', whyNoHost(facts));
  const fault = chain?.root && findGoFault(chain.root);
  if (chain?.root !== undefined && fault !== undefined && (isInStore || isInFolder || isOurs(view, root))) {
    const summary = `Go cannot read ${nameOf(chain.root.subject)}, and skips it: ${fault}`;
    return brokenUntilInSecret('RootUnreadable', summary, [describe(chain.root)], view);
  }
  const store = storeOf(view);
  if (store?.bundle.has(root) === true) return pass('bundle', `it is in ${host.store}`);
  if (isInStore && !isOurs(view, root)) return pass('bundle', `Go's programs read it out of ${pathOf(view, root)}`);
  if (!isOurs(view, root)) return skipped('bundle', 'nothing brings it into the bundle');
  const bundle = host.store.split(' ', 1)[0] ?? '';
  const why = host.broken === undefined ? 'lacks it' : 'does not load';
  return broken('NotInBundle', `${bundle} ${why}`, host.broken === undefined ? [] : [host.broken], { bundle });
}

function checkLinks(view: View, root: Fingerprint): Check {
  if (view.host === undefined) return skipped('links', whyNoHost(view.facts));
  if (view.host.observed.kind === 'unknown') return notKnown('links', view.host.observed.why);
  if (!isOurs(view, root)) return skipped('links', 'it is not there by an agent');
  if (storeOf(view)?.indexed.has(root) === true) return pass('links', 'a look-up by its hash finds it');
  return broken('NotInLinks', 'no hash link leads to it', [], {});
}

function holdersOf({ sources }: View, root: Fingerprint): readonly SourceView[] {
  return sources.filter(({ sighted }) => sighted.some((certificate) => isPrint(certificate, root)));
}

const secretUnread = 'the Secret was not read';

function whyNoHolder({ secret }: Facts): string {
  return secret.kind === 'unknown' ? secretUnread : 'no source holds the root';
}

function storeOf({ host }: View): StoreObservation | undefined {
  return host?.observed.kind === 'known' ? host.observed.value.store : undefined;
}

function isOurs(view: View, root: Fingerprint): boolean {
  return storeOf(view)?.anchors.some(({ certificate }) => certificate?.fingerprint === root) ?? false;
}

/** The file by which it is trusted: one that goes into the bundle, one beside it, or the folder of the registry. */
function pathOf({ host, isInFolder }: View, root: Fingerprint): string | undefined {
  const loose = host?.roots.find(({ certificate }) => isPrint(certificate, root))?.path;
  const folder = isInFolder ? (host?.registry.own ?? host?.registry.byDefault)?.path : undefined;
  return host?.holders.get(root) ?? loose ?? folder;
}

/** For a command to type. */
export function unitOf({ host }: View): string {
  return host?.unit.kind === 'known' ? host.unit.value.unit : 'containerd.service';
}

export function whyNoHost({ host }: Facts): string {
  return host.kind === 'unknown' ? host.why : '';
}

/** What the agent has written on its Node. */
function tellAgent({ node }: Facts): readonly string[] {
  if (node.kind === 'unknown') return [`the Node was not read: ${node.why}`];
  const [state, reason, message] = ['state', 'reason', 'message'].map(
    (name) => node.value.get(annotationPrefix + name) ?? '',
  );
  if (state === '') return ['no agent has written to the Node'];
  return [`the agent says ${state}${reason && ` (${reason})`}: ${message}`];
}

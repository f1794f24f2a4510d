// The root of the chain on its way from the Secret to the store of the host. Each link is looked at only when the one before it
// holds, so that the first that fails is the one to mend.

import type { Fingerprint } from '../trust/certificate.ts';
import { anchorName, type StoreObservation } from '../trust/observation.ts';
import { annotationPrefix, describeFinding } from '../trust/status.ts';
import { isSelfSigned, nameOf } from './chain.ts';
import { rootName, whyNoChain } from './chain-checks.ts';
import { broken, type Check, pass, skipped } from './check.ts';
import type { Facts, HostFacts } from './facts.ts';
import { isPrint, type SourceView, type View } from './view.ts';

/** From here on it is known which root is wanted; else why not. */
type Wanted = { readonly root: Fingerprint; readonly name: string } | { readonly why: string };

export function findWanted(view: View): Wanted {
  const { chain, root, facts } = view;
  if (chain === undefined) return { why: whyNoChain(facts.endpoint) };
  if (root !== undefined) return { root, name: rootName(chain) };
  const own = chain.faults.find(({ kind }) => kind === 'self-signed-leaf' || kind === 'intermediate-missing');
  return { why: own === undefined ? `${rootName(chain)} is not known here` : 'the chain does not lead to a root' };
}

export function checkSecret(view: View, isIntercepted: boolean): Check {
  const { chain, facts, host, sources, root, isInFolder } = view;
  const wanted = findWanted(view);
  const secret = sources.find(({ isSecret }) => isSecret);
  const whyNoSecret =
    facts.secret.kind === 'unknown'
      ? facts.secret.why
      : secret?.snapshot.kind === 'unavailable'
        ? secret.snapshot.evidence
        : undefined;
  if (root === undefined || chain === undefined || !('root' in wanted)) {
    const isServers =
      chain === undefined ||
      chain.faults.some(({ kind }) => kind === 'self-signed-leaf' || kind === 'intermediate-missing');
    if (isServers) return skipped('secret', 'why' in wanted ? wanted.why : '');
    if (isIntercepted) return skipped('secret', 'whether that issuer is to be trusted at all is to be decided first');
    return tellUnknown(view, secret, whyNoSecret);
  }
  const [holder] = holdersOf(view, root);
  if (holder !== undefined) return pass('secret', `${wanted.name} is in ${holder.name}`);
  const seen = host?.observed.kind === 'known' ? host.observed.value.store : undefined;
  const path = holderOf(host, root);
  const unit = host?.unit.kind === 'known' ? host.unit.value.unit : 'containerd';
  if (isOurs(seen, root)) {
    if (whyNoSecret !== undefined) return skipped('secret', whyNoSecret);
    const summary = `${wanted.name} is not in ${facts.secretName}, and lies on the host as ${anchorName(root)}`;
    return broken('NotYetWithdrawn', summary, tellAgent(facts), { node: facts.nodeName ?? 'NODE' });
  }
  if (host?.withdrawn.includes(anchorName(root)) === true && path !== undefined) {
    const summary = `${wanted.name} was taken away, and is trusted still through ${path}`;
    return broken('StillTrusted', summary, [`state.json names ${anchorName(root)} as taken away`], { path, unit });
  }
  const folder = isInFolder ? (host?.registry.own ?? host?.registry.byDefault)?.path : undefined;
  const by = path ?? folder;
  return by === undefined
    ? skipped('secret', `${wanted.name} is not in it, and elsewhere only where it is not read`)
    : pass('secret', `not needed: ${wanted.name} is trusted through ${by}`);
}

function tellUnknown(
  { chain, facts, host }: View,
  secret: SourceView | undefined,
  whyNoSecret: string | undefined,
): Check {
  const issuer = chain === undefined ? '' : rootName(chain);
  const last = chain?.path.at(-1);
  const isSent = last !== undefined && isSelfSigned(last);
  const twin = knownNames(host, secret).find((name) => name === issuer);
  const where =
    whyNoSecret === undefined
      ? describeSource(secret, facts.secretName)
      : `${facts.secretName} could not be read: ${whyNoSecret}`;
  const evidence = [
    where,
    ...(host === undefined ? [] : [`${host.roots.length} certificates of ${host.store} were looked through`]),
    isSent ? 'the server sends this root itself' : 'the server does not send it; it sends up to whom it has issued',
    ...(twin === undefined
      ? []
      : ['a certificate of the same name is known here, with another key: the CA was renewed']),
  ];
  return broken('UnknownRoot', `${issuer} is known nowhere here`, evidence, {});
}

function knownNames(host: HostFacts | undefined, secret: SourceView | undefined): readonly string[] {
  const all = [...(host?.roots ?? []).map(({ certificate }) => certificate), ...(secret?.sighted ?? [])];
  return all.map(({ subject }) => nameOf(subject));
}

function describeSource(secret: SourceView | undefined, name: string): string {
  if (secret === undefined || secret.snapshot.kind === 'absent') return `${name} does not exist`;
  if (secret.snapshot.kind === 'wrong-type') return `${name} has the type ${secret.snapshot.type}, expected Opaque`;
  const names = secret.sighted.map(({ subject }) => nameOf(subject));
  return names.length === 0 ? `${name} holds no certificate` : `${name} holds ${names.join('; ')}`;
}

export function checkAdmitted(view: View): Check {
  const { root, facts, isInStore } = view;
  if (root === undefined) return skipped('admitted', 'no root to look for');
  const holders = holdersOf(view, root);
  const [holder] = holders;
  if (holder === undefined) return skipped('admitted', 'no source holds the root');
  const accepted = holders.find(({ admission }) => admission?.accepted === true);
  if (accepted !== undefined) return pass('admitted', `${accepted.name} is admitted`);
  const errors = (holder.admission?.findings ?? []).filter(({ severity }) => severity === 'error');
  const [first] = errors;
  const summary = `${holder.name} is not admitted: ${first?.code ?? 'it holds no data'}`;
  const evidence = errors.map((finding) => `${finding.code}: ${describeFinding(finding)}`);
  const [namespace = '', secret = ''] = facts.secretName.replace(/^secret /, '').split('/');
  const values = { remedy: first?.remedy ?? 'Mend it.', namespace, secret };
  return broken(isInStore ? 'LastGoodStays' : 'SecretRejected', summary, [...evidence, ...tellAgent(facts)], values);
}

export function checkAnchor(view: View, isHeldUp: boolean): Check {
  const { host, root, facts, isInStore, isInFolder } = view;
  const why = whyNoStore(view, isHeldUp);
  if (why !== undefined || root === undefined || host?.observed.kind !== 'known') return skipped('anchor', why ?? '');
  if (isOurs(host.observed.value.store, root)) return pass('anchor', `${anchorName(root)} lies on the host`);
  if (isInStore) return pass('anchor', `it lies there in ${holderOf(host, root) ?? 'a file of the host'}, not by us`);
  if (holdersOf(view, root).length === 0 && !isInFolder) return skipped('anchor', 'no source holds the root');
  if (isInFolder) return pass('anchor', `not needed: ${(host.registry.own ?? host.registry.byDefault)?.path} holds it`);
  return broken('NotInstalled', `${anchorName(root)} is not on the host`, tellAgent(facts), {
    node: facts.nodeName ?? 'NODE',
  });
}

export function checkBundle(view: View, isHeldUp: boolean): Check {
  const { host, root, isInStore, isInFolder } = view;
  const why = whyNoStore(view, isHeldUp);
  if (why !== undefined || root === undefined || host?.observed.kind !== 'known') return skipped('bundle', why ?? '');
  const { store } = host.observed.value;
  const bundle = host.store.split(' ')[0] ?? '';
  if (store.bundle.has(root)) return pass('bundle', `it is in ${host.store}`);
  const loose = holderOf(host, root);
  if (isInStore && !isOurs(store, root))
    return pass('bundle', `Go's programs read it out of ${loose}, beside the bundle`);
  if (isInFolder && !isOurs(store, root)) return skipped('bundle', "containerd's own folder holds it");
  if (!isOurs(store, root)) return skipped('bundle', 'no source holds the root');
  const evidence = host.broken === undefined ? [] : [host.broken];
  return broken('NotInBundle', `${bundle} lacks it${host.broken === undefined ? '' : ', or does not load'}`, evidence, {
    bundle,
  });
}

export function checkLinks(view: View, isHeldUp: boolean): Check {
  const { host, root } = view;
  const why = whyNoStore(view, isHeldUp);
  if (why !== undefined || root === undefined || host?.observed.kind !== 'known') return skipped('links', why ?? '');
  const { store } = host.observed.value;
  if (!isOurs(store, root)) return skipped('links', 'the certificate is not ours');
  if (store.indexed.has(root)) return pass('links', 'a look-up by hash finds it');
  return broken('NotInLinks', 'no hash link leads to it', [], {});
}

function holdersOf({ sources }: View, root: Fingerprint): readonly SourceView[] {
  return sources.filter(({ sighted }) => sighted.some((certificate) => isPrint(certificate, root)));
}

function whyNoStore({ host, root, facts }: View, isHeldUp: boolean): string | undefined {
  if (root === undefined) return 'no root to look for';
  if (host === undefined) return facts.host.kind === 'unknown' ? facts.host.why : '';
  if (host.observed.kind === 'unknown') return host.observed.why;
  return isHeldUp ? 'an earlier link is broken' : undefined;
}

function isOurs(store: StoreObservation | undefined, root: Fingerprint): boolean {
  return store?.anchors.some(({ certificate }) => certificate?.fingerprint === root) ?? false;
}

/** The file that brings it into the store; the bundle itself says nothing of that. */
function holderOf(host: HostFacts | undefined, root: Fingerprint): string | undefined {
  return host?.holders.get(root) ?? host?.roots.find(({ certificate }) => isPrint(certificate, root))?.path;
}

/** What the agent has written on its Node. */
function tellAgent({ node }: Facts): readonly string[] {
  if (node.kind === 'unknown') return [`the Node was not read: ${node.why}`];
  const own = (name: string): string => node.value.get(annotationPrefix + name) ?? '';
  if (own('state') === '') return ['no agent has written to the Node'];
  return [`the agent says ${own('state')}${own('reason') && ` (${own('reason')})`}: ${own('message')}`];
}

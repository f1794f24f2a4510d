// What the runtime is told about this registry in files of its own, which may go past everything that a store says.

import type { X509Certificate } from 'node:crypto';
import { nameOf } from './certificate-text.ts';
import { broken, type Check, notKnown, pass, skipped } from './check.ts';
import { certificatesFor, isServer } from './hosts-folder.ts';
import type { CaFile, HostsFolder, Placed } from './registry-settings.ts';
import { unitOf, whyNoHost } from './trust-checks.ts';
import { isPrint, type View } from './view.ts';

export function checkFolder(view: View): Check {
  const { host, facts, root, isInStore } = view;
  if (host === undefined) return notKnown('certs.d', whyNoHost(facts));
  const { own, byDefault, configPath, isConfigPathSet } = host.registry;
  const folder = own ?? byDefault;
  if (configPath.length === 0) return skipped('certs.d', 'containerd is told of no such folder (config_path)');
  if (folder === undefined) return pass('certs.d', `${configPath.join(', ')} says nothing of ${facts.target.registry}`);
  const { path } = folder;
  const bad = folder.cas.find(isBad);
  if (bad !== undefined)
    return broken('HostsTomlBroken', `${bad.path} ${describeBad(bad)}`, describeFolder(folder), { path });
  const casOf = (one: HostsFolder | undefined): readonly X509Certificate[] => certificatesFor(one, facts.target);
  const holds = (one: HostsFolder | undefined): boolean =>
    root !== undefined && casOf(one).some((certificate) => isPrint(certificate, root));
  const isShadowed = own !== undefined && byDefault !== undefined && casOf(byDefault).length > 0;
  if (isShadowed && !isInStore && !holds(own) && holds(byDefault))
    return broken(
      'DefaultShadowed',
      `${byDefault.path} holds the root, and ${path} is read instead`,
      describeFolder(folder),
      { path },
    );
  // A host's store that has the root makes it all the same.
  if (!isConfigPathSet && holds(folder) && !isInStore)
    return broken(
      'ConfigPathMissing',
      `${path} holds the root, and no config_path leads there`,
      describeFolder(folder),
      {},
    );
  if (folder.hosts?.hasTable === false && holds(folder) && !isInStore) {
    const summary = `${path}/hosts.toml names the root at its top, and has no [host] table`;
    return broken('HostsTomlIgnored', summary, describeFolder(folder), { path });
  }
  const other = folder.hosts?.entries.find(({ server }) => server !== '' && !isServer(server, facts.target));
  if (other !== undefined)
    return broken('HostsTomlRedirects', `${path} sends pulls to ${other.server}`, describeFolder(folder), {
      other: other.server,
    });
  const isOfOthers = own !== undefined && casOf(own).length > 0 && root !== undefined && !holds(own);
  if (isOfOthers || isShadowed) {
    const what = isOfOthers
      ? `names ${namesOf(casOf(own))}, and not this chain's root`
      : `is read instead of ${byDefault?.path}`;
    return broken('HostsTomlShadows', `${path} ${what}`, describeFolder(folder), { path });
  }
  return pass('certs.d', `${path} changes nothing for this chain`, describeFolder(folder));
}

export function checkSkipVerify({ host, facts }: View): Check {
  if (host === undefined) return notKnown('skip-verify', whyNoHost(facts));
  const { own, byDefault, tls } = host.registry;
  const folder = own ?? byDefault;
  const inFolder =
    folder?.hosts?.entries.some(({ skipVerify }) => skipVerify) === true ? [`${folder.path}/hosts.toml`] : [];
  const inConfig = tls.filter(({ value }) => value.skipVerify).map(({ path }) => path);
  const [path] = [...inFolder, ...inConfig];
  if (path === undefined) return pass('skip-verify', `${facts.target.registry} is verified`);
  return broken('SkipVerify', `${path} tells the runtime not to verify ${facts.target.registry}`, [], { path });
}

export function checkConfig(view: View): Check {
  const { host, facts } = view;
  if (host === undefined) return notKnown('config', whyNoHost(facts));
  const { configPath, isConfigPathSet, configFiles, mirrors, faults } = host.registry;
  const [mirror] = mirrors;
  if (mirror !== undefined && isConfigPathSet) {
    const names = mirrors.map(({ value }) => value).join(', ');
    const summary = `${mirror.path} has mirrors (${names}) and config_path (${configPath.join(':')})`;
    return broken('MirrorsWithConfigPath', summary, [], { path: mirror.path, unit: unitOf(view) });
  }
  const [fault] = faults;
  if (fault !== undefined) return broken('ConfigUnreadable', `${fault.path}: ${fault.value}`, [], { path: fault.path });
  if (configFiles.length === 0) return skipped('config', 'there is no config.toml of containerd');
  return pass('config', `${configFiles.join(', ')} may be loaded`);
}

export function checkRegistries({ host, facts }: View): Check {
  if (host === undefined) return notKnown('registries', whyNoHost(facts));
  const { registriesFile, endpoints, tls } = host.registry;
  if (registriesFile === undefined) return skipped('registries', 'there is no registries.yaml of k3s or rke2');
  const bad = tls.flatMap(({ path, value: { ca } }) =>
    path === registriesFile && ca !== undefined && isBad(ca) ? [ca] : [],
  )[0];
  if (bad !== undefined)
    return broken('RegistriesCaBroken', `${bad.path} ${describeBad(bad)}`, [], { ca: bad.path, path: registriesFile });
  const other = endpoints.find(({ value }: Placed<string>) => !isServer(value, facts.target));
  if (other !== undefined)
    return broken('RegistriesRedirect', `${other.path} sends pulls to ${other.value}`, [], { other: other.value });
  return pass('registries', `${registriesFile} changes nothing for this registry`);
}

const isBad = ({ certificates }: CaFile): boolean => certificates === undefined || certificates.length === 0;

function describeBad({ certificates }: CaFile): string {
  return certificates === undefined ? 'is named there and does not exist' : 'holds no certificate';
}

function describeFolder({ hosts, cas, path }: HostsFolder): readonly string[] {
  const named = (hosts?.entries ?? []).filter(({ server }) => server !== '').map(({ server }) => server);
  const servers = [...new Set(named)]; // a server may have a table of its own besides
  return [
    ...(servers.length === 0 ? [] : [`${path}/hosts.toml names ${servers.join(', ')}`]),
    ...cas.map((ca) => `${ca.path} ${isBad(ca) ? describeBad(ca) : `holds ${namesOf(ca.certificates ?? [])}`}`),
  ];
}

function namesOf(certificates: readonly X509Certificate[]): string {
  return [...new Set(certificates.map(({ subject }) => nameOf(subject)))].join('; ');
}

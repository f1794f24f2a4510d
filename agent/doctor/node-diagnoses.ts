// What can be broken on the node and in its cluster: the Secret, the store, the runtime and what it is told about a registry.

import type { Diagnosis } from './catalogue.ts';
import { mergeRoot } from './server-diagnoses.ts';

export const nodeDiagnoses = {
  ProxyDiffers: {
    check: 'proxy',
    severity: 'warn',
    meaning: 'The shell and the unit of the runtime go different ways, so that what works here may fail there.',
    remedy:
      "Set the proxy in a drop-in of the unit, or take it out, as the node's network wants it; then restart the unit.",
    command: 'systemctl edit {unit}',
  },
  UnknownRoot: {
    check: 'secret',
    severity: 'fail',
    meaning: 'The root of the chain is nowhere on the host, nor in the Secret, as far as that could be read.',
    remedy:
      'Get the root from whoever runs the CA, compare its fingerprint with them, and put it into the Secret. If the issuer is an intermediate, it is the server that must send it.',
    command: mergeRoot(),
  },
  PublicRootMissing: {
    check: 'secret',
    severity: 'fail',
    meaning:
      "The root is one of the public ones, and this host's store lacks it: its package is old, or somebody has deselected it.",
    remedy: "Update the distribution's package. The Secret is not for public roots.",
    command: 'apt-get update && apt-get install --only-upgrade ca-certificates && systemctl restart {unit}',
  },
  StillTrusted: {
    check: 'secret',
    severity: 'warn',
    meaning: 'The root was taken out of the Secret, and is still trusted through a file of somebody else.',
    remedy: 'Remove the file if nobody else wants it, and have the store built anew.',
    command: 'rm {path} && update-ca-certificates && systemctl restart {unit}',
  },
  NotYetWithdrawn: {
    check: 'secret',
    severity: 'warn',
    meaning:
      'The root is not in the Secret, and our anchor still lies on the host: the grace of a Secret that is gone, or an agent that does not run.',
    remedy: 'Put the certificate back to keep it, or look at what the agent says.',
    command: 'kubectl describe node {node}',
  },
  SecretRejected: {
    check: 'admitted',
    severity: 'fail',
    meaning:
      'The Secret is not admitted, so nothing of it reaches a node. It holds the root, or something that cannot be read as a certificate.',
    remedy: '{remedy}',
    command: 'kubectl -n {namespace} get secret {secret} -o yaml | node-trust validate -',
  },
  LastGoodStays: {
    check: 'admitted',
    severity: 'warn',
    meaning: 'The Secret is not admitted as it is now. The root is trusted still, out of its last good set.',
    remedy: '{remedy}',
    command: 'kubectl -n {namespace} get secret {secret} -o yaml | node-trust validate -',
  },
  NotInstalled: {
    check: 'anchor',
    severity: 'fail',
    meaning: 'The Secret is good, and the root is not on this host: no agent has put it there.',
    remedy: 'See what the agent of this node says; a node without one is not enabled.',
    command:
      'kubectl -n kube-system get pods -o wide -l app.kubernetes.io/name=node-trust-agent; kubectl describe node {node}',
  },
  RootUnreadable: {
    check: 'bundle',
    severity: 'fail',
    meaning:
      "The root is trusted, and is one that Go cannot read: containerd and the kubelet skip it without a word, while OpenSSL's users do not.",
    remedy: 'Have the CA make its certificate anew without that, and put the new one into the Secret.',
    command: mergeRoot(),
  },
  NotInBundle: {
    check: 'bundle',
    severity: 'fail',
    meaning: 'The root lies on the host and is not in the bundle, or the bundle does not load.',
    remedy: 'Have the store built anew, and see what its tool complains of.',
    command: 'update-ca-certificates && grep -c BEGIN {bundle}',
  },
  NotInLinks: {
    check: 'links',
    severity: 'warn',
    meaning: "OpenSSL's users that look into the folder do not find the root; Go's do.",
    remedy: 'Have the links made anew.',
    command: 'openssl rehash /etc/ssl/certs',
  },
  RuntimeStale: {
    check: 'runtime',
    severity: 'fail',
    meaning: 'The process of the runtime was started before the store had the root, and reads it once.',
    remedy:
      'Wait for the agent, which restarts it when the moment of this node comes, or restart it now: containers live on.',
    command: 'systemctl restart {unit}',
  },
  RuntimeUnknown: {
    check: 'runtime',
    severity: 'fail',
    meaning: 'The unit of the runtime is not active, or does not say which process runs.',
    remedy: 'See why, and start it.',
    command: 'systemctl status {unit}; journalctl -u {unit} -n 50',
  },
  RuntimeOlderThanStore: {
    check: 'runtime',
    severity: 'warn',
    meaning:
      'The store was written after the runtime was started, by somebody who has left no record: what it loaded is not known.',
    remedy: 'If pulls fail with x509, restart it: containers live on.',
    command: 'systemctl restart {unit}',
  },
  OtherStoreLacksRoot: {
    check: 'environment',
    severity: 'fail',
    meaning: "A variable leads the runtime to another store than the host's, and the root is not in it.",
    remedy: 'Take the variable out of that file, and restart the unit.',
    command: "sed -i.bak '/SSL_CERT_/d' {path} && systemctl daemon-reload && systemctl restart {unit}",
  },
  OtherStore: {
    check: 'environment',
    severity: 'warn',
    meaning:
      "A variable leads the runtime to another store than the host's; what the agent installs does not reach it.",
    remedy: 'Take the variable out of that file, and restart the unit.',
    command: "sed -i.bak '/SSL_CERT_/d' {path} && systemctl daemon-reload && systemctl restart {unit}",
  },
  DefaultShadowed: {
    check: 'certs.d',
    severity: 'fail',
    meaning:
      'The root is in the folder `_default` alone, and the registry has a folder of its own, so that `_default` is not read.',
    remedy: "Name the root in the registry's own folder, or put it into the Secret.",
    command: 'ls -l {path}; cat {path}/hosts.toml',
  },
  ConfigPathMissing: {
    check: 'certs.d',
    severity: 'warn',
    meaning:
      "The root is in containerd's folder for this registry alone, and no `config_path` leads there: containerd before 2.2 does not read it.",
    remedy:
      'Set `config_path = "/etc/containerd/certs.d"` in config.toml and restart containerd, or put the root into the Secret.',
    command: 'containerd --version; grep -n config_path /etc/containerd/config.toml',
  },
  HostsTomlIgnored: {
    check: 'certs.d',
    severity: 'warn',
    meaning: 'The root is named at the top of a hosts.toml without a `[host]` table: containerd before 2 ignores it.',
    remedy: 'Add a line `[host]` at its end.',
    command: 'containerd --version; cat {path}/hosts.toml',
  },
  HostsTomlShadows: {
    check: 'certs.d',
    severity: 'warn',
    meaning:
      "The registry has a folder of its own with other CAs than this chain's, and `_default` is not read beside it. The host's store counts still.",
    remedy: "Find out who wrote it, and take its `ca` out, or add the chain's root.",
    command: 'ls -l {path}; cat {path}/hosts.toml',
  },
  HostsTomlRedirects: {
    check: 'certs.d',
    severity: 'warn',
    meaning: 'A hosts.toml sends the pulls of this registry to another server first.',
    remedy: 'Ask the doctor about that server.',
    command: 'node-trust doctor {other}',
  },
  HostsTomlBroken: {
    check: 'certs.d',
    severity: 'fail',
    meaning:
      'A CA file that the folder names is missing or holds no certificate: containerd then fails every pull of this registry.',
    remedy: 'Mend the file, or take it out of the folder.',
    command: 'ls -l {path}; cat {path}/hosts.toml',
  },
  SkipVerify: {
    check: 'skip-verify',
    severity: 'warn',
    meaning: 'The runtime does not verify this registry at all: whoever answers is believed.',
    remedy: 'Take the line out once the root is trusted.',
    command: 'grep -n skip_verify {path}',
  },
  MirrorsWithConfigPath: {
    check: 'config',
    severity: 'fail',
    meaning: '`mirrors` and `config_path` stand together in config.toml: the CRI plugin of containerd does not load.',
    remedy: 'Move the mirrors into hosts.toml files, and take them out of config.toml.',
    command: "grep -n -e mirrors -e config_path {path}; journalctl -u {unit} | grep 'mirrors'",
  },
  ConfigUnreadable: {
    check: 'config',
    severity: 'warn',
    meaning: 'A file that tells the runtime about its registries cannot be read as what it should be.',
    remedy: 'Mend the file.',
    command: 'cat {path}',
  },
  RegistriesCaBroken: {
    check: 'registries',
    severity: 'fail',
    meaning: 'The CA file that registries.yaml names for this registry is missing or holds no certificate.',
    remedy: 'Mend the file, or take it out of registries.yaml, and restart the unit.',
    command: 'ls -l {ca}; cat {path}',
  },
  RegistriesRedirect: {
    check: 'registries',
    severity: 'warn',
    meaning: 'The registries.yaml sends the pulls of this registry to another server first.',
    remedy: 'Ask the doctor about that server.',
    command: 'node-trust doctor {other}',
  },
} as const satisfies Readonly<Record<string, Diagnosis>>;

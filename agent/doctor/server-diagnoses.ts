// What can be broken before the node has a part in it: on the way to the server, in what the server sends, at its token server.

import type { Diagnosis } from './catalogue.ts';

/** All that a server sends, as openssl sees it. */
function showChain() {
  return "openssl s_client -connect {server} -servername {host} -showcerts </dev/null | grep -e ' s:' -e ' i:' -e NotAfter" as const;
}

/** Beside what the Secret holds. */
export function mergeRoot() {
  return 'kubectl -n {namespace} get secret {secret} -o yaml | node-trust secret --merge - root.pem | kubectl apply -f -' as const;
}

export const serverDiagnoses = {
  NameNotFound: {
    check: 'dns',
    severity: 'fail',
    meaning: 'The name has no address here.',
    remedy: "Mend the name, its record, or the node's resolver.",
    command: 'getent ahosts {name}; cat /etc/resolv.conf',
  },
  ConnectionRefused: {
    check: 'tcp',
    severity: 'fail',
    meaning: 'Nothing listens at that address and port.',
    remedy: 'Start the server, or correct the port.',
    command: 'curl -v --max-time 5 {url}',
  },
  ConnectionFailed: {
    check: 'tcp',
    severity: 'fail',
    meaning: 'No connection came about: a route, a firewall, or a machine that is down.',
    remedy: 'Open the way from this node to the server, or set the proxy of the runtime.',
    command: 'curl -v --max-time 5 {url}',
  },
  ProxyRefused: {
    check: 'tcp',
    severity: 'fail',
    meaning: "The runtime's proxy does not let it through to the server. The doctor sends no credentials to a proxy.",
    remedy: 'Allow the server at the proxy, or except it with NO_PROXY in a drop-in of the unit.',
    command: 'curl -v --max-time 5 --proxy {proxy} {url}',
  },
  PlainHttp: {
    check: 'tls',
    severity: 'fail',
    meaning: 'The server answers in plain HTTP at a port where TLS is wanted.',
    remedy: 'Give the server a certificate, or correct the port.',
    command: 'curl -v --max-time 5 http://{server}/v2/',
  },
  TlsWanted: {
    check: 'tls',
    severity: 'fail',
    meaning: 'The server speaks TLS at a port where plain HTTP was asked for.',
    remedy: 'Ask it with https, or correct the port.',
    command: 'curl -v --max-time 5 https://{server}/v2/',
  },
  HandshakeFailed: {
    check: 'tls',
    severity: 'fail',
    meaning:
      'The connection came about, the TLS handshake did not, or the server ended it for want of a client certificate.',
    remedy:
      "Look at the server's log: the protocol versions that it offers, its certificate for this name, or a client certificate that it wants.",
    command: 'openssl s_client -connect {server} -servername {host} </dev/null',
  },
  ClockWrong: {
    check: 'clock',
    severity: 'fail',
    meaning: "By the node's clock the certificates are not valid, by the server's they are.",
    remedy: "Set the node's clock.",
    command: 'timedatectl; systemctl restart systemd-timesyncd || systemctl restart chronyd',
  },
  ClockDiffers: {
    check: 'clock',
    severity: 'warn',
    meaning: "The node's clock and the server's differ by more than five minutes. No certificate depends on it yet.",
    remedy: 'Find out which of them is wrong, and set it.',
    command: 'timedatectl',
  },
  LeafExpired: {
    check: 'chain',
    severity: 'fail',
    meaning: "The server's certificate has expired.",
    remedy: 'Renew it on the server. Nothing on the node can mend it.',
    command: showChain(),
  },
  IntermediateExpired: {
    check: 'chain',
    severity: 'fail',
    meaning: 'An intermediate certificate that the server sends has expired.',
    remedy: 'Put the present intermediate of the CA into the chain of the server.',
    command: showChain(),
  },
  RootExpired: {
    check: 'chain',
    severity: 'fail',
    meaning: 'The root has expired; Go refuses what is below it.',
    remedy:
      'Get the present root of the CA and put it into the Secret beside the old one; the server may need a new chain, too.',
    command: mergeRoot(),
  },
  NotYetValid: {
    check: 'chain',
    severity: 'fail',
    meaning: "A certificate begins later than now, and the server's clock does not tell that the node's is wrong.",
    remedy: "Compare the node's clock with a good one; if it is right, the certificate was made for later.",
    command: 'timedatectl',
  },
  NameMismatch: {
    check: 'chain',
    severity: 'fail',
    meaning: "The server's certificate is for other names. Go looks at subjectAltName alone.",
    remedy: 'Pull by one of its names, or get a certificate with this one.',
    command:
      'openssl s_client -connect {server} -servername {host} </dev/null | openssl x509 -noout -subject -ext subjectAltName',
  },
  SelfSignedLeaf: {
    check: 'chain',
    severity: 'fail',
    meaning: "The server's certificate signed itself, and no CA stands behind it.",
    remedy: "Give the server a certificate of the company's CA, and put that CA into the Secret.",
    command: showChain(),
  },
  IntermediateMissing: {
    check: 'chain',
    severity: 'fail',
    meaning:
      'The server sends its own certificate without the intermediate that issued it. Browsers fetch it; Go does not.',
    remedy:
      'Put the intermediate behind the certificate in the chain file of the server. An intermediate in the Secret helps, too, until it is renewed.',
    command: showChain(),
  },
  CertificateUnreadable: {
    check: 'chain',
    severity: 'fail',
    meaning:
      'A certificate that the server sends is one that Go cannot read. Its programs end the handshake over it; others may not.',
    remedy: 'Have it issued anew without that, or take it out of the chain of the server if nothing needs it.',
    command: showChain(),
  },
  NotForServers: {
    check: 'chain',
    severity: 'fail',
    meaning:
      'A certificate of the chain is for other uses: its extended key usage lacks serverAuth, which Go wants of each.',
    remedy: 'Get a certificate for servers, from a CA for servers.',
    command: showChain(),
  },
  InsecureSignature: {
    check: 'chain',
    severity: 'fail',
    meaning: 'A certificate below the root is signed with a hash that Go refuses.',
    remedy: 'Have it issued anew with SHA-256.',
    command: showChain(),
  },
  ChainOutOfOrder: {
    check: 'chain',
    severity: 'warn',
    meaning:
      'The server sends its intermediates in the wrong order, or others among them. Go sorts them, so pulls work; older clients fail.',
    remedy: 'Order the chain file of the server: its certificate, then each issuer.',
    command: showChain(),
  },
  Intercepted: {
    check: 'issuer',
    severity: 'fail',
    meaning:
      'The name is right and the issuer is not the one to be expected: something in between answers with certificates of its own, which no root here vouches for.',
    remedy:
      "If that is the company's proxy, put its root into the Secret, or except the server from inspection; if it is not, find out who listens.",
    command: mergeRoot(),
  },
  TokenServerUntrusted: {
    check: 'token',
    severity: 'fail',
    meaning:
      'The registry is trusted, and the server that gives the tokens for it has a certificate of another CA, which is not.',
    remedy: 'Ask the doctor about that server, and put the root of its CA into the Secret, too.',
    command: 'node-trust doctor {other}',
  },
  TokenServerBroken: {
    check: 'token',
    severity: 'fail',
    meaning: 'The server that gives the tokens for the registry cannot be used.',
    remedy: 'Mend what is said of that server.',
    command: 'node-trust doctor {other}',
  },
  TokenOverHttp: {
    check: 'token',
    severity: 'warn',
    meaning: 'The registry sends for tokens over plain HTTP, where anybody in between can read them.',
    remedy: 'Give the token server a certificate, and the registry its https realm.',
    command: 'curl -sI --max-time 5 {url}',
  },
} as const satisfies Readonly<Record<string, Diagnosis>>;

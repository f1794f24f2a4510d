// Names that tell an inspecting proxy: registries whose certificates always come from public CAs, and what the CAs of products
// that inspect TLS are called. A name is a hint and no proof, so it is told as one.

const publicRegistries = [
  'docker.io',
  'ghcr.io',
  'quay.io',
  'gcr.io',
  'pkg.dev',
  'registry.k8s.io',
  'mcr.microsoft.com',
  'azurecr.io',
  'public.ecr.aws',
  'amazonaws.com',
  'registry.gitlab.com',
  'registry.redhat.io',
  'docker.elastic.co',
  'nvcr.io',
] as const;

export function isPublicRegistry(host: string): boolean {
  return publicRegistries.some((name) => host === name || host.endsWith(`.${name}`));
}

const products =
  /zscaler|netskope|forti(?:net|gate)|palo ?alto|blue ?coat|symantec web|mitm|squid|sophos|check ?point|umbrella|mcafee|skyhigh|forcepoint|websense|cato networks|iboss|barracuda|watchguard|sonicwall|untangle|portswigger|charles proxy|fiddler|ssl[- ]?bump/i;
const words =
  /\b(?:prox(?:y|ies)|(?:tls|ssl|https)[- ]?(?:inspection|interception|decryption)|inspection|interception|intercept(?:or|ing)?|decryption|firewall|web ?gateway|secure gateway)\b/i;

export function isInspector(name: string): boolean {
  return products.test(name) || words.test(name);
}

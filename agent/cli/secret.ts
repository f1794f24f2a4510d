// `node-trust secret`: makes the Secret that the agent follows out of files, and not if the agent would reject it.

import { readAdmitted } from './admitted.ts';
import { defineCommand } from './command.ts';
import { formatManifest, type SecretName, UnreadableError } from './entries.ts';
import { type Flag, flag, switchFlag } from './flags.ts';
import { admissionFlags } from './validate.ts';

export function secretFlag(name: string, help: string): Flag<SecretName> {
  const fallback = { namespace: 'kube-system', name: 'custom-ca-trust-secret' };
  const shown = `${fallback.namespace}/${fallback.name}`;
  return flag(name, help, { placeholder: 'NAMESPACE/NAME', fallback, shown }, parseSecret);
}

/** RFC 1123 names, as the API server demands of namespaces and Secrets. */
function parseSecret(text: string): SecretName {
  const match = /^([a-z0-9](?:[-a-z0-9]*[a-z0-9])?)\/([a-z0-9](?:[-.a-z0-9]*[a-z0-9])?)$/.exec(text);
  if (match?.[1] === undefined || match[2] === undefined)
    throw new Error(`expected NAMESPACE/NAME, got ${JSON.stringify(text)}`);
  return { namespace: match[1], name: match[2] };
}

export const secret = defineCommand({
  name: 'secret',
  synopsis: '[FLAGS] PATH',
  about: `Prints a Secret manifest that holds the certificates of PATH, if the agent would accept it. PATH is what validate
takes.`,
  examples: [
    ['secret cas.pem | kubectl apply -f -', 'what the nodes follow from now on'],
    ['secret --name trust/cas cas/', 'a folder, into a Secret of another name'],
  ],
  flags: {
    name: secretFlag('name', 'Of the Secret'),
    ...admissionFlags,
    json: switchFlag('json', 'Print JSON instead of YAML'),
  },
  positionals: { min: 1, max: 1 },
  async run({ values, positionals: [path = ''] }, terminal) {
    const admitted = await readAdmitted('secret', path, values, terminal);
    if (typeof admitted === 'number') return admitted;
    try {
      terminal.out(formatManifest(admitted.entries, values.name, values.json));
      return 0;
    } catch (error) {
      if (!(error instanceof UnreadableError)) throw error;
      terminal.err(`node-trust secret: ${error.message}\n`);
      return 3;
    }
  },
});

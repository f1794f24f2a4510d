// `node-trust boot`: what to give a new node so that it trusts certificates before there is any cluster: the file, and with it
// the script and the unit that install it at each boot (image/boot/). Not if an agent would reject the file.

import { bootFile, bootRecord } from '../host/boot.ts';
import { bootScript, bootUnit } from './boot-files.ts';
import { defineCommand } from './command.ts';
import { readSource } from './entries.ts';
import { flag } from './flags.ts';
import { describeFindings, judgeSource } from './judged.ts';
import { formatYaml } from './manifest.ts';
import { plain } from './paint.ts';

const formats = ['cloud-init', 'script'] as const;
type Format = (typeof formats)[number];

const unit = 'node-trust-boot.service';
/** As the script does: it has no flags. */
const bootAdmission = { maxCertificates: 10, nonCa: 'error' } as const;
/** As ExecStart= of the unit says. */
const scriptPath = '/opt/node-trust/bin/node-trust-boot';
const enable = `systemctl enable ${unit}`;
/** In an image under construction nothing runs, and nothing can be asked: its first boot does the rest. */
const unlessBooted = '[ -d /run/systemd/system ] || exit 0';
/**
 * A first boot has begun already, and what runs by then has read the store as it was. docker is left alone: its containers would
 * end with it.
 */
const startCommands = [
  'systemctl daemon-reload',
  `systemctl restart ${unit}`,
  // The record names the process of containerd that ran while the store was rebuilt, if one did: once it is gone, all is done.
  `if grep -sqx "after $(systemctl show --value -p InvocationID containerd.service)" ${bootRecord}; then systemctl restart containerd.service; fi`,
  'systemctl try-restart crio.service k3s.service k3s-agent.service rke2-server.service rke2-agent.service 2>/dev/null || :',
];

export const boot = defineCommand({
  name: 'boot',
  synopsis: '--format FORMAT [FLAGS] PATH',
  about: `Prints what makes a new node trust the certificates of PATH from its first boot on, if an agent would accept
them. PATH is what validate takes.`,
  examples: [
    ['boot --format cloud-init cas.pem', 'user data for cloud-init'],
    ['boot --format script cas.pem', 'a shell script for root, where nodes are provisioned'],
  ],
  flags: {
    format: flag<Format | undefined>(
      'format',
      `One of ${formats.join(', ')}`,
      { placeholder: 'FORMAT', fallback: undefined },
      parseFormat,
    ),
  },
  positionals: { min: 1, max: 1 },
  async run({ values, positionals: [path = ''] }, terminal, signal) {
    if (values.format === undefined) {
      terminal.err(`node-trust boot: expected --format, one of ${formats.join(', ')}\nTry: node-trust boot --help\n`);
      return 2;
    }
    const judged = judgeSource(await readSource(path, terminal, signal), { ...bootAdmission, now: new Date() });
    terminal.err(describeFindings(judged, plain));
    if (!judged.accepted) return 1;
    const { certificates } = judged.bundle;
    const files: readonly BootFile[] = [
      { path: bootFile, permissions: '0644', content: certificates.map(({ pem }) => pem).join('\n') },
      { path: scriptPath, permissions: '0755', content: bootScript },
      { path: `/etc/systemd/system/${unit}`, permissions: '0644', content: bootUnit },
    ];
    terminal.out(values.format === 'script' ? formatScript(files) : await formatCloudInit(files));
    return 0;
  },
});

interface BootFile {
  readonly path: string;
  readonly permissions: string;
  readonly content: string;
}

/** https://docs.cloud-init.io/en/latest/reference/modules.html#write-files */
async function formatCloudInit(files: readonly BootFile[]): Promise<string> {
  return `#cloud-config\n${await formatYaml({ write_files: files, runcmd: [enable, ...startCommands] })}`;
}

function formatScript(files: readonly BootFile[]): string {
  const writes = files.map(({ path, permissions, content }) => {
    const [folder] = /^.*(?=\/)/.exec(path) ?? [];
    return `mkdir -p ${folder}\ncat > ${path} <<'END OF FILE'\n${content}END OF FILE\nchmod ${permissions} ${path}\n`;
  });
  const header = '#!/bin/sh\n# Makes this node trust its own certificates, now and at each boot.\nset -eu\numask 022\n';
  return `${header}\n${writes.join('\n')}\n${[enable, unlessBooted, ...startCommands].join('\n')}\n`;
}

function parseFormat(text: string): Format {
  const format = formats.find((known) => known === text);
  if (format === undefined) throw new Error(`expected one of ${formats.join(', ')}, got ${JSON.stringify(text)}`);
  return format;
}

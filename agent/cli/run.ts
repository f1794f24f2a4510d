// `node-trust run`: reads the configuration, tells all that is wrong with it at once, and starts the daemon.

import { runAgent } from '../agent.ts';
import { errorText } from '../errors.ts';
import { bootFile } from '../host/boot.ts';
import { createLog, type LogLevel, logLevels } from '../log.ts';
import { healthTimeoutFlag } from './apply.ts';
import { defineCommand } from './command.ts';
import { countFlag, durationFlag, flag, switchFlag, textFlag } from './flags.ts';
import { secretFlag } from './secret-flag.ts';

export const runFlags = {
  nodeName: textFlag('node-name', 'Name of the own Node; required', {
    placeholder: 'NAME',
    env: 'NODE_NAME',
    fallback: '',
  }),
  kubeconfig: textFlag('kubeconfig', 'Instead of the ServiceAccount of the pod or the kubeconfig of the user', {
    placeholder: 'FILE',
    fallback: undefined,
  }),
  secret: secretFlag('secret', 'The Secret that holds the certificates'),
  file: flag(
    'source',
    "The machine's own certificates, followed beside the Secret; empty for none",
    { placeholder: 'file:PATH', fallback: bootFile, shown: `file:${bootFile}` },
    parseFileSource,
  ),
  hostRoot: textFlag('host-root', "Where the host's root is mounted", {
    placeholder: 'DIR',
    fallback: '/',
    shown: '/',
  }),
  enabledBy: flag(
    'enabled-by',
    'Label of the Node that enables it; without one every node is enabled',
    { placeholder: 'KEY=VALUE', fallback: undefined },
    parseLabel,
  ),
  uninstalls: switchFlag(
    'uninstall',
    'Take everything of the cluster off the host and the Node instead, and wait until somebody deletes the pod',
  ),
  pollInterval: durationFlag('poll-interval', 'Time between two passes when nothing happens', '5m', 1_000),
  spread: durationFlag('spread', 'Restarts of runtimes are spread over this time, by node name; 0 is at once', '60s'),
  restartInterval: durationFlag(
    'restart-interval',
    'Least time between two restarts of the runtime, except to undo one or to leave the pool',
    '5m',
  ),
  healthTimeout: healthTimeoutFlag,
  deletionGrace: durationFlag('deletion-grace', 'How long certificates outlive their Secret', '10m'),
  maxCertificates: countFlag('max-certificates', 'Most distinct certificates the Secret may hold', 10),
  allowNonCa: switchFlag(
    'allow-non-ca',
    'Take certificates that are not CAs, with a warning, where the store keeps them',
  ),
  listen: flag(
    'listen',
    'Address of /livez, /readyz and /metrics',
    { placeholder: 'HOST:PORT', fallback: { host: '127.0.0.1', port: 9808 }, shown: '127.0.0.1:9808' },
    parseAddress,
  ),
  logLevel: flag<LogLevel>(
    'log-level',
    `One of ${logLevels.join(', ')}`,
    { placeholder: 'LEVEL', fallback: 'info', shown: 'info' },
    parseLevel,
  ),
} as const;

export const run = defineCommand({
  name: 'run',
  synopsis: '--node-name NAME [FLAGS]',
  about: `The daemon of one node: watches and polls the Secret, judges it, installs it into the host's trust store, makes
containerd pick it up, and tells the result in annotations of its Node. Logs JSON lines on standard output.`,
  examples: [
    ['run --node-name "$(hostname)"', 'as the DaemonSet does, with the kubeconfig of the user'],
    ['run --node-name "$(hostname)" --spread 0', 'with no wait before the runtime is restarted'],
  ],
  flags: runFlags,
  positionals: { min: 0, max: 0 },
  async run({ values }, terminal, signal) {
    if (values.nodeName === '') {
      terminal.err('node-trust run: --node-name: expected the name of the own Node, or $NODE_NAME, got nothing\n');
      return 2;
    }
    const { pollInterval, spread, restartInterval, healthTimeout, deletionGrace, ...others } = values;
    const { maxCertificates, allowNonCa, logLevel, ...rest } = others;
    const times = {
      pollIntervalMs: pollInterval,
      spreadMs: spread,
      restartIntervalMs: restartInterval,
      healthTimeoutMs: healthTimeout,
      deletionGraceMs: deletionGrace,
      leaveConfirmMs,
    };
    try {
      await runAgent({ ...rest, ...times, admission: { maxCertificates, allowNonCa } }, createLog(logLevel), signal);
      return 0;
    } catch (error) {
      const remedy = isAddressError(error) ? '; choose another address with --listen' : '';
      terminal.err(`node-trust run: ${errorText(error)}${remedy}\n`);
      return 3;
    }
  },
});

/** Of the two reads that prove that a Node has left its pool; not a flag, since it is part of the promise. */
const leaveConfirmMs = 10_000;

function isAddressError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error && error.syscall === 'listen';
}

function parseFileSource(text: string): string | undefined {
  if (text === '') return undefined;
  const [, path] = /^file:(\/.*[^/])$/.exec(text) ?? [];
  if (path === undefined) throw new Error(`expected file:PATH with an absolute path, got ${JSON.stringify(text)}`);
  return path;
}

function parseLabel(text: string): { readonly key: string; readonly value: string } | undefined {
  if (text === '') return undefined;
  const [key = '', value, ...rest] = text.split('=');
  if (key === '' || value === undefined || rest.length > 0)
    throw new Error(`expected KEY=VALUE, got ${JSON.stringify(text)}`);
  return { key, value };
}

function parseAddress(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) throw new Error(`expected HOST:PORT, got ${JSON.stringify(text)}`);
  return { host: match[1] ?? match[2] ?? '', port };
}

function parseLevel(text: string): LogLevel {
  const level = logLevels.find((known) => known === text);
  if (level === undefined) throw new Error(`expected one of ${logLevels.join(', ')}, got ${JSON.stringify(text)}`);
  return level;
}

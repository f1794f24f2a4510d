// The whole stage for a test of the daemon: an embedded API server with one Node, a sandbox node, and the agent, in this
// process or as one of its own.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type AgentConfig, runAgent } from '../../agent/agent.ts';
import { bootFile } from '../../agent/host/boot.ts';
import type { Log } from '../../agent/log.ts';
import { type AgentProcess, type LogLine, startAgent } from './agent-process.ts';
import { type ApiServer, type ApiServerOptions, startApiServer } from './api-server.ts';
import type { TestCertificate } from './certificates.ts';
import { type Cluster, createCluster, secret } from './cluster.ts';
import { createSandbox, type Sandbox, type SandboxOptions } from './sandbox.ts';

const nodeName = 'node-1';

export interface RunningAgent {
  readonly log: readonly LogLine[];
  /** Tells it to end as SIGTERM does, and waits until it has. */
  stop(): Promise<void>;
  readonly ended: Promise<void>;
}

export interface Stage extends Cluster {
  readonly api: ApiServer;
  readonly sandbox: Sandbox;
  /** The agent in this process. */
  run(config?: Partial<AgentConfig>): RunningAgent;
  /** The agent as a process of its own. */
  spawn(...flags: readonly string[]): AgentProcess;
  restarts(): Promise<number>;
  /** These and none of the others, in the bundle, in the index and in what the runtime loaded. */
  assertTrusts(wanted: readonly TestCertificate[], others: readonly TestCertificate[]): Promise<void>;
  /** One digest over all files and links of the store and its anchors. */
  digestStore(): Promise<string>;
}

export async function setStage(t: TestContext, options: SandboxOptions & ApiServerOptions = {}): Promise<Stage> {
  const stack = new AsyncDisposableStack();
  t.after(() => stack.disposeAsync());
  const api = stack.adopt(await startApiServer(options), (server) => server.close());
  const sandbox = stack.use(await createSandbox(options));
  const kubeconfig = join(sandbox.root, 'kubeconfig');
  await writeFile(kubeconfig, api.kubeconfig(options.tokens === undefined ? 'admin' : 'agent'));
  return {
    ...createCluster(api, nodeName),
    api,
    sandbox,
    run(config = {}) {
      const ending = new AbortController();
      const log: LogLine[] = [];
      const ended = runAgent(
        {
          nodeName,
          kubeconfig,
          secret,
          file: bootFile,
          hostRoot: sandbox.root,
          uninstalls: false,
          enabledBy: undefined,
          pollIntervalMs: 300_000,
          spreadMs: 0,
          restartIntervalMs: 0,
          healthTimeoutMs: 2_000,
          deletionGraceMs: 600_000,
          admission: { maxCertificates: 10, allowNonCa: false },
          listen: { host: '127.0.0.1', port: 0 },
          leaveConfirmMs: 0,
          ...config,
        },
        recordLog(log),
        ending.signal,
      );
      ended.catch(() => {}); // whoever awaits it hears of it
      const stop = (): Promise<void> => {
        ending.abort();
        return ended;
      };
      stack.defer(() => stop().catch(() => {}));
      return { log, stop, ended };
    },
    spawn(...flags) {
      const own = ['--node-name', nodeName, '--kubeconfig', kubeconfig, '--host-root', sandbox.root];
      return stack.use(
        startAgent([
          ...own,
          '--listen',
          '127.0.0.1:0',
          '--log-level',
          'debug',
          '--spread',
          '0',
          '--restart-interval',
          '0',
          ...flags,
        ]),
      );
    },
    restarts: async () => (await sandbox.runtime.calls()).filter((call) => call.startsWith('restart')).length - 1,
    async assertTrusts(wanted, others) {
      const bundle = await sandbox.read('/etc/ssl/certs/ca-certificates.crt');
      const pool = await sandbox.runtime.trustPool();
      for (const certificate of [...wanted, ...others]) {
        const isWanted = wanted.includes(certificate);
        assert.equal(bundle.includes(certificate.pem), isWanted, `${certificate.subject} in the bundle`);
        assert.equal(pool.includes(certificate.pem), isWanted, `${certificate.subject} in what the runtime loaded`);
      }
    },
    digestStore: () => digestTree(['/etc/ssl/certs', '/usr/local/share/ca-certificates'].map(sandbox.at)),
  };
}

export function recordLog(lines: { level: string; msg: string }[]): Log {
  const level = (name: string) => (fields: object, msg: string) => void lines.push({ ...fields, level: name, msg });
  return { debug: level('debug'), info: level('info'), warn: level('warn'), error: level('error') } as unknown as Log;
}

async function digestTree(folders: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const folder of folders) {
    for (const entry of (await readdir(folder, { withFileTypes: true })).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const path = join(folder, entry.name);
      const content = entry.isSymbolicLink() ? await readlink(path) : await readFile(path);
      hash.update(`${entry.name}\n`).update(content);
    }
  }
  return hash.digest('hex');
}

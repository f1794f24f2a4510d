// The daemon as a process, against the embedded API server and a sandbox node: what a user sees, end to end.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import { type AgentProcess, startAgent } from './support/agent-process.ts';
import { type ApiServer, startApiServer } from './support/api-server.ts';
import { createCertificate, type TestCertificate } from './support/certificates.ts';
import { createSandbox, type Sandbox, type SandboxOptions } from './support/sandbox.ts';

const nodeName = 'node-1';
const secret = { kind: 'Secret', namespace: 'kube-system', name: 'custom-ca-trust-secret' } as const;
const corp = createCertificate({ subject: 'Corp Root' });
const next = createCertificate({ subject: 'Corp Root' });

type Annotations = Readonly<Record<string, string>>;

interface Stage {
  readonly api: ApiServer;
  readonly sandbox: Sandbox;
  start(...flags: readonly string[]): AgentProcess;
  apply(entries: Readonly<Record<string, string>>, metadata?: object): void;
  /** The Node's annotations of ours, without prefix, once they say so. */
  says(predicate: (annotations: Annotations) => boolean): Promise<Annotations>;
  restarts(): Promise<number>;
  assertTrusts(...certificates: readonly TestCertificate[]): Promise<void>;
}

async function setStage(t: TestContext, options?: SandboxOptions): Promise<Stage> {
  const stack = new AsyncDisposableStack();
  t.after(() => stack.disposeAsync());
  const api = stack.adopt(await startApiServer(), (server) => server.close());
  const sandbox = stack.use(await createSandbox(options));
  const kubeconfig = `${sandbox.root}/kubeconfig`;
  await writeFile(kubeconfig, api.kubeconfig());
  api.put({ kind: 'Node', metadata: { name: nodeName } });
  const read = (): Annotations =>
    Object.fromEntries(
      Object.entries(api.get({ kind: 'Node', name: nodeName })?.metadata.annotations ?? {}).flatMap(([name, value]) =>
        name.startsWith('node-trust-agent/') ? [[name.slice('node-trust-agent/'.length), value]] : [],
      ),
    );
  return {
    api,
    sandbox,
    start(...flags) {
      const own = ['--node-name', nodeName, '--kubeconfig', kubeconfig, '--host-root', sandbox.root, '--listen', '127.0.0.1:0'];
      const given = new Set(flags);
      const spread = given.has('--spread') ? [] : ['--spread', '0'];
      return stack.use(startAgent([...own, ...spread, '--log-level', 'debug', ...flags]));
    },
    apply(entries, metadata = {}) {
      const { kind, ...place } = secret;
      api.put({ kind, metadata: { ...place, ...metadata }, type: 'Opaque', stringData: entries });
    },
    async says(predicate) {
      const isPatch = ({ verb, resource }: { readonly verb: string; readonly resource: string }): boolean =>
        verb === 'patch' && resource === 'nodes';
      await api.seen((entry) => isPatch(entry) && predicate(read()));
      return read();
    },
    restarts: async () => (await sandbox.runtime.calls()).filter((call) => call.startsWith('restart')).length,
    async assertTrusts(...certificates) {
      const bundle = await sandbox.read('/etc/ssl/certs/ca-certificates.crt');
      const pool = await sandbox.runtime.trustPool();
      for (const certificate of [corp, next]) {
        const isWanted = certificates.includes(certificate);
        assert.equal(bundle.includes(certificate.pem), isWanted, 'the bundle');
        assert.equal(pool.includes(certificate.pem), isWanted, 'what the runtime loaded');
      }
    },
  };
}

const isSynced = ({ state }: Annotations): boolean => state === 'Synced';

test('a Secret becomes trust of the host and its runtime, and the Node tells it', async (t) => {
  const stage = await setStage(t);
  stage.start();
  stage.apply({ 'corp.pem': corp.pem });
  const annotations = await stage.says(({ state, certificates }) => state === 'Synced' && certificates === '1');
  await stage.assertTrusts(corp);
  assert.equal(annotations['reason'], '');
  assert.match(annotations['message'] ?? '', /^1 certificate of secret kube-system\/custom-ca-trust-secret is trusted/);
  assert.match(annotations['bundle'] ?? '', /^sha256:[0-9a-f]{64}$/);
  assert.match(annotations['observed'] ?? '', /^sha256:[0-9a-f]{64}$/);
  assert.equal(annotations['expires-at'], '2036-06-01T00:00:00.000Z');
  assert.equal(await stage.restarts(), 2, 'the start of the sandbox and one of the agent');
});

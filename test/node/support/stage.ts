// The whole stage for a test on a real node: a node with its containerd, private registries, an API server on the bridge
// that both machines share, and the agent, which this file runs as a kubelet would: from the DaemonSet, through the CRI.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { TestContext } from 'node:test';
import { type ApiServer, startApiServer } from '../../support/api-server.ts';
import { createCertificate, createServerCertificate, type TestCertificate } from '../../support/certificates.ts';
import { type Cluster, createCluster } from '../../support/cluster.ts';
import { until } from '../../support/until.ts';
import type { Container, Executed } from './cri.ts';
import { type AgentPod, readAgentPod, readRules } from './daemonset.ts';
import { bridgeGateway, containerdLine, removeContainersAtExit } from './engine.ts';
import { agentImage, importedName, lineOf, nodeImage, tinyImage } from './images.ts';
import { startNode, type TestNode } from './node.ts';
import { type Registry, startRegistry } from './registry.ts';

const anchors = '/usr/local/share/ca-certificates';
const account = '/var/lib/node-trust-test/serviceaccount';

export interface RunningContainer {
  /** PID and start time of its main process: the same answer is the same process. */
  process(): Promise<string>;
  pid(): Promise<number>;
}

export interface RunningAgent extends RunningContainer {
  /** As its readiness probe asks: a pass has ended. */
  ready(): Promise<void>;
  /** As a kubelet ends a pod: SIGTERM, then the grace period of the DaemonSet. Its exit code. */
  stop(): Promise<number>;
  /** kill -9 of its main process; answers once the runtime knows. */
  kill(): Promise<void>;
  /** kill -9 as soon as it has logged so many more steps than now; `done` is the last of them, once the runtime knows. */
  killAfter(steps: number): Promise<{ readonly done: Promise<string> }>;
  /** As `kubectl exec` into its container. */
  exec(command: readonly string[]): Promise<Executed>;
  log(): Promise<string>;
}

export interface NodeStage<Host extends string = string> extends Cluster {
  readonly registries: Readonly<Record<Host, Registry>>;
  readonly api: ApiServer;
  readonly node: TestNode;
  /** The label that the DaemonSet asks for. */
  readonly poolLabel: Readonly<Record<string, string>>;
  /** With flags besides those of the DaemonSet. */
  startAgent(...flags: readonly string[]): Promise<RunningAgent>;
  startBystander(): Promise<RunningContainer>;
  /** Asks containerd for the registry's image: did it trust the registry? Any other failure is thrown. */
  pull(registry: Registry): Promise<'pulled' | 'x509'>;
  /** Of the containerd that runs: another answer is another process. */
  invocationId(): Promise<string>;
  /** How often containerd has been started. */
  starts(): Promise<number>;
  /** One digest over all files and links of the store and its anchors. */
  digestStore(): Promise<string>;
  /** These in the bundle and none of the others; openssl loads it to its end, and finds each by its hash link. */
  assertStore(wanted: readonly TestCertificate[], others: readonly TestCertificate[]): Promise<void>;
}

/** Each registry's host name, and the CA that its certificate is from. */
export type Registries<Host extends string> = Readonly<Record<Host, TestCertificate>>;

/** For one test; one that fails prints the logs of its agents. */
export async function setNodeStage<Host extends string>(
  t: TestContext,
  registries: Registries<Host>,
): Promise<NodeStage<Host>> {
  removeContainersAtExit();
  const stack = new AsyncDisposableStack();
  const agents: RunningAgent[] = [];
  t.after(async () => {
    if (!t.passed) for (const agent of agents) t.diagnostic(await agent.log().catch(String));
    await stack.disposeAsync();
  });
  return createNodeStage(registries, stack, (agent) => agents.push(agent));
}

/** All that it starts is stopped with the stack. */
export async function createNodeStage<Host extends string>(
  registries: Registries<Host>,
  stack: AsyncDisposableStack,
  onAgent: (agent: RunningAgent) => void = () => {},
): Promise<NodeStage<Host>> {
  const started: [string, Registry][] = [];
  for (const [host, issuer] of Object.entries<TestCertificate>(registries)) {
    started.push([host, stack.use(await startRegistry(host, issuer))]);
  }
  const hosts = Object.fromEntries(started.map(([host, { address }]) => [host, address]));
  const node = stack.use(await startNode({ image: await nodeImage(lineOf(containerdLine)), hosts }));
  const images = { agent: await agentImage(), tiny: await tinyImage() };
  await node.importImages(...Object.values(images));
  const gateway = await bridgeGateway();
  const { api, ca } = await startClusterApi(gateway);
  stack.defer(() => api.close());
  const projected = { token: 'agent', 'ca.crt': ca.pem, namespace: 'kube-system' };
  for (const [name, content] of Object.entries(projected)) await node.write(`${account}/${name}`, content);

  const nodeName = promptNodeName();
  let pods = 0;
  const readPod = (flags: readonly string[] = []): Promise<AgentPod> => {
    pods += 1;
    const apiServer = { host: gateway, port: new URL(api.url).port };
    return readAgentPod({
      image: importedName(images.agent),
      nodeName,
      apiServer,
      account,
      uid: `agent-${pods}`,
      flags,
    });
  };
  const { poolLabel } = await readPod();
  const cluster = createCluster(api, nodeName);
  const labels = { 'kubernetes.io/os': 'linux', [poolLabel.key]: poolLabel.value };
  cluster.labelNode(labels);

  return {
    ...cluster,
    api,
    node,
    poolLabel: labels,
    registries: Object.fromEntries(started) as Record<Host, Registry>,
    async startAgent(...flags) {
      const agent = createRunningAgent(node, await readPod(flags));
      await agent.start();
      onAgent(agent);
      return agent;
    },
    async startBystander() {
      const namespaces = { namespace_options: { network: 'NODE' } };
      const metadata = { name: 'bystander', uid: 'bystander', namespace: 'default', attempt: 0 };
      const container = await node.cri().run({
        sandbox: { metadata, linux: { cgroup_parent: 'kubepods.slice', security_context: namespaces } },
        container: {
          metadata: { name: 'bystander' },
          image: { image: importedName(images.tiny) },
          linux: { security_context: namespaces },
        },
      });
      return createRunningContainer(node, container);
    },
    async pull({ image }) {
      try {
        await node.cri().pull(image);
        return 'pulled';
      } catch (error) {
        if (/x509: certificate signed by unknown authority/.test(String(error))) return 'x509';
        throw error;
      }
    },
    invocationId: () => node.sh('systemctl show -P InvocationID containerd.service'),
    async starts() {
      // The message that systemd logs for a unit that has been started (systemd.journal-fields(7), `journalctl -x`).
      const match = 'MESSAGE_ID=39f53479d3a045ac8e11786248231fbf UNIT=containerd.service';
      return Number(await node.sh(`journalctl --sync && journalctl -q -o cat ${match} | wc -l`));
    },
    digestStore: () =>
      node.sh(
        `cd / && { find etc/ssl/certs ${anchors} -printf '%p %l %m\\n' | sort; find etc/ssl/certs ${anchors} -type f | sort | xargs -d '\\n' sha256sum; } | sha256sum`,
      ),
    async assertStore(wanted, others) {
      const { stdout: bundle } = await node.exec('cat /etc/ssl/certs/ca-certificates.crt');
      for (const certificate of [...wanted, ...others]) {
        const isWanted = wanted.includes(certificate);
        assert.equal(bundle.includes(certificate.pem), isWanted, `${certificate.subject} in the bundle`);
        const server = createServerCertificate(certificate, { names: ['verify.test'] });
        await node.write('/root/server.pem', server.pem);
        for (const place of [
          '-CAfile /etc/ssl/certs/ca-certificates.crt -no-CApath',
          '-CApath /etc/ssl/certs -no-CAfile',
        ]) {
          const { exitCode, stderr } = await node.exec(`openssl verify ${place} -no-CAstore /root/server.pem`);
          assert.equal(exitCode === 0, isWanted, `a server of ${certificate.subject} with ${place}: ${stderr}`);
        }
      }
      const count = bundle.split('BEGIN CERTIFICATE').length - 1;
      const loaded = await node.sh('openssl storeutl -noout -certs /etc/ssl/certs/ca-certificates.crt');
      assert.match(loaded, new RegExp(`Total found: ${count}$`), 'the bundle loads to its end');
    },
  };
}

function createRunningContainer(node: TestNode, container: Container): RunningContainer {
  const pid = async (): Promise<number> => (await node.cri().inspect(container)).pid;
  return {
    pid,
    async process() {
      // Field 22 of proc_pid_stat(5); the name in the second may hold blanks.
      const stat = await node.sh(`cat /proc/${await pid()}/stat`);
      return `${stat.split(' ', 1)[0]} started at ${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`;
    },
  };
}

function createRunningAgent(
  node: TestNode,
  { pod, graceSeconds }: AgentPod,
): RunningAgent & { start(): Promise<void> } {
  let container: Container | undefined;
  const running = (): Container => {
    if (container === undefined) throw new Error('the agent has not been started');
    return container;
  };
  const exitCode = async (): Promise<number | false> => {
    const { state, exitCode: code } = await node.cri().inspect(running());
    return state === 'CONTAINER_EXITED' && code;
  };
  const pid = (): Promise<number> => createRunningContainer(node, running()).pid();
  const logFile = `${String(pod.sandbox['log_directory'])}/*.log`;
  const untilGone = async (): Promise<void> => {
    await until(async () => (await exitCode()) !== false);
    await node.cri().remove(running());
  };
  return {
    async start() {
      container = await node.cri().run(pod);
    },
    pid,
    process: () => createRunningContainer(node, running()).process(),
    async ready() {
      await until(async () => (await node.exec('curl -sf http://127.0.0.1:9808/readyz')).exitCode === 0);
    },
    async stop() {
      await node.cri().stop(running(), graceSeconds);
      const { exitCode: code } = await node.cri().inspect(running());
      await node.cri().remove(running());
      return code;
    },
    async kill() {
      await node.sh(`kill -9 ${await pid()}`);
      await untilGone();
    },
    async killAfter(steps) {
      const before = Number(await node.sh(`grep -c 'step done' ${logFile} || true`));
      const watching = node.sh(`${watchSteps} ${await pid()} ${logFile} ${before + steps}`);
      const done = async (): Promise<string> => {
        const last = await watching;
        await untilGone();
        return /"step":"([^"]*)"/.exec(last)?.[1] ?? last;
      };
      return { done: done() };
    },
    exec: (command) => node.cri().exec(running(), command),
    log: () => node.sh(`cat ${logFile}`),
  };
}

/** PID, log, number: the process is killed as soon as so many steps are in its log. */
const watchSteps = `sh -c '
pid=$0; file=$1; left=$2
tail -n +1 -F --pid=$pid $file 2>/dev/null | while read -r line; do
  case $line in *"step done"*) left=$((left - 1)) ;; esac
  [ $left -gt 0 ] || { kill -9 $pid; echo "$line"; break; }
done'`;

/** With the rights that the manifests give, and TLS as every API server has it. */
async function startClusterApi(host: string): Promise<{ readonly api: ApiServer; readonly ca: TestCertificate }> {
  const ca = createCertificate({ subject: 'cluster CA' });
  const { pem: cert, keyPem: key } = createServerCertificate(ca, { names: [host] });
  const user = { name: 'system:serviceaccount:kube-system:node-trust-agent', rules: await readRules() };
  return { api: await startApiServer({ host, tls: { cert, key, ca: ca.pem }, tokens: { agent: user } }), ca };
}

/** A node whose moment in the spread of restarts (`--spread`) comes at once: it is the hash of the name that decides. */
function promptNodeName(): string {
  for (let number = 0; ; number += 1) {
    const name = `node-${number}`;
    if (createHash('sha256').update(name).digest().readUInt32BE() < 2 ** 32 / 1_000) return name;
  }
}

// The node's containerd as a kubelet talks to it: the Container Runtime Interface over its socket.

import { join } from 'node:path';
import { type Client, credentials, loadPackageDefinition, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { until } from '../../support/until.ts';

/** Fields as in cri.proto, in its own spelling; what is left out has its zero value. */
export type Message = Readonly<Record<string, unknown>>;

export interface Pod {
  readonly sandbox: Message;
  readonly container: Message;
}

export interface Container {
  readonly id: string;
  readonly sandboxId: string;
}

export interface ContainerFacts {
  readonly state: 'CONTAINER_CREATED' | 'CONTAINER_RUNNING' | 'CONTAINER_EXITED' | 'CONTAINER_UNKNOWN';
  readonly exitCode: number;
  /** Of the container's main process, as the node counts. */
  readonly pid: number;
}

export interface Executed {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Cri extends Disposable {
  /** Of containerd. */
  version(): Promise<string>;
  /** Throws the ServiceError of gRPC; `details` is what containerd says. */
  pull(image: string): Promise<void>;
  run(pod: Pod): Promise<Container>;
  inspect(container: Container): Promise<ContainerFacts>;
  /** As `kubectl exec` does; a restart of containerd would cut it. */
  exec(container: Container, command: readonly string[]): Promise<Executed>;
  /** SIGTERM, and SIGKILL after the grace period; answers once it has ended. */
  stop(container: Container, graceSeconds: number): Promise<void>;
  remove(container: Container): Promise<void>;
}

const definition = loadPackageDefinition(
  loadSync(join(import.meta.dirname, 'cri.proto'), { keepCase: true, longs: Number, enums: String, defaults: true }),
) as unknown as { readonly runtime: { readonly v1: Readonly<Record<string, Service>> } };

type Service = new (address: string, channel: typeof insecure) => Client & Readonly<Record<string, Method>>;
type Method = (
  request: Message,
  metadata: Metadata,
  options: { readonly deadline: number },
  done: (error: ServiceError | null, response: Readonly<Record<string, unknown>>) => void,
) => void;
const insecure = credentials.createInsecure();
const deadlineMs = 180_000;

/** The socket may be the other side of a restart: a call waits until it is answered. */
export function connectCri(socketPath: string): Cri {
  const [runtime, images] = ['RuntimeService', 'ImageService'].map((name) => {
    const Constructor = definition.runtime.v1[name];
    if (Constructor === undefined) throw new TypeError(`cri.proto has no ${name}`);
    return new Constructor(`unix:${socketPath}`, insecure);
  }) as [InstanceType<Service>, InstanceType<Service>];

  const call = (client: InstanceType<Service>, method: string, request: Message): Promise<Message> =>
    new Promise((resolve, reject) => {
      const metadata = new Metadata({ waitForReady: true });
      client[method]?.(request, metadata, { deadline: Date.now() + deadlineMs }, (error, response) => {
        if (error === null) resolve(response);
        else reject(error);
      });
    });

  return {
    version: async () => String((await call(runtime, 'Version', {}))['runtime_version']),
    async pull(image) {
      await askAgain(() => call(images, 'PullImage', { image: { image } }));
    },
    async run({ sandbox, container }) {
      const { pod_sandbox_id } = await call(runtime, 'RunPodSandbox', { config: sandbox });
      const request = { pod_sandbox_id, config: container, sandbox_config: sandbox };
      const { container_id } = await call(runtime, 'CreateContainer', request);
      await call(runtime, 'StartContainer', { container_id });
      return { id: String(container_id), sandboxId: String(pod_sandbox_id) };
    },
    async inspect({ id }) {
      const asked = (): Promise<unknown> => call(runtime, 'ContainerStatus', { container_id: id, verbose: true });
      const { status, info } = (await askAgain(asked)) as {
        readonly status: { readonly state: ContainerFacts['state']; readonly exit_code: number };
        readonly info: Readonly<Record<string, string>>;
      };
      const { pid = 0 } = JSON.parse(info['info'] ?? '{}') as { readonly pid?: number };
      return { state: status.state, exitCode: status.exit_code, pid };
    },
    async exec({ id }, cmd) {
      const { stdout, stderr, exit_code } = (await call(runtime, 'ExecSync', { container_id: id, cmd })) as {
        readonly stdout: Uint8Array;
        readonly stderr: Uint8Array;
        readonly exit_code: number;
      };
      return { exitCode: exit_code, stdout: String(stdout), stderr: String(stderr) };
    },
    async stop({ id }, timeout) {
      await askAgain(() => call(runtime, 'StopContainer', { container_id: id, timeout }));
    },
    async remove({ id, sandboxId }) {
      await askAgain(() => call(runtime, 'RemoveContainer', { container_id: id }));
      await askAgain(() => call(runtime, 'StopPodSandbox', { pod_sandbox_id: sandboxId }));
      await askAgain(() => call(runtime, 'RemovePodSandbox', { pod_sandbox_id: sandboxId }));
    },
    [Symbol.dispose]() {
      runtime.close();
      images.close();
    },
  };
}

/**
 * A restart of containerd cuts calls that are under way, and one that has just started answers before it can serve; a kubelet
 * then asks again. All of these may be asked twice.
 */
async function askAgain<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
  const { answer } = await until(async () => {
    try {
      return { answer: await ask() };
    } catch (error) {
      const { code, details } = error as ServiceError;
      if (code !== status.UNAVAILABLE && details !== 'server is not initialized yet') throw error;
      return false;
    }
  });
  return answer;
}

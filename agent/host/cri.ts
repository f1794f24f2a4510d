// What the container runtime says of itself over the Container Runtime Interface, as a kubelet asks it: Version and Status.
// `@grpc/grpc-js` is loaded when it is asked, not before. Fields and numbers are those of cri-api's runtime.v1 api.proto.

import type { ChannelCredentials, Client, ServiceError } from '@grpc/grpc-js';
import type { fromJSON as FromJson } from '@grpc/proto-loader';

/** Of cri-api, what these two calls need. */
const description: Parameters<typeof FromJson>[0] = {
  nested: {
    runtime: {
      nested: {
        v1: {
          nested: {
            RuntimeService: {
              methods: {
                Version: { requestType: 'VersionRequest', responseType: 'VersionResponse', comment: '' },
                Status: { requestType: 'StatusRequest', responseType: 'StatusResponse', comment: '' },
              },
            },
            VersionRequest: { fields: {} },
            VersionResponse: { fields: {} },
            StatusRequest: { fields: {} },
            StatusResponse: { fields: { status: { type: 'RuntimeStatus', id: 1 } } },
            RuntimeStatus: { fields: { conditions: { rule: 'repeated', type: 'RuntimeCondition', id: 1 } } },
            RuntimeCondition: {
              fields: {
                type: { type: 'string', id: 1 },
                status: { type: 'bool', id: 2 },
                reason: { type: 'string', id: 3 },
                message: { type: 'string', id: 4 },
              },
            },
          },
        },
      },
    },
  },
};

interface StatusResponse {
  readonly status: { readonly conditions: readonly Condition[] } | null;
}
interface Condition {
  readonly type: string;
  readonly status: boolean;
  readonly reason: string;
  readonly message: string;
}
type Call = (request: object, options: { readonly deadline: number }, done: Answered) => void;
type Answered = (error: ServiceError | null, response: StatusResponse) => void;
type RuntimeService = new (
  address: string,
  channel: ChannelCredentials,
) => Client & { readonly Version: Call; readonly Status: Call };

/** For one call: a runtime that is well answers within milliseconds. */
const callTimeoutMs = 5_000;

/**
 * Why the runtime behind this socket, a path of this machine, cannot serve a kubelet, or undefined. The network is not its own
 * business.
 */
export async function findCriFault(socketPath: string): Promise<string | undefined> {
  const { credentials, loadPackageDefinition, status } = await import('@grpc/grpc-js');
  const { fromJSON } = await import('@grpc/proto-loader');
  const loaded = loadPackageDefinition(fromJSON(description, { defaults: true }));
  const { runtime } = loaded as unknown as {
    readonly runtime: { readonly v1: { readonly RuntimeService: RuntimeService } };
  };
  const client = new runtime.v1.RuntimeService(`unix:${socketPath}`, credentials.createInsecure());
  const call = (name: 'Version' | 'Status'): Promise<StatusResponse> =>
    new Promise((resolve, reject) => {
      client[name]({}, { deadline: Date.now() + callTimeoutMs }, (error, response) => {
        if (error === null) resolve(response);
        else reject(error);
      });
    });
  try {
    await call('Version');
    const { status: told } = await call('Status');
    const ready = told?.conditions.find(({ type }) => type === 'RuntimeReady');
    if (ready === undefined) return 'CRI Status tells no RuntimeReady';
    return ready.status ? undefined : `CRI Status: RuntimeReady is false: ${ready.reason} ${ready.message}`.trim();
  } catch (error) {
    const { code, details } = error as ServiceError;
    if (code !== status.UNIMPLEMENTED) return `CRI does not answer: ${details}`;
    return 'it serves no CRI: the plugin is disabled, and the kubelet uses another runtime'; // as in Docker's package
  } finally {
    client.close();
  }
}

// A fake of a container runtime's CRI: real gRPC over a Unix socket, the two calls by which its health is asked. Messages are
// written by hand as protocol buffers, so that the reader's own description of them is not its judge.

import { Server, ServerCredentials, status } from '@grpc/grpc-js';

export interface CriServer extends AsyncDisposable {
  /** What Status says from now on; `nothing` leaves out the condition, `none` is a runtime without CRI. */
  say(ready: boolean | 'nothing' | 'none'): void;
  readonly asked: readonly string[];
}

/** RuntimeCondition of cri-api's runtime.v1: type = 1, status = 2, reason = 3. */
function condition(ready: boolean): Buffer {
  const field = (number: number, text: string): Buffer =>
    Buffer.concat([Buffer.from([(number << 3) | 2, text.length]), Buffer.from(text)]);
  return Buffer.concat([
    field(1, 'RuntimeReady'),
    Buffer.from(ready ? [2 << 3, 1] : []),
    field(3, ready ? '' : 'PluginBroken'),
  ]);
}

/** StatusResponse.status = 1, RuntimeStatus.conditions = 1. */
function statusResponse(conditions: readonly Buffer[]): Buffer {
  const wrap = (bytes: Buffer): Buffer => Buffer.concat([Buffer.from([(1 << 3) | 2, bytes.length]), bytes]);
  return wrap(Buffer.concat(conditions.map(wrap)));
}

export async function startCriServer(socketPath: string): Promise<CriServer> {
  let ready: boolean | 'nothing' | 'none' = true;
  const asked: string[] = [];
  const method = (name: string, answer: () => Buffer) => ({
    definition: {
      path: `/runtime.v1.RuntimeService/${name}`,
      requestStream: false,
      responseStream: false,
      requestDeserialize: (bytes: Buffer) => bytes,
      requestSerialize: (bytes: Buffer) => bytes,
      responseSerialize: (bytes: Buffer) => bytes,
      responseDeserialize: (bytes: Buffer) => bytes,
    } as const,
    handle(_: unknown, done: (error: { code: status } | null, response?: Buffer) => void) {
      asked.push(name);
      if (ready === 'none') done({ code: status.UNIMPLEMENTED });
      else done(null, answer());
    },
  });
  const version = method('Version', () => Buffer.alloc(0));
  const told = method('Status', () => statusResponse(typeof ready === 'boolean' ? [condition(ready)] : []));
  const server = new Server();
  server.addService(
    { Version: version.definition, Status: told.definition },
    { Version: version.handle, Status: told.handle },
  );
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${socketPath}`, ServerCredentials.createInsecure(), (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
  return {
    asked,
    say(next) {
      ready = next;
    },
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.tryShutdown(() => resolve());
      }),
  };
}

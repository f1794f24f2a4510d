// The one door to the API server. client-node gives kubeconfig, credentials, TLS and the HTTP transport; requests are
// written here rather than through its generated classes, because those drop the Status of a 401, put whole bodies into
// their messages, and cost tens of megabytes of memory. Every request has a time-out and an AbortSignal, every failure
// leaves as a KubeError, and no socket or timer outlives its request.

import { HttpMethod, IsomorphicFetchHttpLibrary, RequestContext, type ResponseContext } from '@kubernetes/client-node';
import { errorText } from '../errors.ts';
import { type AnswerObject, isRecord, listAt, metadataOf, parseJson } from './answer-object.ts';
import { failureOfSilence, failureOfThrown } from './connection-failure.ts';
import { type Asked, failureOfAnswer, failureOfErrorEvent, foreignAnswer, KubeError } from './kube-error.ts';
import { loadClusterAccess } from './kubeconfig.ts';
import { parseWatchLine, readLines, type WatchEvent } from './watch-stream.ts';

export interface KubeRequest extends Asked {
  readonly path: string;
  /** The kind an answer must have; anything else did not come from this API. */
  readonly kind: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

export interface Watching {
  /** How long the open stream may say nothing before it counts as dead. */
  readonly maxSilenceMs: number;
  /** The server has accepted the watch: from here on nothing is missed. */
  readonly onOpen: () => void;
  readonly onEvent: (event: WatchEvent) => void;
}

export interface KubeClient {
  /** `host:port` of the API server, for messages. */
  readonly server: string;
  /** One request and its answer, an object of the asked kind and name. A patch is a JSON merge patch (RFC 7386). */
  call(request: KubeRequest, signal: AbortSignal): Promise<AnswerObject>;
  /** The items of a list; `kind` is that of the list. */
  list(request: Omit<KubeRequest, 'verb' | 'name' | 'query'>, signal: AbortSignal): Promise<readonly AnswerObject[]>;
  /** Resolves when the server ends it; throws KubeError when it breaks, falls silent or says ERROR. */
  watch(request: KubeRequest, watching: Watching, signal: AbortSignal): Promise<void>;
}

export interface KubeClientOptions {
  /** Without it: the pod's ServiceAccount, else KUBECONFIG or ~/.kube/config. */
  readonly kubeconfigPath?: string;
  readonly requestTimeoutMs?: number;
}

/** Throws KubeError (`misconfigured`) where no usable configuration is found. Connects to nothing yet. */
export function createKubeClient({ kubeconfigPath, requestTimeoutMs = 10_000 }: KubeClientOptions = {}): KubeClient {
  const { config, url } = loadClusterAccess(kubeconfigPath);
  const server = hostAndPort(url);
  const transport = new IsomorphicFetchHttpLibrary();

  const authenticate = async (context: RequestContext): Promise<void> => {
    try {
      await config.applySecurityAuthentication(context);
    } catch (error) {
      const evidence = `the credentials for ${server} cannot be used: ${errorText(error)}`;
      throw new KubeError({ kind: 'misconfigured', evidence }, error);
    }
  };

  /** Hands a successful answer to `read`, and leaves neither timer nor socket however that ends. */
  const exchange = async <T>(request: KubeRequest, signal: AbortSignal, read: ReadAnswer<T>): Promise<T> => {
    signal.throwIfAborted();
    const watchdog = startWatchdog(requestTimeoutMs);
    const context = requestContext(url, request);
    context.setSignal(AbortSignal.any([signal, watchdog.signal]));
    try {
      await authenticate(context);
      const response = await transport.send(context).toPromise();
      const { httpStatusCode: code, headers } = response;
      if (code >= 200 && code <= 299) return await read(response, watchdog);
      const body = parseJson(await response.body.text());
      throw new KubeError(failureOfAnswer(server, request, { code, headers, body }));
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (error instanceof KubeError) throw error;
      if (watchdog.signal.aborted) throw new KubeError(failureOfSilence(server, request, watchdog.patienceMs()), error);
      throw new KubeError(failureOfThrown(server, request, error), error);
    } finally {
      watchdog.stop();
      // The library makes a connection pool for every request and closes none.
      await context.getDispatcher()?.destroy();
    }
  };

  return {
    server,

    call: (request, signal) =>
      exchange(request, signal, async (response) => {
        const object = parseJson(await response.body.text());
        const isAskedFor = isRecord(object) && object['kind'] === request.kind;
        if (isAskedFor && metadataOf(object)['name'] === request.name) return object;
        throw new KubeError(foreignAnswer(server, request, response.httpStatusCode));
      }),

    list(request, signal) {
      const asked = { ...request, verb: 'list', name: '' } as const;
      return exchange(asked, signal, async (response) => {
        const object = parseJson(await response.body.text());
        if (isRecord(object) && object['kind'] === request.kind) return listAt(object, 'items');
        throw new KubeError(foreignAnswer(server, asked, response.httpStatusCode));
      });
    },

    watch: (request, { maxSilenceMs, onOpen, onEvent }, signal) =>
      exchange(request, signal, async (response, watchdog) => {
        const foreign = new KubeError(foreignAnswer(server, request, response.httpStatusCode));
        const stream = response.body.stream();
        if (stream === null || response.headers['content-type']?.startsWith('application/json') !== true) throw foreign;
        watchdog.feed(maxSilenceMs);
        onOpen();
        for await (const line of readLines(stream, () => watchdog.feed(maxSilenceMs))) {
          const event = parseWatchLine(line, request.kind);
          if (event === undefined) throw foreign;
          if (event.kind === 'ERROR') throw new KubeError(failureOfErrorEvent(server, request, event.status));
          onEvent(event);
        }
      }),
  };
}

type ReadAnswer<T> = (response: ResponseContext, watchdog: Watchdog) => Promise<T>;

const methods = {
  get: [HttpMethod.GET, undefined],
  list: [HttpMethod.GET, undefined],
  watch: [HttpMethod.GET, undefined],
  create: [HttpMethod.POST, 'application/json'],
  patch: [HttpMethod.PATCH, 'application/merge-patch+json'],
} as const;

function requestContext(url: string, request: KubeRequest): RequestContext {
  const [method, contentType] = methods[request.verb];
  const query = request.query === undefined ? '' : `?${new URLSearchParams(request.query).toString()}`;
  const context = new RequestContext(`${url}${request.path}${query}`, method);
  context.setHeaderParam('Accept', 'application/json');
  context.setHeaderParam('User-Agent', 'node-trust-agent');
  if (contentType !== undefined) {
    context.setHeaderParam('Content-Type', contentType);
    context.setBody(JSON.stringify(request.body));
  }
  return context;
}

interface Watchdog {
  /** Aborts when nobody fed it in time. */
  readonly signal: AbortSignal;
  feed(patienceMs: number): void;
  patienceMs(): number;
  stop(): void;
}

function startWatchdog(firstPatienceMs: number): Watchdog {
  const controller = new AbortController();
  const bark = (): void => controller.abort();
  let patienceMs = firstPatienceMs;
  let timer = setTimeout(bark, patienceMs);
  return {
    signal: controller.signal,
    feed(nextPatienceMs) {
      clearTimeout(timer);
      patienceMs = nextPatienceMs;
      timer = setTimeout(bark, patienceMs);
    },
    patienceMs: () => patienceMs,
    stop() {
      clearTimeout(timer);
      // Lets go of a body that was not read to its end.
      controller.abort();
    },
  };
}

function hostAndPort(url: string): string {
  const { protocol, hostname, port } = new URL(url);
  return `${hostname}:${port === '' ? (protocol === 'https:' ? '443' : '80') : port}`;
}

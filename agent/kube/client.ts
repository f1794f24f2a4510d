// The one door to the API server. Requests are written here and sent by Node's own https rather than by client-node's
// generated classes, because those drop the Status of a 401, put whole bodies into their messages, and cost tens of megabytes
// of memory. Every request has a time-out and an AbortSignal, every failure leaves as a KubeError, and no socket or timer
// outlives its request.

import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import { text } from 'node:stream/consumers';
import { errorText } from '../errors.ts';
import { type AnswerObject, isRecord, metadataOf, parseJson, textAt } from './answer-object.ts';
import type { ClusterAccess, Credentials } from './cluster-access.ts';
import { failureOfSilence, failureOfThrown } from './connection-failure.ts';
import { type Asked, failureOfAnswer, failureOfErrorEvent, foreignAnswer, KubeError } from './kube-error.ts';
import { splitItems } from './list-stream.ts';
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
  /**
   * All items of a list; `kind` is that of the list. It comes in pages, and nothing of a page is kept but what `read` makes of
   * its items.
   */
  list<T>(
    request: Omit<KubeRequest, 'verb' | 'name'>,
    read: (item: AnswerObject) => T,
    signal: AbortSignal,
  ): Promise<readonly T[]>;
  /** Resolves when the server ends it; throws KubeError when it breaks, falls silent or says ERROR. */
  watch(request: KubeRequest, watching: Watching, signal: AbortSignal): Promise<void>;
}

/** Connects to nothing yet. */
export function createKubeClient(
  access: ClusterAccess,
  requestTimeoutMs = 10_000,
  credentialsTimeoutMs = 60_000, // a plugin may ask a person
): KubeClient {
  const server = hostAndPort(access.url);

  /** Nobody can end a plugin that hangs from here, but wait for it no longer. */
  const authorize = async (signal: AbortSignal): Promise<Credentials> => {
    const watchdog = startWatchdog(credentialsTimeoutMs);
    const over = AbortSignal.any([signal, watchdog.signal]);
    const impatience = Promise.withResolvers<never>();
    const onOver = (): void => impatience.reject(over.reason);
    over.addEventListener('abort', onOver);
    try {
      return await Promise.race([access.authorize(), impatience.promise]);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      const isLate = watchdog.signal.aborted;
      const why = isLate ? `they did not come within ${credentialsTimeoutMs / 1000} s` : errorText(error);
      throw new KubeError(
        { kind: 'misconfigured', evidence: `the credentials for ${server} cannot be used: ${why}` },
        error,
      );
    } finally {
      over.removeEventListener('abort', onOver); // with it, the signal would be kept for ever
      watchdog.stop();
    }
  };

  /** Hands a successful answer to `read`, and leaves neither timer nor socket however that ends. */
  const exchange = async <T>(request: KubeRequest, signal: AbortSignal, read: ReadAnswer<T>): Promise<T> => {
    signal.throwIfAborted();
    const credentials = await authorize(signal);
    const watchdog = startWatchdog(requestTimeoutMs);
    try {
      const options = { ...credentials, signal: AbortSignal.any([signal, watchdog.signal]) };
      const response = await send(access.url, request, options);
      const { statusCode: code = 0, headers } = response;
      if (code >= 200 && code <= 299) return await read(response, watchdog);
      const body = parseJson(await text(response));
      throw new KubeError(failureOfAnswer(server, request, { code, retryAfter: headers['retry-after'], body }));
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (error instanceof KubeError) throw error;
      if (watchdog.signal.aborted) throw new KubeError(failureOfSilence(server, request, watchdog.patienceMs()), error);
      throw new KubeError(failureOfThrown(server, request, error, access.authority), error);
    } finally {
      watchdog.stop();
    }
  };

  const readPage = async <T>(response: IncomingMessage, asked: KubeRequest, read: (item: AnswerObject) => T) => {
    const items: T[] = [];
    const rest = await splitItems(response, (text) => {
      const item = parseJson(text);
      if (isRecord(item)) items.push(read(item));
    });
    const list = parseJson(rest);
    if (isRecord(list) && list['kind'] === asked.kind)
      return { items, token: textAt(metadataOf(list), 'continue') ?? '' };
    throw new KubeError(foreignAnswer(server, asked, response.statusCode));
  };

  return {
    server,

    call: (request, signal) =>
      exchange(request, signal, async (response) => {
        const object = parseJson(await text(response));
        const isAskedFor = isRecord(object) && object['kind'] === request.kind;
        if (isAskedFor && metadataOf(object)['name'] === request.name) return object;
        throw new KubeError(foreignAnswer(server, request, response.statusCode));
      }),

    async list(request, read, signal) {
      const asked = { ...request, verb: 'list', name: '' } as const;
      const items = [];
      for (let token = '', isSecondTry = false; ; ) {
        try {
          // Not with resourceVersion=0, which is answered from a cache: all at once, whatever the limit.
          const query = { ...request.query, limit: pageSize, ...(token !== '' && { continue: token }) };
          const page = await exchange({ ...asked, query }, signal, (response) => readPage(response, asked, read));
          items.push(...page.items);
          token = page.token;
          if (token === '') return items;
        } catch (error) {
          // A server does not keep the version of a first page for long.
          const isExpired = error instanceof KubeError && error.failure.kind === 'expired';
          if (!isExpired || token === '' || isSecondTry) throw error;
          [token, isSecondTry, items.length] = ['', true, 0];
        }
      }
    },

    watch: (request, { maxSilenceMs, onOpen, onEvent }, signal) =>
      exchange(request, signal, async (response, watchdog) => {
        const foreign = new KubeError(foreignAnswer(server, request, response.statusCode));
        if (response.headers['content-type']?.startsWith('application/json') !== true) throw foreign;
        watchdog.feed(maxSilenceMs);
        onOpen();
        for await (const line of readLines(response, () => watchdog.feed(maxSilenceMs))) {
          const event = parseWatchLine(line, request.kind);
          if (event === undefined) throw foreign;
          if (event.kind === 'ERROR') throw new KubeError(failureOfErrorEvent(server, request, event.status));
          onEvent(event);
        }
      }),
  };
}

/** As kubectl asks. */
const pageSize = '500';

type ReadAnswer<T> = (response: IncomingMessage, watchdog: Watchdog) => Promise<T>;

const methods = {
  get: ['GET', undefined],
  list: ['GET', undefined],
  watch: ['GET', undefined],
  create: ['POST', 'application/json'],
  patch: ['PATCH', 'application/merge-patch+json'],
} as const;

/** Answers with the head of the answer; its body is the caller's to read. A redirect is an answer like any other. */
function send(url: string, request: KubeRequest, options: Credentials): Promise<IncomingMessage> {
  const [method, contentType] = methods[request.verb];
  const query = request.query === undefined ? '' : `?${new URLSearchParams(request.query).toString()}`;
  const headers = {
    ...options.headers,
    Accept: 'application/json',
    'User-Agent': 'node-trust-agent',
    ...(contentType !== undefined && { 'Content-Type': contentType }),
  };
  const { request: open } = url.startsWith('https:') ? https : http;
  return new Promise((resolve, reject) => {
    const sent = open(`${url}${request.path}${query}`, { ...options, method, headers }, resolve);
    sent.on('error', reject);
    sent.end(contentType === undefined ? undefined : JSON.stringify(request.body));
  });
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

// Failures that a test or the demo injects into the embedded API server, and what of a request they go by: an API
// server's own refusals, what something before it answers in its place, and what a network does.

import { type Outgoing, send } from './api-outgoing.ts';
import {
  type ApiRequest,
  detailsOf,
  reasonOfCode,
  type Status,
  status as statusOf,
  type Verb,
} from './api-requests.ts';

export type Failure =
  /** A Status, with the real reason of its code and details about the object unless told otherwise. */
  | {
      readonly kind: 'status';
      readonly code: number;
      readonly reason?: string;
      readonly message?: string;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** Anything else: the page of a proxy, the plain text of an overloaded server. */
  | {
      readonly kind: 'body';
      readonly code: number;
      readonly body: string;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** A watch that is accepted and at once ended by an ERROR event. */
  | { readonly kind: 'error-event'; readonly code: number; readonly reason?: string; readonly message?: string }
  | { readonly kind: 'drop' }
  | { readonly kind: 'hang' }
  /** Answered as usual, only later. */
  | { readonly kind: 'delay'; readonly delayMs: number };

/** What is left out matches everything. */
export interface RequestMatch {
  readonly verb?: Verb;
  readonly resource?: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly user?: string;
}

export interface InjectedFailures {
  /** Returns how to take it away again. */
  add(match: RequestMatch, failure: Failure, times: number): () => void;
  /** The oldest that matches; it counts as used. */
  take(request: ApiRequest, user: string): Failure | undefined;
}

export function createInjectedFailures(): InjectedFailures {
  const injected = new Map<symbol, { readonly match: RequestMatch; readonly failure: Failure; timesLeft: number }>();

  return {
    add(match, failure, times) {
      const id = Symbol('failure');
      injected.set(id, { match, failure, timesLeft: times });
      return () => void injected.delete(id);
    },

    take({ verb, resource, namespace, name }, user) {
      const facts = { verb, resource: resource.plural, namespace, name, user };
      for (const [id, entry] of injected) {
        const { match } = entry;
        const isMatch =
          (match.verb ?? verb) === facts.verb &&
          (match.resource ?? facts.resource) === facts.resource &&
          (match.namespace ?? namespace) === facts.namespace &&
          (match.name ?? name) === facts.name &&
          (match.user ?? user) === facts.user;
        if (!isMatch) continue;
        entry.timesLeft -= 1;
        if (entry.timesLeft <= 0) injected.delete(id);
        return entry.failure;
      }
      return undefined;
    },
  };
}

/** Says or does it; `note` gets the code for the journal. */
export function sendFailure(
  failure: Exclude<Failure, { readonly kind: 'delay' }>,
  request: ApiRequest,
  out: Outgoing,
  cut: () => void,
  note: (code: number) => void,
): void {
  switch (failure.kind) {
    case 'status':
      send(out, failure.code, injectedStatus(failure, request), failure.headers);
      return note(failure.code);
    case 'error-event':
      send(out, 200, { type: 'ERROR', object: injectedStatus(failure, request) });
      return note(200);
    case 'body':
      out.writeHead(failure.code, { 'content-type': 'text/html', ...failure.headers });
      out.write(failure.body);
      out.end();
      return note(failure.code);
    case 'drop':
      cut();
      return note(0);
    case 'hang':
      return note(0);
    default:
      return failure satisfies never;
  }
}

function injectedStatus(failure: Extract<Failure, { readonly code: number }>, request: ApiRequest): Status {
  const { code } = failure;
  const reason = ('reason' in failure ? failure.reason : undefined) ?? reasonOfCode[code] ?? 'Unknown';
  const message = ('message' in failure ? failure.message : undefined) ?? `injected: ${reason}`;
  return statusOf(code, reason, message, detailsOf(request.resource, request.name));
}

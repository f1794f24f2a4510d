// How the fake API server does not answer, told as the agent's own client tells it.

import { failureOfSilence, failureOfThrown } from '../../agent/kube/connection-failure.ts';
import { type Asked, failureOfAnswer, failureOfErrorEvent, KubeError } from '../../agent/kube/kube-error.ts';

export const server = 'api.simulated:443';
/** After so long the client takes it for silent. */
export const silenceMs = 10_000;

export type ApiFault = 'unreachable' | 'silent' | 'error 500' | 'forbidden' | 'unauthorized' | "a proxy's 404";

export function failureOf(fault: ApiFault | 'not found' | 'cut off' | 'expired', asked: Asked): KubeError {
  return new KubeError(tell(fault, asked));
}

function tell(fault: Parameters<typeof failureOf>[0], asked: Asked): ConstructorParameters<typeof KubeError>[0] {
  switch (fault) {
    case 'unreachable':
      return failureOfThrown(server, asked, systemError('connect ECONNREFUSED'));
    case 'cut off':
      return failureOfThrown(server, asked, systemError('read ECONNRESET'));
    case 'silent':
      return failureOfSilence(server, asked, silenceMs);
    case 'error 500':
      return failureOfStatus(asked, 500, 'InternalError');
    case 'forbidden':
      return failureOfStatus(asked, 403, 'Forbidden');
    case 'unauthorized':
      return failureOfStatus(asked, 401, 'Unauthorized');
    case 'not found':
      return failureOfStatus(asked, 404, 'NotFound', { name: asked.name });
    case "a proxy's 404":
      return failureOfAnswer(server, asked, { code: 404, retryAfter: undefined, body: '<html>not found</html>' });
    case 'expired':
      return failureOfErrorEvent(server, asked, statusOf(410, 'Expired', {}));
    default:
      return fault satisfies never;
  }
}

function failureOfStatus(asked: Asked, code: number, reason: string, details = {}): ReturnType<typeof failureOfAnswer> {
  return failureOfAnswer(server, asked, { code, retryAfter: undefined, body: statusOf(code, reason, details) });
}

function statusOf(code: number, reason: string, details: object): object {
  return { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message: reason, details };
}

/** Its message ends with its code. */
function systemError(message: string): Error {
  return Object.assign(new Error(message), { code: message.slice(message.lastIndexOf(' ') + 1) });
}

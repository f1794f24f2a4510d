// What a failed system call on the host's files means, in the catalogue's words.

import { AgentError, errorText } from '../errors.ts';

export function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** A path below something that is no folder is as absent as one that was never made. */
export function isAbsent(error: unknown): boolean {
  return errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR';
}

export function readFailure(path: string, error: unknown): AgentError {
  return error instanceof AgentError
    ? error
    : new AgentError('StoreUnreadable', { path, evidence: errorText(error) }, { cause: error });
}

export function writeFailure(path: string, error: unknown): AgentError {
  if (error instanceof AgentError) return error;
  const code = errorCode(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') return new AgentError('DiskFull', { path }, { cause: error });
  return new AgentError('AnchorsReadOnly', { path, evidence: errorText(error) }, { cause: error });
}

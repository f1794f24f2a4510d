// What the operating system refused, in words: `no such file or directory`.

import { getSystemErrorMessage } from 'node:util';
import { errorText } from '../errors.ts';

/** Without the call and the path, which whoever tells it has named. */
export function describeSystemError(error: unknown): string {
  const code = error instanceof Error && 'errno' in error ? error.errno : undefined;
  return typeof code === 'number' ? getSystemErrorMessage(code) : errorText(error);
}

// The wire format of a watch: one JSON event a line, each with the object as it now is.
// https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes

import { isRecord, metadataOf, parseJson, textAt } from './answer-object.ts';

export interface WatchEvent {
  readonly kind: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  /** Where to go on after a break. */
  readonly resourceVersion: string;
}

/** The server's last word: a Status that says why the watch ends. */
export interface WatchErrorEvent {
  readonly kind: 'ERROR';
  readonly status: unknown;
}

/** The lines of a stream as they come; a last one without its line end was cut off and is dropped. */
export async function* readLines(
  stream: AsyncIterable<Uint8Array>,
  onData: () => void,
): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of stream) {
    onData();
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    yield* lines.filter((line) => line.trim() !== '');
  }
}

/** Undefined where an API server would not say this about an object of the kind. */
export function parseWatchLine(line: string, kind: string): WatchEvent | WatchErrorEvent | undefined {
  const event = parseJson(line);
  if (!isRecord(event)) return undefined;
  const { type, object } = event;
  if (type === 'ERROR') return { kind: type, status: object };
  if (type !== 'ADDED' && type !== 'MODIFIED' && type !== 'DELETED' && type !== 'BOOKMARK') return undefined;
  if (!isRecord(object) || object['kind'] !== kind) return undefined;
  const resourceVersion = textAt(metadataOf(object), 'resourceVersion');
  return resourceVersion === undefined ? undefined : { kind: type, resourceVersion };
}

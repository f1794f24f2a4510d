// Reads fields out of JSON that came from the API server, without believing its shape. The fields we use are few, and
// whatever is not what the API reference says it is counts as missing.

export type AnswerObject = Readonly<Record<string, unknown>>;

/** Undefined for what is not JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export function isRecord(value: unknown): value is AnswerObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function metadataOf(object: AnswerObject): AnswerObject {
  return recordAt(object, 'metadata');
}

/** The object in this field, or an empty one. */
export function recordAt(object: AnswerObject, field: string): AnswerObject {
  const value = object[field];
  return isRecord(value) ? value : {};
}

/** The objects in this field, an array. */
export function listAt(object: AnswerObject, field: string): readonly AnswerObject[] {
  const value = object[field];
  return Array.isArray(value) ? value.filter(isRecord) : [];
}

export function textAt(object: AnswerObject, field: string): string | undefined {
  const value = object[field];
  return typeof value === 'string' ? value : undefined;
}

/** The texts in this field by their keys: labels, annotations. */
export function textMapAt(object: AnswerObject, field: string): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  for (const [key, text] of Object.entries(recordAt(object, field))) if (typeof text === 'string') texts.set(key, text);
  return texts;
}

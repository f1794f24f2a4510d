// What --json prints: one object, indented, in which nothing speaks to a terminal. JSON.stringify escapes C0 alone.

/** With a line end. */
export function formatJson(value: unknown): string {
  return `${escapeControls(JSON.stringify(value, null, 2))}\n`;
}

/** Of JSON. Beyond \uffff it would take two escapes, which not every reader of YAML takes for one character. */
export function escapeControls(json: string): string {
  return json.replaceAll(/[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
    character.length > 1 ? character : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

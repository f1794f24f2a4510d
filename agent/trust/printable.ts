// Text that somebody else has made, fit to be shown: one line that turns, hides and floods nothing on a terminal.

/** Of a message; what is longer was somebody's to make long. */
const maxMessage = 1000;

/** Control, format, unassigned and other characters without a shape, and line separators, as `\u{…}`; cut with an ellipsis. */
export function printable(text: string, maxCharacters = maxMessage): string {
  const line = text.replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, escapeCodePoint);
  if (line.length <= maxCharacters) return line;
  const characters = Array.from(line);
  return characters.length <= maxCharacters ? line : `${characters.slice(0, maxCharacters - 1).join('')}…`;
}

function escapeCodePoint(character: string): string {
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}

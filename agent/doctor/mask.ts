// Addresses as they may be shown: people write credentials into them in many forms, and not all of those are URLs.

/**
 * Without whatever stands before the last `@`, since a password may hold every other character, and without a query, which may hold
 * a token. `sign` is put in the place of credentials.
 */
export function maskCredentials(text: string, sign = ''): string {
  const at = text.lastIndexOf('@');
  const [, scheme = ''] = /^\s*([a-z][a-z0-9+.-]*:\/\/)/i.exec(text) ?? [];
  const shown = at === -1 ? text.trim() : `${scheme}${sign}${text.slice(at + 1)}`;
  return shown.replace(/[?#].*$/s, '');
}

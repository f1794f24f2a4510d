// Colour, for a person at a terminal alone, and not for one who says NO_COLOR (https://no-color.org).

import { styleText } from 'node:util';
import type { Terminal } from './command.ts';

export type Style = 'bold' | 'dim' | 'green' | 'red' | 'yellow';
export type Paint = (style: Style, text: string) => string;

export const plain: Paint = (_style, text) => text;

/** For what is printed on standard output. */
export function createPaint({ isTty, env }: Pick<Terminal, 'isTty' | 'env'>): Paint {
  if (!isTty || env['NO_COLOR']) return plain;
  return (style, text) => styleText(style, text, { validateStream: false });
}

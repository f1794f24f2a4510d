// The script and the unit of image/boot/, for whoever prints them. In the bundle this file is replaced by their text
// (image/bundle.ts).

import { readFile } from 'node:fs/promises';

const read = (name: string): Promise<string> => readFile(new URL(`../../image/boot/${name}`, import.meta.url), 'utf8');

export const bootScript = await read('node-trust-boot');
export const bootUnit = await read('node-trust-boot.service');

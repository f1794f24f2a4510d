// The machine's file system with an ear at it: each call is told before it is made, and may be made to fail.

import type { FileHandle } from 'node:fs/promises';
import * as nodeFs from 'node:fs/promises';
import { basename } from 'node:path';
import type { FileSystem } from '../../agent/host/root.ts';

/** `rename TEMP state.json`, `sync TEMP`: the call and the names of its files; a temporary file is called TEMP. */
export type Hook = (call: string) => void | Promise<void>;

const told: ReadonlySet<string> = new Set(['chmod', 'readFile', 'sync', 'writeFile']);

export function hookFileSystem(hook: Hook): FileSystem {
  return {
    ...nodeFs,
    open: hooked('open', async (...args: Parameters<typeof nodeFs.open>) =>
      hookHandle(await nodeFs.open(...args), args[0]),
    ),
    link: hooked('link', nodeFs.link),
    mkdir: hooked('mkdir', nodeFs.mkdir),
    rename: hooked('rename', nodeFs.rename),
    rmdir: hooked('rmdir', nodeFs.rmdir),
    symlink: hooked('symlink', nodeFs.symlink),
    unlink: hooked('unlink', nodeFs.unlink),
  };

  function hooked<F>(name: string, call: F): F {
    const inner = call as (...args: readonly unknown[]) => Promise<unknown>;
    const outer = async (...args: readonly unknown[]): Promise<unknown> => {
      const files = args.filter((arg) => typeof arg === 'string' && arg.startsWith('/')).map(nameOf);
      await hook([name, ...files].join(' '));
      return inner(...args);
    };
    return outer as F;
  }

  function hookHandle(handle: FileHandle, path: unknown): FileHandle {
    return new Proxy(handle, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== 'function') return value;
        if (typeof name === 'symbol' || !told.has(name)) return value.bind(target);
        return async (...args: readonly unknown[]): Promise<unknown> => {
          await hook(`${name} ${nameOf(path)}`);
          return value.apply(target, args);
        };
      },
    });
  }
}

/** Fails each call whose name begins so, as the kernel would. */
export function failAt(call: string, code: string): Hook {
  return (made) => {
    if (made.startsWith(call)) throw Object.assign(new Error(`${code}: ${made}`), { code });
  };
}

function nameOf(path: unknown): string {
  const name = basename(String(path));
  return /^\.node-trust-.*\.tmp$/.test(name) ? 'TEMP' : name;
}

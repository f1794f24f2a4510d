// `npm run bundle`: the agent and all it imports as one file, dist/node-trust.mjs, which Node.js 24.12 or newer runs anywhere:
// in the image, and on machines without npm. Names stay as they are, so that a stack trace can be read.

import { readFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';

/** An older Node.js comes as far as this: it can read the file, thanks to `target`, and link it. */
const refuseOldNode = `const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 24 || (major === 24 && minor < 12)) {
  console.error(\`node-trust: needs Node.js 24.12 or newer, this is \${process.version}\`);
  process.exit(3);
}`;

/** Packages in CommonJS call `require` for Node's own modules; a module has none unless it makes one. */
const requireForCommonJs = `import { createRequire as createRequireForCommonJs } from 'node:module';
const require = createRequireForCommonJs(import.meta.url);`;

/**
 * Node.js links all static imports before the first line runs, and an older one stops at a name that it does not have. What is
 * required instead is looked at when it is used, behind the refusal.
 */
const requireBuiltins: Plugin = {
  name: 'require-builtins',
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /./ }, ({ path, kind }) => {
      if (!isBuiltin(path)) return undefined;
      return kind === 'import-statement' ? { path, namespace: 'builtin' } : { path, external: true };
    });
    onLoad({ filter: /./, namespace: 'builtin' }, ({ path }) => ({
      contents: `module.exports = require(${JSON.stringify(path)});`,
    }));
  },
};

/** The one file has nothing beside it that could be read. */
const inlineBootFiles: Plugin = {
  name: 'boot-files',
  setup({ onLoad }) {
    onLoad({ filter: /\/agent\/cli\/boot-files\.ts$/ }, async () => {
      const read = (name: string) => readFile(new URL(`boot/${name}`, import.meta.url), 'utf8');
      const texts = { bootScript: await read('node-trust-boot'), bootUnit: await read('node-trust-boot.service') };
      return {
        contents: Object.entries(texts)
          .map(([name, text]) => `export const ${name} = ${JSON.stringify(text)};`)
          .join('\n'),
      };
    });
  },
};

export async function bundle(entryPoint: string, outfile: string): Promise<void> {
  await build({
    absWorkingDir: fileURLToPath(new URL('..', import.meta.url)),
    entryPoints: [entryPoint],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    minifySyntax: true,
    minifyWhitespace: true,
    banner: { js: `${refuseOldNode}\n${requireForCommonJs}` },
    plugins: [requireBuiltins, inlineBootFiles],
    // Beside the bundle: a letter of a name in them would make Node.js keep the whole text with two bytes a character.
    legalComments: 'external',
    logLevel: 'warning',
  });
}

if (import.meta.main) await bundle('agent/main.ts', 'dist/node-trust.mjs');

// Lint rules, the layers of docs/architecture.md and "one importer a library" among them.

import { defineConfig, type OxlintOverride } from 'oxlint';

/** Each library and the one place that imports it. */
const homes = {
  execa: 'agent/host/commands.ts',
  chokidar: 'agent/host/drift.ts',
  pino: 'agent/log.ts',
  'prom-client': 'agent/metrics.ts',
  'smol-toml': 'agent/doctor/registry-settings.ts',
  yaml: 'agent/cli/manifest.ts',
  '@kubernetes/client-node': 'agent/kube/**/*.ts',
  '@grpc/grpc-js': 'agent/host/cri.ts',
  '@grpc/proto-loader': 'agent/host/cri.ts',
} as const;
/** The same for what only building and testing need. */
const toolHomes = {
  esbuild: 'image/bundle.ts',
  testcontainers: 'test/node/support/node.ts',
  '@peculiar/x509': 'test/trust/extensions.test.ts',
  'reflect-metadata': 'test/trust/extensions.test.ts',
  '@grpc/grpc-js': 'test/**/cri*.ts',
  '@grpc/proto-loader': 'test/**/cri*.ts',
} as const;

/** All that trust/ may import: itself, the one exception, hashes, and what reads certificates. */
const pure = ['**', '!./*', '!../errors.ts', '!node:crypto'];
/** What a pure function must not look at. */
const impure = {
  globals: ['process', 'performance', 'fetch', 'setTimeout', 'setInterval'],
  properties: [
    { object: 'Date', property: 'now' },
    { object: 'Math', property: 'random' },
  ],
} as const;

/** What the doctor judges with: facts in, checks out; what gathers them is in doctor/probe/. */
const judging = ['**', '!./*', '!../trust/*', '!node:crypto', '!node:net', '!smol-toml'];

const layers = {
  'agent/trust/**/*.ts': [{ group: pure, message: 'trust/ is pure: bytes, records and now in, values out.' }],
  'agent/host/**/*.ts': [
    { group: ['**/kube/**', '**/cli/**', '**/doctor/**'], message: 'host/ knows Linux and not Kubernetes.' },
  ],
  'agent/kube/**/*.ts': [
    { group: ['**/host/**', '**/cli/**', '**/doctor/**'], message: 'kube/ knows Kubernetes and not Linux.' },
  ],
  'agent/doctor/probe/**/*.ts': [{ group: ['**/cli/**'], message: 'doctor/probe/ gathers facts for a command.' }],
  'agent/doctor/*.ts': [
    { group: judging, message: 'doctor/ judges facts: what looks at the world is in doctor/probe/.' },
  ],
} as const;

function restrictImports(files: string, libraries: Readonly<Record<string, string>> = homes): OxlintOverride {
  const layer = Object.entries(layers).find(([folder]) => files.startsWith(folder.slice(0, folder.indexOf('*'))));
  const paths = Object.entries(libraries)
    .filter(([, home]) => home !== files)
    .map(([name, home]) => ({ name, message: `Only ${home} imports it.` }));
  return {
    files: [files],
    rules: { 'eslint/no-restricted-imports': ['error', { paths, patterns: [...(layer?.[1] ?? [])] }] },
  };
}

export default defineConfig({
  plugins: ['typescript', 'import', 'unicorn', 'node', 'promise'],
  categories: { correctness: 'error', suspicious: 'error', perf: 'error' },
  ignorePatterns: ['node_modules', 'dist'],
  rules: {
    'eslint/no-await-in-loop': 'off',
    'eslint/no-console': 'error',
    'eslint/no-unused-vars': ['error', { ignoreRestSiblings: true, argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
    'eslint/no-shadow': 'off',
    'unicorn/no-array-sort': 'off',
    'unicorn/no-array-reverse': 'off',
    'unicorn/consistent-function-scoping': 'off',
    'import/no-unassigned-import': 'off',
    'import/no-named-as-default-member': 'off',
    'import/no-cycle': 'error',
    'node/no-process-env': 'error',
    // `await using` wants a name for what nobody names again.
    'eslint/no-underscore-dangle': 'off',
    'typescript/no-explicit-any': 'error',
    'typescript/no-non-null-assertion': 'error',
    // `as` belongs into parsers and the makers of branded types, where nothing narrower can be said.
    'typescript/no-unsafe-type-assertion': 'off',
    // Nothing here uses `this`.
    'typescript/unbound-method': 'off',
    'typescript/consistent-type-imports': 'error',
    // Whatever `await using` gives is gone before a promise that is only returned has settled.
    'typescript/return-await': 'error',
    'typescript/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
    'typescript/no-floating-promises': [
      'error',
      {
        allowForKnownSafeCalls: [
          { from: 'package', package: 'node:test', name: ['test', 'it', 'describe', 'suite', 'before', 'after'] },
        ],
      },
    ],
  },
  overrides: [
    restrictImports('agent/**/*.ts'),
    ...[...Object.keys(layers), ...Object.values(homes)].map((files) => restrictImports(files)),
    ...['image/**/*.ts', 'test/**/*.ts', ...Object.values(toolHomes)].map((files) => restrictImports(files, toolHomes)),
    {
      files: ['agent/trust/**/*.ts', 'agent/doctor/*.ts'],
      rules: {
        'eslint/no-restricted-globals': ['error', ...impure.globals],
        'eslint/no-restricted-properties': ['error', ...impure.properties],
      },
    },
    { files: ['agent/main.ts'], rules: { 'node/no-process-env': 'off' } },
  ],
});

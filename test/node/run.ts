// `npm run test:node`, and the end of `npm test`: the suite on a real node, once for each line of containerd that is named.
// With `--if-possible` a machine without an engine is told what was left out, and that is no failure.
// Images are built before the first test, so that no test waits for them; containers are gone and an engine that was
// started here is stopped at the end, however it ends.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { environmentFor, findEngine, removeContainers } from './support/engine.ts';
import { agentImage, lineOf, nodeImage, registryImage } from './support/images.ts';

const testTimeoutMs = 300_000;
/** A node waits for most of its time: for its boot, for containerd, for the next look of somebody. */
const filesAtOnce = 2;
const [first, ...rest] = process.argv.slice(2);
const isOptional = first === '--if-possible';
const lines = (isOptional || first === undefined ? rest : [first, ...rest]).map(lineOf);

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.abort());

await using cleanup = new AsyncDisposableStack();
const engine = await findEngine();
if (engine.kind === 'none') {
  process.stderr.write(`left out: the suite on a real node, since ${engine.why}; to have it, ${engine.remedy}\n`);
  process.exitCode = isOptional ? 0 : 1;
} else {
  cleanup.use(engine);
  cleanup.defer(removeContainers);
  for (const build of [registryImage, agentImage, ...lines.map((line) => () => nodeImage(line))]) await build();
  for (const line of lines) {
    if (!interrupted.signal.aborted && (await test(line)) !== 0) process.exitCode = 1;
  }
  if (interrupted.signal.aborted) process.exitCode = 1;
}

async function test(line: string): Promise<number | null> {
  process.stdout.write(`on a real node with containerd ${line}:\n`);
  const files = join(import.meta.dirname, '*.test.ts');
  const child = spawn(
    process.execPath,
    ['--test', `--test-timeout=${testTimeoutMs}`, `--test-concurrency=${filesAtOnce}`, files],
    {
      stdio: 'inherit',
      env: environmentFor(line),
    },
  );
  const forward = (): void => void child.kill('SIGTERM');
  interrupted.signal.addEventListener('abort', forward, { once: true });
  const [code] = (await once(child, 'close')) as [number | null];
  interrupted.signal.removeEventListener('abort', forward);
  return code;
}

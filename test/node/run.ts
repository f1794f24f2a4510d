// `npm run test:node`: the suite on a real node, once for each line of containerd that is named.
// Images are built before the first test, so that no test waits for them; containers are gone and an engine that was
// started here is stopped at the end, however it ends.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { environmentFor, findEngine, removeContainers } from './support/engine.ts';
import { agentImage, lineOf, nodeImage, registryImage } from './support/images.ts';

const testTimeoutMs = 180_000;
const lines = process.argv.slice(2).map(lineOf);

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.abort());

await using cleanup = new AsyncDisposableStack();
const engine = await findEngine();
if (engine.kind === 'none') {
  process.stderr.write(`the suite on a real node cannot be run, since ${engine.why}; to have it, ${engine.remedy}\n`);
  process.exitCode = 1;
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
  const child = spawn(process.execPath, ['--test', `--test-timeout=${testTimeoutMs}`, files], {
    stdio: 'inherit',
    env: environmentFor(line),
  });
  const forward = (): void => void child.kill('SIGTERM');
  interrupted.signal.addEventListener('abort', forward, { once: true });
  const [code] = (await once(child, 'close')) as [number | null];
  interrupted.signal.removeEventListener('abort', forward);
  return code;
}

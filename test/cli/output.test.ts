import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { createOutput } from '../../agent/cli/output.ts';
import { startTestServer, temporaryFolder, writeKubeconfig } from '../support/api-fixture.ts';
import { createCertificate } from '../support/certificates.ts';
import { launcher } from '../support/command-line.ts';
import { createSandbox } from '../support/sandbox.ts';

const corp = createCertificate({ subject: 'Corp Root' });

/** Fails at the given write, counted from 1, with the code; keeps the others. */
function breakingAt(failing: number, code: string): { readonly stream: Writable; readonly written: string[] } {
  const written: string[] = [];
  let count = 0;
  const stream = new Writable({
    autoDestroy: false,
    write(chunk: Buffer, _encoding, done) {
      count += 1;
      if (count === failing) return done(Object.assign(new Error('no'), { code }));
      written.push(chunk.toString());
      done();
    },
  });
  return { stream, written };
}

test('what could not be written is told at the end, and what comes after is dropped', async () => {
  const { stream, written } = breakingAt(2, 'ENOSPC');
  const output = createOutput(stream);
  for (const line of ['one', 'two', 'three']) {
    output.write(line);
    await new Promise((done) => setImmediate(done));
  }
  assert.equal((await output.end())?.message, 'no');
  assert.deepEqual(written, ['one']);
  assert(!output.unread.aborted);
});

test('a reader that has gone is no failure, and known', async () => {
  const output = createOutput(breakingAt(1, 'EPIPE').stream);
  output.write('one');
  assert.equal(await output.end(), undefined);
  assert(output.unread.aborted);
});

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

async function shell(command: string, input = ''): Promise<Ended> {
  const child = spawn('bash', ['-c', command], { stdio: 'pipe' });
  child.stdin.end(input);
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { code: code as number | null, out, err };
}

/** Its exit code after the reader of its output has gone without a look. */
const unread = (command: string): string => `{ sleep 0.2; ${launcher} ${command}; echo $? >&2; } | true`;

test('a command whose output finds no room ends with 3 and says so', async () => {
  const { code, err } = await shell(`${launcher} secret - > /dev/full`, corp.pem);
  assert.equal(code, 3);
  assert.match(err, /^node-trust: standard output could not be written: no space left on device$/m);
});

test('a command keeps its exit code where nobody reads, and where nobody hears of it', async () => {
  assert.equal((await shell(unread('validate -'), 'no certificate')).err, '1\n');
  assert.equal((await shell(`${launcher} secret - > /dev/null 2> /dev/full`, corp.pem)).code, 0);
});

test('a command that changes something does so to its end, whatever becomes of its output', async (t) => {
  await using sandbox = await createSandbox();
  const cas = join(temporaryFolder(t), 'cas.pem');
  await writeFile(cas, corp.pem);
  assert.equal((await shell(unread(`apply --file ${cas} --host-root ${sandbox.root}`))).err, '0\n');
  assert((await sandbox.runtime.trustPool()).includes(corp.pem));

  const { code, err } = await shell(`${launcher} remove --host-root ${sandbox.root} > /dev/full`);
  assert.equal(code, 3);
  assert.match(err, /^node-trust: standard output could not be written: /);
  assert.deepEqual(await sandbox.list('/usr/local/share/ca-certificates'), []);
  assert.deepEqual(await sandbox.list('/var/lib/node-trust-agent'), []);
});

test('a watch ends with 1 once nobody reads its output', async (t) => {
  const api = await startTestServer(t);
  api.put({ kind: 'Node', metadata: { name: 'a', annotations: { 'node-trust-agent/state': 'Failed' } } });
  const kubeconfig = writeKubeconfig(t, api.kubeconfig());
  const { err } = await shell(unread(`status --watch --timeout 1m --kubeconfig ${kubeconfig}`));
  assert.equal(err, 'node-trust status: nobody reads what it prints any more\n1\n');
});

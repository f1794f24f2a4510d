import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { maxInputBytes } from '../../agent/cli/command.ts';
import { readPath } from '../../agent/cli/input.ts';
import { temporaryFolder } from '../support/api-fixture.ts';
import { createCertificate } from '../support/certificates.ts';
import { launcher, nodeTrust } from '../support/command-line.ts';

test('of a device without an end no more is read than anybody will use', { timeout: 20_000 }, async (t) => {
  assert.equal((await readPath('/dev/zero', t.signal)).length, maxInputBytes + 1);
  assert.equal((await readPath('/dev/null', t.signal)).length, 0);
});

test('a FIFO is read when somebody writes into it, to its end', { timeout: 20_000 }, async (t) => {
  const fifo = join(temporaryFolder(t), 'fifo');
  spawnSync('mkfifo', [fifo]);
  const reading = readPath(fifo, t.signal);
  const writer = await open(fifo, 'w');
  await writer.writeFile('certificates');
  await writer.close();
  assert.equal(Buffer.from(await reading).toString(), 'certificates');
});

test('a FIFO into which nobody writes is waited for until the signal', { timeout: 20_000 }, async (t) => {
  const fifo = join(temporaryFolder(t), 'fifo');
  spawnSync('mkfifo', [fifo]);
  const { code, err } = await nodeTrust(['validate', fifo], '', async (kill) => {
    const writer = await open(fifo, 'w'); // is open once it is read
    kill('SIGINT');
    await new Promise((done) => setTimeout(done, 500));
    await writer.close();
  });
  assert.deepEqual([code, err], [3, `node-trust validate: ${fifo} could not be read: interrupted\n`]);
});

test('what a shell makes of <(…) is read like a file', () => {
  const { pem } = createCertificate({ subject: 'Corp Root' });
  const script = `${launcher} validate --json <(sleep 0.3; printf %s "$PEM") <(true)`;
  const { stdout } = spawnSync('bash', ['-c', `PEM='${pem}'; ${script}`], { encoding: 'utf8' });
  const { certificates } = JSON.parse(stdout) as { certificates: readonly { subject: string }[] };
  assert.deepEqual(
    certificates.map(({ subject }) => subject),
    ['CN=Corp Root'],
  );
});

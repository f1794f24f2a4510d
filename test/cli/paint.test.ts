import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPaint } from '../../agent/cli/paint.ts';

test('text is coloured on a terminal alone, and not where NO_COLOR says so', () => {
  assert.equal(createPaint({ isTty: true, env: {} })('red', 'bad'), '\u001b[31mbad\u001b[39m');
  assert.equal(createPaint({ isTty: true, env: { NO_COLOR: '' } })('red', 'bad'), '\u001b[31mbad\u001b[39m');
  assert.equal(createPaint({ isTty: true, env: { NO_COLOR: '1' } })('red', 'bad'), 'bad');
  assert.equal(createPaint({ isTty: false, env: {} })('red', 'bad'), 'bad');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { printable } from '../../agent/trust/printable.ts';

test('what turns, hides or breaks a line is shown by its number, and everything with a shape as it is', () => {
  assert.equal(
    printable('a\u001b[2J\r\n\u202eb\u2028\ue000\ud800', 100),
    'a\\u{1b}[2J\\u{d}\\u{a}\\u{202e}b\\u{2028}\\u{e000}\\u{d800}',
  );
  assert.equal(printable('Ümläut 证书 👍 "x"', 100), 'Ümläut 证书 👍 "x"');
});

test('a text that is too long is cut between characters, and says so', () => {
  assert.equal(printable('👍👍👍', 3), '👍👍👍');
  assert.equal(printable('👍👍👍👍', 3), '👍👍…');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatJson } from '../../agent/cli/json.ts';

test('what is printed as JSON says the same, and nothing to a terminal', () => {
  const value = { text: 'a\u009b2J\u007f\u202e\u2028\u001bé😀\n', none: undefined };
  const printed = formatJson(value);
  assert.deepEqual(JSON.parse(printed), { text: value.text });
  assert.match(printed, /^\{\n {2}"text": "a\\u009b2J\\u007f\\u202e\\u2028\\u001bé😀\\n"\n\}\n$/);
});

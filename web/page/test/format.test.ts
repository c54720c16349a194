import assert from 'node:assert/strict';
import { test } from 'node:test';

import { age, bytes, pasteable, programOf, readEnv, sentence, SESSION_ID, splitWords } from '../src/format.js';

test('words are split as a shell splits them', () => {
  assert.deepEqual(splitWords(''), []);
  assert.deepEqual(splitWords('  a  b\tc '), ['a', 'b', 'c']);
  assert.deepEqual(splitWords(`a "b c" 'd "e' f\\ g`), ['a', 'b c', 'd "e', 'f g']);
  assert.deepEqual(splitWords(`"" x''y`), ['', 'xy']);
  assert.deepEqual(splitWords(`'a\\b' "c\\"d"`), ['a\\b', 'c"d']);
  assert.throws(() => splitWords('a "b'), /not closed/);
});

test('environment', () => {
  assert.deepEqual(readEnv('A=1\r\n\nB_2=x = y\n C='), { A: '1', B_2: 'x = y', C: '' });
  assert.throws(() => readEnv('A=1\n2B=x'), /line 2/);
  assert.throws(() => readEnv('no'), /line 1/);
});

test('numbers and names', () => {
  assert.deepEqual([0, 59000, 60000, 3.7e6, 9e8, -5].map(age), ['0 s', '59 s', '1 min', '1 h 1 min', '10 d', '0 s']);
  assert.deepEqual([0, 999, 1000, 999950, 1.5e9].map(bytes), ['0 B', '999 B', '1.0 kB', '1.0 MB', '1.5 GB']);
  assert.equal(programOf('https://x.example/dl/tool-1.2.tar.gz?sig=a/b'), 'tool-1.2');
  assert.equal(programOf('file:///a/b.zip'), 'b');
  assert.equal(programOf(''), '');
  assert.equal(sentence('it broke'), 'It broke.');
  assert.equal(sentence('Done!'), 'Done!');
  assert.equal(SESSION_ID.test('a'.repeat(26)), true);
  assert.equal(SESSION_ID.test(`${'a'.repeat(26)}\n`), false);
  assert.equal(SESSION_ID.test(`../${'a'.repeat(23)}`), false);
});

test('what is pasted has no control characters but tabs and ends of lines', () => {
  assert.equal(pasteable('a\tb\r\nc\nd \u00e9 \u6f22 \ud83d\udc4d'), 'a\tb\r\nc\nd \u00e9 \u6f22 \ud83d\udc4d');
  assert.equal(pasteable('safe\x1b[201~rm\x03 \x00\x7f\u009b201~\u0085'), 'safe[201~rm 201~');
});

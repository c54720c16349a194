import assert from 'node:assert/strict';
import { test } from 'node:test';

import { withCtrl } from '../src/keybar.js';

test('Ctrl and a key is what a keyboard makes of it', () => {
  assert.deepEqual(['a', 'Z', '[', ' ', '?', '_'].map(withCtrl), ['\x01', '\x1a', '\x1b', '\0', '\x7f', '\x1f']);
  assert.deepEqual(['ab', '1', 'é', ''].map(withCtrl), ['ab', '1', 'é', '']); // as they are
});

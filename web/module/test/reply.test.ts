import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ProtocolError } from '../src/frame.js';
import { parseObject } from '../src/json.js';
import { plain } from '../src/plain.js';
import { endOfRecord, readError, readExit, readReady, readStage } from '../src/reply.js';
import { endSentence } from '../src/words.js';
import { ready } from './stand-in.js';

const bytes = (s: string) => new TextEncoder().encode(s);

test('JSON that two readers could take differently is refused', () => {
  const bad = ['', '[]', '1', 'null', '"x"', '{', '{} {}', '{}x', '{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '{"b":{"c":1,"c":2}}', '\ufeff{}', '{"a":NaN}'];
  for (const s of bad) assert.throws(() => parseObject(bytes(s), 'X'), ProtocolError, s);
  assert.throws(() => parseObject(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d), 'X'), ProtocolError);
  for (const s of ['{}', '{"a":"a:\\"a\\":","b":{"a":1},"c":["a","a",{"a":2}]}', '{"a":"{[\\\\","b":1}'])
    assert.doesNotThrow(() => parseObject(bytes(s), 'X'), s);
});

test('READY without offset or window is none', () => {
  assert.equal(readReady(new Uint8Array(ready()).subarray(1)).window, 64);
  assert.equal(readReady(new Uint8Array(ready({ output_seen: 9 })).subarray(1)).outputSeen, 9);
  assert.equal(readReady(new Uint8Array(ready()).subarray(1)).outputSeen, 0); // a server that does not tell
  for (const bad of [{ output_from: -1 }, { output_from: 1.5 }, { output_from: '0' }, { output_from: 2 ** 53 }, { window: 0 }, { window: 5e6 }, { input_window: null }, { input_received: undefined }])
    assert.throws(() => readReady(new Uint8Array(ready(bad)).subarray(1)), ProtocolError, JSON.stringify(bad));
});

test('members of other kinds are left out, inherited ones too', () => {
  assert.deepEqual(readStage(bytes('{"stage":7,"state":[],"ms":-1,"done":"x","total":0,"detail":{}}')), { stage: '', state: '', ms: 0, detail: '' });
  assert.equal(readExit(bytes('{"reason":"exited","code":256,"signal":0}')).code, undefined);
  assert.equal(readError(bytes('{}')).code, '');
  assert.equal(readError(bytes('{"__proto__":{"code":"denied"}}')).code, '');
  assert.equal(readStage(bytes(`{"detail":"${'x'.repeat(2000)}"}`)).detail.length, 512);
});

test('ends are told in words', () => {
  assert.equal(endSentence(readExit(bytes('{"reason":"exited","code":7}'))), 'The program ended with exit code 7.');
  assert.equal(endSentence(readExit(bytes('{"reason":"signalled","signal":9}'))), 'The program was ended by signal 9 (killed).');
  assert.match(endSentence(readExit(bytes('{"reason":"toString"}'))), /has ended \(toString\)/);
  assert.match(endSentence(readExit(bytes('{}'))), /no reason was told/);
  assert.equal(endOfRecord({ state: 'running' }), null);
  assert.equal(endOfRecord({ state: 'ended', reason: 'exited', exit_code: 3, output_bytes: 12 })?.outputEnd, 12);
});

test('plain text has nothing that changes the text around it', () => {
  assert.equal(plain('a\u001b]0;x\u0007\u202eb\u200b'), 'a\ufffd]0;x\ufffd\ufffdb\ufffd');
  assert.equal(plain('x'.repeat(50), 10), 'x'.repeat(9) + '…');
  assert.equal(Array.from(plain('😀'.repeat(50), 10)).length, 10);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { helloFrame, inputFrame, outputAckFrame, parseFrame, ProtocolError, resizeFrame, signalFrame } from '../src/frame.js';
import { json, message, output, u64 } from './stand-in.js';

test('what is agreed is read', () => {
  const f = parseFrame(output(2 ** 40 + 5, 'abc'));
  assert.equal(f.type, 'output');
  assert.equal(f.type === 'output' && f.offset, 2 ** 40 + 5);
  assert.equal(f.type === 'output' && new TextDecoder().decode(f.bytes), 'abc');
  assert.deepEqual(parseFrame(message(0x86, [0, 80, 3, 232])), { type: 'resized', cols: 80, rows: 1000 });
  assert.deepEqual(parseFrame(message(0x83, u64(7))), { type: 'inputAck', offset: 7 });
  assert.deepEqual(parseFrame(message(0x89)), { type: 'move' });
  assert.equal(parseFrame(json(0x84, {})).type, 'stage');
});

test('every length is judged', () => {
  const bad: [string, ArrayBuffer][] = [
    ['nothing', new ArrayBuffer(0)],
    ['unknown type', message(0x00)],
    ['the other way', message(0x01, [1, 2, 3])],
    ['unknown type', message(0x8a)],
    ['OUTPUT without bytes', message(0x82, u64(0))],
    ['OUTPUT cut in its offset', message(0x82, [0, 0, 0])],
    ['OUTPUT too long', message(0x82, u64(0), new Uint8Array(65537))],
    ['INPUT_ACK too short', message(0x83, [1])],
    ['INPUT_ACK too long', message(0x83, u64(1), [0])],
    ['MOVE with a body', message(0x89, [0])],
    ['RESIZED of nothing', message(0x86, [0, 0, 0, 24])],
    ['RESIZED too large', message(0x86, [3, 233, 0, 24])],
    ['RESIZED cut', message(0x86, [0, 80, 0])],
    ['READY too long', message(0x81, new Uint8Array(8192))],
    ['STAGE too long', message(0x84, new Uint8Array(2048))],
    ['ERROR too short', message(0x88, [1])],
    ['an offset beyond numbers', message(0x82, [0, 32, 0, 0, 0, 0, 0, 0, 65])],
    ['an end beyond numbers', message(0x82, [0, 31, 255, 255, 255, 255, 255, 255, 65])],
    ['all ones', message(0x87, [255, 255, 255, 255, 255, 255, 255, 255])],
  ];
  for (const [what, bytes] of bad) assert.throws(() => parseFrame(bytes), ProtocolError, what);
});

test('the largest that may come is read', () => {
  const f = parseFrame(message(0x82, u64(0), new Uint8Array(65536)));
  assert.equal(f.type === 'output' && f.bytes.length, 65536);
});

test('any bytes are read or refused, and nothing else', () => {
  let seed = 12345;
  const next = () => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) >> 8;
  for (let i = 0; i < 20000; i++) {
    const bytes = Uint8Array.from({ length: next() % 24 }, next);
    if (bytes.length && i % 2) bytes[0] = 0x80 + (next() % 12);
    try {
      parseFrame(bytes.buffer);
    } catch (e) {
      assert.ok(e instanceof ProtocolError);
    }
  }
});

test('what is written is what is agreed', () => {
  assert.deepEqual([...inputFrame(2 ** 33 + 2, Uint8Array.of(9, 8))], [2, 0, 0, 0, 2, 0, 0, 0, 2, 9, 8]);
  assert.deepEqual([...outputAckFrame(258)], [4, 0, 0, 0, 0, 0, 0, 1, 2]);
  assert.deepEqual([...resizeFrame(80, 300)], [3, 0, 80, 1, 44]);
  assert.deepEqual([...signalFrame('KILL')], [5, 5]);
  assert.equal(helloFrame({ token: 'x'.repeat(8200) }), null);
});

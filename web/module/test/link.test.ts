import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ProtocolError } from '../src/frame.js';
import { linkAck, linkConsumed, linkInput, linkInputAcked, linkInputSent, linkNew, linkOutput, linkReady, linkRoom, linkSkipped, linkType } from '../src/link.js';
import type { Link } from '../src/link.js';
import type { Ready } from '../src/reply.js';

const R = (more: Partial<Ready>): Ready => ({ sid: '', role: 'owner', outputFrom: 0, outputSeen: 0, inputReceived: 0, window: 100, inputWindow: 10, isolation: '', egress: '', ...more });
const bytes = (s: string) => new TextEncoder().encode(s);

function send(l: Link): string {
  const i = linkInput(l);
  if (!i) return '';
  const s = `${i.offset}:${new TextDecoder().decode(i.bytes)}`;
  linkInputSent(l, i.bytes.length);
  return s;
}

test('an owner is told each byte once, and never more than it asked for', () => {
  const l = linkNew('owner', null);
  linkReady(l, R({}));
  assert.equal(linkOutput(l, 0, 60), 0);
  assert.equal(linkOutput(l, 0, 60), 60); // doubled
  assert.equal(linkOutput(l, 50, 20), 10); // overlapping
  assert.throws(() => linkOutput(l, 71, 1), ProtocolError); // a gap
  assert.throws(() => linkOutput(l, 70, 31), ProtocolError); // beyond the window
  assert.equal(linkAck(l), null);
  linkConsumed(l, 30);
  assert.equal(linkAck(l), 30); // a quarter
  linkConsumed(l, 10);
  assert.equal(linkAck(l), null);
  linkConsumed(l, 30);
  assert.equal(linkAck(l), 70); // all
});

test('a viewer may jump, and is told how far', () => {
  const l = linkNew('viewer', null);
  linkReady(l, R({}));
  assert.equal(linkOutput(l, 1000, 5), 0);
  assert.equal(linkSkipped(l), 1000);
  assert.equal(linkSkipped(l), 0);
});

test('a viewer that cannot keep up holds only so much', () => {
  const l = linkNew('viewer', null);
  linkReady(l, R({}));
  assert.throws(() => {
    for (let i = 0; i < 1000; i++) linkOutput(l, i * 65536, 65536);
  }, /faster/);
});

test('a connection is not told of bytes that another one brought', () => {
  const l = linkNew('owner', null);
  linkReady(l, R({}));
  linkOutput(l, 0, 50);
  l.isReady = false;
  linkReady(l, R({ outputFrom: 0 }));
  linkConsumed(l, 50);
  assert.equal(linkAck(l), null);
  assert.equal(linkOutput(l, 0, 50), 50);
  assert.equal(linkAck(l), 50);
});

test('input stays within the window and is sent again until acknowledged', () => {
  const l = linkNew('owner', null);
  linkReady(l, R({}));
  assert.equal(linkRoom(l, 5), 15);
  linkType(l, bytes('0123456789abcde'));
  assert.equal(linkRoom(l, 5), 0);
  assert.equal(send(l), '0:0123456789');
  assert.equal(send(l), '');
  linkInputAcked(l, 4);
  assert.equal(send(l), '10:abcd');
  assert.throws(() => linkInputAcked(l, 15), ProtocolError); // never sent
  l.isReady = false;
  linkReady(l, R({ inputReceived: 6 })); // two more had arrived
  assert.equal(send(l), '6:6789abcde');
  linkInputAcked(l, 15);
  assert.equal(l.kept.len, 0);
});

test('what somebody else typed meanwhile drops nothing of ours', () => {
  const l = linkNew('owner', null);
  linkReady(l, R({}));
  linkType(l, bytes('ab'));
  assert.equal(send(l), '0:ab');
  linkType(l, bytes('cd')); // never sent
  l.isReady = false;
  linkReady(l, R({ inputReceived: 50 }));
  assert.equal(send(l), '50:cd');
});

// The bytes of a session: what is typed to INPUT, OUTPUT to the consumer, and
// what goes beside them. The C twin is client/attach_stream.c.
//
// Interrupt characters go to the program in order like any other. One that
// does not fit into the window would wait for a program that does not read:
// it is left out and sent as SIGNAL instead, with a PING behind it. SIGNAL has
// no offset: if the connection ends before that PING is answered it is sent
// once more, so it may then be delivered twice but is never lost.

import { arm, disarm, isArmed, setState } from './course.js';
import type { Course } from './course.js';
import { inputFrame, outputAckFrame, pingFrame, resizeFrame, signalFrame } from './frame.js';
import type { Signal } from './frame.js';
import { legSend } from './leg.js';
import type { Leg } from './leg.js';
import { linkAck, linkConsumed, linkInput, linkInputAcked, linkInputSent, linkOutput, linkRoom, linkSkipped, linkType } from './link.js';
import type { Size } from './reply.js';
import { check } from './way.js';

const CHAR_INTR = 0x03;
const CHAR_QUIT = 0x1c;
const TYPED_MAX = 1 << 20; // bytes kept beyond the window
const SLOW_MS = 2000; // an answer that takes longer is told
const ASK_MS = 1000; // between two PINGs beside what is typed
const NARROW_MS = 100; // a program looks at its size meanwhile

function ready(c: Course): Leg | null {
  return c.link.isReady ? c.leg : null;
}

/** Send all that is due; what a person waits for goes first. */
export function flush(c: Course): void {
  const leg = ready(c);
  if (!leg || c.isOver) return;
  for (const s of c.signalsDue) {
    legSend(leg, signalFrame(s));
    c.signalsSent.add(s);
  }
  if (c.signalsDue.size > 0) {
    c.signalsDue.clear();
    c.signalPing = sendPing(c, leg);
  }
  if (c.size && c.role === 'owner' && !c.end && (c.size.cols !== c.sizeTold?.cols || c.size.rows !== c.sizeTold.rows)) {
    c.sizeTold = c.size;
    legSend(leg, resizeFrame(c.size.cols, c.size.rows));
  }
  const ack = linkAck(c.link);
  if (ack !== null) legSend(leg, outputAckFrame(ack));
  for (let i = linkInput(c.link); i && ready(c) === leg; i = linkInput(c.link)) {
    const frame = inputFrame(i.offset, i.bytes);
    linkInputSent(c.link, i.bytes.length);
    legSend(leg, frame);
  }
}

// --- is the line quick? ---

export function sendPing(c: Course, leg: Leg): number {
  const now = c.host.now();

  if (c.ponged === c.ping) c.pingAt = now;
  c.pingedAt = now;
  c.ping++;
  legSend(leg, pingFrame(c.ping));
  if (!isArmed(c, 'slow')) arm(c, 'slow', SLOW_MS, () => lookSlow(c));
  return c.ping;
}

function lookSlow(c: Course): void {
  const waited = c.host.now() - c.pingAt;

  if (!ready(c) || c.ponged === c.ping || c.end) return;
  if (waited < SLOW_MS) arm(c, 'slow', SLOW_MS - waited, () => lookSlow(c));
  else if (c.state.name === 'attached') setState(c, { name: 'slow', since: c.pingAt });
}

export function onPong(c: Course, value: number): void {
  if (value > c.ping || value <= c.ponged) return;
  c.ponged = value;
  if (value === c.ping) {
    c.rttMs = c.host.now() - c.pingedAt;
    disarm(c, 'slow');
    if (c.state.name === 'slow') setState(c, { name: 'attached' });
  }
  if (c.signalsDue.size === 0 && value >= c.signalPing) c.signalsSent.clear();
}

// --- input ---

export function room(c: Course): number {
  return c.role === 'owner' && !c.end && !c.isOver ? linkRoom(c.link, TYPED_MAX) : 0;
}

/** Take out the interrupts that would wait behind a full window. */
function keepKeys(c: Course, typed: Uint8Array): void {
  const window = c.link.isReady ? c.link.inputWindow : Infinity;
  let from = 0;

  for (let i = 0; i < typed.length; i++) {
    const b = typed[i];
    if ((b !== CHAR_INTR && b !== CHAR_QUIT) || c.link.kept.len + (i - from) < window) continue;
    linkType(c.link, typed.subarray(from, i));
    from = i + 1;
    c.signalsDue.add(b === CHAR_INTR ? 'INT' : 'QUIT');
  }
  linkType(c.link, typed.subarray(from));
}

/** Is anybody there? Whoever types wants to know soon. */
function askSoon(c: Course): void {
  const leg = ready(c);
  const since = c.host.now() - c.pingedAt;

  if (!leg || c.ponged !== c.ping || isArmed(c, 'ask')) return;
  if (since >= ASK_MS) sendPing(c, leg);
  else arm(c, 'ask', ASK_MS - since, () => askSoon(c));
}

/** False: it is not taken, as too much waits already. */
export function type(c: Course, typed: Uint8Array): boolean {
  if (typed.length > room(c)) return false;
  keepKeys(c, typed);
  askSoon(c);
  flush(c);
  return true;
}

export function signal(c: Course, s: Signal): void {
  if (c.role !== 'owner' || c.end || c.isOver) return;
  c.signalsDue.add(s);
  flush(c);
}

export function onInputAck(c: Course, offset: number): void {
  linkInputAcked(c.link, offset);
  flush(c);
  c.on.room?.();
}

export function resize(c: Course, size: Size): void {
  c.size = size;
  disarm(c, 'repaint');
  flush(c);
}

/** Have the screen drawn anew: programs draw when their size is another one,
 * not for being told it. */
export function repaint(c: Course): void {
  const size = c.size;
  if (!size || size.cols <= 2 || c.role !== 'owner' || c.end || isArmed(c, 'repaint')) return;
  c.size = { cols: size.cols - 1, rows: size.rows };
  flush(c);
  arm(c, 'repaint', NARROW_MS, () => resize(c, size));
}

// --- output ---

export function onOutput(c: Course, offset: number, bytes: Uint8Array): void {
  const known = linkOutput(c.link, offset, bytes.length);
  const skipped = linkSkipped(c.link);
  let fresh = bytes.length - known;

  if (skipped > 0) c.on.skipped?.(skipped);
  if (fresh === 0) {
    flush(c);
    return;
  }
  c.on.output(known > 0 ? bytes.subarray(known) : bytes, offset + known, () => {
    linkConsumed(c.link, fresh);
    fresh = 0; // said twice is said once
    flush(c);
    check(c);
  });
}

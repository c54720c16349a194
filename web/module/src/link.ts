// The state of a terminal's two streams over any number of connections: which
// byte of output is wanted next, what may be acknowledged, which typed bytes
// are kept because nobody has acknowledged them, what may be sent, and how
// much was skipped. Pure: no I/O, no clock. The C twin is client/link.c.
//
// Output: `next` is the offset of the next byte wanted, `queued` the bytes
// handed to the consumer and not yet consumed. What was consumed lies below
// next - queued; that alone is acknowledged, and the next connection begins
// there, so nobody holds more than `window` bytes here. Bytes that come twice
// are dropped; a connection is never told of bytes that another one brought
// (`carried`): its server did not send them.
//
// Input: `kept` holds what was typed from offset `base` on; bytes below `sent`
// are under way. A connection's READY says what had arrived: the bytes below
// are dropped, the rest is sent again. Each is applied exactly once.

import { INPUT_BYTES_MAX, ProtocolError } from './frame.js';
import { keptAppend, keptDrop, keptNew, keptSlice } from './kept.js';
import type { Kept } from './kept.js';
import type { Ready } from './reply.js';

export type Role = 'owner' | 'viewer';

/** A viewer's page may fall that far behind; then it attaches anew. */
export const VIEWER_QUEUE_MAX = 8 << 20;

export interface Link {
  role: Role;
  /** On the connection of now; on any. */
  isReady: boolean;
  wasReady: boolean;
  next: number;
  queued: number;
  /** End of what the connection of now has brought. */
  carried: number;
  /** What was told last. */
  acked: number;
  window: number;
  /** Since linkSkipped was asked. */
  skipped: number;
  kept: Kept;
  base: number;
  sent: number;
  /** Highest that ever was under way. */
  sentMax: number;
  inputWindow: number;
}

/** from: the first byte wanted, null = the oldest kept. */
export function linkNew(role: Role, from: number | null): Link {
  return {
    role,
    isReady: false,
    wasReady: from !== null,
    next: from ?? 0,
    queued: 0,
    carried: 0,
    acked: 0,
    window: 0,
    skipped: 0,
    kept: keptNew(),
    base: 0,
    sent: 0,
    sentMax: 0,
    inputWindow: 0,
  };
}

// --- connections ---

/** Where HELLO asks OUTPUT to start; null = the oldest. */
export function linkHello(l: Link): number | null {
  return l.wasReady ? l.next - l.queued : null;
}

/** What had arrived when the connection began decides what is sent again. */
function rebase(l: Link, received: number): void {
  if (received > l.base) {
    // applied, or typed by somebody else meanwhile: what never left here
    // was not, and follows behind it
    const applied = Math.min(received, l.sentMax) - l.base;
    if (applied > 0) keptDrop(l.kept, applied);
  }
  l.base = received;
  l.sent = received;
  l.sentMax = Math.max(l.sentMax, received);
}

/** A connection is READY: from now on this one counts. */
export function linkReady(l: Link, r: Ready): void {
  l.window = r.window;
  l.inputWindow = r.inputWindow;
  if (r.outputFrom > l.next) {
    if (l.wasReady) l.skipped += r.outputFrom - l.next;
    l.next = r.outputFrom;
  }
  // below this the server has no doubt; what is queued here is behind it
  l.acked = l.carried = r.outputFrom;
  rebase(l, r.inputReceived);
  l.isReady = l.wasReady = true;
}

export function linkLost(l: Link): void {
  l.isReady = false;
}

/** Bytes of output nobody will ever see, since asked last. */
export function linkSkipped(l: Link): number {
  const n = l.skipped;
  l.skipped = 0;
  return n;
}

// --- output ---

/** OUTPUT [offset, offset + len) came. Returns how many bytes at its front are
 * known already; the rest now counts as queued. Throws ProtocolError: a gap
 * for an owner, or more than the window allows. */
export function linkOutput(l: Link, offset: number, len: number): number {
  if (offset > l.next && l.role === 'owner') throw new ProtocolError('output is missing');
  if (offset + len > l.acked + l.window && l.role === 'owner')
    throw new ProtocolError('more output than was asked for');
  if (l.queued + len > VIEWER_QUEUE_MAX) throw new ProtocolError('output comes faster than it can be shown');
  if (offset > l.next) {
    l.skipped += offset - l.next;
    l.next = offset;
  }
  l.carried = Math.max(l.carried, offset + len);
  const known = Math.min(l.next - offset, len);
  l.next += len - known;
  l.queued += len - known;
  return known;
}

/** n queued bytes were consumed. */
export function linkConsumed(l: Link, n: number): void {
  l.queued -= n;
}

/** The OUTPUT_ACK that should go out now, or null. It counts as told: when all
 * is consumed, or a quarter of the window is. */
export function linkAck(l: Link): number | null {
  const consumed = Math.min(l.next - l.queued, l.carried);

  if (!l.isReady || consumed <= l.acked) return null;
  if (l.queued > 0 && consumed - l.acked < l.window / 4) return null;
  l.acked = consumed;
  return consumed;
}

// --- input ---

/** How many bytes may be typed now: as many as the window has room for, and
 * `ahead` more that wait here. */
export function linkRoom(l: Link, ahead: number): number {
  return Math.max(0, (l.isReady ? l.inputWindow : 0) + ahead - l.kept.len);
}

/** Keep typed bytes; at most what linkRoom gave. */
export function linkType(l: Link, typed: Uint8Array): void {
  if (l.role === 'owner') keptAppend(l.kept, typed);
}

/** The next INPUT to send: its offset and bytes (borrowed until the next
 * call), or null. */
export function linkInput(l: Link): { offset: number; bytes: Uint8Array } | null {
  if (!l.isReady) return null;
  const waiting = l.base + l.kept.len - l.sent;
  const room = l.inputWindow - (l.sent - l.base);
  const len = Math.min(waiting, room, INPUT_BYTES_MAX);
  if (len <= 0) return null;
  return { offset: l.sent, bytes: keptSlice(l.kept, l.sent - l.base, len) };
}

export function linkInputSent(l: Link, len: number): void {
  l.sent += len;
  l.sentMax = Math.max(l.sentMax, l.sent);
}

/** INPUT_ACK. Throws ProtocolError: beyond what was sent. */
export function linkInputAcked(l: Link, offset: number): void {
  if (offset > l.sent) throw new ProtocolError('input was acknowledged that was never sent');
  if (offset > l.base) {
    keptDrop(l.kept, offset - l.base);
    l.base = offset;
  }
}

/** Has all that was typed been acknowledged? */
export function linkIsIdle(l: Link): boolean {
  return l.kept.len === 0;
}

// One connection to the gateway, from dialling to its close. It looks at
// messages only as far as their form, and at whether the peer is still there;
// what they mean is its owner's. The C twin is client/leg.c.

import { parseFrame, SUBPROTOCOL } from './frame.js';
import type { Frame } from './frame.js';
import type { Host, Socket } from './host.js';
import type { Refusal } from './reply.js';

/** A browser sends no WebSocket pings, so PING does it: a connection that says
 * nothing is asked after 10 s, and dead after 10 more (a laptop that slept, a
 * tunnel). Before READY nothing but HELLO may be sent; the gateway speaks
 * within the life of a token. */
const DIAL_MS = 10000;
const QUIET_MS = 75000; // before READY
const PING_MS = 10000;
const DEAD_MS = 10000;

export interface LegVerbs {
  /** Established: the bytes of HELLO, or null with `why` set. */
  hello(leg: Leg): Uint8Array<ArrayBuffer> | null;
  frame(leg: Leg, f: Frame): void;
  /** It has been silent: send a PING. */
  silent(leg: Leg): void;
  /** The end, once. code 0: it was never established, or broke off here. */
  closed(leg: Leg, code: number, why: string): void;
}

export interface Leg {
  host: Host;
  verbs: LegVerbs;
  socket: Socket | null;
  /** 0 = not established yet. */
  openedAt: number;
  heardAt: number;
  isReady: boolean;
  /** The ERROR that came. */
  error: Refusal | null;
  why: string;
  /** When it is dead if nothing was heard since `askedAt`; 0 = not asked. */
  deadAt: number;
  askedAt: number;
  stopTimer: () => void;
}

function ended(leg: Leg, code: number): void {
  const s = leg.socket;

  if (!s) return;
  leg.stopTimer();
  s.onopen = s.onmessage = s.onclose = s.onerror = null;
  leg.socket = null;
  leg.verbs.closed(leg, leg.openedAt ? code : 0, leg.why);
}

/** End it; `closed` is called before this returns. The peer may be long gone:
 * its side of the close is not waited for. */
export function legClose(leg: Leg, why = ''): void {
  const s = leg.socket;

  if (!s) return;
  leg.why ||= why;
  try {
    s.close(1000);
  } catch {
    // it was closed already
  }
  ended(leg, 0);
}

export function legSend(leg: Leg, bytes: Uint8Array<ArrayBuffer>): void {
  if (!leg.socket || !leg.openedAt) return;
  try {
    leg.socket.send(bytes);
  } catch {
    legClose(leg, 'the connection ended');
  }
}

function arm(leg: Leg, ms: number): void {
  leg.stopTimer();
  leg.stopTimer = leg.host.after(ms, () => look(leg));
}

/** Is it still there? */
function look(leg: Leg): void {
  const now = leg.host.now();

  if (!leg.openedAt) {
    legClose(leg, 'the server cannot be reached');
    return;
  }
  if (!leg.isReady) {
    const left = leg.heardAt + QUIET_MS - now;
    if (left <= 0) legClose(leg, 'the server does not answer');
    else arm(leg, left);
    return;
  }
  if (leg.deadAt && leg.heardAt > leg.askedAt) leg.deadAt = 0;
  if (leg.deadAt && now >= leg.deadAt) {
    legClose(leg, 'nothing was heard from the server');
    return;
  }
  if (!leg.deadAt && now - leg.heardAt >= PING_MS) legAsk(leg, DEAD_MS);
  else arm(leg, Math.max(50, (leg.deadAt || leg.heardAt + PING_MS) - now));
}

/** Is the peer there? It has `ms` to say anything. */
export function legAsk(leg: Leg, ms: number): void {
  const now = leg.host.now();

  if (!leg.socket || !leg.isReady) return;
  if (leg.deadAt && leg.heardAt <= leg.askedAt) {
    leg.deadAt = Math.min(leg.deadAt, now + ms);
  } else {
    leg.askedAt = now;
    leg.deadAt = now + ms;
    leg.verbs.silent(leg);
  }
  arm(leg, Math.max(50, leg.deadAt - now));
}

/** READY came: from now on it is looked after by PING. */
export function legReady(leg: Leg): void {
  leg.isReady = true;
  arm(leg, PING_MS);
}

function opened(leg: Leg): void {
  leg.openedAt = leg.heardAt = leg.host.now();
  const hello = leg.verbs.hello(leg);
  if (!hello) {
    legClose(leg);
    return;
  }
  legSend(leg, hello);
  arm(leg, QUIET_MS);
}

function message(leg: Leg, data: unknown): void {
  leg.heardAt = leg.host.now();
  try {
    if (!(data instanceof ArrayBuffer)) throw new Error('the server sent text');
    leg.verbs.frame(leg, parseFrame(data));
  } catch (e) {
    // also a consumer that throws: its state would be anybody's guess
    legClose(leg, e instanceof Error ? e.message : String(e));
  }
}

/** Start dialling; every outcome comes by `closed`, never before this returns. */
export function legNew(host: Host, url: string, verbs: LegVerbs): Leg {
  const leg: Leg = {
    host,
    verbs,
    socket: null,
    openedAt: 0,
    heardAt: 0,
    isReady: false,
    error: null,
    why: '',
    deadAt: 0,
    askedAt: 0,
    stopTimer: () => {},
  };
  const s = (leg.socket = host.dial(url, SUBPROTOCOL));

  s.binaryType = 'arraybuffer';
  s.onopen = () => opened(leg);
  s.onmessage = (event) => message(leg, event.data);
  s.onclose = (event) => {
    leg.why ||= event.reason.slice(0, 128);
    ended(leg, event.code);
  };
  s.onerror = () => {}; // onclose follows
  arm(leg, DIAL_MS);
  return leg;
}

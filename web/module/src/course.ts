// Between attach.ts (a session's course), way.ts (its connections) and
// stream.ts (its bytes): what they share.

import type { Signal } from './frame.js';
import type { Host } from './host.js';
import type { Leg } from './leg.js';
import { linkNew } from './link.js';
import type { Link, Role } from './link.js';
import type { End, Ready, Size, Stage } from './reply.js';
import type { Retry } from './retry.js';
import type { TicketProvider } from './tickets.js';

export type State =
  /** No connection has been READY yet. */
  | { name: 'connecting' }
  | { name: 'attached' }
  /** Attached, but an answer takes longer than 2 s. */
  | { name: 'slow'; since: number }
  /** No connection; it is tried again. The program goes on. since, retryAt: as Date.now() has it; retryAt 0 = a try is under way. */
  | { name: 'lost'; since: number; why: string; retryAt: number; isOffline: boolean }
  /** Attached elsewhere, which took over: only takeBack() comes again. */
  | { name: 'replaced' }
  /** The session is over. */
  | { name: 'ended'; end: End }
  /** Refused for good. code: the protocol's word, or "ticket", "protocol". */
  | { name: 'failed'; code: string; message: string }
  /** close() was called. */
  | { name: 'closed' };

export interface Events {
  state?(state: State): void;
  ready?(ready: Ready): void;
  stage?(stage: Stage): void;
  /** Bytes of the terminal, from this offset. Call consumed() once they are
   * shown (the callback of xterm.js' write): that alone is acknowledged. */
  output(bytes: Uint8Array, offset: number, consumed: () => void): void;
  /** Bytes of output that will never come, as nobody fetched them in time. */
  skipped?(bytes: number): void;
  /** The terminal's size is another now (told to viewers). */
  resized?(size: Size): void;
  /** More can be typed than before. */
  room?(): void;
}

export interface Course {
  host: Host;
  role: Role;
  tickets: TicketProvider;
  on: Events;
  link: Link;
  state: State;
  legs: Set<Leg>;
  /** Carries data; and what is to take over: the first, one after a loss, one after MOVE. */
  leg: Leg | null;
  next: Leg | null;
  /** A ticket is being fetched: what calls that off. */
  fetching: AbortController | null;
  token: string;
  retry: Retry;
  /** Why the last try failed; when the connection was lost, 0 = it is not. */
  last: string;
  lostAt: number;
  retryAt: number;
  /** A HELLO of ours went out while `leg` carried: if that is replaced now it was by us. */
  hasRival: boolean;
  isOver: boolean;
  end: End | null;
  /** The end is the record's: nobody knows better. */
  isRecorded: boolean;
  isAsking: boolean;
  size: Size | null;
  sizeTold: Size | null;
  signalsDue: Set<Signal>;
  signalsSent: Set<Signal>;
  /** PINGs: value of the last, of the last answered, of the one behind the signals; when the oldest unanswered went out. */
  ping: number;
  ponged: number;
  signalPing: number;
  pingAt: number;
  pingedAt: number;
  rttMs: number;
  stop: { pause(): void; tell(): void; slow(): void; ask(): void; verdict(): void; repaint(): void; watch(): void };
}

const nothing = () => {};

export function courseNew(host: Host, role: Role, tickets: TicketProvider, on: Events, from: number | null): Course {
  return {
    host,
    role,
    tickets,
    on,
    link: linkNew(role, from),
    state: { name: 'connecting' },
    legs: new Set(),
    leg: null,
    next: null,
    fetching: null,
    token: '',
    retry: { step: 0 },
    last: '',
    lostAt: 0,
    retryAt: 0,
    hasRival: false,
    isOver: false,
    end: null,
    isRecorded: false,
    isAsking: false,
    size: null,
    sizeTold: null,
    signalsDue: new Set(),
    signalsSent: new Set(),
    ping: 0,
    ponged: 0,
    signalPing: 0,
    pingAt: 0,
    pingedAt: 0,
    rttMs: -1,
    stop: { pause: nothing, tell: nothing, slow: nothing, ask: nothing, verdict: nothing, repaint: nothing, watch: nothing },
  };
}

export function setState(c: Course, state: State): void {
  c.state = state;
  c.on.state?.(state);
}

/** Arm one of the course's timers; an older one of that name is called off. */
export function arm(c: Course, which: keyof Course['stop'], ms: number, run: () => void): void {
  c.stop[which]();
  c.stop[which] = c.host.after(ms, () => {
    c.stop[which] = nothing;
    run();
  });
}

export function disarm(c: Course, which: keyof Course['stop']): void {
  c.stop[which]();
  c.stop[which] = nothing;
}

export function isArmed(c: Course, which: keyof Course['stop']): boolean {
  return c.stop[which] !== nothing;
}

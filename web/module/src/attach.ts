// One user at one session: a terminal on this side, the gateway on the other,
// over as many connections as it takes. What ends it:
//
//   EXIT or session_ended     state "ended"
//   replaced                  state "replaced"; never answered by attaching
//                             again, but for takeBack()
//   denied, no such session   state "failed"
//   close()                   state "closed"; the session goes on
//
// All else is tried again for as long as the page is open.

import { courseNew, disarm } from './course.js';
import type { Course, Events, State } from './course.js';
import { CELLS_MAX, endFrame } from './frame.js';
import type { Signal } from './frame.js';
import { browserHost } from './host.js';
import type { Host } from './host.js';
import { legSend } from './leg.js';
import { linkIsIdle } from './link.js';
import type { Role } from './link.js';
import type { Size } from './reply.js';
import { repaint, resize, room, signal, type } from './stream.js';
import type { TicketProvider } from './tickets.js';
import { begin, hurry, leave, offline } from './way.js';

export interface AttachOptions extends Events {
  /** Where session tokens come from; asked for every attachment. */
  tickets: TicketProvider;
  /** Default: owner. A viewer sees all and can send nothing. */
  role?: Role;
  /** The terminal's size (an owner's wish). */
  size?: Size;
  /** The first byte of output wanted, when this page has shown those before it. Default: the oldest kept. */
  outputFrom?: number;
  /** For Node before 22. */
  WebSocket?: new (url: string, protocol: string) => unknown;
  /** For tests. */
  host?: Host;
}

export interface Attachment {
  readonly state: State;
  /** Where the next byte that is not consumed yet stands: what a later attachment gives as outputFrom. */
  readonly offset: number;
  /** Bytes that type() would take now. */
  readonly room: number;
  /** Has everything typed been accepted by the program's terminal? */
  readonly isIdle: boolean;
  /** Milliseconds of the last PING's way and back; -1 = none came yet. */
  readonly rttMs: number;
  /** Type text, or bytes. Kept until the server has acknowledged it, sent again
   * where it must. False: nothing was taken (a viewer; over; longer than `room`). */
  type(typed: string | Uint8Array): boolean;
  /** The terminal has another size. */
  resize(cols: number, rows: number): void;
  /** Have the program draw its screen anew. */
  repaint(): void;
  signal(signal: Signal): void;
  /** End the session. False: there is no connection; DELETE it at the controller. */
  end(): boolean;
  /** After "replaced" or "failed": attach again, and take over. */
  takeBack(): void;
  /** Try now, not later. */
  retryNow(): void;
  /** Leave; the session goes on. */
  close(): void;
}

function cells(n: number): number {
  return Math.max(1, Math.min(CELLS_MAX, Math.floor(n) || 1));
}

function controls(c: Course): Attachment {
  return {
    get state() {
      return c.state;
    },
    get offset() {
      return c.link.next - c.link.queued;
    },
    get room() {
      return room(c);
    },
    get isIdle() {
      return linkIsIdle(c.link);
    },
    get rttMs() {
      return c.rttMs;
    },
    type: (typed) => type(c, typeof typed === 'string' ? new TextEncoder().encode(typed) : typed),
    resize: (cols, rows) => resize(c, { cols: cells(cols), rows: cells(rows) }),
    repaint: () => repaint(c),
    signal: (s) => signal(c, s),
    end() {
      if (!c.leg || !c.link.isReady || c.role !== 'owner') return false;
      legSend(c.leg, endFrame());
      return c.leg !== null;
    },
    takeBack() {
      if (c.state.name === 'replaced' || c.state.name === 'failed') begin(c);
    },
    retryNow: () => hurry(c),
    close() {
      disarm(c, 'watch');
      leave(c, { name: 'closed' });
    },
  };
}

/** Attach to a session. Nothing is called back before this returns. */
export function attach(o: AttachOptions): Attachment {
  const host = o.host ?? browserHost(o.WebSocket);
  const c = courseNew(host, o.role ?? 'owner', o.tickets, o, o.outputFrom ?? null);

  if (o.size) c.size = { cols: cells(o.size.cols), rows: cells(o.size.rows) };
  c.stop.watch = host.watch({ online: () => hurry(c), offline: () => offline(c), shown: () => hurry(c) });
  queueMicrotask(() => {
    if (!c.isOver) begin(c);
  });
  return controls(c);
}

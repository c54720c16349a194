// The way to the gateway: a ticket, a connection, and again when it ends,
// unless what ended it is final. The C twin is client/attach_way.c.

import { arm, disarm, isArmed, setState } from './course.js';
import type { Course, State } from './course.js';
import { helloFrame } from './frame.js';
import type { Frame } from './frame.js';
import { legAsk, legClose, legNew, legReady } from './leg.js';
import type { Leg } from './leg.js';
import { linkHello, linkLost, linkReady, linkSkipped } from './link.js';
import { readError, readExit, readReady, readStage } from './reply.js';
import type { End, Refusal } from './reply.js';
import { retryNext, retryReset } from './retry.js';
import { flush, onInputAck, onOutput, onPong, sendPing } from './stream.js';
import { TicketError } from './tickets.js';

const TELL_MS = 1000; // lost for that long: the user is told
const SETTLED_MS = 5000; // a connection that held that long was good
const VERDICT_MS = 5000; // for the record to say how it ended
const ASK_MS = 500; // between two looks at it
const PROBE_MS = 3000; // the network says it changed: is the peer still there?

// --- the end of it ---

/** Nothing is tried again from here, unless takeBack() begins anew. */
export function leave(c: Course, state: State): void {
  if (c.isOver) return;
  c.isOver = true;
  for (const name of ['pause', 'tell', 'slow', 'ask', 'verdict', 'repaint'] as const) disarm(c, name);
  if (state.name !== 'replaced' && state.name !== 'failed') disarm(c, 'watch');
  c.fetching?.abort();
  c.fetching = null;
  c.token = '';
  linkLost(c.link);
  c.leg = c.next = null;
  for (const leg of [...c.legs]) legClose(leg);
  setState(c, state);
}

/** The program's end is known: all of its output first. */
export function check(c: Course): void {
  if (!c.end || c.isOver || c.isAsking || c.link.queued > 0) return;
  if (c.end.reason === 'runner_lost' && !c.isRecorded) askEnd(c);
  else leave(c, { name: 'ended', end: c.end });
}

function onEnded(c: Course, end: End | null): void {
  const told = end ?? { reason: '', detail: '', missing: 0 };
  const missing = c.link.wasReady ? Math.max(0, (told.outputEnd ?? 0) - c.link.next) : 0;

  c.end = { ...told, missing };
  c.isRecorded = true;
  check(c);
}

/** The agent was left alone, and does not know why; the record soon does. */
function askEnd(c: Course): void {
  c.isAsking = true;
  disarm(c, 'pause');
  arm(c, 'verdict', VERDICT_MS, () => verdict(c, null));
  fetchTicket(c);
}

function verdict(c: Course, end: End | null): void {
  if (end?.reason && c.end) c.end = { ...end, missing: c.end.missing };
  if (c.end) leave(c, { name: 'ended', end: c.end });
}

// --- trying again ---

function tellLost(c: Course): void {
  if (c.leg || c.isOver || !c.lostAt) return;
  setState(c, {
    name: 'lost',
    since: c.lostAt,
    why: c.last,
    retryAt: c.retryAt,
    isOffline: !c.host.isOnline(),
  });
}

function again(c: Course, askedMs: number, why: string): void {
  if (c.isOver) return;
  c.last = why || 'the connection ended';
  if (!c.leg && !c.lostAt) {
    c.lostAt = c.host.now();
    arm(c, 'tell', TELL_MS, () => tellLost(c));
  }
  if (!c.next && !c.fetching && !isArmed(c, 'pause')) {
    const wait = retryNext(c.retry, askedMs, c.host.random());
    c.retryAt = c.host.now() + wait;
    arm(c, 'pause', wait, () => fetchTicket(c));
  }
  if (c.state.name === 'lost') tellLost(c);
}

/** The network came back: now rather than later. */
export function hurry(c: Course): void {
  if (c.isOver) return;
  for (const leg of c.legs) legAsk(leg, PROBE_MS);
  retryReset(c.retry);
  if (isArmed(c, 'pause') && !c.isAsking) fetchTicket(c);
}

export function offline(c: Course): void {
  for (const leg of [...c.legs]) legAsk(leg, PROBE_MS);
  if (c.state.name === 'lost') tellLost(c);
}

/** What a close says on its own, when no ERROR came before it. */
const CLOSES: Readonly<Record<number, string>> = {
  4400: 'bad_request',
  4403: 'denied',
  4409: 'replaced',
  4504: 'start_timeout', // 4410 is not here: the controller knows how it ended
};

function failed(c: Course, leg: Leg, code: number, isByUs: boolean): void {
  const kind = leg.error?.code ?? CLOSES[code] ?? '';
  const message = leg.error?.message || leg.why;

  switch (kind) {
    case 'session_ended':
      onEnded(c, (leg.error as Refusal).end);
      return;
    case 'replaced':
      if (!isByUs) leave(c, { name: 'replaced' });
      else if (!c.next) again(c, 0, ''); // else that is READY soon
      return;
    case 'bad_request':
    case 'denied':
    case 'start_timeout':
      // an older connection carries on as long as it may
      if (!c.leg) leave(c, { name: 'failed', code: kind, message: message || 'the session refused this attachment' });
      return;
    default: // token, busy, agent_lost, unavailable; a close without ERROR
      again(c, leg.error?.retryAfterMs ?? 0, message);
  }
}

// --- connections ---

function hello(c: Course, leg: Leg): Uint8Array<ArrayBuffer> | null {
  const from = linkHello(c.link);
  const isSized = c.role === 'owner' && c.size !== null;
  const frame = helloFrame({
    token: c.token,
    ...(isSized && c.size),
    ...(from !== null && { output_from: from }),
  });

  c.token = ''; // it is used once
  if (isSized && !c.leg) c.sizeTold = c.size; // else that leg may go on alone
  if (c.leg) c.hasRival = true;
  if (!frame) leg.why = 'the session token is too long';
  return frame;
}

function closed(c: Course, leg: Leg, code: number): void {
  const wasLeg = leg === c.leg;
  const wasNext = leg === c.next;
  const isSettled = leg.openedAt > 0 && c.host.now() - leg.openedAt >= SETTLED_MS;

  c.legs.delete(leg);
  if (wasLeg) {
    c.leg = null;
    linkLost(c.link);
  }
  if (wasNext) {
    c.next = null;
    c.token = '';
  }
  if (c.isOver || (!wasLeg && !wasNext)) return; // replaced by a newer one of ours
  if (isSettled) retryReset(c.retry);
  // after EXIT there is nothing to come
  if (wasLeg && c.end) check(c);
  else if (!c.isAsking) failed(c, leg, code, wasLeg && c.hasRival);
}

/** wss, but on this very machine. */
function isDialable(url: string): boolean {
  try {
    const u = new URL(url);
    const isHere = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(u.hostname);
    return (u.protocol === 'wss:' || (u.protocol === 'ws:' && isHere)) && !u.username && !u.password && !u.hash;
  } catch {
    return false;
  }
}

function dial(c: Course, url: string): void {
  if (!isDialable(url)) throw new TicketError('final', 'the address of the gateway is not one of wss://');
  c.next = legNew(c.host, url, {
    hello: (leg) => hello(c, leg),
    frame: (leg, f) => onFrame(c, leg, f),
    silent: (leg) => void (leg === c.leg && sendPing(c, leg)),
    closed: (leg, code) => closed(c, leg, code),
  });
  c.legs.add(c.next);
  if (c.state.name === 'lost') tellLost(c);
}

/** Get a ticket, then dial. */
export function fetchTicket(c: Course): void {
  const call = new AbortController();

  disarm(c, 'pause');
  c.retryAt = 0;
  c.fetching = call;
  Promise.resolve()
    .then(() => c.tickets(call.signal))
    .then((t) => {
      if (c.fetching !== call) return;
      c.fetching = null;
      if (c.isAsking) {
        arm(c, 'pause', ASK_MS, () => fetchTicket(c));
        return;
      }
      c.token = t.token;
      dial(c, t.attachUrl);
    })
    .catch((e: unknown) => {
      if (call.signal.aborted) return; // it was left meanwhile
      c.fetching = null;
      if (!c.isOver) refused(c, e instanceof Error ? e : new Error(String(e)));
    });
}

function refused(c: Course, e: Error): void {
  const kind = e instanceof TicketError ? e.kind : 'passing';

  if (c.isAsking) {
    if (kind === 'passing') arm(c, 'pause', ASK_MS, () => fetchTicket(c));
    else verdict(c, e instanceof TicketError ? e.end : null);
  } else if (kind === 'ended') {
    onEnded(c, (e as TicketError).end);
  } else if (kind === 'final' && !c.leg) {
    leave(c, { name: 'failed', code: 'ticket', message: e.message });
  } else {
    again(c, e instanceof TicketError ? e.retryAfterMs : 0, kind === 'final' ? e.message : 'the server cannot be reached');
  }
}

// --- messages ---

/** The connection is a good one: nothing is lost any more. */
function alive(c: Course): void {
  c.lostAt = 0;
  disarm(c, 'tell');
}

function onReady(c: Course, leg: Leg, text: Uint8Array): void {
  if (leg === c.leg) return; // twice: nothing new
  const r = readReady(text);
  const old = c.leg;

  c.leg = leg;
  c.next = null;
  c.hasRival = false;
  if (old) {
    c.legs.delete(old);
    legClose(old);
    c.sizeTold = null;
  }
  alive(c);
  legReady(leg);
  linkReady(c.link, r);
  c.signalsSent.forEach((s) => c.signalsDue.add(s)); // nobody confirmed them
  c.signalsSent.clear();
  c.ponged = c.ping; // those went another way
  disarm(c, 'slow');
  setState(c, { name: 'attached' });
  c.on.ready?.(r);
  const skipped = linkSkipped(c.link);
  if (skipped > 0) c.on.skipped?.(skipped);
  sendPing(c, leg);
  flush(c);
  c.on.room?.();
}

function onStage(c: Course, text: Uint8Array): void {
  if (!c.link.wasReady) alive(c);
  if (c.state.name === 'lost' && !c.lostAt) setState(c, { name: 'connecting' });
  let stage;
  try {
    stage = readStage(text);
  } catch {
    return; // it is for show only
  }
  c.on.stage?.(stage);
}

function onMove(c: Course): void {
  if (!c.next && !c.fetching && !isArmed(c, 'pause')) fetchTicket(c);
}

function onFrame(c: Course, leg: Leg, f: Frame): void {
  if (c.isOver || (leg !== c.leg && leg !== c.next)) return;
  if (f.type === 'error') {
    leg.error = readError(f.text);
    legClose(leg);
  } else if (f.type === 'stage') {
    onStage(c, f.text);
  } else if (f.type === 'ready') {
    onReady(c, leg, f.text);
  } else if (leg === c.leg) {
    if (f.type === 'output') onOutput(c, f.offset, f.bytes);
    else if (f.type === 'inputAck') onInputAck(c, f.offset);
    else if (f.type === 'pong') onPong(c, f.offset);
    else if (f.type === 'move') onMove(c);
    else if (f.type === 'resized') c.on.resized?.({ cols: f.cols, rows: f.rows });
    else if (f.type === 'exit') {
      c.end = readExit(f.text);
      flush(c);
      check(c);
    }
  }
}

/** Attach again although it was given up, or taken over. */
export function begin(c: Course): void {
  c.isOver = false;
  c.isAsking = false;
  c.hasRival = false;
  c.lostAt = 0;
  retryReset(c.retry);
  setState(c, { name: 'connecting' });
  fetchTicket(c);
}


// A ticket is what one attachment needs: a session token, good for 60 s and
// one use, and where to take it. Whoever embeds a terminal says where tickets
// come from; here is how podterm's controller gives them.

import { parseObject, object, text } from './json.js';
import type { JsonObject } from './json.js';
import { endOfRecord } from './reply.js';
import type { End } from './reply.js';
import type { Role } from './link.js';

export interface Ticket {
  token: string;
  /** ws:// or wss:// */
  attachUrl: string;
}

/** Called for every attachment; never gives the same token twice. What it
 * throws is tried again, unless it is a TicketError that says otherwise. */
export type TicketProvider = (signal: AbortSignal) => Promise<Ticket>;

/** passing: try again; final: it makes no sense; ended: the session is over, `end` says how if it is known. */
export class TicketError extends Error {
  constructor(
    readonly kind: 'passing' | 'final' | 'ended',
    message: string,
    readonly end: End | null = null,
    readonly retryAfterMs = 0,
  ) {
    super(message);
  }
}

const ANSWER_MAX = 1 << 20;
const TICKET_MS = 15000;

/** The body of an answer, with a bound on what is read of it. */
export async function boundedBody(response: Response, max: number): Promise<Uint8Array> {
  const reader = response.body?.getReader();
  const parts: Uint8Array[] = [];
  let len = 0;

  while (reader) {
    const { done, value } = await reader.read();
    if (done) break;
    len += value.length;
    if (len > max) {
      await reader.cancel();
      throw new TicketError('final', "the server's answer is too large");
    }
    parts.push(value);
  }
  const all = new Uint8Array(len);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function refused(status: number, retryAfter: string | null, problem: JsonObject): TicketError {
  const detail = text(problem, 'detail', 512) || `the server answered ${status}`;
  const session = object(problem, 'session');
  const wait = Number(retryAfter);

  if (status === 409) return new TicketError('ended', detail, session ? endOfRecord(session) : null);
  if (status === 404) return new TicketError('final', 'there is no such session, or it is not open to you');
  if (status >= 500 || status === 429)
    return new TicketError('passing', detail, null, Number.isFinite(wait) && wait > 0 ? wait * 1000 : 0);
  return new TicketError('final', detail);
}

export interface ControllerTickets {
  /** The controller, without a slash at its end; "" = where the page is from. */
  controller?: string;
  sessionId: string;
  role?: Role;
  /** An identity token for the header Authorization; a fresh one when that
   * given last was refused. */
  identity(isRefused: boolean, signal: AbortSignal): Promise<string>;
  /** Of the answer to POST /api/sessions: used for the first attachment. */
  first?: Ticket | null;
}

async function ask(o: ControllerTickets, isRefused: boolean, signal: AbortSignal): Promise<Response> {
  return fetch(`${o.controller ?? ''}/api/sessions/${encodeURIComponent(o.sessionId)}/token`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await o.identity(isRefused, signal)}`, 'content-type': 'application/json' },
    body: JSON.stringify({ role: o.role ?? 'owner' }),
    credentials: 'omit',
    redirect: 'error',
    referrerPolicy: 'no-referrer',
    cache: 'no-store',
    signal,
  });
}

/** Tickets from podterm's controller: POST /api/sessions/{id}/token. */
export function controllerTickets(o: ControllerTickets): TicketProvider {
  let first = o.first ?? null;

  return async (signal) => {
    const ready = first;
    first = null;
    if (ready) return ready;
    const limit = new AbortController();
    const stop = () => limit.abort();
    const timer = setTimeout(stop, TICKET_MS);
    signal.addEventListener('abort', stop);
    try {
      let response = await ask(o, false, limit.signal);
      if (response.status === 401) response = await ask(o, true, limit.signal);
      const bytes = await boundedBody(response, ANSWER_MAX);
      let answer: JsonObject = {};
      try {
        answer = parseObject(bytes, 'answer');
      } catch (e) {
        if (response.ok) throw e;
      }
      if (!response.ok) throw refused(response.status, response.headers.get('retry-after'), answer);
      const token = text(answer, 'token', 8192);
      const attachUrl = text(answer, 'attach_url', 2048);
      if (!token || !attachUrl) throw new TicketError('final', 'the server gave no session token');
      return { token, attachUrl };
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
    }
  };
}

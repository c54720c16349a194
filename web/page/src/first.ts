// What the answer to "make a session" brought: its first token saves the
// terminal a way. In memory alone, and used once.

import type { Ticket } from '../../module/src/index.js';
import type { Session } from './api.js';

const kept = new Map<string, Ticket>();
const made = new Set<string>();

export function keepFirst(s: Session): void {
  made.add(s.id);
  if (s.token) kept.set(s.id, { token: s.token, attachUrl: s.attach_url });
}

export function takeFirst(id: string): Ticket | null {
  const ticket = kept.get(id) ?? null;
  kept.delete(id);
  return ticket;
}

/** Did this page make it, and attach to it before anybody else? Once. */
export function isNew(id: string): boolean {
  return made.delete(id);
}

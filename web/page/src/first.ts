// What the answer to "make a session" brought: its first token saves the
// terminal a way. In memory alone, and used once.

import type { Ticket } from '../../module/src/index.js';
import type { Session } from './api.js';

const kept = new Map<string, Ticket>();

export function keepFirst(s: Session): void {
  if (s.token) kept.set(s.id, { token: s.token, attachUrl: s.attach_url });
}

export function takeFirst(id: string): Ticket | null {
  const ticket = kept.get(id) ?? null;
  kept.delete(id);
  return ticket;
}

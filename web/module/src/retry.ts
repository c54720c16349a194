// When to try again: 100 ms, doubling to 5 s, with jitter so that many pages
// of one gateway do not come back in step. Pure. The C twin is client/retry.c.

const FIRST_MS = 100;
const MAX_MS = 5000;
const ASKED_MAX_MS = 60000; // a server may ask for that much

export interface Retry {
  step: number;
}

/** Milliseconds to wait now: between half of the step and the whole of it, at
 * least askedMs (what the server asked for). random: 0 <= random < 1. */
export function retryNext(r: Retry, askedMs: number, random: number): number {
  const step = Math.min(FIRST_MS * 2 ** r.step, MAX_MS);
  const wait = step / 2 + Math.floor(random * (step / 2 + 1));
  const asked = Math.min(askedMs, ASKED_MAX_MS);

  if (step < MAX_MS) r.step++;
  // all who were told the same time must not come back at once
  return asked > wait ? asked + (wait % FIRST_MS) : wait;
}

/** A connection held: start over. */
export function retryReset(r: Retry): void {
  r.step = 0;
}

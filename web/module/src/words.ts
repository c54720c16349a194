// How a session ended, in words. The C twin is reply_sentence in client/reply.c.

import { plain } from './plain.js';
import type { End } from './reply.js';

const WHY: Readonly<Record<string, string>> = {
  deleted: 'The session was ended by its owner.',
  idle: 'The session was ended: nothing happened in it for too long.',
  lifetime: 'The session was ended: its lifetime is over.',
  bundle_refused: 'The bundle was refused.',
  start_failed: 'The program could not be started.',
  out_of_memory: 'The program was ended: it used too much memory.',
  evicted: 'The session was ended: the platform needed its place.',
  runner_lost: 'The session was lost: the machine or container it ran in is gone.',
};

const SIGNAL_NAMES: Readonly<Record<number, string>> = {
  1: 'hangup',
  2: 'interrupt',
  3: 'quit',
  4: 'illegal instruction',
  6: 'aborted',
  7: 'bus error',
  8: 'arithmetic error',
  9: 'killed',
  11: 'segmentation fault',
  13: 'broken pipe',
  14: 'alarm',
  15: 'terminated',
};

export function endSentence(end: End): string {
  if (end.reason === 'exited' && end.code !== undefined)
    return end.code === 0 ? 'The program has ended (exit code 0).' : `The program ended with exit code ${end.code}.`;
  if (end.reason === 'signalled' && end.signal !== undefined) {
    const name = SIGNAL_NAMES[end.signal];
    return `The program was ended by signal ${end.signal}${name ? ` (${name})` : ''}.`;
  }
  if (Object.prototype.hasOwnProperty.call(WHY, end.reason)) return WHY[end.reason] as string;
  return `The session has ended (${end.reason ? plain(end.reason, 32) : 'no reason was told'}).`;
}

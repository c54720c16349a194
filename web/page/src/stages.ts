// What happens while a session starts, as it happens, with its times.

import { plain } from '../../module/src/index.js';
import type { Stage } from '../../module/src/index.js';
import { el } from './dom.js';
import { bytes } from './format.js';

/** What is said while it goes on, and when it is done. */
const NAMES: Readonly<Record<string, [string, string]>> = {
  admitted: ['Request', 'Request accepted'],
  scheduled: ['Looking for a place', 'Place found'],
  pulled: ['Getting the runner', 'Runner ready'],
  fetch: ['Fetching the bundle', 'Bundle fetched'],
  verified: ['Verifying it', 'Checksum verified'],
  unpacked: ['Unpacking it', 'Bundle unpacked'],
  started: ['Starting the program', 'Program started'],
};
const MAX = 32;

export interface Stages {
  node: HTMLElement;
  add(stage: Stage): void;
  /** The last of them in a line. */
  line(): string;
  isStarted(): boolean;
  /** It went no further: why. */
  failed(title: string, why: string): void;
}

function label(s: Stage): string {
  const names = Object.prototype.hasOwnProperty.call(NAMES, s.stage) ? NAMES[s.stage] : undefined;
  return names ? names[s.state === 'done' ? 1 : 0] : plain(s.stage, 32);
}

function row(s: Stage): HTMLElement {
  const isKnown = ['running', 'done', 'waiting', 'failed'].includes(s.state);
  const percent = s.state === 'running' && s.total && s.done !== undefined ? Math.min(100, Math.floor((100 * s.done) / s.total)) : null;
  return el('li', { class: `stage ${isKnown ? s.state : 'running'}` },
    el('span', { class: 'mark', 'aria-hidden': 'true' }),
    el('span', { class: 'name' }, label(s), s.state === 'failed' ? ' – failed' : s.state === 'waiting' ? ' – waiting' : ''),
    el('span', { class: 'time' }, s.state === 'running' && percent !== null ? `${percent} %` : s.ms > 0 || s.state === 'done' ? `${(s.ms / 1000).toFixed(2)} s` : ''),
    percent !== null ? el('progress', { max: 100, value: percent, 'aria-label': label(s) }) : null,
    s.done !== undefined && s.state !== 'done' ? el('span', { class: 'detail' }, s.total ? `${bytes(s.done)} of ${bytes(s.total)}` : bytes(s.done)) : null,
    s.detail ? el('span', { class: 'detail' }, plain(s.detail)) : null);
}

export function stagesNew(): Stages {
  const list = el('ol', {});
  const heading = el('h2', {}, 'Starting');
  const node = el('section', { class: 'stages', 'aria-label': 'How the session starts' }, heading, list);
  const known = new Map<string, Stage>();

  return {
    node,
    add(s) {
      // a re-attachment repeats them: what is done stays done
      if (known.get(s.stage)?.state === 'done' || (!known.has(s.stage) && known.size >= MAX)) return;
      known.set(s.stage, s);
      list.replaceChildren(...[...known.values()].map(row));
    },
    line() {
      const last = [...known.values()].pop();
      return last ? `${label(last)}${last.state === 'done' ? '' : '…'}` : '';
    },
    failed(title, why) {
      heading.textContent = title;
      list.append(el('li', { class: 'stage failed' }, el('span', { class: 'mark', 'aria-hidden': 'true' }), el('span', { class: 'name' }, why)));
    },
    isStarted: () => known.get('started')?.state === 'done',
  };
}

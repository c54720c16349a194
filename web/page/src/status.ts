// The line below the terminal: what is true of the connection now, in words.
// Seconds count beside it, out of a screen reader's hearing.

import { plain } from '../../module/src/index.js';
import type { Role, State } from '../../module/src/index.js';
import { button, el } from './dom.js';
import { age } from './format.js';

export interface Status {
  node: HTMLElement;
  /** stage: what the start is at; "" = it is over. */
  show(state: State, stage: string): void;
  stop(): void;
}

interface Verbs {
  takeBack(): void;
  retry(): void;
}

function words(state: State, role: Role, stage: string): string {
  switch (state.name) {
    case 'connecting':
      return stage || 'Connecting…';
    case 'attached':
      if (stage) return stage;
      return role === 'viewer' ? 'Connected. You are looking on: nothing you type is sent.' : 'Connected';
    case 'slow':
      return 'The connection is slow. What you type arrives, but late.';
    case 'lost':
      return state.isOffline
        ? 'You are offline. Your program goes on; this window comes back by itself.'
        : 'Connection lost. Your program goes on; trying again.';
    case 'replaced':
      return role === 'viewer' ? 'This attachment was taken over elsewhere.' : 'Taken over in another window. Your program goes on there.';
    case 'ended':
      return 'The session has ended.';
    case 'failed':
      return `Not connected: ${plain(state.message)}`;
    case 'closed':
      return 'Left.';
  }
}

export function statusNew(role: Role, verbs: Verbs): Status {
  const text = el('span', { role: 'status', 'aria-live': 'polite', class: 'words' });
  const counter = el('span', { class: 'count', 'aria-hidden': 'true' });
  const actions = el('span', { class: 'do' });
  const node = el('div', { class: 'status' }, el('span', { class: 'dot', 'aria-hidden': 'true' }), text, counter, actions);
  let timer = 0;

  return {
    node,
    show(state, stage) {
      clearInterval(timer);
      node.dataset['state'] = state.name;
      const said = words(state, role, stage);
      if (text.textContent !== said) text.textContent = said;
      counter.textContent = '';
      actions.replaceChildren();
      if (state.name === 'lost') {
        const count = () => (counter.textContent = age(Date.now() - state.since));
        count();
        timer = setInterval(count, 1000) as unknown as number;
        counter.title = plain(state.why);
        actions.append(button('Try now', verbs.retry));
      } else if (state.name === 'replaced') {
        actions.append(button('Take it back', verbs.takeBack, { class: 'primary' }));
      } else if (state.name === 'failed') {
        actions.append(button('Try again', verbs.takeBack), el('a', { class: 'button', href: '#/' }, 'Sessions'));
      }
    },
    stop: () => clearInterval(timer),
  };
}

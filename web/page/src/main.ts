// The page: which screen, by the address' fragment.
//   #/            one's sessions        #/start         a new one
//   #/session/ID  one's own terminal    #/watch/ID      somebody else's, to look on

import { ApiError, loadConfig, name, signOut } from './api.js';
import type { Config } from './api.js';
import { button, el, toast } from './dom.js';
import { SESSION_ID } from './format.js';
import { sessionsScreen } from './sessions.js';
import { signInScreen } from './signin.js';
import { startScreen } from './start.js';
import { terminalScreen } from './terminal.js';

/** Fills the page; returns what clears up behind it. */
export type Screen = (root: HTMLElement) => () => void;

const root = document.getElementById('app') as HTMLElement;
let leave = () => {};

function choose(config: Config): Screen {
  const [, where = '', id = ''] = location.hash.split('/');
  if (!name()) return signInScreen(config, () => show(config));
  if (SESSION_ID.test(id) && (where === 'session' || where === 'watch')) return terminalScreen(id, where === 'watch' ? 'viewer' : 'owner');
  if (where === 'start') return startScreen(config);
  if (where) {
    history.replaceState(null, '', '#/');
    toast('That address leads to no session. These are yours.');
  }
  return sessionsScreen(config, () => {
    signOut();
    location.hash = '#/';
    show(config);
  });
}

function show(config: Config): void {
  leave();
  root.replaceChildren();
  document.querySelectorAll('dialog').forEach((d) => d.remove());
  document.title = 'podterm';
  leave = choose(config)(root);
  // what had the focus is gone: keyboard and screen reader go on at the top
  const title = root.querySelector('h1');
  if (title && document.activeElement === document.body) {
    title.tabIndex = -1;
    title.focus();
  }
}

async function begin(): Promise<void> {
  root.replaceChildren(el('p', { class: 'wait', role: 'status' }, 'Loading…'));
  try {
    const config = await loadConfig();
    show(config);
    addEventListener('hashchange', () => show(config));
  } catch (e) {
    const why = e instanceof ApiError ? e.message
      : (e as Error).name === 'SecurityError' ? 'The browser lets this page keep nothing. Allow site data (cookies) for this address, then try again.'
      : 'The page could not be started.';
    root.replaceChildren(el('main', { class: 'card' }, el('h1', {}, 'podterm'), el('p', { role: 'alert' }, why), button('Try again', () => void begin(), { class: 'primary' })));
  }
}

void begin();

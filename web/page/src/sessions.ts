// One's sessions: what runs, what ended and how; open, share, end, once more.

import { endOfRecord, endSentence, plain } from '../../module/src/index.js';
import { ApiError, endSession, listSessions, name } from './api.js';
import type { Config, Session } from './api.js';
import { ask, button, el } from './dom.js';
import { age, programOf, sentence } from './format.js';
import type { Screen } from './main.js';
import { shareDialog } from './share.js';
import { startAgain } from './start.js';
import { themeButton } from './theme.js';

const REFRESH_MS = 4000;

const STATES: Readonly<Record<string, string>> = { pending: 'waiting for a place', starting: 'starting', running: 'running', ended: 'ended' };

function stateOf(s: Session): string {
  if (s.ending && s.state !== 'ended') return 'ending';
  return STATES[s.state] ?? plain(s.state, 32);
}

function howItEnded(s: Session): string {
  const end = endOfRecord(s as unknown as Record<string, unknown>);
  return end ? endSentence(end) : '';
}

/** Nothing went wrong that its owner did not ask for. */
function isFine(s: Session): boolean {
  return s.reason === 'deleted' || (s.reason === 'exited' && s.exit_code === 0);
}

/** Age of what runs; of what ended, how long it ran. */
function times(s: Session): string {
  const made = Date.parse(s.created_at);
  if (s.state !== 'ended') return `${age(Date.now() - made)} old`;
  const ended = Date.parse(s.ended_at ?? s.created_at);
  return `${age(Date.now() - ended)} ago, after ${age(ended - Date.parse(s.started_at ?? s.created_at))}`;
}

interface Verbs {
  refresh(): void;
  fail(e: unknown): void;
}

async function end(s: Session, v: Verbs): Promise<void> {
  const isSure = await ask('End this session?', [el('p', {}, `${plain(programOf(s.bundle.url), 80)} is told to stop, and what it has not saved is gone.`)], 'End session', true);
  if (!isSure) return;
  try {
    await endSession(s.id);
  } catch (e) {
    v.fail(e);
  }
  v.refresh();
}

function row(s: Session, v: Verbs): HTMLElement {
  const isLive = s.state !== 'ended';
  const title = plain(programOf(s.bundle.url), 80);
  const how = howItEnded(s);
  const actions = isLive
    ? [
        el('a', { class: 'button primary', href: `#/session/${s.id}`, 'data-key': `open${s.id}`, 'aria-label': `Open ${title}` }, 'Open'),
        button('Share', () => void shareDialog(s.id).then(v.refresh), { 'data-key': `share${s.id}`, 'aria-label': `Share ${title}` }),
        button('End', () => void end(s, v), { 'data-key': `end${s.id}`, 'aria-label': `End ${title}`, disabled: s.ending === true }),
      ]
    : [button('Start again', () => startAgain(s.bundle), { 'data-key': `again${s.id}`, 'aria-label': `Start ${title} again` })];
  return el('li', { class: `session ${isLive ? 'live' : 'over'}` },
    el('div', { class: 'what' },
      el('h2', {}, title),
      el('p', { class: 'facts' }, el('span', { class: `state ${isLive ? s.state : isFine(s) ? 'ended' : 'bad'}` }, stateOf(s)), ` ${times(s)}`),
      how ? el('p', {}, how, s.detail ? ` ${sentence(plain(s.detail, 300))}` : '') : null,
      s.viewers?.length ? el('p', { class: 'facts' }, `open to ${s.viewers.map((x) => plain(x, 60)).join(', ')}`) : null,
      el('p', { class: 'url' }, plain(s.bundle.url, 200))),
    el('div', { class: 'do' }, ...actions));
}

export function sessionsScreen(config: Config, signOut: () => void): Screen {
  return (root) => {
    const list = el('ul', { class: 'sessions' });
    const wrong = el('p', { class: 'wrong', role: 'alert' });
    const more = button('Show older ones', () => void older(), { class: 'more', hidden: true });
    let cursor = '';
    let olderOnes: Session[] = [];
    let shown = '';
    let isGone = false;
    let timer = 0;

    const draw = (sessions: Session[]) => {
      const key = JSON.stringify([sessions, Math.floor(Date.now() / 30000)]);
      if (key === shown) return;
      shown = key;
      // what has the focus keeps it
      const focus = document.activeElement instanceof HTMLElement ? document.activeElement.dataset['key'] : undefined;
      list.replaceChildren(...sessions.map((s) => row(s, verbs)));
      if (sessions.length === 0) list.append(el('li', { class: 'none' }, 'No sessions yet. ', el('a', { href: '#/start' }, 'Start one.')));
      if (focus) list.querySelector<HTMLElement>(`[data-key="${CSS.escape(focus)}"]`)?.focus();
    };
    const refresh = async () => {
      clearTimeout(timer);
      if (isGone) return;
      try {
        if (document.visibilityState === 'visible') {
          const page = await listSessions('');
          if (isGone) return;
          if (olderOnes.length === 0) cursor = page.next_cursor ?? '';
          more.hidden = !cursor;
          const first = new Set(page.sessions.map((s) => s.id));
          draw([...page.sessions, ...olderOnes.filter((s) => !first.has(s.id))]);
          wrong.textContent = '';
        }
      } catch (e) {
        verbs.fail(e);
      }
      timer = setTimeout(() => void refresh(), REFRESH_MS) as unknown as number;
    };
    const older = async () => {
      try {
        const page = await listSessions(cursor);
        olderOnes = [...olderOnes, ...page.sessions];
        cursor = page.next_cursor ?? '';
        void refresh();
      } catch (e) {
        verbs.fail(e);
      }
    };
    const verbs: Verbs = { refresh: () => void refresh(), fail: (e) => void (wrong.textContent = e instanceof ApiError ? e.message : 'The server gave a list that is not what was agreed.') };
    const looked = () => void refresh();

    document.addEventListener('visibilitychange', looked);
    root.append(
      el('header', { class: 'top' }, el('h1', {}, 'Sessions'),
        el('div', { class: 'do' }, el('span', { class: 'who' }, `signed in as ${plain(name(), 60)}`), themeButton(), button('Sign out', signOut))),
      el('main', { class: 'page' }, el('p', {}, el('a', { class: 'button primary', href: '#/start' }, 'Start a session')), wrong, list, more),
      el('footer', { class: 'foot' }, `podterm ${plain(config.version ?? '', 30)} · ${plain(config.installation ?? '', 60)}`),
    );
    void refresh();
    return () => {
      isGone = true;
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', looked);
    };
  };
}

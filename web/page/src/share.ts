// Who else may look on: names, and the address to give them.

import { plain } from '../../module/src/index.js';
import { getSession, setViewers } from './api.js';
import { button, dialog, el, field, toast } from './dom.js';

const VIEWERS_MAX = 8;
const PENDING_MS = 1500;

export async function copyText(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${what} copied.`);
  } catch {
    toast('The browser did not allow copying. Select the text and use its own copy command.');
  }
}

/** Ends when the dialog is closed. */
export function shareDialog(id: string): Promise<void> {
  return new Promise((resolve) => {
    const link = `${location.origin}${location.pathname}#/watch/${id}`;
    const list = el('ul', { class: 'viewers' });
    const wrong = el('p', { class: 'wrong', role: 'alert' });
    const input = el('input', { maxlength: 255, autocapitalize: 'none', spellcheck: 'false', autocomplete: 'off' });
    const address = el('input', { readonly: true, value: link, class: 'mono', click: () => address.select() });
    let viewers: string[] = [];

    const draw = (isPending: boolean) => {
      list.replaceChildren(...viewers.map((v) => el('li', {}, el('span', {}, plain(v, 80)), button('Remove', () => void set(viewers.filter((x) => x !== v)), { 'aria-label': `Remove ${plain(v, 80)}` }))));
      if (viewers.length === 0) list.append(el('li', { class: 'none' }, 'Nobody else may look on.'));
      if (isPending) list.append(el('li', { class: 'hint' }, 'The session has not heard of this change yet; it is told as soon as it can be.'));
    };
    const set = async (next: string[]) => {
      wrong.textContent = '';
      try {
        const s = await setViewers(id, next);
        viewers = s.viewers ?? [];
        draw(false);
        // it is told at once, as a rule: only what takes longer is worth a word
        if (s.viewers_pending) setTimeout(() => void look(), PENDING_MS);
      } catch (e) {
        wrong.textContent = (e as Error).message;
      }
    };
    const look = async () => {
      if (!d.open) return;
      const s = await getSession(id).catch(() => null);
      if (!s) return;
      viewers = s.viewers ?? [];
      draw(s.viewers_pending === true);
      if (s.viewers_pending) setTimeout(() => void look(), PENDING_MS);
    };
    const add = (event: Event) => {
      event.preventDefault();
      const who = input.value.trim();
      if (!who || viewers.includes(who)) return;
      if (viewers.length >= VIEWERS_MAX) {
        wrong.textContent = `At most ${VIEWERS_MAX} people may look on.`;
        return;
      }
      input.value = '';
      void set([...viewers, who]);
    };
    const d = dialog('Share this session',
      [
        el('p', {}, 'They see the terminal as you do, and can type nothing.'),
        list,
        el('form', { submit: add }, field('Name they sign in with', input), el('button', { type: 'submit' }, 'Add')),
        wrong,
        field('Address for them', address, 'It opens for these names alone.'),
      ],
      [button('Copy address', () => void copyText(link, 'Address')), button('Done', () => d.close(), { class: 'primary' })],
      () => resolve());
    input.focus();
    getSession(id).then(
      (s) => {
        viewers = s.viewers ?? [];
        draw(s.viewers_pending === true);
      },
      (e: unknown) => void (wrong.textContent = (e as Error).message),
    );
  });
}

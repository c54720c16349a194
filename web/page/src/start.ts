// A new session: which bundle, what of it, with what environment.

import { ApiError, createSession } from './api.js';
import type { Config, Session } from './api.js';
import { el, field } from './dom.js';
import { readEnv, splitWords } from './format.js';
import type { Screen } from './main.js';
import { keepFirst } from './first.js';
import { themeButton } from './theme.js';

let again: Session['bundle'] | null = null;

/** To the form, with this bundle in it. */
export function startAgain(bundle: Session['bundle']): void {
  again = bundle;
  location.hash = '#/start';
}

/** Of this window, nearly: the terminal says it exactly once it is there. */
function guessSize(): { cols: number; rows: number } {
  const cells = (px: number, of: number, least: number) => Math.max(least, Math.min(1000, Math.floor(px / of)));
  return { cols: cells(innerWidth - 24, 8.45, 20), rows: cells(innerHeight - 110, 17, 5) };
}

export function startScreen(config: Config): Screen {
  return (root) => {
    const bundle = again ?? config.bundle;
    again = null;
    const url = el('input', { required: true, maxlength: 2047, inputmode: 'url', autocapitalize: 'none', spellcheck: 'false', autocomplete: 'off', placeholder: 'https://…/tool-1.2.tar.gz', value: bundle?.url ?? '' });
    const sha = el('input', { required: true, pattern: '\\s*[0-9a-fA-F]{64}\\s*', title: '64 hexadecimal digits, as sha256sum prints them', autocapitalize: 'none', spellcheck: 'false', autocomplete: 'off', class: 'mono', value: bundle?.sha256 ?? '' });
    const command = el('input', { autocapitalize: 'none', spellcheck: 'false', autocomplete: 'off', class: 'mono' });
    const env = el('textarea', { rows: 3, autocapitalize: 'none', spellcheck: 'false', autocomplete: 'off', class: 'mono' });
    const wrong = el('p', { class: 'wrong', role: 'alert' });
    const go = el('button', { type: 'submit', class: 'primary' }, 'Start');
    let key = crypto.randomUUID();

    const submit = async (event: Event) => {
      event.preventDefault();
      wrong.textContent = '';
      go.disabled = true;
      try {
        const words = splitWords(command.value);
        const values = readEnv(env.value);
        const s = await createSession(
          { bundle: { url: url.value.trim(), sha256: sha.value.trim().toLowerCase() }, ...(words.length > 0 && { command: words }), ...(Object.keys(values).length > 0 && { env: values }), ...guessSize() },
          key,
        );
        keepFirst(s);
        location.hash = `#/session/${s.id}`;
      } catch (e) {
        // no answer may mean that it was made: the same key asks for the same
        // session. An answer means another try is another wish.
        if (!(e instanceof ApiError) || e.status !== 0) key = crypto.randomUUID();
        wrong.textContent = (e as Error).message;
        go.disabled = false;
      }
    };
    const changed = () => (key = crypto.randomUUID());
    const form = el('form', { submit: (event: Event) => void submit(event), input: changed },
      field('Bundle', url, 'The address of an archive: tar.gz, tar.xz, tar.zst or zip. It is fetched, verified and unpacked; nothing is installed.'),
      field('SHA-256', sha, 'Of that archive. Another one is refused.'),
      el('details', {}, el('summary', {}, 'Command and environment'),
        field('Command', command, 'Instead of what the bundle starts by itself. Words are split as in a shell; quotes hold them together.'),
        field('Environment', env, 'NAME=VALUE, one a line. The program can read it; it is kept nowhere.')),
      wrong,
      el('div', { class: 'actions' }, el('a', { class: 'button', href: '#/' }, 'Cancel'), go));

    root.append(
      el('header', { class: 'top' }, el('h1', {}, 'Start a session'), el('div', { class: 'do' }, themeButton())),
      el('main', { class: 'page' }, form),
    );
    (bundle ? go : url).focus();
    return () => {};
  };
}

// Who are you? In `podterm dev` a name is enough: it answers this machine's
// own user alone.

import { lastName, signIn } from './api.js';
import type { Config } from './api.js';
import { el, field } from './dom.js';
import type { Screen } from './main.js';

export function signInScreen(config: Config, done: () => void): Screen {
  return (root) => {
    const isDev = config.sign_in.kind === 'dev';
    const input = el('input', { name: 'name', required: true, maxlength: 128, pattern: '[!-~]+', title: 'letters, digits and signs, without spaces', autocomplete: 'username', autocapitalize: 'none', spellcheck: 'false', value: lastName() || 'me' });
    const wrong = el('p', { class: 'wrong', role: 'alert' });
    const go = el('button', { type: 'submit', class: 'primary' }, 'Sign in');
    const submit = async (event: Event) => {
      event.preventDefault();
      go.disabled = true;
      wrong.textContent = '';
      try {
        await signIn(input.value);
        done();
      } catch (e) {
        wrong.textContent = (e as Error).message;
        go.disabled = false;
        input.focus();
      }
    };
    root.append(
      el('main', { class: 'card' },
        el('h1', {}, 'podterm'),
        el('p', { class: 'lead' }, 'A terminal on a program that runs alone.'),
        isDev
          ? el('form', { submit: (event: Event) => void submit(event) },
              field('Your name', input, 'Development: any name will do. It is who owns the sessions you start.'), wrong, go)
          : el('p', { role: 'alert' }, 'This installation has no sign-in for this page. In a shell, ', el('code', {}, 'podterm run'), ' works with its identity command.')),
    );
    if (isDev) input.select();
    return () => {};
  };
}

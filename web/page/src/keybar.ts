// The keys a phone lacks. Ctrl and Alt hold for the next key.

import type { Terminal } from '@xterm/xterm';
import { button, el } from './dom.js';

export interface KeyBar {
  node: HTMLElement;
  /** What is typed, with Ctrl and Alt as they are held. */
  apply(typed: string): string;
}

const ARROWS: readonly (readonly [string, string, string])[] = [
  ['←', 'Left', 'D'],
  ['↑', 'Up', 'A'],
  ['↓', 'Down', 'B'],
  ['→', 'Right', 'C'],
];
const SIGNS = ['|', '~', '/', '-', '_', '`', '\\', '*', '"', "'"];

/** As a keyboard has it: Ctrl and a letter is a control character. */
export function withCtrl(typed: string): string {
  const code = typed.charCodeAt(0);
  if (typed.length !== 1) return typed;
  if (typed === ' ') return '\0';
  if (typed === '?') return '\x7f';
  if ((code >= 0x40 && code <= 0x5f) || (code >= 0x61 && code <= 0x7a)) return String.fromCharCode(code & 0x1f);
  return typed;
}

export function keyBarNew(term: Terminal, type: (typed: string) => void): KeyBar {
  const held = { ctrl: false, alt: false };
  const hold = (name: 'ctrl' | 'alt', label: string) => {
    const b = key(label, label, () => {
      set(name, !held[name], b);
      term.focus(); // the next key is for it, wherever the focus was
    });
    b.setAttribute('aria-pressed', 'false');
    return b;
  };
  const set = (name: 'ctrl' | 'alt', on: boolean, b: HTMLElement) => {
    held[name] = on;
    b.setAttribute('aria-pressed', String(on));
  };
  const key = (shown: string, name: string, run: () => void) => {
    const b = button(shown, run, { class: 'key', 'aria-label': name });
    // the terminal keeps the focus, and a phone its keyboard
    b.addEventListener('pointerdown', (event) => event.preventDefault());
    return b;
  };
  const bar: KeyBar = {
    node: el('div', { class: 'keybar', role: 'toolbar', 'aria-label': 'Keys' }),
    apply(typed) {
      const isCtrl = held.ctrl && typed.length === 1;
      const isAlt = held.alt && typed.length >= 1;
      if (isCtrl) typed = withCtrl(typed);
      if (isAlt) typed = `\x1b${typed}`;
      set('ctrl', false, ctrl);
      set('alt', false, alt);
      return typed;
    },
  };
  const ctrl = hold('ctrl', 'Ctrl');
  const alt = hold('alt', 'Alt');
  const press = (typed: string) => type(bar.apply(typed));

  bar.node.append(
    key('Esc', 'Escape', () => press('\x1b')),
    key('Tab', 'Tab', () => press('\t')),
    ctrl,
    alt,
    ...ARROWS.map(([shown, name, final]) =>
      key(shown, name, () => {
        const mark = held.ctrl ? `\x1b[1;5${final}` : `${term.modes.applicationCursorKeysMode ? '\x1bO' : '\x1b['}${final}`;
        set('ctrl', false, ctrl);
        press(mark);
      })),
    key('^C', 'Control C, interrupt', () => type('\x03')),
    ...SIGNS.map((s) => key(s, s, () => press(s))),
    key('Home', 'Home', () => press('\x1b[H')),
    key('End', 'End', () => press('\x1b[F')),
    key('PgUp', 'Page up', () => press('\x1b[5~')),
    key('PgDn', 'Page down', () => press('\x1b[6~')),
  );
  return bar;
}

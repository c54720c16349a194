// Settings, as a dialog over the terminal.

import { button, dialog, el, field } from './dom.js';
import { change, settings } from './settings.js';
import type { Settings } from './settings.js';

function choice<K extends 'theme' | 'keys'>(name: K, options: [Settings[K], string][]): HTMLSelectElement {
  const s = el('select', { change: () => change({ [name]: s.value } as Partial<Settings>) });
  for (const [value, label] of options) s.append(el('option', { value, selected: settings()[name] === value }, label));
  return s;
}

function check(label: string, hint: string, isOn: boolean, run: (on: boolean) => void): HTMLElement {
  const box = el('input', { type: 'checkbox', checked: isOn, change: () => run(box.checked) });
  return el('div', { class: 'field' }, el('label', { class: 'check' }, box, label), el('p', { class: 'hint' }, hint));
}

export interface Clipboard {
  isAllowed: boolean;
}

export function prefsDialog(clipboard: Clipboard): void {
  const size = el('input', { type: 'number', min: 8, max: 32, value: settings().fontSize, change: () => change({ fontSize: Number(size.value) || 14 }) });
  const d = dialog('Settings',
    [
      field('Theme', choice('theme', [['auto', 'as the system has it'], ['light', 'light'], ['dark', 'dark']])),
      field('Text size', size),
      field('Key bar', choice('keys', [['auto', 'on phones and tablets'], ['on', 'always'], ['off', 'never']]), 'Esc, Tab, Ctrl and what else a phone lacks.'),
      check('Screen reader mode', 'The terminal is read out as it changes.', settings().reader, (reader) => change({ reader })),
      check('Let the program write to the clipboard', 'For this session. It can never read it.', clipboard.isAllowed, (on) => void (clipboard.isAllowed = on)),
      el('p', { class: 'hint' }, 'Keys: ', el('kbd', {}, 'Ctrl+Shift+C'), ' copies, ', el('kbd', {}, 'Ctrl+Shift+V'), ' pastes, ', el('kbd', {}, 'Ctrl+Shift+F'), ' searches, ', el('kbd', {}, 'Ctrl+F6'), ' leaves the terminal for the buttons above it. All others go to the program.'),
    ],
    [button('Done', () => d.close(), { class: 'primary' })]);
}

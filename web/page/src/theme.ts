// Light, dark, or as the system has it; and xterm.js' colours for both.

import type { ITheme } from '@xterm/xterm';
import { button } from './dom.js';
import { change, settings } from './settings.js';

const NAMES = { auto: 'Theme: system', light: 'Theme: light', dark: 'Theme: dark' } as const;
const NEXT = { auto: 'light', light: 'dark', dark: 'auto' } as const;

export function themeButton(): HTMLButtonElement {
  const b = button(NAMES[settings().theme], () => {
    change({ theme: NEXT[settings().theme] });
    b.textContent = NAMES[settings().theme];
  });
  return b;
}

export const DARK: ITheme = {
  background: '#11151a', foreground: '#dfe5ea', cursor: '#5eead4', cursorAccent: '#11151a', selectionBackground: '#2f4a63',
  black: '#1b2129', red: '#ff7b72', green: '#5fd08a', yellow: '#e3b341', blue: '#79b8ff', magenta: '#d2a8ff', cyan: '#56d4dd', white: '#c9d1d9',
  brightBlack: '#7d8894', brightRed: '#ffa198', brightGreen: '#86e2a8', brightYellow: '#f2cc60', brightBlue: '#a5d6ff', brightMagenta: '#e2c5ff', brightCyan: '#8be9ef', brightWhite: '#ffffff',
};
export const LIGHT: ITheme = {
  background: '#fdfdfc', foreground: '#1f2933', cursor: '#0f766e', cursorAccent: '#ffffff', selectionBackground: '#b9dcf5',
  black: '#1f2933', red: '#b3261e', green: '#1a6b37', yellow: '#7d5700', blue: '#0b57a8', magenta: '#7d3c98', cyan: '#0b6b75', white: '#59636e',
  brightBlack: '#6b7683', brightRed: '#c9352c', brightGreen: '#1f7a40', brightYellow: '#8a6100', brightBlue: '#1668c0', brightMagenta: '#8e4bab', brightCyan: '#0e7c87', brightWhite: '#1f2933',
};

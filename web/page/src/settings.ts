// How this person likes it: kept in this browser. What a program may do with
// the clipboard is not kept: it is allowed for one session at a time.

export interface Settings {
  theme: 'auto' | 'light' | 'dark';
  fontSize: number;
  /** xterm.js' screen reader mode */
  reader: boolean;
  keys: 'auto' | 'on' | 'off';
}

const KEY = 'podterm.settings';
const FONT_MIN = 8;
const FONT_MAX = 32;
const listeners = new Set<() => void>();

function load(): Settings {
  const s: Settings = { theme: 'auto', fontSize: 14, reader: false, keys: 'auto' };
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? '{}') as Partial<Settings>;
    if (kept.theme === 'light' || kept.theme === 'dark') s.theme = kept.theme;
    if (typeof kept.fontSize === 'number') s.fontSize = Math.min(FONT_MAX, Math.max(FONT_MIN, Math.round(kept.fontSize)));
    if (kept.reader === true) s.reader = true;
    if (kept.keys === 'on' || kept.keys === 'off') s.keys = kept.keys;
  } catch {
    // what is kept there is no setting of ours
  }
  return s;
}

let now = load();
const dark = matchMedia('(prefers-color-scheme: dark)');

export function settings(): Readonly<Settings> {
  return now;
}

export function isDark(): boolean {
  return now.theme === 'auto' ? dark.matches : now.theme === 'dark';
}

function tell(): void {
  document.documentElement.dataset['theme'] = isDark() ? 'dark' : 'light';
  for (const run of listeners) run();
}

export function change(part: Partial<Settings>): void {
  now = { ...now, ...part };
  now.fontSize = Math.min(FONT_MAX, Math.max(FONT_MIN, now.fontSize));
  localStorage.setItem(KEY, JSON.stringify(now));
  tell();
}

/** Returns what ends it. */
export function onChange(run: () => void): () => void {
  listeners.add(run);
  return () => listeners.delete(run);
}

dark.addEventListener('change', tell);
tell();

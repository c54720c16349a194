// Numbers and names for people. Pure.

export function age(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d`;
}

export function bytes(n: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let u = 0;
  while (n >= 999.95 && u < 4) {
    n /= 1000;
    u++;
  }
  return `${u ? n.toFixed(1) : n} ${units[u]}`;
}

/** "https://x/dl/tool-1.2.tar.gz" → "tool-1.2" */
export function programOf(url: string): string {
  const name = url.split(/[?#]/)[0]?.split('/').filter(Boolean).pop() ?? '';
  return name.replace(/\.(tar\.(gz|xz|zst)|tgz|txz|tar|zip)$/i, '') || url;
}

export const SESSION_ID = /^[a-z2-7]{26}$/;

/** A command line as a shell would split it: quotes and backslashes, nothing
 * else. Throws: a quote that does not end. */
export function splitWords(line: string): string[] {
  const words: string[] = [];
  let word: string | null = null;
  let quote = '';

  for (let i = 0; i < line.length; i++) {
    const c = line[i] as string;
    if (quote ? c === quote : c === '"' || c === "'") {
      quote = quote ? '' : c;
      word ??= '';
    } else if (c === '\\' && quote !== "'" && i + 1 < line.length) {
      word = (word ?? '') + line[++i];
    } else if (!quote && /\s/.test(c)) {
      if (word !== null) words.push(word);
      word = null;
    } else {
      word = (word ?? '') + c;
    }
  }
  if (quote) throw new Error(`a quote (${quote}) is opened and not closed`);
  if (word !== null) words.push(word);
  return words;
}

/** NAME=VALUE, one a line. Throws: a line that is none. */
export function readEnv(text: string): Record<string, string> {
  const env: Record<string, string> = {};
  text.split('\n').forEach((line, i) => {
    if (!line.trim()) return;
    const m = /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/.exec(line.replace(/\r$/, '').trimStart());
    if (!m) throw new Error(`line ${i + 1} is not NAME=VALUE`);
    env[m[1] as string] = m[2] as string;
  });
  return env;
}

// all but tab and the ends of lines
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g;

/** What is pasted is text. A control character in it would be a key to the
 * program, or end the marks around what is pasted: the rest would be typed. */
export function pasteable(text: string): string {
  return text.replace(CONTROLS, '');
}

/** A clause of the server's as a sentence of its own. */
export function sentence(text: string): string {
  const t = text.trim();
  if (!t) return '';
  return t.charAt(0).toUpperCase() + t.slice(1) + (/[.!?…]$/.test(t) ? '' : '.');
}

// Programs ask a terminal things (where is the cursor, what are you), and it
// answers as if that had been typed. What is shown a second time, after a
// reload or in another window, was answered the first time: answering again
// would type nonsense into the program. So below the offset `until` questions
// are read and left alone.
//
// Also here: OSC 52. The clipboard is never read for a program; it writes to
// it only where the user has allowed that.

import type { IDisposable, IFunctionIdentifier, Terminal } from '@xterm/xterm';

export interface Answers {
  /** Output from this offset on is about to be parsed. */
  begin(offset: number): void;
  /** The oldest of those is parsed. */
  done(): void;
  /** Questions below this offset were answered before. */
  until: number;
}

const CSI: IFunctionIdentifier[] = [
  { final: 'c' },
  { prefix: '>', final: 'c' },
  { prefix: '=', final: 'c' },
  { final: 'n' },
  { prefix: '?', final: 'n' },
  { intermediates: '$', final: 'p' },
  { prefix: '?', intermediates: '$', final: 'p' },
  { prefix: '>', final: 'q' },
  { prefix: '?', final: 'u' },
  { final: 't' },
];
const OSC_COLOURS = [4, 10, 11, 12];
const CLIPBOARD_MAX = 100000; // characters of base64

function decode(base64: string): string | null {
  try {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** clipboard: a program wants this text there; null: it asked what is there,
 * or what it sent is no text. */
export function answersNew(term: Terminal, clipboard: (text: string | null) => void): Answers {
  const starts: number[] = [];
  const isOld = () => starts.length > 0 && (starts[0] as number) < answers.until;
  const answers: Answers = {
    begin: (offset) => void starts.push(offset),
    done: () => void starts.shift(),
    until: 0,
  };
  const p = term.parser;
  const handlers: IDisposable[] = CSI.map((id) => p.registerCsiHandler(id, isOld));

  handlers.push(p.registerEscHandler({ final: 'Z' }, isOld));
  handlers.push(p.registerDcsHandler({ intermediates: '$', final: 'q' }, isOld));
  for (const n of OSC_COLOURS) handlers.push(p.registerOscHandler(n, (data) => data.includes('?') && isOld()));
  handlers.push(
    p.registerOscHandler(52, (data) => {
      const base64 = data.slice(data.indexOf(';') + 1);
      if (!isOld()) clipboard(base64 === '?' || base64.length > CLIPBOARD_MAX ? null : decode(base64));
      return true; // nobody else sees it
    }),
  );
  return answers;
}

// Text of a server or a program, made fit to stand beside our own words: no
// controls, no marks that turn the direction, nothing invisible. It still has
// to be put into the page as text. The C twin is client/say.c.

const UNSAFE =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e0fff}]/gu;

/** At most `max` characters, with "…" where it was cut. */
export function plain(text: string, max = 300): string {
  const clean = text.slice(0, 4 * max).replace(UNSAFE, '\ufffd');
  const chars = Array.from(clean);
  return chars.length > max ? chars.slice(0, max - 1).join('') + '…' : clean;
}

// When a terminal's page has painted what it was sent, told by the page
// itself. Any page does whose terminal is xterm.js with its renderer of
// elements: ours, ttyd's, xterm.js alone.

/**
 * Runs in the page before anything of it (addInitScript). xterm.js draws in a
 * frame's callback, and observers are called right behind that: a message that
 * is posted there arrives when the frame has been painted.
 */
export function watchGlyphs() {
  const keys = []; // ms of each, from the key to its glyph
  let input = 0; // when the last key or click came
  let pressed = ''; // a key without a glyph
  let wanted = null; // { pattern, done }
  let isPosted = false;
  const painted = new MessageChannel();

  const isGlyph = (text) => pressed !== '' && text.endsWith(pressed);
  const isWanted = (text) => wanted !== null && wanted.pattern.test(text);
  const shown = () => {
    const rows = document.querySelector('.xterm-rows');
    return rows ? rows.textContent.replaceAll('\u00a0', ' ').trimEnd() : '';
  };
  const look = () => {
    const text = shown();
    if (isPosted || !(isGlyph(text) || isWanted(text))) return;
    isPosted = true;
    painted.port2.postMessage(text);
  };
  painted.port1.onmessage = ({ data: text }) => {
    const at = performance.now();
    isPosted = false;
    if (isGlyph(text)) {
      keys.push(at - input);
      pressed = '';
    }
    if (isWanted(text)) {
      wanted.done({ at, since: at - input });
      wanted = null;
    }
  };
  // an event's own time: when the browser had it, not when we got it
  addEventListener('keydown', (e) => ([input, pressed] = [e.timeStamp, e.key]), true);
  addEventListener('click', (e) => (input = e.timeStamp), true);
  new MutationObserver(look).observe(document, { childList: true, subtree: true, characterData: true });

  const shows = (source) =>
    new Promise((done) => {
      wanted = { pattern: new RegExp(source), done };
      look();
    });
  const prompt = shows('>$');
  window.podtermBench = {
    /** ms of the nth key, when there is one. */
    key: async (n) => {
      while (keys.length < n) await new Promise((done) => setTimeout(done, 2));
      return keys[n - 1];
    },
    /** When it is shown: ms since the page began, and since the last input. */
    shows,
    /** The page's first prompt. */
    prompt: () => prompt,
  };
}

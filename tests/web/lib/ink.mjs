// How text is drawn, in one notation for a page and for tmux: "{2 bold}done{}"
// is what stands there in green and bold letters. Blanks have no ink. Colours
// of the palette alone, and no background but the terminal's own.

const NAMES = ['bold', 'dim', 'italic', 'underline'];
const SGR = { 1: 'bold', 2: 'dim', 3: 'italic', 4: 'underline' };

/** cells: [character, colour or '', names]: a row of it. */
function notation(cells) {
  let text = '';
  let ink = '';
  for (const [c, colour, names] of cells) {
    // bold letters may be drawn in the brighter colour of the same name
    const plain = colour >= 8 && colour < 16 && names.includes('bold') ? colour - 8 : colour;
    const now = c === ' ' ? ink : [plain, ...NAMES.filter((name) => names.includes(name))].join(' ').trim();
    if (now !== ink) text += `{${now}}`;
    ink = now;
    text += c;
  }
  return text.trimEnd();
}

/** One SGR sequence: its numbers change colour and names. */
function apply(numbers, pen) {
  for (let i = 0; i < numbers.length; i++) {
    const n = numbers[i];
    if (n === 0) Object.assign(pen, { colour: '', names: [] });
    else if (SGR[n]) pen.names = [...pen.names, SGR[n]];
    else if (n === 22) pen.names = pen.names.filter((name) => name !== 'bold' && name !== 'dim');
    else if (n === 23) pen.names = pen.names.filter((name) => name !== 'italic');
    else if (n === 24) pen.names = pen.names.filter((name) => name !== 'underline');
    else if (n >= 30 && n < 38) pen.colour = n - 30;
    else if (n >= 90 && n < 98) pen.colour = n - 82;
    else if (n === 49) continue;
    else if (n === 39) pen.colour = '';
    else if (n === 38 && numbers[i + 1] === 5) pen.colour = numbers[(i += 2)];
    else throw new Error(`no notation for SGR ${numbers.join(';')}`);
  }
}

/** Of what tmux captured with its escape sequences. */
export function inkOfSequences(text) {
  const pen = { colour: '', names: [] };
  return text
    .split('\n')
    .map((row) => {
      const cells = [];
      for (const [, sgr, c] of row.matchAll(/\x1b\[([\d;]*)m|([^])/gu)) {
        if (c === undefined) apply(sgr.split(';').map(Number), pen);
        else cells.push([c, pen.colour, pen.names]);
      }
      return notation(cells);
    })
    .join('\n')
    .trimEnd();
}

/** Of a page whose terminal is drawn as rows of spans. */
export async function inkOfPage(page) {
  const found = await page.locator('.xterm-rows > div').evaluateAll((divs) =>
    divs.map((div) => [...div.querySelectorAll('span')].map((span) => [span.textContent, span.className])),
  );
  return found
    .map((spans) =>
      notation(
        spans.flatMap(([text, classes]) => {
          const colour = classes.match(/\bxterm-fg-(\d+)/);
          const names = NAMES.filter((name) => new RegExp(`\\bxterm-${name}\\b`).test(classes));
          return [...text.replaceAll('\u00a0', ' ')].map((c) => [c, colour ? Number(colour[1]) : '', names]);
        }),
      ),
    )
    .join('\n')
    .trimEnd();
}

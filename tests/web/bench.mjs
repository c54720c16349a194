// What a person feels at the page, in Chromium: how soon it is there, what it
// weighs, how soon a key's glyph is painted, and how fast a flood is parsed;
// beside ttyd's page (where ttyd is on PATH) and xterm.js alone, which echoes
// by itself and so has neither server nor program. All draw with elements, for
// WebGL wants a graphics card. They take turns, in an order that goes round.
//
// usage: node tests/web/bench.mjs [keys] [rounds] [MB of each flood]

import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { Browser } from './lib/browser.mjs';
import { arrive, SHELL, start } from './lib/desk.mjs';
import { atMost, begin, median, quantile, say } from './lib/figures.mjs';
import { watchGlyphs } from './lib/glyphs.mjs';
import { freePort, nap, root, Stack, until } from './lib/stack.mjs';

const XTERM = path.join(root, 'web/node_modules/@xterm/xterm');
const [KEYS = 500, ROUNDS = 15, FLOOD_MB = 10] = process.argv.slice(2).map(Number);
const FLOODS = 5;
const LATE_MS = 60000;
const WARM_KEYS = 20;
const FRAME_MS = 1000 / 60;
const SHIPPED_KB = 150;
const LINE = '0123456789'.repeat(8);

const ECHO = "#!/bin/sh\nstty raw -echo; printf 'ready> '; exec cat\n";
// each key is a flood; raw, so that what is written is what is sent
const FLOOD = `#!/bin/sh
stty raw -echo
line=$(printf '${LINE}\\r')
n=0
printf 'ready> '
while [ -n "$(head -c 1)" ]; do
  yes "$line" | head -c ${FLOOD_MB}000000
  n=$((n + 1))
  printf '\\r\\nend %d> ' $n
done
`;

/** What glyphs.mjs says in the page: calls name(arg). */
async function told(page, name, arg) {
  let timer;
  const late = new Promise((_, no) => {
    timer = setTimeout(() => no(new Error(`${page.url()}: nothing of ${name} ${arg} within ${LATE_MS} ms`)), LATE_MS);
  });
  const answer = page.evaluate(([n, a]) => window.podtermBench[n](a), [name, arg]);
  answer.catch(() => {}); // when it is late and the page is closed
  return Promise.race([answer, late]).finally(() => clearTimeout(timer));
}

/* --- who takes turns: each opens a page with a program at its prompt --- */

class Podterm {
  name = 'podterm';
  #stack;
  #trial;
  #kept = [];

  constructor(stack, trial) {
    this.#stack = stack;
    this.#trial = trial;
  }

  /** As in a window that was signed in before. */
  async signIn() {
    const page = await arrive(this.#trial);
    this.#kept = await page.evaluate(() => Object.entries(sessionStorage));
    await page.context().close();
  }

  async run(name, script) {
    const { id } = await this.#stack.create('ann', this.#stack.pack(name, script));
    return { id, url: `${this.#stack.url}#/session/${id}` };
  }

  async open({ url }) {
    const page = await this.#trial.page();
    await page.addInitScript(watchGlyphs);
    await page.addInitScript((kept) => kept.forEach(([key, value]) => sessionStorage.setItem(key, value)), this.#kept);
    await page.goto(url);
    return page;
  }

  async end({ id }) {
    await this.#stack.call('DELETE', `api/sessions/${id}`, { who: 'ann' });
    await this.#stack.ended('ann', id);
  }
}

class Ttyd {
  name = 'ttyd';
  #dir;
  #trial;

  static isThere() {
    try {
      console.log(`# ${execFileSync('ttyd', ['--version'], { encoding: 'utf8' }).trim()}`);
      return true;
    } catch {
      return false;
    }
  }

  constructor(dir, trial) {
    this.#dir = dir;
    this.#trial = trial;
  }

  async run(name, script) {
    const file = path.join(this.#dir, `ttyd-${name}`);
    fs.writeFileSync(file, script, { mode: 0o755 });
    const port = await freePort();
    const options = ['rendererType=dom', 'disableLeaveAlert=true', 'disableResizeOverlay=true'].flatMap((o) => ['-t', o]);
    const child = spawn('setpriv', ['--pdeathsig', 'TERM', 'ttyd', '-W', '-i', '127.0.0.1', '-p', String(port), ...options, file], { stdio: 'ignore' });
    const url = `http://127.0.0.1:${port}/`;
    await until('ttyd listens', 10000, () => fetch(url).then((r) => r.ok, () => false));
    return { child, url };
  }

  async open({ url }) {
    const page = await this.#trial.page();
    await page.addInitScript(watchGlyphs);
    await page.goto(url);
    return page;
  }

  async end({ child }) {
    const gone = new Promise((done) => child.once('exit', done));
    child.kill();
    await gone;
  }
}

class Alone {
  name = 'xterm_alone';
  #trial;

  constructor(trial) {
    this.#trial = trial;
  }

  async run(name) {
    return { isFlood: name === 'flood' };
  }

  async open({ isFlood }) {
    const page = await this.#trial.page();
    const url = 'http://127.0.0.1:9/'; // nobody's: answered here
    await page.route(`${url}**`, (route) => route.fulfill({ contentType: 'text/html', body: '<!doctype html><link rel="icon" href="data:,"><div id="t"></div>' }));
    await page.addInitScript(watchGlyphs);
    await page.goto(url);
    await page.addStyleTag({ path: path.join(XTERM, 'css/xterm.css') });
    await page.addScriptTag({ path: path.join(XTERM, 'lib/xterm.js') });
    await page.evaluate(({ isFlood, line, bytes }) => {
      const PIECE = 65536;
      const AHEAD = 8;
      const term = new window.Terminal({ cols: 118, rows: 38, scrollback: 10000 });
      const text = new TextEncoder().encode(`${line}\r\n`.repeat(Math.ceil(bytes / (line.length + 2)))).subarray(0, bytes);
      let n = 0;
      // one piece is parsed, others wait: never too few, never all
      const flood = async () => {
        const waits = [];
        for (let at = 0; at < text.length; at += PIECE) {
          waits.push(new Promise((done) => term.write(text.subarray(at, at + PIECE), done)));
          if (waits.length > AHEAD) await waits.shift();
        }
        term.write(`\r\nend ${++n}> `);
      };
      term.open(document.getElementById('t'));
      term.onData((data) => (isFlood ? void flood() : term.write(data)));
      term.write('ready> ');
    }, { isFlood, line: LINE, bytes: FLOOD_MB * 1e6 });
    return page;
  }

  async end() {}
}

/* --- the figures --- */

/** fn for each of them n times, by turns; results by name. */
async function turns(rivals, n, fn) {
  const got = Object.fromEntries(rivals.map(({ name }) => [name, []]));
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < rivals.length; k++) {
      const one = rivals[(i + k) % rivals.length];
      got[one.name].push(await fn(one, i));
    }
  }
  return got;
}

/** Each rival's page, with what runs behind it. */
async function opened(rivals, name, script, fn) {
  const seats = [];
  for (const rival of rivals) {
    const run = await rival.run(name, script);
    const page = await rival.open(run);
    await told(page, 'prompt');
    await page.locator('.xterm-helper-textarea').focus();
    seats.push({ name: rival.name, rival, run, page });
  }
  await fn(seats);
  for (const { rival, run, page } of seats) {
    await page.context().close();
    await rival.end(run);
  }
}

/** Bytes of the page itself, as they came: no answers of the API. */
function shipped(page) {
  return page.evaluate(() => {
    const own = performance.getEntriesByType('resource').filter((e) => ['script', 'link', 'css', 'img', 'other'].includes(e.initiatorType));
    return [...performance.getEntriesByType('navigation'), ...own].reduce((sum, e) => sum + e.encodedBodySize, 0);
  });
}

/** A page with nothing in its cache, to the prompt of a program. ttyd starts
 * its program then; ours runs already. */
async function loads(rivals) {
  const runs = new Map();
  const bytes = {};
  for (const rival of rivals) runs.set(rival, await rival.run('prompt', SHELL));
  const load = async (rival) => {
    const page = await rival.open(runs.get(rival));
    const { at } = await told(page, 'prompt');
    bytes[rival.name] = await shipped(page);
    await page.context().close();
    return at;
  };
  await turns(rivals, 1, load); // a session's program starts with its first page
  const got = await turns(rivals, ROUNDS, load);
  for (const [rival, run] of runs) await rival.end(run);
  for (const [name, ms] of Object.entries(got)) {
    say(`web.load_to_prompt.${name}.p50`, median(ms), 'ms');
    say(`web.load_to_prompt.${name}.worst`, Math.max(...ms), 'ms');
  }
  if (got.ttyd) say('web.load_to_prompt.podterm_to_ttyd.p50', median(got.podterm) / median(got.ttyd), 'ratio');
  atMost('web.shipped.podterm', bytes.podterm / 1e3, 'KB', SHIPPED_KB);
  if (got.ttyd) say('web.shipped.ttyd', bytes.ttyd / 1e3, 'KB');
}

/** From the button to the prompt of a new session. */
async function starts(stack, trial) {
  const page = await arrive(trial, { init: watchGlyphs });
  const bundle = stack.pack('start', SHELL);
  const ms = [];
  for (let i = 0; i < ROUNDS; i++) {
    const seen = told(page, 'shows', '>$');
    const id = await start(page, bundle);
    ms.push((await seen).since);
    await stack.call('DELETE', `api/sessions/${id}`, { who: 'ann' });
    await stack.ended('ann', id);
    await page.goto(`${stack.url}#/`);
    await page.locator('.xterm-rows').waitFor({ state: 'detached' });
  }
  await page.context().close();
  say('web.start_to_prompt.podterm.p50', median(ms), 'ms');
  say('web.start_to_prompt.podterm.worst', Math.max(...ms), 'ms');
}

async function keys(rivals) {
  await opened(rivals, 'echo', ECHO, async (seats) => {
    const got = await turns(seats, WARM_KEYS + KEYS, async ({ page }, i) => {
      await nap(Math.random() * 2 * FRAME_MS); // keys keep no step with frames
      await page.keyboard.press(String.fromCharCode(97 + (i % 26)));
      return told(page, 'key', i + 1);
    });
    const p50 = {};
    for (const [name, all] of Object.entries(got)) {
      const ms = all.slice(WARM_KEYS);
      p50[name] = median(ms);
      say(`web.key_to_glyph.${name}.p50`, p50[name], 'ms');
      say(`web.key_to_glyph.${name}.p99`, quantile(ms, 0.99), 'ms');
    }
    ratios('web.key_to_glyph', '.p50', p50);
  });
}

async function floods(rivals) {
  await opened(rivals, 'flood', FLOOD, async (seats) => {
    const got = await turns(seats, FLOODS, async ({ page }, i) => {
      const seen = told(page, 'shows', `end ${i + 1}>$`);
      await page.keyboard.press('g');
      return (FLOOD_MB * 1e3) / (await seen).since;
    });
    const mbs = {};
    for (const [name, all] of Object.entries(got)) {
      mbs[name] = median(all);
      say(`web.flood.${name}`, mbs[name], 'MB/s');
    }
    ratios('web.flood', '', mbs);
  });
}

function ratios(what, tail, of) {
  for (const other of Object.keys(of).filter((name) => name !== 'podterm')) say(`${what}.podterm_to_${other}${tail}`, of.podterm / of[other], 'ratio');
}

/* --- */

const stack = new Stack();
const browser = await Browser.launch([]);
const trial = {
  stack,
  page: async (options) => {
    const { page } = await browser.tab(options);
    return page;
  },
};
let left = null;

/** Once, also when a signal comes in the midst of it. */
function leave() {
  left ??= browser.close().finally(() => stack.remove());
  return left;
}
for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143]]) process.once(signal, () => leave().finally(() => process.exit(code)));

try {
  begin(`the page in Chromium ${browser.version}`);
  await stack.start();
  const podterm = new Podterm(stack, trial);
  const peers = Ttyd.isThere() ? [new Ttyd(stack.dir, trial)] : [];
  if (!peers.length) console.log('# no ttyd on PATH: no figures beside its page');
  await podterm.signIn();
  await loads([podterm, ...peers]);
  await starts(stack, trial);
  await keys([podterm, ...peers, new Alone(trial)]);
  await floods([podterm, ...peers, new Alone(trial)]);
} finally {
  await leave();
}

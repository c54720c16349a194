// The fixture itself: what it is there to notice, it notices. The pages are
// made here, so that this says nothing of the web terminal.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { gzipSync, brotliCompressSync } from 'node:zlib';
import { watchGlyphs } from './lib/glyphs.mjs';
import { test } from './lib/suite.mjs';
import { until } from './lib/stack.mjs';

const SCRIPT = `
document.querySelector('#from').textContent = 'script';
const kind = location.hash.slice(1);
const acts = {
  error: () => console.error('an error'),
  thrown: () => setTimeout(() => { throw new Error('thrown'); }),
  style: () => { const e = document.createElement('style'); e.textContent = 'p{color:red}'; document.head.append(e); },
  attribute: () => document.body.setAttribute('style', 'color:red'),
  markup: () => { document.body.innerHTML = '<p>made of text</p>'; },
  code: () => new Function('return 1')(),
  elsewhere: () => fetch('http://127.0.0.1:9/').catch(() => {}),
  socket: () => new WebSocket('ws://127.0.0.1:9/'),
  frame: () => document.body.append(Object.assign(document.createElement('iframe'), { src: '/assets/x.html' })),
  fine: () => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync('p { color: rgb(1, 2, 3) }');
    document.adoptedStyleSheets = [sheet];
    document.body.style.margin = '7px';
  },
};
acts[kind]?.();
document.title = 'done';
`;

function page() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'podterm-web-page.'));
  const put = (name, text, isPacked) => {
    fs.mkdirSync(path.dirname(path.join(dir, name)), { recursive: true });
    fs.writeFileSync(path.join(dir, name), text);
    if (!isPacked) return;
    fs.writeFileSync(path.join(dir, `${name}.gz`), gzipSync(text));
    fs.writeFileSync(path.join(dir, `${name}.br`), brotliCompressSync(text));
  };
  put('index.html', '<!doctype html><html lang="en"><title>page</title><link rel="icon" href="data:,"><p id="from">markup</p><script type="module" src="/assets/a-0A1B2C3D.js"></script></html>', true);
  put('inline.html', '<!doctype html><title>page</title><link rel="icon" href="data:,"><script>document.title = "ran"</script>', false);
  put('assets/a-0A1B2C3D.js', SCRIPT, true);
  process.once('exit', () => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

const own = { stack: { web: page() } };

test('fixture: a page is shown, from its compressed copies, and nothing is wrong', async (t) => {
  const page = await t.page();
  const codings = [];
  page.on('response', async (r) => codings.push(await r.headerValue('content-encoding')));
  await page.goto(`${t.stack.url}#fine`);
  await until('the script has run', 5000, async () => (await page.title()) === 'done');
  assert.equal(await page.locator('#from').textContent(), 'script');
  assert.deepEqual(codings, ['br', 'br']);
  assert.equal(await page.locator('p').evaluate((p) => getComputedStyle(p).color), 'rgb(1, 2, 3)');
  // once more: the hashed one comes from the cache, the other is asked for
  const asked = [];
  page.on('request', (r) => asked.push(r.url()));
  await page.reload();
  await until('the script has run', 5000, async () => (await page.title()) === 'done');
  assert.equal(await page.evaluate(() => performance.getEntriesByType('navigation')[0].responseStatus), 200);
  assert.ok(await page.evaluate(() => performance.getEntriesByType('resource').every((e) => e.transferSize === 0)));
  assert.ok(await page.evaluate(() => performance.getEntriesByType('navigation')[0].transferSize < 400), 'a 304');
}, own);

const complaints = {
  error: /console\.error: an error/,
  thrown: /uncaught: .*thrown/s,
  style: /policy: style-src-elem/,
  attribute: /policy: style-src-attr/,
  markup: /policy: require-trusted-types-for/,
  code: /policy: (script-src|require-trusted-types-for)/,
  elsewhere: /policy: connect-src/,
  socket: /policy: connect-src/,
  frame: /policy: frame-src/,
};

for (const [act, pattern] of Object.entries(complaints)) {
  test(`fixture: it is noticed when a page does this: ${act}`, async (t) => {
    const page = await t.page();
    await page.goto(`${t.stack.url}#${act}`);
    await until(`a complaint like ${pattern}`, 5000, () => t.complaints().some((text) => pattern.test(text)));
    t.allow(/./s);
  }, own);
}

test('fixture: an inline script does not run, and is noticed', async (t) => {
  const page = await t.page();
  await page.goto(`${t.stack.url}inline.html`);
  await until('a complaint', 5000, () => t.complaints().some((text) => /policy: script-src-elem/.test(text)));
  assert.equal(await page.title(), 'page');
  t.allow(/./s);
}, own);

test('fixture: a page cannot be framed', async (t) => {
  const page = await t.page();
  const frame = (url) => `<link rel="icon" href="data:,"><iframe src="${url}"></iframe>`;
  await page.route('http://127.0.0.1:9/*', (route) => {
    const ours = route.request().url().endsWith('/ours');
    const body = ours ? frame(t.stack.url) : route.request().url().endsWith('/other') ? frame('http://127.0.0.1:9/in') : 'in';
    return route.fulfill({ contentType: 'text/html', body });
  });
  const framed = async (at) => {
    await page.goto(`http://127.0.0.1:9/${at}`);
    return page.frames()[1].url();
  };
  assert.equal(await framed('other'), 'http://127.0.0.1:9/in');
  assert.match(await framed('ours'), /^chrome-error:/);
  t.allow(/frame-ancestors/);
}, own);

test('fixture: an identity comes to our page and to no other', async (t) => {
  const page = await t.page();
  const ask = (url) => page.evaluate((u) => fetch(u).then((r) => r.status, () => 'refused'), `${url}dev/token?sub=ann`);
  await page.goto(`${t.stack.url}#fine`);
  assert.equal(await ask(t.stack.url), 200);
  t.allow(/./s); // what a foreign page is told on its console
  await page.route('http://127.0.0.1:9/', (route) => route.fulfill({ contentType: 'text/html', body: '<title>evil</title>' }));
  await page.goto('http://127.0.0.1:9/');
  assert.equal(await ask(t.stack.url), 'refused');
  const opaque = await page.evaluate((u) => fetch(u, { mode: 'no-cors' }).then((r) => r.type, () => 'refused'), `${t.stack.url}dev/token?sub=ann`);
  assert.equal(opaque, 'refused'); // not even as a picture: cross-origin-resource-policy
}, own);

test('fixture: a glyph is timed from its key to its painting, however late that is', async (t) => {
  const page = await t.page();
  const LATE_MS = 150;
  await page.route('http://127.0.0.1:9/', (route) => route.fulfill({ contentType: 'text/html', body: '<link rel="icon" href="data:,"><pre class="xterm-rows">ready&gt;</pre>' }));
  await page.addInitScript(watchGlyphs);
  await page.goto('http://127.0.0.1:9/');
  await page.evaluate(() => window.podtermBench.prompt());
  await page.evaluate((late) => {
    const draw = (key) => requestAnimationFrame(() => document.querySelector('.xterm-rows').append(key));
    addEventListener('keydown', ({ key }) => setTimeout(draw, key === 'a' ? 0 : late, key));
  }, LATE_MS);
  const ms = [];
  for (const key of ['a', 'b', 'a', 'b']) {
    await page.keyboard.press(key);
    ms.push(await page.evaluate((n) => window.podtermBench.key(n), ms.length + 1));
  }
  for (const [i, at] of ms.entries()) {
    assert.ok(i % 2 ? at >= LATE_MS : at > 0, `${ms}`);
    assert.ok(at < LATE_MS * (i % 2 ? 2 : 1), `${ms}`);
  }
});

// What the page draws with, how fast, and on what.

import assert from 'node:assert/strict';
import { arrive, dialog, rows, SHELL, shows, start, type } from './lib/desk.mjs';
import { SOFTWARE_WEBGL } from './lib/browser.mjs';
import { until } from './lib/stack.mjs';
import { test } from './lib/suite.mjs';

const FLOOD = 10 << 20; // bytes

test('ten megabytes are shown to their end, and a key comes through in their midst', async (t) => {
  const page = await arrive(t);
  const script = `#!/bin/sh
stty -echo
echo ready
read go
(yes 0123456789012345678901234567890123456789 | head -c ${FLOOD}; echo) &
read key
if kill -0 $!; then when=midst; else when=end; fi
wait
echo "all of it; $key came in the $when"
read end
`;
  await start(page, t.stack.pack('flood', script));
  await shows(page, /^ready$/m);
  await type(page, 'go\n');
  await shows(page, /^0123456789/m);
  const from = Date.now();
  await type(page, 'key\n');
  await shows(page, /^all of it; key came in the midst$/m, 60000);
  const ms = Date.now() - from;
  assert.ok(ms < 40000, `${ms} ms`);
  await type(page, '\n');
  await dialog(page).getByText('exit code 0').waitFor();
});

/** The page takes no WebGL that is made in software; here there is no other. */
function pretendHardware() {
  const { getParameter } = WebGL2RenderingContext.prototype;
  WebGL2RenderingContext.prototype.getParameter = function (name) {
    const value = getParameter.call(this, name);
    return typeof value === 'string' ? value.replace(/swiftshader/gi, 'a card') : value;
  };
}

test('with WebGL the terminal is a canvas, and when it is lost the rows are back', async (t) => {
  const page = await arrive(t, { init: pretendHardware });
  const sid = await start(page, t.stack.pack('shell', SHELL));
  const canvas = page.locator('.xterm-screen canvas').first();
  await canvas.waitFor();
  assert.equal((await rows(page)).join(''), '');
  await type(page, 'echo drawn\n');
  // letters make a larger picture than a part of the screen that is empty
  const { x, y, width, height } = await canvas.boundingBox();
  const picture = async (top) => (await page.screenshot({ clip: { x, y: top, width, height: 60 } })).length;
  await until('letters are drawn', 10000, async () => (await picture(y)) > 2 * (await picture(y + height - 60)));
  await page.evaluate(() => {
    const contexts = [...document.querySelectorAll('.xterm-screen canvas')].map((e) => e.getContext('webgl2'));
    contexts.find((c) => c).getExtension('WEBGL_lose_context').loseContext();
  });
  await shows(page, /^drawn$/m);
  await type(page, 'exit 4\n');
  await dialog(page).getByText('exit code 4').waitFor();
  assert.equal((await t.stack.ended('ann', sid)).exit_code, 4);
}, { flags: SOFTWARE_WEBGL });

test('WebGL in software is left alone', async (t) => {
  const page = await arrive(t);
  await start(page, t.stack.pack('shell', SHELL));
  await shows(page, 'ready>');
  assert.equal(await page.locator('.xterm-screen canvas').count(), 0);
  await type(page, 'exit\n');
  await dialog(page).waitFor();
}, { flags: SOFTWARE_WEBGL });

test('colours of every kind are drawn under the strict policy', async (t) => {
  const page = await arrive(t);
  const script = "#!/bin/sh\nprintf '\\033[38;2;250;120;10mTRUE\\033[0m \\033[48;5;22mPAL\\033[0m \\033[1;4;9mBOLD\\033[0m\\n'; read x\n";
  await start(page, t.stack.pack('colours', script));
  await shows(page, 'TRUE PAL BOLD');
  const style = (text) => page.locator('.xterm-rows span').filter({ hasText: text }).first().evaluate((e) => {
    const { color, backgroundColor, fontWeight } = getComputedStyle(e);
    return { color, backgroundColor, fontWeight };
  });
  assert.notEqual((await style('TRUE')).color, (await style('BOLD')).color);
  assert.notEqual((await style('PAL')).backgroundColor, 'rgba(0, 0, 0, 0)');
  assert.ok(Number((await style('BOLD')).fontWeight) >= 600);
  await type(page, '\n');
  await dialog(page).waitFor();
});

for (const [kind, options] of [
  ['a phone', { viewport: { width: 390, height: 700 }, hasTouch: true, isMobile: true }],
  ['a small phone', { viewport: { width: 320, height: 600 }, hasTouch: true, isMobile: true }],
  ['a desk, in the dark', { colorScheme: 'dark' }],
  ['a desk, by light', { colorScheme: 'light' }],
]) {
  test(`on ${kind} everything fits, and nothing lies over the terminal`, async (t) => {
    const page = await arrive(t, { options });
    await start(page, t.stack.pack('shell', SHELL));
    await shows(page, 'ready>');
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${wide} px to scroll aside`);
    const box = await page.locator('.xterm-screen').boundingBox();
    const view = page.viewportSize();
    assert.ok(box.x >= 0 && box.x + box.width <= view.width && box.y + box.height <= view.height, JSON.stringify(box));
    for (const tool of await page.getByRole('toolbar', { name: 'Terminal tools' }).getByRole('button').all()) {
      const { x, width } = await tool.boundingBox();
      assert.ok(x >= 0 && x + width <= view.width, `${await tool.textContent()} ends at ${x + width}`);
    }
    const keys = page.getByRole('toolbar', { name: 'Keys' });
    assert.equal(await keys.isVisible(), options.isMobile === true);
    if (options.isMobile) {
      await type(page, 'sleep 100\n');
      await keys.getByRole('button', { name: 'Control C, interrupt' }).click();
      await until('the sleep is over', 5000, async () => (await rows(page)).filter((row) => row.startsWith('ready>')).length >= 2);
      const low = await keys.boundingBox();
      assert.ok(box.y + box.height <= low.y + 1);
    }
    await type(page, 'exit 0\n');
    await dialog(page).getByText('exit code 0').waitFor();
  });
}

test('a screen reader hears what is written, and the keyboard alone reaches every button', async (t) => {
  const page = await arrive(t);
  await start(page, t.stack.pack('shell', SHELL));
  await shows(page, 'ready>');
  await page.getByRole('button', { name: 'Settings' }).click();
  await dialog(page).getByLabel('Screen reader mode').check();
  await dialog(page).getByRole('button', { name: 'Done' }).click();
  await page.locator('dialog').waitFor({ state: 'detached' });
  await page.keyboard.type('echo heard\n'); // in the terminal, as it was
  await page.locator('.xterm-accessibility').getByText('heard', { exact: true }).first().waitFor();
  await page.keyboard.press('Control+F6');
  const names = [];
  for (let i = 0; i < 12; i++) {
    names.push(await page.evaluate(() => document.activeElement.textContent));
    await page.keyboard.press('Tab');
  }
  for (const name of ['Search', 'Copy', 'Paste', 'Share', 'Settings', 'End']) assert.ok(names.includes(name), `${name} among ${names}`);
  await type(page, 'exit\n');
  await dialog(page).waitFor();
});

test('where the system forces its colours the cursor, marks and held keys are still seen', async (t) => {
  const page = await arrive(t, { options: { forcedColors: 'active' } });
  await start(page, t.stack.pack('shell', SHELL));
  await shows(page, 'ready>');
  const ground = (at) => page.locator(at).first().evaluate((e) => getComputedStyle(e).backgroundColor);
  const drawn = () => page.locator('.xterm-cursor').first().evaluate((e) => getComputedStyle(e).backgroundColor);
  await page.locator('.xterm-helper-textarea').focus();
  assert.notEqual(await drawn(), await ground('body'));
  await page.getByRole('button', { name: 'Settings' }).click();
  await dialog(page).getByLabel('Key bar').selectOption('on');
  await dialog(page).getByRole('button', { name: 'Done' }).click();
  // (held from a button: the next key is the terminal's)
  const ctrl = page.getByRole('button', { name: 'Ctrl', exact: true });
  await ctrl.click();
  assert.notEqual(await ground('.key[aria-pressed=true]'), await ground('.key[aria-pressed=false]'));
  await page.keyboard.press('d'); // Ctrl-D ends the shell
  await dialog(page).getByText('exit code 0').waitFor();
});

test('a long name makes no list wider than a phone', async (t) => {
  const who = 'lengthy';
  await t.stack.create(who, t.stack.pack('n'.repeat(180), SHELL), { viewers: ['v'.repeat(120)] });
  const page = await arrive(t, { who, options: { viewport: { width: 320, height: 600 } } });
  await page.getByRole('link', { name: /^Open/ }).waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 320);
  await page.getByRole('button', { name: /^End/ }).click();
  await dialog(page).getByRole('button', { name: 'End session' }).click();
});

test('the search finds, counts and goes round; light and dark differ, and follow the system', async (t) => {
  const page = await arrive(t, { options: { colorScheme: 'light' } });
  await start(page, t.stack.pack('words', '#!/bin/sh\necho Apple apple pear APPLE; exec sleep 600\n'));
  await shows(page, 'pear');
  await type(page, '');
  await page.keyboard.press('Control+Shift+F');
  const count = page.locator('.search [role=status]');
  const says = (text) => count.filter({ hasText: text }).waitFor();
  await page.getByLabel('Search in the terminal').fill('apple');
  await says('1 of 3');
  await page.keyboard.press('Enter');
  await says('2 of 3');
  await page.keyboard.press('Shift+Enter');
  await says('1 of 3');
  await page.getByLabel('Match case').check();
  await says('1 of 1');
  await page.getByLabel('Search in the terminal').fill('plum');
  await says('not found');
  await page.keyboard.press('Escape');
  assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), 'Terminal input');
  const ground = () => page.locator('.room').evaluate((e) => getComputedStyle(e).backgroundColor);
  const light = await ground();
  await page.emulateMedia({ colorScheme: 'dark' });
  await until('it is dark', 5000, async () => (await ground()) !== light);
  await page.getByRole('button', { name: 'End', exact: true }).first().click();
  await dialog(page).getByRole('button', { name: 'End session' }).click();
});

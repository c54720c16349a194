// A program of Node's with listr2 and ora (tests/node-cli): what it shows when
// it runs by itself in a terminal it shows through podterm's command and on
// the page, also when it is resized in its midst.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { environment, layOut } from '../node-cli/layout.mjs';
import { arrive, dialog, rows, screen, shows, start, type } from './lib/desk.mjs';
import { inkOfPage, inkOfSequences } from './lib/ink.mjs';
import { build, nap, until } from './lib/stack.mjs';
import { test } from './lib/suite.mjs';
import { Tmux } from './lib/tmux.mjs';

const SOON_MS = 15000;
const STILL_MS = 400;
const LARGE = [100, 30];
const SMALL = [70, 20];
const FAILURES = 3; // its exit code

/** What is done, and what it then says: the program waits there. */
const STEPS = [
  { then: /ready at 100x30$/m },
  { key: 'x', then: /Measure at 100x30$/m },
  { size: SMALL, then: /Measure at 70x20$/m },
  { key: 'x', then: /Fetch at 70x20 \[RETRY:2\]$/m },
  { size: LARGE, then: /Fetch at 100x30 \[RETRY:2\]$/m },
  { key: 'x', then: /tidying up$/m },
  { key: 'x', then: /^a key ends it$/m },
];

/** Spinners turn: any frame of one is the same. */
const normal = (text) => text.replace(/[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]/g, '⠿');

/** A terminal has type(text), resize(cols, rows), screen(). */
async function step(terminal, { key, size, then }) {
  if (key) await terminal.type(key);
  if (size) await terminal.resize(...size);
  let now = '';
  try {
    await until(`it shows ${then}`, SOON_MS, async () => then.test((now = await terminal.screen())));
  } catch (e) {
    throw new Error(`${e.message}; it shows:\n${now}`);
  }
}

/** What `look` gives when it gives the same again and again, at last. */
async function still(look) {
  let before = null;
  return until('the screen is still', SOON_MS, async () => {
    const now = normal(await look());
    if (now !== before) {
      before = now;
      await nap(STILL_MS);
      return '';
    }
    return now;
  });
}

/** It becomes what is expected, and stays so. */
async function becomes(look, expected, where) {
  await until('the same', SOON_MS, async () => normal(await look()) === expected).catch(() => {});
  await nap(STILL_MS);
  // a frame can be looked at when it is half drawn
  let now = '';
  await until('the same', 1000, async () => (now = normal(await look())) === expected).catch(() => {});
  assert.equal(now, expected, where);
}

/** Started in tmux by that command line; `seen` after each step, and when the
 * shell is back. */
async function inTmux(line, seen) {
  const terminal = await new Tmux().start(...LARGE);
  try {
    await terminal.enter(`clear; ${line}; echo "left $?"`);
    for (const one of STEPS) {
      await step(terminal, one);
      await seen(terminal, one);
    }
    const left = { key: 'x', then: new RegExp(`^left ${FAILURES}$`, 'm') };
    await step(terminal, left);
    await seen(terminal, left);
  } finally {
    terminal.stop();
  }
}

/** `NAME='value' ...`, for a shell. No value here has a quote. */
const words = (env) => Object.entries(env).map(([name, value]) => `${name}='${value}'`).join(' ');

let alone = null;

/** By itself, from the tree that the bundle is made of: its screens at those
 * moments, as escape sequences and in the page's notation. Once for all tests. */
async function runAlone(stack) {
  if (alone) return alone;
  const tree = fs.mkdtempSync(path.join(stack.dir, 'alone.'));
  layOut(tree);
  const shots = [];
  await inTmux(`env -i HOME=/tmp ${words(environment(tree))} ${tree}/bin/tasks`, async (terminal) => {
    const drawn = await still(() => terminal.drawn());
    shots.push({ ink: inkOfSequences(drawn.slice(0, drawn.lastIndexOf('\n'))), drawn });
  });
  fs.rmSync(tree, { recursive: true });
  return (alone = shots);
}

test('a program with listr2 and ora looks in a terminal as it does without us, resized in its midst', async (t) => {
  const shots = await runAlone(t.stack);
  const bundle = t.stack.packTree('node-cli', layOut);
  const env = { TERM: 'xterm-256color', PODTERM_SERVER: t.stack.url, PODTERM_AS: 'ann', PODTERM_BUNDLE: bundle.url, PODTERM_SHA256: bundle.sha256 };
  let n = 0;
  await inTmux(`${words(env)} ${build}/bin/podterm run --quiet`, async (terminal, { then }) => {
    await becomes(() => terminal.drawn(), shots[n++].drawn, `${then}`);
  });
  assert.equal(n, shots.length);
}, { ms: 120000 });

/** The page, whose window is made as large as the terminal is to be. */
class Tab {
  constructor(page) {
    this.page = page;
  }

  type(text) {
    return type(this.page, text);
  }

  async screen() {
    return (await screen(this.page)).trimEnd();
  }

  /** The program tells how many columns it has; rows can be counted. */
  async resize(cols, lines) {
    await until(`${cols}x${lines}`, SOON_MS, async () => {
      const count = (await rows(this.page)).length;
      const told = (await shows(this.page, new RegExp(` at \\d+x${count}\\b`))).match(/ at (\d+)x/g);
      const now = Number(told.pop().match(/\d+/)[0]);
      if (now === cols && count === lines) return true;
      const { width, height } = this.page.viewportSize();
      const box = await this.page.locator('.xterm-screen').boundingBox();
      await this.page.setViewportSize({
        width: Math.round(width + ((cols - now) * box.width) / now),
        height: Math.round(height + ((lines - count) * box.height) / count),
      });
      await nap(STILL_MS);
      return false;
    });
  }
}

test('a program with listr2 and ora looks on the page as it does in a terminal, resized in its midst', async (t) => {
  const shots = await runAlone(t.stack);
  const page = await arrive(t);
  const sid = await start(page, t.stack.packTree('node-cli', layOut));
  const tab = new Tab(page);
  await shows(page, /ready at \d+x\d+/);
  await tab.resize(...LARGE);
  for (const [i, one] of STEPS.entries()) {
    await step(tab, one);
    await becomes(() => inkOfPage(page), shots[i].ink, `${one.then}`);
  }
  await tab.type('x');
  await dialog(page).getByText(`exit code ${FAILURES}`).waitFor();
  assert.match(shots.map((shot) => shot.ink).join('\n'), /\{\d+( \w+)*\}\S/); // it has colours
  assert.equal((await t.stack.ended('ann', sid)).exit_code, FAILURES);
}, { ms: 120000 });

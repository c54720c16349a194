// Tests as claims, one after the other, each with pages of its own. A test
// fails when it throws, takes too long, or when one of its pages has written
// an error to the console or broken its policy, unless it said that it would.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Browser } from './browser.mjs';
import { Stack } from './stack.mjs';

const TEST_MS = 60000;

const tests = [];

/**
 * A test. options: `ms` (how long it may take), `flags` (of Chromium),
 * `stack` (options of a stack of its own; all others share one).
 */
export function test(name, run, options = {}) {
  tests.push({ name, run, options });
}

/** What a test is given. */
class Trial {
  #browser;
  #tabs = [];
  #allowed = [];

  constructor(stack, browser) {
    this.stack = stack;
    this.#browser = browser;
  }

  /** Errors that this test provokes, and which are then none. */
  allow(...patterns) {
    this.#allowed.push(...patterns);
  }

  /** A browser of its own user with one empty page: options of Playwright's newContext. */
  async page(options) {
    const tab = await this.#browser.tab(options);
    this.#tabs.push(tab);
    return tab.page;
  }

  /** Another page of the same user: the same storage. */
  async another(page) {
    const tab = await this.#browser.beside(page);
    this.#tabs.push(tab);
    return tab.page;
  }

  complaints() {
    return this.#tabs
      .flatMap((tab) => tab.complaints)
      .filter((text) => !this.#allowed.some((pattern) => pattern.test(text)));
  }

  async keep(dir, name) {
    fs.mkdirSync(dir, { recursive: true });
    const at = path.join(dir, name.replace(/\W+/g, '_').slice(0, 80));
    for (const [i, tab] of this.#tabs.entries()) {
      await tab.page.screenshot({ path: `${at}.${i}.png` }).catch(() => {});
      fs.writeFileSync(`${at}.${i}.console`, tab.console.join('\n') + '\n');
    }
    for (const log of this.stack.logs) fs.copyFileSync(log, `${at}.${path.basename(log)}`);
  }

  async close() {
    for (const tab of this.#tabs) await tab.close();
  }
}

async function runOne({ name, run, options }, stack, browser) {
  const t = new Trial(stack, browser);
  let timer;
  const late = new Promise((_, no) => {
    timer = setTimeout(() => no(new Error(`it took more than ${options.ms ?? TEST_MS} ms`)), options.ms ?? TEST_MS);
  });
  try {
    await Promise.race([run(t), late]);
    const bad = t.complaints();
    if (bad.length) throw new Error(`the page complained:\n${bad.join('\n')}`);
    return null;
  } catch (e) {
    await t.keep(Suite.logs, name);
    return e;
  } finally {
    clearTimeout(timer);
    await t.close();
  }
}

/** Stacks and browsers, made when a test first wants one of a kind. */
class Suite {
  static logs = process.env.PODTERM_TEST_LOGS ?? path.join(os.tmpdir(), `podterm-web-tests.${process.pid}`);
  #stack = null;
  #own = null; // of the test that runs
  #browsers = new Map();
  #closed = null;

  async #shared() {
    if (!this.#stack) await (this.#stack = new Stack()).start();
    return this.#stack;
  }

  async #browser(flags = []) {
    const kind = flags.join(' ');
    if (!this.#browsers.has(kind)) this.#browsers.set(kind, await Browser.launch(flags));
    return this.#browsers.get(kind);
  }

  async run(one) {
    if (one.options.stack) this.#own = new Stack(one.options.stack);
    try {
      const stack = this.#own ? await this.#own.start() : await this.#shared();
      return await runOne(one, stack, await this.#browser(one.options.flags));
    } finally {
      await this.#own?.remove();
      this.#own = null;
    }
  }

  /** Once, also when a signal comes in the midst of it. */
  close() {
    this.#closed ??= (async () => {
      for (const browser of this.#browsers.values()) await browser.close();
      await this.#own?.remove();
      await this.#stack?.remove();
    })();
    return this.#closed;
  }
}

/** One test; what it failed with, or null. */
async function tell(suite, one) {
  const from = Date.now();
  const e = await suite.run(one).catch((e) => e);
  const s = ((Date.now() - from) / 1000).toFixed(1);

  console.log(e ? `FAILED ${one.name} (${s} s)\n${e.stack ?? e}` : `ok ${one.name} (${s} s)`);
  return e ?? null;
}

/** All whose name has `filter` in it, one that fails once more at the end, as tests/run does; how many passed and failed. */
export async function runAll(filter = '') {
  const suite = new Suite();
  const count = { passed: 0, failed: 0 };
  const stop = (code) => suite.close().finally(() => process.exit(code));
  const again = [];
  const lost = [];
  process.once('SIGINT', () => stop(130));
  process.once('SIGTERM', () => stop(143));
  try {
    for (const one of tests.filter(({ name }) => name.includes(filter))) {
      if (await tell(suite, one)) again.push(one);
      else count.passed++;
    }
    for (const one of again) {
      console.log(`again: ${one.name}`);
      if (await tell(suite, one)) lost.push(one.name);
      else {
        console.log(`UNSTEADY ${one.name}`);
        count.passed++;
      }
    }
  } finally {
    await suite.close().catch((e) => {
      console.log(`FAILED to leave nothing behind\n${e.stack}`);
      lost.push('what it leaves behind');
    });
  }
  count.failed = lost.length;
  if (again.length) console.log(`screenshots and logs: ${Suite.logs}`);
  for (const name of lost) console.log(`failed: ${name}`);
  return count;
}

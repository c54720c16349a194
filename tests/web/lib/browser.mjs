// Debian's Chromium by playwright-core, and pages that remember what they
// complained of.

import fs from 'node:fs';
import { chromium } from 'playwright-core';

const CHROMIUM = process.env.PODTERM_CHROMIUM ?? '/usr/bin/chromium';

// Of no use here, and each would say something on a console, or to somebody.
const QUIET = ['--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run', '--no-default-browser-check'];
// Its own sandbox is not for root; pages here are ours.
const ROOT = process.geteuid?.() === 0 ? ['--no-sandbox'] : [];

/** Without WebGL the terminal's rows are elements, whose text can be read. */
export const NO_WEBGL = ['--disable-3d-apis'];
/** WebGL on a machine without a graphics card. */
export const SOFTWARE_WEBGL = ['--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist'];

class Tab {
  complaints = [];
  console = [];

  constructor(page, isOwner) {
    this.page = page;
    this.isOwner = isOwner;
  }

  async watch() {
    const { page } = this;
    page.on('console', (m) => {
      const at = m.location().url ? ` (${m.location().url}:${m.location().lineNumber})` : '';
      this.console.push(`${m.type()}: ${m.text()}${at}`);
      // a header that the browser does not understand is a warning only
      if (m.type() === 'error' || /policy/i.test(m.text())) this.complaints.push(`console.${m.type()}: ${m.text()}${at}`);
    });
    page.on('pageerror', (e) => this.complaints.push(`uncaught: ${e.stack ?? e}`));
    page.on('crash', () => this.complaints.push('the page crashed'));
    // Chromium writes most violations to the console; a report-only or a
    // worker's one comes here alone.
    await page.exposeBinding('podtermViolation', (_, text) => this.complaints.push(`policy: ${text}`));
    await page.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (e) => {
        window.podtermViolation(`${e.effectiveDirective} of ${e.blockedURI || 'inline'} at ${e.sourceFile}:${e.lineNumber} ${e.sample}`);
      });
    });
    return this;
  }

  async close() {
    if (this.isOwner) await this.page.context().close();
    else await this.page.close();
  }
}

export class Browser {
  #browser;

  static async launch(flags) {
    if (!fs.existsSync(CHROMIUM)) throw new Error(`${CHROMIUM} is not there: make deps-test-web installs it`);
    const self = new Browser();
    self.#browser = await chromium.launch({ executablePath: CHROMIUM, args: [...QUIET, ...ROOT, ...(flags.length ? flags : NO_WEBGL)] });
    return self;
  }

  async tab(options = {}) {
    const context = await this.#browser.newContext({ viewport: { width: 1000, height: 700 }, ...options });
    return new Tab(await context.newPage(), true).watch();
  }

  async beside(page) {
    return new Tab(await page.context().newPage(), false).watch();
  }

  get version() {
    return this.#browser.version();
  }

  async close() {
    await this.#browser.close();
  }
}

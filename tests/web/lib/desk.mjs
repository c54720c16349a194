// A person at the page: what they see by role and name, and what they do.

import { until } from './stack.mjs';

/** A shell that says when it is there. */
export const SHELL = "#!/bin/sh\nPS1='ready> ' exec sh -i\n";

/** The page, signed in as `who`; at: fragment; init: runs before it. */
export async function arrive(t, { who = 'ann', at = '#/', options = {}, init } = {}) {
  const page = await t.page(options);
  if (init) await page.addInitScript(init);
  await page.goto(t.stack.url + at);
  await page.getByLabel('Your name').fill(who);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByLabel('Your name').waitFor({ state: 'detached' });
  return page;
}

/** By the form. */
export async function start(page, bundle, { command = '', env = '' } = {}) {
  await page.getByRole('link', { name: 'Start a session' }).click();
  await page.getByLabel('Bundle').fill(bundle.url);
  await page.getByLabel('SHA-256').fill(bundle.sha256);
  if (command || env) await page.getByText('Command and environment').click();
  if (command) await page.getByLabel('Command', { exact: true }).fill(command);
  if (env) await page.getByLabel('Environment', { exact: true }).fill(env);
  await page.getByRole('button', { name: 'Start', exact: true }).click();
  await page.waitForURL(/#\/session\/[a-z2-7]{26}$/);
  return page.url().slice(-26);
}

/** The terminal's rows as text, without blanks at their ends. */
export async function rows(page) {
  const found = await page.locator('.xterm-rows > div').allTextContents();
  return found.map((row) => row.replaceAll('\u00a0', ' ').trimEnd());
}

export async function screen(page) {
  return (await rows(page)).join('\n');
}

/** Wait until the terminal shows it; a pattern, or a text. Returns the screen. */
export async function shows(page, what, ms = 10000) {
  let last = '';
  try {
    return await until(`the terminal shows ${what}`, ms, async () => {
      last = await screen(page);
      return (what instanceof RegExp ? what.test(last) : last.includes(what)) && last;
    });
  } catch (e) {
    throw new Error(`${e.message}; it shows:\n${last.trimEnd()}`);
  }
}

/** What the line below the terminal says. */
export function status(page) {
  return page.locator('.status [role=status]');
}

export async function says(page, text) {
  await status(page).filter({ hasText: text }).waitFor({ timeout: 15000 });
}

/** Type into the terminal, as a keyboard does. */
export async function type(page, text) {
  // one that was closed gives the focus back a moment later
  await page.locator('dialog:not([open])').waitFor({ state: 'detached' });
  await page.locator('.xterm-helper-textarea').focus();
  await page.keyboard.type(text);
}

/** Click where the terminal shows this text: what is there to be clicked is
 * not the text itself. options: of page.mouse.click. */
export async function clickText(page, text, options) {
  const box = await page.locator('.xterm-rows').getByText(text).last().boundingBox();
  await page.mouse.click(box.x + box.width - 12, box.y + box.height / 2, options);
}

export function dialog(page) {
  return page.getByRole('dialog');
}

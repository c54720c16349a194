// The way through the page: sign in, start, watch it start, type, end.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { arrive, clickText, dialog, rows, says, screen, SHELL, shows, start, status, type } from './lib/desk.mjs';
import { until } from './lib/stack.mjs';
import { test } from './lib/suite.mjs';

/** Every stage's name that was on the screen, as they came. */
async function recordStages(page) {
  await page.evaluate(() => {
    window.seenStages = [];
    new MutationObserver(() => {
      for (const e of document.querySelectorAll('.stage .name')) if (!window.seenStages.includes(e.textContent)) window.seenStages.push(e.textContent);
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  return () => page.evaluate(() => window.seenStages);
}

test('a person signs in, starts a session, sees its stages, types, and sees how it ended', async (t) => {
  const page = await arrive(t);
  const stages = await recordStages(page);
  const sid = await start(page, t.stack.pack('shell', SHELL));
  await shows(page, 'ready>');
  const seen = await stages();
  // (what comes before the agent is told only to who waits for it)
  for (const one of ['Bundle fetched', 'Checksum verified', 'Bundle unpacked', 'Program started'])
    assert.ok(seen.includes(one), `${one} among: ${seen.join(', ')}`);
  await says(page, 'Connected');
  await type(page, 'echo $((6 * 7)) und so w\u00f6iter\n');
  await shows(page, /^42 und so w\u00f6iter$/m);
  await type(page, 'exit 3\n');
  await dialog(page).getByText('exit code 3').waitFor();
  const end = await t.stack.ended('ann', sid);
  assert.deepEqual([end.reason, end.exit_code], ['exited', 3]);
  await dialog(page).getByRole('button', { name: 'Look at the screen' }).click();
  assert.match(await screen(page), /^42 und so/m);
  // and no secret stands in the page's address, or is left in the browser
  assert.match(page.url(), /^http:\/\/127\.0\.0\.1:\d+\/#\/session\/[a-z2-7]{26}$/);
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
  assert.doesNotMatch(kept, /eyJ/);
});

test('the program has the size that is shown, and follows the window', async (t) => {
  const page = await arrive(t);
  await start(page, t.stack.pack('shell', SHELL));
  await shows(page, 'ready>');
  const size = async (mark) => {
    await type(page, `echo ${mark} $(stty size)\n`);
    const [, r, c] = (await shows(page, new RegExp(`^${mark} \\d+ \\d+$`, 'm'))).match(new RegExp(`^${mark} (\\d+) (\\d+)$`, 'm'));
    return [Number(r), Number(c)];
  };
  const before = await size('a');
  assert.equal(before[0], (await rows(page)).length);
  await page.setViewportSize({ width: 1300, height: 900 });
  await until('more rows', 5000, async () => (await rows(page)).length > before[0]);
  const larger = await size('b');
  assert.ok(larger[0] > before[0] && larger[1] > before[1], `${before} then ${larger}`);
  assert.equal(larger[0], (await rows(page)).length);
  await page.setViewportSize({ width: 500, height: 400 });
  await until('fewer rows', 5000, async () => (await rows(page)).length < before[0]);
  const smaller = await size('c');
  assert.ok(smaller[0] < before[0] && smaller[1] < before[1], `${before} then ${smaller}`);
  await type(page, 'exit\n');
});

test('sessions are listed, opened, ended and started again', async (t) => {
  const who = 'lister';
  const bundle = t.stack.pack('lasting', '#!/bin/sh\necho begun; exec sleep 600\n');
  const { id } = await t.stack.create(who, bundle);
  const page = await arrive(t, { who });
  const row = page.getByRole('listitem').filter({ hasText: 'lasting' });
  await row.getByRole('link', { name: /^Open/ }).click();
  await shows(page, 'begun');
  await page.getByRole('link', { name: 'Back to sessions' }).click();
  await row.getByRole('button', { name: /^End/ }).click();
  await dialog(page).getByRole('button', { name: 'Cancel' }).click();
  assert.equal((await t.stack.session(who, id)).state, 'running');
  await row.getByRole('button', { name: /^End/ }).click();
  await dialog(page).getByRole('button', { name: 'End session' }).click();
  assert.equal((await t.stack.ended(who, id)).reason, 'deleted');
  await row.getByRole('button', { name: /again$/ }).click();
  assert.equal(await page.getByLabel('Bundle').inputValue(), bundle.url);
  assert.equal(await page.getByLabel('SHA-256').inputValue(), bundle.sha256);
  await page.getByRole('button', { name: 'Start', exact: true }).click();
  await shows(page, 'begun');
  await page.getByRole('button', { name: 'End', exact: true }).first().click();
  await dialog(page).getByRole('button', { name: 'End session' }).click();
  await dialog(page).getByText('The session has ended').waitFor();
});

test('a reload comes back to the same screen, and nothing is typed twice', async (t) => {
  const page = await arrive(t);
  await start(page, t.stack.pack('shell', SHELL));
  await shows(page, 'ready>');
  await type(page, 'X=kept; echo before\n');
  const before = await shows(page, /^before$/m);
  await page.reload();
  await says(page, 'Connected');
  await until('the screen is as it was', 10000, async () => (await screen(page)) === before);
  await type(page, 'echo $X\n');
  await shows(page, /^kept$/m);
  await type(page, 'exit\n');
  await dialog(page).getByText('exit code 0').waitFor();
});

test('a second window takes over, the first says so and takes it back', async (t) => {
  const first = await arrive(t);
  await start(first, t.stack.pack('shell', SHELL));
  await shows(first, 'ready>');
  const second = await arrive(t, { at: first.url().slice(first.url().indexOf('#')) });
  await says(second, 'Connected');
  await says(first, 'Taken over in another window');
  await type(second, 'echo from two\n');
  await shows(second, /^from two$/m);
  assert.doesNotMatch(await screen(first), /^from two$/m);
  await first.getByRole('button', { name: 'Take it back' }).click();
  await says(second, 'Taken over in another window');
  await says(first, 'Connected');
  await shows(first, /^from two$/m);
  await type(first, 'exit\n');
  await dialog(first).getByText('exit code 0').waitFor();
});

test('what the program asked its terminal is answered once, whoever shows it again', async (t) => {
  const first = await arrive(t);
  const script = [
    '#!/bin/sh',
    'stty raw -echo',
    "printf 'where\\033[6n\\033[c\\033]11;?\\007\\033Z?\\r\\n'",
    'sleep 2; printf "answered\\r\\n"',
    'dd bs=4096 count=1 2>/dev/null | grep -q . && printf "first\\r\\n"',
    'n=$(timeout --foreground 12 cat | wc -c)',
    'printf "and then %s bytes\\r\\n" "$n"',
    'exec sleep 600',
  ].join('\n');
  const sid = await start(first, t.stack.pack('asks', `${script}\n`));
  await shows(first, /^first$/m);
  const second = await arrive(t, { at: first.url().slice(first.url().indexOf('#')) });
  await shows(second, /^first$/m);
  await second.reload();
  await shows(second, /^first$/m);
  await first.getByRole('button', { name: 'Take it back' }).click();
  await says(first, 'Connected');
  await shows(first, /^and then 0 bytes$/m, 20000);
  await t.stack.call('DELETE', `/api/sessions/${sid}`, { who: 'ann' });
  await dialog(first).waitFor();
});

test('another window answers what is new, and nothing twice, while the program goes on writing', async (t) => {
  const first = await arrive(t);
  const script = `#!/bin/sh
stty raw -echo
(while :; do printf .; sleep 0.1; done) &
hear() { timeout --foreground 1 cat | od -An -c | tr -d ' \\n'; }
printf '\\033[c\\r\\n'; printf 'first=[%s]\\r\\n' "$(hear)"
for i in 1 2; do
    printf 'key=[%s]\\r\\n' "$(head -c 1 | od -An -c | tr -d ' \\n')"
    printf '\\033[c\\r\\n'; printf 'then=[%s]\\r\\n' "$(hear)"
done
exec sleep 600
`;
  const answer = '\\[033\\[\\?1;2c\\]';
  await start(first, t.stack.pack('asks', script));
  await shows(first, new RegExp(`first=${answer}`));
  const second = await arrive(t, { at: first.url().slice(first.url().indexOf('#')) });
  await says(second, 'Connected');
  await shows(second, 'first=');
  await type(second, 'q');
  await shows(second, new RegExp(`key=\\[q\\][^]*then=${answer}`));
  // and the first, which has not seen it, does not answer it again
  await first.getByRole('button', { name: 'Take it back' }).click();
  await says(first, 'Connected');
  await shows(first, 'then=');
  await type(first, 'r');
  await shows(first, new RegExp(`key=\\[r\\][^]*then=${answer}`));
  await first.getByRole('button', { name: 'End', exact: true }).first().click();
  await dialog(first).getByRole('button', { name: 'End session' }).click();
});

test('whom the owner names looks on, sees all and types nothing', async (t) => {
  const owner = await arrive(t);
  const sid = await start(owner, t.stack.pack('shell', SHELL));
  await shows(owner, 'ready>');
  await owner.getByRole('button', { name: 'Share' }).click();
  await dialog(owner).getByLabel('Name').fill('vic');
  await dialog(owner).getByRole('button', { name: 'Add', exact: true }).click();
  await dialog(owner).getByRole('button', { name: 'Remove vic' }).waitFor();
  const link = await dialog(owner).getByLabel('Address for them').inputValue();
  assert.equal(link, `${t.stack.url}#/watch/${sid}`);
  await dialog(owner).getByRole('button', { name: 'Done' }).click();
  const viewer = await arrive(t, { who: 'vic', at: `#/watch/${sid}` });
  await says(viewer, 'You are looking on');
  await type(owner, 'echo for both\n');
  await shows(viewer, /^for both$/m);
  await viewer.locator('.xterm').click();
  await viewer.keyboard.type('echo intruder\n');
  await type(owner, 'echo after it\n');
  await shows(viewer, /^after it$/m);
  assert.doesNotMatch(await screen(owner), /intruder/);
  assert.equal((await rows(viewer)).length, (await rows(owner)).length);
  // whom nobody named learns nothing
  const other = await arrive(t, { who: 'eve', at: `#/watch/${sid}` });
  t.allow(/the server responded with a status of 404/);
  await other.locator('.status[data-state=failed]').waitFor();
  assert.match(await status(other).textContent(), /Not connected: /);
  await type(owner, 'exit\n');
  await dialog(viewer).waitFor();
});

test('what is refused is said in words', async (t) => {
  const page = await arrive(t, { who: 'refused' });
  const bundle = t.stack.pack('shell', SHELL);
  t.allow(/the server responded with a status of 4\d\d/);
  await page.getByRole('link', { name: 'Start a session' }).click();
  await page.getByLabel('SHA-256').fill(bundle.sha256);
  await page.getByLabel('Bundle').fill('https://elsewhere.example/x.tar.gz');
  await page.getByRole('button', { name: 'Start', exact: true }).click();
  await page.getByRole('alert').filter({ hasText: 'elsewhere.example' }).waitFor();
  // another archive than was meant
  await page.getByLabel('Bundle').fill(bundle.url);
  await page.getByLabel('SHA-256').fill('0'.repeat(64));
  await page.getByRole('button', { name: 'Start', exact: true }).click();
  await dialog(page).getByText(bundle.sha256.slice(0, 12)).waitFor();
  const [one] = await t.stack.sessions('refused');
  assert.equal((await t.stack.ended('refused', one.id)).reason, 'bundle_refused');
});

test('what a server answers that it should not is said in words, without marks of its own', async (t) => {
  const page = await arrive(t, { who: 'answered' });
  t.allow(/the server responded with a status of 503/);
  const answer = (what) => page.route('**/api/sessions?*', (route) => route.fulfill(what), { times: 1 });
  const look = () => page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  for (const [what, words] of [
    [{ json: null }, 'not what was agreed'],
    [{ json: { sessions: 5 } }, 'not what was agreed'],
    [{ json: { sessions: [{ id: 5 }] } }, 'not what was agreed'],
    [{ status: 503, json: { detail: '<b>busy</b>\u202e' } }, '<b>busy</b>\ufffd'],
  ]) {
    await answer(what);
    await look();
    await page.getByRole('alert').getByText(words).waitFor();
    await look(); // all is well again
    await page.getByRole('alert').getByText(words).waitFor({ state: 'detached' });
  }
});

test('an address that leads nowhere says so', async (t) => {
  const page = await arrive(t);
  for (const at of ['#/session/<img src=x>', '#/watch/../x', '#/constructor']) {
    await page.evaluate((hash) => (location.hash = hash), at);
    await page.getByText('leads to no session').waitFor();
    await page.getByRole('heading', { name: 'Sessions' }).waitFor();
    assert.match(page.url(), /#\/$/);
    assert.equal(await page.locator('img').count(), 0);
  }
});

test('a program that is hostile to its terminal harms nothing', async (t) => {
  const page = await arrive(t, { options: { permissions: ['clipboard-read', 'clipboard-write'] } });
  await page.evaluate(() => navigator.clipboard.writeText('mine'));
  const script = [
    '#!/bin/sh',
    'stty raw -echo',
    // reads and writes of the clipboard, a title with markup, links that are none of the web's
    "printf '\\033]52;c;?\\007\\033]52;c;c3RvbGVu\\007'",
    "printf '\\033]0;<img src=x onerror=alert(1)>&lt;b\\007'",
    "printf '\\033]8;;javascript:alert(1)\\007click\\033]8;;\\007\\r\\n'",
    // reports of title and window, answerback, device attributes long as a command
    "printf '\\033[21t\\033[20t\\033[14t\\033[18t\\005'",
    "printf '<script>alert(2)</script><b>bold</b>\\r\\n'",
    // (in the foreground: elsewhere it could not read what is typed)
    'hear() { timeout --foreground 1 cat | od -An -c | tr -d " \\n"; }',
    'printf "answer=[%s]\\r\\n" "$(hear)"',
    // and one that is answered: what listens here hears
    'printf "\\033[c"',
    'printf "known=[%s]\\r\\nasked\\r\\n" "$(hear)"',
    'exec sleep 600',
  ].join('\n');
  await start(page, t.stack.pack('hostile', `${script}\n`));
  const text = await shows(page, /^asked$/m, 15000);
  assert.match(text, /^<script>alert\(2\)<\/script><b>bold<\/b>$/m);
  assert.match(text, /^answer=\[\]$/m); // nothing was typed into it
  assert.match(text, /^known=\[033\[\?1;2c\]$/m);
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'mine');
  assert.equal(await page.getByRole('heading', { level: 1 }).textContent(), '<img src=x onerror=alert(1)>&lt;b');
  assert.equal(await page.locator('img, b, a[href^="javascript"]').count(), 0);
  await clickText(page, 'click');
  assert.equal(await dialog(page).count(), 0);
  await page.getByRole('button', { name: 'End', exact: true }).first().click();
  await dialog(page).getByRole('button', { name: 'End session' }).click();
  await dialog(page).getByText('The session has ended').waitFor();
});

test('a program that floods the window beside its screen holds nothing up', async (t) => {
  const page = await arrive(t, { options: { permissions: ['clipboard-read', 'clipboard-write'] } });
  const titles = 20000;
  const script = `#!/bin/sh
stty -echo; echo ready; read go
awk 'BEGIN { for (i = 1; i <= ${titles}; i++) printf "\\033]0;title %d\\007", i }'
i=0; while [ $i -lt 50 ]; do i=$((i + 1)); printf '\\033]52;c;c3RvbGVu\\007'; done
echo flooded; exec sleep 600
`;
  await start(page, t.stack.pack('floods', script));
  await shows(page, 'ready');
  await page.getByRole('button', { name: 'Settings' }).click();
  await dialog(page).getByLabel('Let the program write to the clipboard').check();
  await dialog(page).getByRole('button', { name: 'Done' }).click();
  await page.locator('dialog').waitFor({ state: 'detached' }); // the focus is back
  await page.evaluate(() => {
    window.changes = 0;
    new MutationObserver((list) => (window.changes += list.length)).observe(document.querySelector('title'), { childList: true, subtree: true, characterData: true });
  });
  await type(page, 'go\n');
  await shows(page, /^flooded$/m, 30000);
  await until('the last title', 5000, async () => (await page.title()) === `title ${titles} – podterm`);
  const changes = await page.evaluate(() => window.changes);
  assert.ok(changes < titles / 10, `${changes} changes of the title`);
  // allowed, so it is there, and said once
  await until('the text is there', 5000, async () => (await page.evaluate(() => navigator.clipboard.readText())) === 'stolen');
  assert.equal(await page.locator('.toast').filter({ hasText: 'copied' }).count(), 1);
  await page.getByRole('button', { name: 'End', exact: true }).first().click();
  await dialog(page).getByRole('button', { name: 'End session' }).click();
});

test('a link is asked first, with its whole address, and opens away from this page', async (t) => {
  const page = await arrive(t);
  const lines = [
    ['https://bank.example@other.example/%E2%80%AE', 'named'],
    [`https://other.example/${'a'.repeat(2048)}`, 'lengthy'],
  ].map(([url, text]) => `printf '\\033]8;;%s\\007%s\\033]8;;\\007\\n' '${url}' ${text}`);
  await start(page, t.stack.pack('links', `#!/bin/sh\n${lines.join('\n')}\necho http://plain.example/here\nexec sleep 600\n`));
  await shows(page, 'plain.example');
  await page.context().route(/\.example\//, (route) => route.fulfill({ contentType: 'text/html', body: '<title>there</title>' }));
  const opened = [];
  page.context().on('page', (other) => opened.push(other));
  for (const [text, host, url] of [['named', 'other.example', 'https://bank.example@other.example/%E2%80%AE'], ['plain', 'plain.example', 'http://plain.example/here']]) {
    await clickText(page, text);
    assert.equal(await dialog(page).locator('strong').textContent(), host);
    assert.equal(await dialog(page).locator('.url').textContent(), url);
    await dialog(page).getByRole('button', { name: 'Cancel' }).click();
  }
  await clickText(page, 'lengthy');
  await page.getByText('more than 2048 characters').waitFor();
  assert.equal(await dialog(page).count(), 0);
  assert.equal(opened.length, 0);
  await clickText(page, 'plain');
  await dialog(page).getByRole('button', { name: 'Open in a new tab' }).click();
  await until('it is open', 5000, async () => opened.length === 1 && (await opened[0].title()) === 'there');
  assert.deepEqual(await opened[0].evaluate(() => [location.href, document.referrer, window.opener]), ['http://plain.example/here', '', null]);
  await opened[0].close();
  await page.getByRole('button', { name: 'End', exact: true }).first().click();
  await dialog(page).getByRole('button', { name: 'End session' }).click();
});

test('a gateway that dies and comes back loses nothing', async (t) => {
  const page = await arrive(t);
  await start(page, t.stack.pack('counter', '#!/bin/sh\ni=0; while [ $i -lt 60 ]; do i=$((i + 1)); echo line $i; sleep 0.1; done; read x; echo got $x\n'));
  await shows(page, /^line 5$/m);
  t.allow(/WebSocket connection to .* failed/);
  t.stack.kill('podterm-gateway');
  await shows(page, /^line 60$/m, 20000);
  await says(page, 'Connected');
  await type(page, 'all\n');
  await dialog(page).getByText('exit code 0').waitFor();
  await dialog(page).getByRole('button', { name: 'Look at the screen' }).click();
  const shown = (await screen(page)).match(/^line \d+$/gm).map((line) => Number(line.slice(5)));
  shown.forEach((n, i) => assert.equal(n, shown[0] + i));
  assert.match(await screen(page), /^got all$/m);
});

test('a hundred kilobytes are pasted whole, and what is selected is copied', async (t) => {
  const page = await arrive(t, { options: { permissions: ['clipboard-read', 'clipboard-write'] } });
  await start(page, t.stack.pack('counts', '#!/bin/sh\nstty raw -echo; echo reading; head -c 100000 | sha256sum | cut -c1-16; stty opost; exec sleep 600\n'));
  await shows(page, 'reading');
  const { createHash } = await import('node:crypto');
  const text = Array.from({ length: 10000 }, (_, i) => String(i).padStart(9, '0') + ',').join('');
  await page.evaluate((what) => navigator.clipboard.writeText(what), text);
  await page.getByRole('button', { name: 'Paste' }).click();
  const hash = createHash('sha256').update(text).digest('hex').slice(0, 16);
  await shows(page, hash, 30000);
  await clickText(page, hash, { clickCount: 2 });
  await page.getByRole('button', { name: 'Copy' }).click();
  await until('the word is on the clipboard', 5000, async () => (await page.evaluate(() => navigator.clipboard.readText())) === hash);
  await page.getByRole('button', { name: 'End', exact: true }).first().click();
  await dialog(page).getByRole('button', { name: 'End session' }).click();
});

/** The clipboard's text, by the button and by the keyboard. */
const PASTES = [
  ['its button', (page) => page.getByRole('button', { name: 'Paste' }).click()],
  ['the keyboard', async (page) => {
    await page.locator('.xterm-helper-textarea').focus();
    await page.keyboard.press('Control+Shift+V');
  }],
];

test('what is pasted cannot end the paste, and then type', async (t) => {
  const page = await arrive(t, { options: { permissions: ['clipboard-read', 'clipboard-write'] } });
  const script = [
    '#!/bin/sh',
    'stty raw -echo',
    "printf '\\033[?2004hreading\\r\\n'",
    'for i in 1 2; do printf "%s=[%s]\\r\\n" $i "$(head -c 24 | tr "\\033\\015\\003" "E;C")"; done',
    'exec sleep 600',
  ].join('\n');
  await start(page, t.stack.pack('pasted', `${script}\n`));
  await shows(page, 'reading');
  await page.evaluate(() => navigator.clipboard.writeText('safe\x1b[201~\x03rm\n\u009b'));
  for (const [i, [how, paste]] of PASTES.entries()) {
    await paste(page);
    await shows(page, `${i + 1}=[E[200~safe[201~rm;E[201~]`).catch((e) => assert.fail(`by ${how}: ${e.message}`));
    await page.getByText('Control characters were left out').first().waitFor();
  }
  await page.getByRole('button', { name: 'End', exact: true }).first().click();
  await dialog(page).getByRole('button', { name: 'End session' }).click();
});

test('a line that is cut and comes back is told honestly, and nothing is lost', async (t) => {
  const page = await arrive(t);
  await start(page, t.stack.pack('ticks', '#!/bin/sh\ni=0; while [ $i -lt 80 ]; do i=$((i + 1)); echo tick $i; sleep 0.1; done; read x; echo got $x\n'));
  await shows(page, /^tick 3$/m);
  t.allow(/WebSocket connection to .* failed/, /net::ERR_INTERNET_DISCONNECTED/);
  await page.context().setOffline(true);
  t.stack.kill('podterm-gateway', 'SIGSTOP'); // what is open already is cut here
  try {
    await says(page, 'You are offline. Your program goes on');
  } finally {
    t.stack.kill('podterm-gateway', 'SIGCONT');
  }
  await page.context().setOffline(false);
  await says(page, 'Connected');
  await shows(page, /^tick 80$/m, 20000);
  await type(page, 'all\n');
  await shows(page, /^got all$/m);
  const shown = (await screen(page)).match(/^tick \d+$/gm).map((line) => Number(line.slice(5)));
  shown.forEach((n, i) => assert.equal(n, shown[0] + i));
});

test('where there is no sign-in for it, as in a cluster, the page says so and what to do', async (t) => {
  const page = await t.page();
  await page.route('**/web/config.json', async (route) => {
    const response = await route.fetch();
    const config = await response.json();
    await route.fulfill({ response, json: { ...config, sign_in: { kind: 'none', issuer: 'https://issuer.example' } } });
  });
  await page.goto(t.stack.url);
  await page.getByRole('alert').getByText('has no sign-in for this page').waitFor();
  await page.getByText('podterm run', { exact: true }).waitFor();
  assert.equal(await page.getByRole('textbox').count(), 0);
  assert.equal(await page.getByRole('button').count(), 0);
});

test('the terms of what is in the page are served beside it, and of nothing else', async (t) => {
  const response = await fetch(`${t.stack.url}licenses.txt`);
  assert.equal(response.status, 200);
  const parts = (await response.text()).split(/^-{72}$/m);
  const { devDependencies } = JSON.parse(fs.readFileSync(new URL('../../web/package.json', import.meta.url), 'utf8'));
  const shipped = Object.entries(devDependencies).filter(([name]) => name.startsWith('@xterm/')).map(([name, version]) => `${name} ${version} (MIT)`);
  assert.deepEqual(parts.map((part) => part.trim().split('\n')[0]), shipped.sort());
  for (const part of parts) assert.match(part, /Copyright \(c\) [^]*Permission is hereby granted/);
});

test('where nothing can be kept the page says so', async (t) => {
  const page = await t.page();
  await page.addInitScript(() => {
    const get = () => {
      throw new DOMException('no', 'SecurityError');
    };
    for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(window, name, { get });
  });
  await page.goto(t.stack.url);
  await page.getByRole('alert').getByText('Allow site data').waitFor();
});

test('each new screen begins at its title, for who cannot see it', async (t) => {
  const page = await t.page();
  await page.goto(t.stack.url);
  await page.getByLabel('Your name').waitFor();
  await page.keyboard.type('kim');
  await page.keyboard.press('Enter');
  const at = () => page.evaluate(() => document.activeElement.textContent);
  await until('the title has the focus', 5000, async () => (await at()) === 'Sessions');
  await page.keyboard.press('Tab');
  assert.match(await at(), /^Theme/);
});

test('one comes back to the terminal by the browser\u2019s buttons, and from elsewhere', async (t) => {
  const page = await arrive(t);
  await start(page, t.stack.pack('shell', SHELL));
  await shows(page, 'ready>');
  await type(page, 'echo here $((6 * 7))\n');
  const before = await shows(page, /^here 42$/m);
  const back = async () => {
    await says(page, 'Connected');
    await until('the screen is as it was', 10000, async () => (await screen(page)) === before);
  };
  await page.goBack();
  await page.getByRole('heading', { name: 'Start a session' }).waitFor();
  await page.goForward();
  await back();
  await page.goto('about:blank');
  await page.goBack();
  await back();
  await type(page, 'exit\n');
  await dialog(page).getByText('exit code 0').waitFor();
});

test('letters that are composed arrive whole, and wide and wrapped lines are copied as they are', async (t) => {
  const page = await arrive(t, { options: { permissions: ['clipboard-read', 'clipboard-write'] } });
  await start(page, t.stack.pack('shell', SHELL));
  await shows(page, 'ready>');
  await type(page, 'echo ');
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Input.imeSetComposition', { text: '\u306b\u307b', selectionStart: 2, selectionEnd: 2 });
  await devtools.send('Input.insertText', { text: '\u65e5\u672c\ud83d\udc4d' });
  await shows(page, 'echo \u65e5\u672c\ud83d\udc4d'); // xterm.js reads it a moment later
  await page.keyboard.press('Enter');
  await shows(page, /^\u65e5\u672c\ud83d\udc4d$/mu);
  await type(page, "clear; printf '\u6f22\u5b57 h\u00e9 \ud83d\udc4d.%0200d.\\n' 7\n");
  await shows(page, /7\.$/m);
  const box = await page.locator('.xterm-screen').boundingBox();
  const height = box.height / (await rows(page)).length;
  const last = (await rows(page)).findIndex((row) => row.endsWith('7.'));
  await page.mouse.move(box.x + 1, box.y + height / 2);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width - 2, box.y + height * (last + 0.5), { steps: 5 });
  await page.mouse.up();
  await page.keyboard.press('Control+Shift+C');
  const expected = `\u6f22\u5b57 h\u00e9 \ud83d\udc4d.${'7'.padStart(200, '0')}.`;
  let copied = '';
  await until('it is copied', 5000, async () => (copied = await page.evaluate(() => navigator.clipboard.readText())) === expected).catch(() => assert.equal(copied, expected));
  await type(page, 'exit\n');
  await dialog(page).waitFor();
});

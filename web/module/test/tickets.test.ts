import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';

import { controllerTickets, TicketError } from '../src/index.js';

const real = globalThis.fetch;
afterEach(() => void (globalThis.fetch = real));

interface Call {
  url: string;
  init: RequestInit;
}

/** A controller that gives these answers, one after the other. */
function controller(...answers: [number, string | Uint8Array<ArrayBuffer>, Record<string, string>?][]): Call[] {
  const calls: Call[] = [];
  globalThis.fetch = async (url, init) => {
    const [status, body, headers] = answers[Math.min(calls.length, answers.length - 1)] as (typeof answers)[0];
    calls.push({ url: String(url), init: init as RequestInit });
    return new Response(body, { status, ...(headers && { headers }) });
  };
  return calls;
}

const GOOD: [number, string] = [200, '{"id":"x","token":"T","attach_url":"wss://g.example/v1/attach"}'];
const signal = new AbortController().signal;
const provider = (more: object = {}) => controllerTickets({ sessionId: 'abc', identity: async (isRefused) => (isRefused ? 'fresh' : 'kept'), ...more });
const header = (c: Call | undefined) => (c?.init.headers as Record<string, string>)['authorization'];

test('a token is asked for by POST, with the role, and never in the address', async () => {
  const calls = controller(GOOD);
  assert.deepEqual(await provider({ role: 'viewer', controller: 'https://c.example' })(signal), { token: 'T', attachUrl: 'wss://g.example/v1/attach' });
  assert.equal(calls[0]?.url, 'https://c.example/api/sessions/abc/token');
  assert.deepEqual([calls[0]?.init.method, calls[0]?.init.body, calls[0]?.init.credentials, header(calls[0])], ['POST', '{"role":"viewer"}', 'omit', 'Bearer kept']);
});

test('the ticket that came with the session is used first, and once', async () => {
  const calls = controller(GOOD);
  const p = provider({ first: { token: 'first', attachUrl: 'wss://g.example/' } });
  assert.equal((await p(signal)).token, 'first');
  assert.equal(calls.length, 0);
  assert.equal((await p(signal)).token, 'T');
});

test('an identity that is refused is asked for once more', async () => {
  const calls = controller([401, '{"detail":"x"}'], GOOD);
  assert.equal((await provider()(signal)).token, 'T');
  assert.deepEqual(calls.map(header), ['Bearer kept', 'Bearer fresh']);
  controller([401, '{"detail":"no"}']);
  await assert.rejects(provider()(signal), (e) => e instanceof TicketError && e.kind === 'final' && e.message === 'no');
});

test('what is final, what passes, what has ended', async () => {
  const kinds: [number, string, string][] = [
    [400, '{"detail":"x"}', 'final'],
    [403, 'no json', 'final'],
    [404, '{}', 'final'],
    [409, '{"session":{"state":"ended","reason":"exited","exit_code":3}}', 'ended'],
    [429, '{}', 'passing'],
    [500, '<html>', 'passing'],
    [503, '{}', 'passing'],
  ];
  for (const [status, body, kind] of kinds) {
    controller([status, body, { 'retry-after': '2' }]);
    await assert.rejects(provider()(signal), (e) => {
      assert.ok(e instanceof TicketError);
      assert.equal(e.kind, kind, String(status));
      if (kind === 'ended') assert.equal(e.end?.code, 3);
      if (kind === 'passing') assert.equal(e.retryAfterMs, 2000);
      return true;
    });
  }
});

test('a hostile answer: too large, no token, no JSON', async () => {
  controller([200, new Uint8Array((1 << 20) + 1)]);
  await assert.rejects(provider()(signal), /too large/);
  controller([200, '{"attach_url":"wss://g.example/"}']);
  await assert.rejects(provider()(signal), /no session token/);
  controller([200, '[]']);
  await assert.rejects(provider()(signal), /not what was agreed/);
});

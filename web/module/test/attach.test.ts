import assert from 'node:assert/strict';
import { test } from 'node:test';

import { attach, TicketError } from '../src/index.js';
import type { AttachOptions, Attachment, State } from '../src/index.js';
import { cut, error, exit, inputAck, message, move, open, output, pong, ready, said, say, settle, stage } from './stand-in.js';
import type { FakeSocket, Stage } from './stand-in.js';

interface Seen {
  s: Stage;
  a: Attachment;
  states: State[];
  shown: string;
  skipped: number;
  tickets: number;
  owed: (() => void)[];
  names(): string;
  last(): FakeSocket;
}

const END = { reason: 'exited', code: 7, outputEnd: 5, detail: '', missing: 0 };

function start(o: Partial<AttachOptions> = {}, holdsBack = false): Seen {
  const s = stage();
  const seen: Seen = {
    s,
    a: null as unknown as Attachment,
    states: [],
    shown: '',
    skipped: 0,
    tickets: 0,
    owed: [],
    names: () => seen.states.map((x) => x.name).join(' '),
    last: () => s.sockets[s.sockets.length - 1] as FakeSocket,
  };
  seen.a = attach({
    host: s.host,
    size: { cols: 80, rows: 24 },
    tickets: async () => ({ token: `t${++seen.tickets}`, attachUrl: 'ws://127.0.0.1:1/v1/attach' }),
    state: (x) => seen.states.push(x),
    skipped: (n) => (seen.skipped += n),
    output: (bytes, _offset, consumed) => {
      seen.shown += new TextDecoder().decode(bytes);
      if (holdsBack) seen.owed.push(consumed);
      else consumed();
    },
    ...o,
  });
  return seen;
}

async function attached(x: Seen, more: object = {}): Promise<FakeSocket> {
  await settle();
  const socket = x.last();
  open(socket);
  say(socket, ready(more));
  return socket;
}

test('HELLO first, and nothing else before READY', async () => {
  const x = start();
  await settle();
  const socket = x.last();
  assert.equal(socket.protocol, 'podterm.v1');
  assert.equal(x.a.type('early'), true);
  open(socket);
  assert.deepEqual(said(socket).map((m) => m.text), ['{"token":"t1","cols":80,"rows":24}']);
  say(socket, ready());
  assert.equal(said(socket, 0x02)[0]?.text, 'early');
  assert.equal(x.names(), 'connecting attached');
});

test('what is acknowledged is what was consumed', async () => {
  const x = start({}, true);
  const socket = await attached(x);
  say(socket, output(0, 'x'.repeat(40)));
  assert.equal(said(socket, 0x04).length, 0);
  assert.equal(x.a.offset, 0);
  x.owed[0]?.();
  x.owed[0]?.(); // twice is once
  assert.deepEqual(said(socket, 0x04).map((m) => m.offset), [40]);
  assert.equal(x.a.offset, 40);
});

test('a cut connection: offset, input and signals are taken up, with a fresh token', async () => {
  const x = start();
  const one = await attached(x);
  say(one, output(0, 'hello'));
  x.a.type('abc');
  x.a.signal('TERM');
  cut(one);
  await x.s.pass(60);
  const two = x.last();
  assert.notEqual(one, two);
  open(two);
  assert.equal(said(two)[0]?.text, '{"token":"t2","cols":80,"rows":24,"output_from":5}');
  say(two, ready({ output_from: 5, input_received: 1 }));
  assert.deepEqual(said(two, 0x02).map((m) => [m.offset, m.text]), [[1, 'bc']]);
  assert.equal(said(two, 0x05).length, 1);
  say(two, output(3, 'lo, world'));
  assert.equal(x.shown, 'hello, world');
  assert.equal(x.names(), 'connecting attached attached');
});

test('an interrupt behind a full window goes ahead as SIGNAL', async () => {
  const x = start();
  const socket = await attached(x);
  x.a.type('0123456789abcdef');
  x.a.type('\x03');
  assert.deepEqual(said(socket, 0x05).map((m) => m.text), ['\x01']);
  assert.equal(said(socket, 0x02).map((m) => m.text).join(''), '0123456789abcdef');
  say(socket, inputAck(16));
  assert.equal(said(socket, 0x02).length, 1);
});

test('more than is kept is refused whole', async () => {
  const x = start();
  await attached(x);
  assert.equal(x.a.room, 16 + (1 << 20));
  assert.equal(x.a.type('x'.repeat(x.a.room + 1)), false);
  assert.equal(x.a.isIdle, true);
  assert.equal(x.a.type('x'.repeat(x.a.room)), true);
  assert.equal(x.a.room, 0);
});

test('lost is told after a second, with why, and ends with READY', async () => {
  const x = start();
  const socket = await attached(x);
  cut(socket, 1006, 'gone');
  await x.s.pass(999);
  assert.equal(x.states.at(-1)?.name, 'attached');
  await x.s.pass(2);
  const state = x.states.at(-1);
  assert.equal(state?.name === 'lost' && state.why, 'gone');
  open(x.last());
  say(x.last(), ready());
  assert.equal(x.states.at(-1)?.name, 'attached');
});

test('tries come slower and slower, but at once when the network is back', async () => {
  const x = start();
  cut(await attached(x));
  for (let i = 0; i < 40; i++) {
    const before = x.s.sockets.length;
    await x.s.pass(5001);
    assert.equal(x.s.sockets.length > before, true);
    cut(x.last());
  }
  const before = x.s.sockets.length;
  await x.s.pass(100);
  assert.equal(x.s.sockets.length, before);
  x.s.event('online');
  await settle();
  assert.equal(x.s.sockets.length, before + 1);
});

test('silence is asked after, and dead when it goes on', async () => {
  const x = start();
  const socket = await attached(x);
  say(socket, pong(1));
  await x.s.pass(10000);
  assert.deepEqual(said(socket, 0x06).map((m) => m.offset), [1, 2]);
  await x.s.pass(2500);
  assert.equal(x.states.at(-1)?.name, 'slow');
  say(socket, pong(2));
  assert.equal(x.states.at(-1)?.name, 'attached');
  await x.s.pass(20100);
  assert.equal(socket.isClosed, true);
  assert.equal(x.s.sockets.length, 2);
});

test('whoever types hears soon that nobody answers', async () => {
  const x = start();
  const socket = await attached(x);
  say(socket, pong(1));
  await x.s.pass(200);
  x.a.type('a');
  x.a.type('b');
  await x.s.pass(900);
  assert.deepEqual(said(socket, 0x06).map((m) => m.offset), [1, 2]);
  await x.s.pass(2000);
  assert.equal(x.states.at(-1)?.name, 'slow');
});

test('output keeps a connection alive, but its answers are still slow', async () => {
  const x = start();
  const socket = await attached(x);
  for (let i = 0; i < 30; i++) {
    await x.s.pass(1000);
    say(socket, output(i, 'x'));
  }
  assert.equal(socket.isClosed, false);
  assert.equal(x.states.at(-1)?.name, 'slow');
});

test('the network changes: a dead connection is found out in 3 s', async () => {
  const x = start();
  const socket = await attached(x);
  say(socket, pong(1));
  await x.s.pass(1000);
  x.s.event('online');
  await x.s.pass(3100);
  assert.equal(socket.isClosed, true);
});

test('a server that does not answer the dial, or HELLO, is left', async () => {
  const x = start();
  await settle();
  await x.s.pass(10100);
  assert.equal(x.s.sockets.length > 1, true);
  const n = x.s.sockets.length;
  open(x.last());
  await x.s.pass(76000);
  assert.equal(x.s.sockets.length > n, true);
});

test('replaced is never answered by attaching again, but for the user', async () => {
  const x = start();
  const socket = await attached(x);
  say(socket, error('replaced'));
  cut(socket, 4409);
  x.s.event('online');
  await x.s.pass(100000);
  assert.equal(x.names(), 'connecting attached replaced');
  assert.equal(x.tickets, 1);
  x.a.takeBack();
  await attached(x);
  assert.equal(x.tickets, 2);
  assert.equal(x.states.at(-1)?.name, 'attached');
});

test('a close with 4409 alone says the same', async () => {
  const x = start();
  cut(await attached(x), 4409);
  await x.s.pass(60000);
  assert.equal(x.states.at(-1)?.name, 'replaced');
});

test('MOVE: the old connection carries until the new one is READY', async () => {
  const x = start();
  const one = await attached(x);
  say(one, move());
  say(one, move());
  await settle();
  const two = x.last();
  assert.equal(x.s.sockets.length, 2);
  open(two);
  say(one, output(0, 'old '));
  assert.equal(x.shown, 'old ');
  say(one, error('replaced')); // by us
  cut(one, 4409);
  say(two, ready({ output_from: 0 }));
  say(two, output(0, 'old new'));
  assert.equal(x.shown, 'old new');
  assert.equal(x.states.some((q) => q.name === 'replaced'), false);
});

test('which refusals are tried again', async () => {
  for (const [code, isTried] of [['token', true], ['busy', true], ['agent_lost', true], ['unavailable', true], ['a_new_word', true], ['bad_request', false], ['denied', false], ['start_timeout', false]] as const) {
    const x = start();
    await settle();
    open(x.last());
    say(x.last(), error(code));
    await x.s.pass(6000);
    assert.equal(x.tickets > 1, isTried, code);
    assert.equal(x.states.at(-1)?.name === 'failed', !isTried, code);
  }
});

test('a server may ask for time', async () => {
  const x = start();
  await settle();
  open(x.last());
  say(x.last(), error('busy', { retry_after_ms: 20000 }));
  await x.s.pass(19000);
  assert.equal(x.tickets, 1);
  await x.s.pass(1200);
  assert.equal(x.tickets, 2);
});

test('EXIT: all output first, acknowledged, then the end', async () => {
  const x = start({}, true);
  const socket = await attached(x);
  say(socket, output(0, 'bye\r\n'));
  say(socket, exit({ reason: 'exited', code: 7, output_end: 5 }));
  assert.equal(x.states.at(-1)?.name, 'attached');
  x.owed[0]?.();
  assert.deepEqual(said(socket, 0x04).map((m) => m.offset), [5]);
  const state = x.states.at(-1);
  assert.equal(state?.name === 'ended' && state.end.code, 7);
  assert.equal(x.a.type('x'), false);
});

test('session_ended says how, and what is missing', async () => {
  const x = start();
  const one = await attached(x);
  say(one, output(0, 'abc'));
  cut(one);
  await x.s.pass(60);
  open(x.last());
  say(x.last(), error('session_ended', { reason: 'idle', output_end: 10, detail: 'd' }));
  const state = x.states.at(-1);
  assert.deepEqual(state?.name === 'ended' && [state.end.reason, state.end.missing], ['idle', 7]);
});

test('no token, as the session has ended: its record says how', async () => {
  const x = start({ tickets: () => Promise.reject(new TicketError('ended', 'over', END)) });
  await settle();
  assert.equal(x.names(), 'connecting ended');
});

test('runner_lost: the record is asked for what the agent cannot know', async () => {
  let asked = 0;
  const x = start({
    tickets: async () => {
      if (++asked > 2) throw new TicketError('ended', 'over', { ...END, reason: 'evicted' });
      return { token: 't', attachUrl: 'ws://127.0.0.1:1/' };
    },
  });
  const socket = await attached(x);
  say(socket, exit({ reason: 'runner_lost', output_end: 0 }));
  cut(socket, 1000);
  await x.s.pass(2000);
  const state = x.states.at(-1);
  assert.equal(state?.name === 'ended' && state.end.reason, 'evicted');
  assert.equal(x.s.sockets.length, 1);
});

test('tickets: passing is tried again, final is not', async () => {
  const x = start({ tickets: () => Promise.reject(new TypeError('fetch failed')) });
  await x.s.pass(1500);
  assert.equal(x.states.at(-1)?.name, 'lost');
  const y = start({ tickets: () => Promise.reject(new TicketError('final', 'no such session')) });
  await settle();
  assert.equal(y.states.at(-1)?.name, 'failed');
});

test('a ticket that comes, or fails, too late is nobody\'s', async () => {
  const asked: { resolve(t: { token: string; attachUrl: string }): void; reject(e: Error): void }[] = [];
  const x = start({ tickets: () => new Promise((resolve, reject) => void asked.push({ resolve, reject })) });
  await settle();
  x.a.close();
  asked[0]?.resolve({ token: 'late', attachUrl: 'ws://127.0.0.1:1/' });
  await settle();
  assert.equal(x.s.sockets.length, 0);

  const y = start({ tickets: () => new Promise((resolve, reject) => void asked.push({ resolve, reject })) });
  await settle();
  asked[1]?.resolve({ token: 'a', attachUrl: 'ws://127.0.0.1:1/' });
  const socket = await attached(y);
  say(socket, move());
  await settle();
  say(socket, error('replaced')); // while the ticket for MOVE is on its way
  assert.equal(y.states.at(-1)?.name, 'replaced');
  y.a.takeBack();
  await settle();
  asked[3]?.resolve({ token: 'b', attachUrl: 'ws://127.0.0.1:1/' });
  await settle();
  asked[2]?.reject(new TicketError('final', 'aborted'));
  await settle();
  assert.equal(y.s.sockets.length, 2);
  assert.equal(y.states.at(-1)?.name, 'connecting');
});

test('only wss is dialled, but on this machine', async () => {
  for (const [url, isDialled] of [['ws://example.com/', false], ['wss://example.com/', true], ['ws://[::1]:9/', true], ['ws://localhost:9/', true], ['ws://127.0.0.1.example.com/', false], ['https://example.com/', false], ['wss://u:p@example.com/', false], ['x', false]] as const) {
    const x = start({ tickets: async () => ({ token: 't', attachUrl: url }) });
    await settle();
    assert.equal(x.s.sockets.length === 1, isDialled, url);
  }
});

test('a hostile server: the connection is dropped, nothing is shown', async () => {
  const bad: [string, unknown][] = [
    ['text', 'hello'],
    ['nothing', new ArrayBuffer(0)],
    ['unknown', message(0x42)],
    ['truncated', message(0x82, [0, 0])],
    ['huge', new ArrayBuffer(1 << 20)],
    ['a gap', output(1, 'x')],
    ['beyond the window', output(0, 'x'.repeat(65))],
    ['input never sent', inputAck(1)],
    ['EXIT that is no JSON', message(0x85, [1, 2])],
    ['READY for a HELLO not sent, broken', message(0x88, [0x7b, 0x7b])],
  ];
  for (const [what, data] of bad) {
    const x = start();
    const socket = await attached(x);
    say(socket, data);
    assert.equal(socket.isClosed, true, what);
    assert.equal(x.shown, '', what);
    await x.s.pass(60);
    assert.equal(x.s.sockets.length, 2, what);
  }
});

test('a hostile server: what is out of order does nothing', async () => {
  const x = start();
  await settle();
  const socket = x.last();
  open(socket);
  for (const m of [output(0, 'x'), inputAck(0), exit({ reason: 'exited', code: 0 }), move(), pong(5)]) say(socket, m);
  assert.equal(x.shown, '');
  assert.equal(x.names(), 'connecting');
  say(socket, ready());
  say(socket, ready({ output_from: 50 })); // a second one
  say(socket, pong(99)); // never asked
  say(socket, output(0, 'ok'));
  assert.equal(x.shown, 'ok');
});

test('a viewer types nothing and says no size', async () => {
  const x = start({ role: 'viewer' });
  const socket = await attached(x, { role: 'viewer' });
  assert.equal(x.a.type('x'), false);
  x.a.resize(10, 10);
  x.a.signal('KILL');
  assert.equal(x.a.end(), false);
  assert.deepEqual(said(socket).map((m) => m.type), [0x01, 0x06]);
  assert.equal(said(socket)[0]?.text, '{"token":"t1"}');
});

test('bytes nobody fetched in time are told', async () => {
  const x = start({ outputFrom: 10 });
  const socket = await attached(x, { output_from: 100 });
  assert.equal(said(socket)[0]?.text.includes('"output_from":10'), true);
  assert.equal(x.skipped, 90);
});

test('repaint tells another size, and then the right one', async () => {
  const x = start();
  const socket = await attached(x);
  x.a.repaint();
  await x.s.pass(150);
  assert.deepEqual(socket.sent.filter((b) => b[0] === 3).map((b) => [b[2], b[4]]), [[79, 24], [80, 24]]);
});

test('close: nothing comes after it', async () => {
  const x = start();
  const socket = await attached(x);
  x.a.close();
  say(socket, output(0, 'x'));
  cut(socket);
  x.s.event('online');
  await x.s.pass(100000);
  assert.equal(x.shown, '');
  assert.equal(x.names(), 'connecting attached closed');
  assert.equal(x.s.sockets.length, 1);
});

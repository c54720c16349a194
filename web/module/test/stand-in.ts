// A server, a clock and a network for tests: nothing here waits.

import type { Host, Socket } from '../src/host.js';

const text = new TextEncoder();

export interface FakeSocket extends Socket {
  url: string;
  protocol: string;
  /** What the client sent, whole messages. */
  sent: Uint8Array[];
  isClosed: boolean;
}

export interface Stage {
  host: Host;
  sockets: FakeSocket[];
  /** Let time pass; timers go off on their way. */
  pass(ms: number): Promise<void>;
  online: boolean;
  event(name: 'online' | 'offline' | 'shown'): void;
}

/** Promises that are due have run when this is done. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

export function stage(): Stage {
  const timers = new Map<number, { at: number; run: () => void }>();
  const watchers = new Set<{ online(): void; offline(): void; shown(): void }>();
  let now = 1_000_000;
  let ids = 0;
  const s: Stage = {
    sockets: [],
    online: true,
    event: (name) => watchers.forEach((w) => w[name]()),
    async pass(ms) {
      const end = now + ms;
      await settle();
      for (;;) {
        const next = [...timers].filter(([, t]) => t.at <= end).sort((a, b) => a[1].at - b[1].at)[0];
        if (!next) break;
        timers.delete(next[0]);
        now = Math.max(now, next[1].at);
        next[1].run();
        await settle();
      }
      now = end;
    },
    host: {
      dial(url, protocol) {
        const socket: FakeSocket = {
          url,
          protocol,
          binaryType: '',
          onopen: null,
          onmessage: null,
          onclose: null,
          onerror: null,
          sent: [],
          isClosed: false,
          send(bytes) {
            socket.sent.push(bytes.slice());
          },
          close() {
            socket.isClosed = true;
          },
        };
        s.sockets.push(socket);
        return socket;
      },
      now: () => now,
      random: () => 0,
      after(ms, run) {
        const id = ++ids;
        timers.set(id, { at: now + ms, run });
        return () => timers.delete(id);
      },
      isOnline: () => s.online,
      watch(on) {
        watchers.add(on);
        return () => watchers.delete(on);
      },
    },
  };
  return s;
}

// --- what a server says ---

export function message(type: number, ...body: (number[] | Uint8Array)[]): ArrayBuffer {
  const bytes = new Uint8Array([type, ...body.flatMap((b) => [...b])]);
  return bytes.buffer;
}

export function u64(n: number): number[] {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, BigInt(n));
  return [...new Uint8Array(view.buffer)];
}

export const json = (type: number, value: unknown) => message(type, text.encode(JSON.stringify(value)));

export const ready = (more: object = {}) =>
  json(0x81, {
    sid: 'a'.repeat(26),
    role: 'owner',
    output_from: 0,
    input_received: 0,
    window: 64,
    input_window: 16,
    size: { cols: 80, rows: 24 },
    bundle: { url: 'file:///b', sha256: '0'.repeat(64) },
    isolation: 'full',
    egress: 'none',
    ...more,
  });
export const output = (offset: number, s: string) => message(0x82, u64(offset), text.encode(s));
export const inputAck = (offset: number) => message(0x83, u64(offset));
export const pong = (value: number) => message(0x87, u64(value));
export const error = (code: string, more: object = {}) => json(0x88, { code, message: 'a sentence', ...more });
export const exit = (more: object) => json(0x85, more);
export const move = () => message(0x89);

export function open(socket: FakeSocket): void {
  (socket.onopen as (() => void) | null)?.();
}

export function say(socket: FakeSocket, data: unknown): void {
  socket.onmessage?.({ data });
}

export function cut(socket: FakeSocket, code = 1006, reason = ''): void {
  socket.onclose?.({ code, reason });
}

// --- what a client said ---

export interface Said {
  type: number;
  offset: number;
  text: string;
}

export function said(socket: FakeSocket, type?: number): Said[] {
  return socket.sent
    .map((b) => {
      const hasOffset = [0x02, 0x04, 0x06].includes(b[0] as number);
      const view = new DataView(b.buffer, b.byteOffset, b.byteLength);
      return {
        type: b[0] as number,
        offset: hasOffset ? Number(view.getBigUint64(1)) : -1,
        text: new TextDecoder().decode(b.subarray(hasOffset ? 9 : 1)),
      };
    })
    .filter((m) => type === undefined || m.type === type);
}

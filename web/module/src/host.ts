// What of the browser (or Node, or a test) is used: sockets, time, the
// network's events. One place, so that tests can stand in for all of it.

/** The part of WebSocket that is used. */
export interface Socket {
  binaryType: string;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: ((event: never) => void) | null;
  send(bytes: Uint8Array<ArrayBuffer>): void;
  close(code?: number): void;
}

export interface Host {
  dial(url: string, protocol: string): Socket;
  now(): number;
  random(): number;
  /** Returns what calls it off. */
  after(ms: number, run: () => void): () => void;
  isOnline(): boolean;
  /** The network came back or went, the page is looked at again. Returns what ends it. */
  watch(on: { online(): void; offline(): void; shown(): void }): () => void;
}

function listen(target: EventTarget | undefined, type: string, run: () => void): () => void {
  if (!target || typeof target.addEventListener !== 'function') return () => {};
  target.addEventListener(type, run);
  return () => target.removeEventListener(type, run);
}

/** WebSocket: for Node before 22, which has none (the package `ws` fits). */
export function browserHost(WebSocketClass?: new (url: string, protocol: string) => unknown): Host {
  const g = globalThis as {
    WebSocket?: new (url: string, protocol: string) => unknown;
    navigator?: { onLine?: boolean };
    document?: EventTarget & { visibilityState?: string };
    addEventListener?: unknown;
  };

  return {
    dial(url, protocol) {
      const make = WebSocketClass ?? g.WebSocket;
      if (!make) throw new Error('there is no WebSocket here: give one');
      return new make(url, protocol) as Socket;
    },
    now: () => Date.now(),
    random: () => Math.random(),
    after(ms, run) {
      const id = setTimeout(run, ms);
      return () => clearTimeout(id);
    },
    isOnline: () => g.navigator?.onLine !== false,
    watch(on) {
      const window = typeof g.addEventListener === 'function' ? (globalThis as unknown as EventTarget) : undefined;
      const ends = [
        listen(window, 'online', on.online),
        listen(window, 'offline', on.offline),
        listen(g.document, 'visibilitychange', () => {
          if (g.document?.visibilityState === 'visible') on.shown();
        }),
      ];
      return () => ends.forEach((end) => end());
    },
  };
}

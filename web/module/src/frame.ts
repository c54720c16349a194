// The messages of podterm.v1: types, limits, and their bytes. One message is
// one type byte and its body; integers are big-endian. What comes from the
// server is taken apart here and nowhere else, and every length is judged
// before a byte of the body is looked at.
// Source: PROTOCOL.md, "Terminal protocol"; the C twin is base/frame.h.

export const SUBPROTOCOL = 'podterm.v1';
export const HELLO_MAX = 8192; // bytes, type included
export const INPUT_BYTES_MAX = 32768; // of typed bytes in one INPUT
export const CELLS_MAX = 1000; // columns and rows

/** The server does not keep to the protocol. */
export class ProtocolError extends Error {}

export const SIGNALS = { INT: 1, QUIT: 2, TERM: 3, HUP: 4, KILL: 5 } as const;
export type Signal = keyof typeof SIGNALS;

const UP = { hello: 0x01, input: 0x02, resize: 0x03, outputAck: 0x04, signal: 0x05, ping: 0x06, end: 0x07 };

export type Frame =
  | { type: 'output'; offset: number; bytes: Uint8Array }
  | { type: 'inputAck' | 'pong'; offset: number }
  | { type: 'ready' | 'stage' | 'exit' | 'error'; text: Uint8Array }
  | { type: 'resized'; cols: number; rows: number }
  | { type: 'move' };

/** Type byte, name, smallest and largest body. */
const DOWN: ReadonlyMap<number, readonly [Frame['type'], number, number]> = new Map([
  [0x81, ['ready', 2, 8191]],
  [0x82, ['output', 9, 8 + 65536]],
  [0x83, ['inputAck', 8, 8]],
  [0x84, ['stage', 2, 2047]],
  [0x85, ['exit', 2, 2047]],
  [0x86, ['resized', 4, 4]],
  [0x87, ['pong', 8, 8]],
  [0x88, ['error', 2, 2047]],
  [0x89, ['move', 0, 0]],
]);

/** An offset; beyond 2^53 - 1 a number would round it, so none is taken. */
function offsetAt(view: DataView, at: number): number {
  const n = view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4);
  if (!Number.isSafeInteger(n)) throw new ProtocolError('an offset is too large');
  return n;
}

function cells(view: DataView, at: number): number {
  const n = view.getUint16(at);
  if (n < 1 || n > CELLS_MAX) throw new ProtocolError('a size is out of range');
  return n;
}

/** Take one message of the server's apart. Bytes are borrowed from it.
 * Throws ProtocolError: empty, unknown, of a wrong length, a bad size. */
export function parseFrame(message: ArrayBuffer): Frame {
  const view = new DataView(message);
  const len = message.byteLength - 1;
  const kind = len >= 0 ? DOWN.get(view.getUint8(0)) : undefined;

  if (!kind) throw new ProtocolError('a message of an unknown kind');
  const [type, min, max] = kind;
  if (len < min || len > max) throw new ProtocolError(`a message of a wrong length (${type})`);
  switch (type) {
    case 'output': {
      const offset = offsetAt(view, 1);
      if (!Number.isSafeInteger(offset + len - 8)) throw new ProtocolError('an offset is too large');
      return { type, offset, bytes: new Uint8Array(message, 9) };
    }
    case 'inputAck':
    case 'pong':
      return { type, offset: offsetAt(view, 1) };
    case 'resized':
      return { type, cols: cells(view, 1), rows: cells(view, 3) };
    case 'move':
      return { type };
    default:
      return { type, text: new Uint8Array(message, 1) };
  }
}

function head(type: number, body: number): [Uint8Array<ArrayBuffer>, DataView] {
  const bytes = new Uint8Array(1 + body);
  bytes[0] = type;
  return [bytes, new DataView(bytes.buffer)];
}

function withOffset(type: number, offset: number, more = 0): Uint8Array<ArrayBuffer> {
  const [bytes, view] = head(type, 8 + more);
  view.setUint32(1, Math.floor(offset / 2 ** 32));
  view.setUint32(5, offset >>> 0);
  return bytes;
}

/** Returns null when it would be longer than a HELLO may be. */
export function helloFrame(hello: object): Uint8Array<ArrayBuffer> | null {
  const text = new TextEncoder().encode(JSON.stringify(hello));
  if (text.length > HELLO_MAX - 1) return null;
  const [bytes] = head(UP.hello, text.length);
  bytes.set(text, 1);
  return bytes;
}

export function inputFrame(offset: number, typed: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = withOffset(UP.input, offset, typed.length);
  bytes.set(typed, 9);
  return bytes;
}

export function resizeFrame(cols: number, rows: number): Uint8Array<ArrayBuffer> {
  const [bytes, view] = head(UP.resize, 4);
  view.setUint16(1, cols);
  view.setUint16(3, rows);
  return bytes;
}

export function signalFrame(signal: Signal): Uint8Array<ArrayBuffer> {
  const [bytes] = head(UP.signal, 1);
  bytes[1] = SIGNALS[signal];
  return bytes;
}

export const outputAckFrame = (offset: number) => withOffset(UP.outputAck, offset);
export const pingFrame = (value: number) => withOffset(UP.ping, value);
export const endFrame = () => head(UP.end, 0)[0];

// What the server tells in JSON: READY, STAGE, EXIT, ERROR, and the end in a
// session's record. Pure. Strings stay as they came, cut to size: whoever
// shows them must treat them as text (plain(), text nodes). Members that are
// not known are left out: these bodies may grow.
// Source: PROTOCOL.md, "JSON bodies"; the C twin is client/reply.c.

import { CELLS_MAX, ProtocolError } from './frame.js';
import { count, object, parseObject, text } from './json.js';
import type { JsonObject } from './json.js';

const WORD_MAX = 32;
const TEXT_MAX = 512;
const URL_MAX = 2048;
const WINDOW_MAX = 4 << 20;

export interface Size {
  cols: number;
  rows: number;
}

export interface Ready {
  sid: string;
  role: string;
  /** Where OUTPUT will start. */
  outputFrom: number;
  /** How far owners have acknowledged OUTPUT so far: what a program asks its terminal below was answered. */
  outputSeen: number;
  inputReceived: number;
  window: number;
  inputWindow: number;
  size?: Size;
  bundle?: { url: string; sha256: string };
  isolation: string;
  egress: string;
}

export interface Stage {
  stage: string;
  /** running, done, waiting, failed */
  state: string;
  /** Since the session was created. */
  ms: number;
  /** Bytes. */
  done?: number;
  total?: number;
  detail: string;
}

/** How a session ended. */
export interface End {
  /** A word of the protocol's (exited, signalled, deleted, …), or one not known; "" = none was told. */
  reason: string;
  /** Exit code 0..255. */
  code?: number;
  signal?: number;
  outputEnd?: number;
  detail: string;
  /** Bytes of output that are known to be gone. */
  missing: number;
}

export interface Refusal {
  /** bad_request, token, denied, … */
  code: string;
  message: string;
  retryAfterMs: number;
  end: End;
}

function size(o: JsonObject | undefined): Size | undefined {
  const cols = o && count(o, 'cols', CELLS_MAX);
  const rows = o && count(o, 'rows', CELLS_MAX);
  return cols && rows ? { cols, rows } : undefined;
}

export function readReady(bytes: Uint8Array): Ready {
  const o = parseObject(bytes, 'READY');
  const outputFrom = count(o, 'output_from');
  const inputReceived = count(o, 'input_received');
  const window = count(o, 'window', WINDOW_MAX);
  const inputWindow = count(o, 'input_window', WINDOW_MAX);
  const bundle = object(o, 'bundle');
  const sized = size(object(o, 'size'));

  if (outputFrom === undefined || inputReceived === undefined || !window || !inputWindow)
    throw new ProtocolError('READY lacks an offset or a window');
  return {
    sid: text(o, 'sid', WORD_MAX) ?? '',
    role: text(o, 'role', WORD_MAX) ?? '',
    outputFrom,
    outputSeen: count(o, 'output_seen') ?? 0,
    inputReceived,
    window,
    inputWindow,
    ...(sized && { size: sized }),
    ...(bundle && { bundle: { url: text(bundle, 'url', URL_MAX) ?? '', sha256: text(bundle, 'sha256', 64) ?? '' } }),
    isolation: text(o, 'isolation', WORD_MAX) ?? '',
    egress: text(o, 'egress', WORD_MAX) ?? '',
  };
}

export function readStage(bytes: Uint8Array): Stage {
  return stageOf(parseObject(bytes, 'STAGE'));
}

/** Also a stage in a session's record. */
export function stageOf(o: JsonObject): Stage {
  const done = count(o, 'done');
  const total = count(o, 'total');
  return {
    stage: text(o, 'stage', WORD_MAX) ?? '',
    state: text(o, 'state', WORD_MAX) ?? '',
    ms: count(o, 'ms') ?? 0,
    ...(done !== undefined && { done }),
    ...(total !== undefined && total > 0 && { total }),
    detail: text(o, 'detail', TEXT_MAX) ?? '',
  };
}

/** codeName: the member that holds the program's exit code. */
function endOf(o: JsonObject, codeName: string, endName: string): End {
  const code = count(o, codeName, 255);
  const signal = count(o, 'signal', 64);
  const outputEnd = count(o, endName);
  return {
    reason: text(o, 'reason', WORD_MAX) ?? '',
    ...(code !== undefined && { code }),
    ...(signal !== undefined && signal > 0 && { signal }),
    ...(outputEnd !== undefined && { outputEnd }),
    detail: text(o, 'detail', TEXT_MAX) ?? '',
    missing: 0,
  };
}

export function readExit(bytes: Uint8Array): End {
  return endOf(parseObject(bytes, 'EXIT'), 'code', 'output_end');
}

export function readError(bytes: Uint8Array): Refusal {
  const o = parseObject(bytes, 'ERROR');
  return {
    code: text(o, 'code', WORD_MAX) ?? '',
    message: text(o, 'message', TEXT_MAX) ?? '',
    retryAfterMs: count(o, 'retry_after_ms') ?? 0,
    end: endOf(o, 'exit_code', 'output_end'),
  };
}

/** The end out of a session's record (the API's); null when it has none. */
export function endOfRecord(session: JsonObject): End | null {
  return text(session, 'state', WORD_MAX) === 'ended' ? endOf(session, 'exit_code', 'output_bytes') : null;
}

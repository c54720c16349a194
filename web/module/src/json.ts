// JSON as the protocol has it: one object in UTF-8, no name twice, nothing
// behind it. Two readers that take different ones of two equal names would
// believe different things of one message.

import { ProtocolError } from './frame.js';

export type JsonObject = Readonly<Record<string, unknown>>;

/** Does any object in this text, which is JSON, have a name twice? */
function hasDouble(text: string): boolean {
  const names: (Set<string> | null)[] = []; // null: an array
  const token = /"(?:[^"\\]|\\.)*"(\s*:)?|[{}[\]]/gs;

  for (const [word, colon] of text.matchAll(token)) {
    if (word === '{') names.push(new Set());
    else if (word === '[') names.push(null);
    else if (word === '}' || word === ']') names.pop();
    else if (colon !== undefined) {
      const seen = names[names.length - 1];
      const name = JSON.parse(word.slice(0, word.lastIndexOf('"') + 1)) as string;
      if (!seen || seen.has(name)) return true;
      seen.add(name);
    }
  }
  return false;
}

/** Throws ProtocolError. `what` names the message for the error. */
export function parseObject(bytes: Uint8Array, what: string): JsonObject {
  let value: unknown;

  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(text);
    if (hasDouble(text)) value = null;
  } catch {
    value = null;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new ProtocolError(`the server's ${what} is not what was agreed`);
  return value as JsonObject;
}

/** A whole number 0..max, or undefined. */
export function count(o: JsonObject, name: string, max = Number.MAX_SAFE_INTEGER): number | undefined {
  const v = own(o, name);
  return typeof v === 'number' && Number.isInteger(v) && v >= 0 && v <= max ? v : undefined;
}

/** A text, cut to `max` UTF-16 units; undefined when there is none. */
export function text(o: JsonObject, name: string, max: number): string | undefined {
  const v = own(o, name);
  return typeof v === 'string' ? v.slice(0, max) : undefined;
}

export function object(o: JsonObject, name: string): JsonObject | undefined {
  const v = own(o, name);
  return typeof v === 'object' && v !== null && !Array.isArray(v) ? (v as JsonObject) : undefined;
}

/** Not what every object inherits. */
function own(o: JsonObject, name: string): unknown {
  return Object.prototype.hasOwnProperty.call(o, name) ? o[name] : undefined;
}

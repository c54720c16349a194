// Typed bytes that nobody has acknowledged yet: a queue, grown as needed,
// wiped as it is emptied (passwords are typed too).

export interface Kept {
  bytes: Uint8Array;
  start: number;
  len: number;
}

export function keptNew(): Kept {
  return { bytes: new Uint8Array(1024), start: 0, len: 0 };
}

export function keptAppend(k: Kept, more: Uint8Array): void {
  if (k.start + k.len + more.length > k.bytes.length) {
    const old = k.bytes;
    if (k.len + more.length > old.length) k.bytes = new Uint8Array(2 * (k.len + more.length));
    k.bytes.set(old.subarray(k.start, k.start + k.len));
    if (k.bytes !== old) old.fill(0);
    else old.fill(0, k.len);
    k.start = 0;
  }
  k.bytes.set(more, k.start + k.len);
  k.len += more.length;
}

export function keptDrop(k: Kept, n: number): void {
  k.bytes.fill(0, k.start, k.start + n);
  k.start = n === k.len ? 0 : k.start + n;
  k.len -= n;
}

/** Borrowed until the next call. */
export function keptSlice(k: Kept, from: number, len: number): Uint8Array {
  return k.bytes.subarray(k.start + from, k.start + from + len);
}

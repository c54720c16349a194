// Figures as the benches in C print them (tests/lib/figures.h).

import os from 'node:os';

export function begin(what) {
  console.log(`# ${what}: ${os.cpus().length} processors, load ${os.loadavg()[0].toFixed(1)}`);
}

export function say(name, value, unit) {
  console.log(`${name} ${value.toFixed(2)} ${unit}`);
}

export function atMost(name, value, unit, bound) {
  console.log(`${name} ${value.toFixed(2)} ${unit} aim <= ${bound} ${value <= bound ? 'holds' : 'MISSED'}`);
}

/** values in any order; q from 0 to 1. */
export function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) * q + 0.5)];
}

export const median = (values) => quantile(values, 0.5);

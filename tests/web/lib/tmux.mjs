// A terminal that a person would have: tmux, with a shell in it, on a server
// of its own (tests/lib/tmux.h is the same for tests in C).

import { execFileSync } from 'node:child_process';
import { until } from './stack.mjs';

const SHELL = "env -u TMUX PS1='seat> ' bash --norc --noprofile -i";
const SOON_MS = 20000;
let count = 0;

export class Tmux {
  #name = `podterm-web-${process.pid}-${count++}`;

  #tmux(...args) {
    const env = { ...process.env, LC_ALL: 'C.UTF-8' };
    delete env.TMUX;
    return execFileSync('tmux', ['-u', '-L', this.#name, '-f', '/dev/null', ...args], { env, encoding: 'utf8' });
  }

  /** bash in cols x rows, at its prompt. */
  async start(cols, rows) {
    this.#tmux('new-session', '-d', '-x', cols, '-y', rows, SHELL);
    this.#tmux('set', '-g', 'status', 'off');
    await this.resize(cols, rows);
    await until('a prompt', SOON_MS, async () => (await this.screen()).startsWith('seat>'));
    return this;
  }

  stop() {
    this.#tmux('kill-server');
  }

  async type(text) {
    this.#tmux('send-keys', '-l', text);
  }

  /** A line for the shell. */
  async enter(line) {
    await this.type(line);
    this.#tmux('send-keys', 'Enter');
  }

  async resize(cols, rows) {
    this.#tmux('resize-window', '-x', cols, '-y', rows);
  }

  /** What stands there, without blanks at the ends of rows and below. */
  async screen() {
    return this.#tmux('capture-pane', '-p').trimEnd();
  }

  /** The same with its colours, as escape sequences; and the cursor. */
  async drawn() {
    const cursor = this.#tmux('display-message', '-p', 'cursor #{cursor_x},#{cursor_y} shown #{cursor_flag}').trimEnd();
    return this.#tmux('capture-pane', '-p', '-e').trimEnd() + '\n' + cursor;
  }
}

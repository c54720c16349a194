// The whole of podterm on loopback for a browser's tests: `podterm dev` in a
// scratch directory, on ports that are free, with bundles packed here.

import { spawn, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';

const READY_MS = 20000;
const STOP_MS = 15000;
const LEFT_MS = 5000;

export const root = path.resolve(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '../../..');
export const build = path.resolve(root, process.env.PODTERM_BUILD ?? 'build');

export const nap = (ms) => new Promise((done) => setTimeout(done, ms));

/** Ask until it is true; what, for the error. */
export async function until(what, ms, ask) {
  const end = Date.now() + ms;
  for (;;) {
    const got = await ask();
    if (got) return got;
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await nap(20);
  }
}

/** A free port, below those that the kernel gives out by itself. */
export async function freePort() {
  for (let i = 0; i < 200; i++) {
    const port = 10000 + Math.floor(Math.random() * 22000);
    const server = net.createServer();
    const isFree = await new Promise((done) => {
      server.once('error', () => done(false));
      server.listen(port, '127.0.0.1', () => done(true));
    });
    await new Promise((done) => server.close(done));
    if (isFree) return port;
  }
  throw new Error('no port is free');
}

export class Stack {
  #web;
  #more;
  #said = '';
  #gone = null;
  #port = 0;
  #attachPort = 0;

  /** web: the page's directory; more: further options of `podterm dev`. */
  constructor({ web = path.join(root, 'web/dist'), more = [] } = {}) {
    this.#web = web;
    this.#more = more;
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'podterm-web.'));
    // As root the programs run under uids of their own, which enter here.
    fs.chmodSync(this.dir, 0o711);
    this.bundles = path.join(this.dir, 'bundles');
    fs.mkdirSync(this.bundles, { mode: 0o755 });
    fs.chmodSync(this.bundles, 0o755);
  }

  /** Start, or after stop() or kill() start again on the same ports. */
  async start() {
    const env = { ...process.env };
    // Each has uids of its own: tests of other kinds may run beside.
    env.PODTERM_UID_FIRST ??= String(600000000 + (process.pid % 100000) * 5000);
    this.#port ||= await freePort();
    this.#attachPort ||= await freePort();
    const args = [
      ...['--pdeathsig', 'TERM', path.join(build, 'bin/podterm'), 'dev'],
      ...['--listen', `127.0.0.1:${this.#port}`, '--attach-listen', `127.0.0.1:${this.#attachPort}`],
      ...['--state', path.join(this.dir, 'state')],
      ...['--bundle-root', this.bundles, '--web-dir', this.#web, ...this.#more],
    ];
    this.#said = '';
    this.child = spawn('setpriv', args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const from of [this.child.stdout, this.child.stderr]) from.on('data', (bytes) => (this.#said += bytes));
    this.#gone = new Promise((done) => this.child.once('exit', (code, signal) => done(code ?? signal)));
    this.child.once('error', (e) => (this.#said += e));
    this.url = await until(
      'podterm dev is ready',
      READY_MS,
      () => {
        if (this.child.exitCode !== null) throw new Error(`podterm dev ended: ${this.#said}`);
        return /^web terminal: (.*)$/m.exec(this.#said)?.[1];
      },
    );
    this.attachUrl = (await this.call('GET', 'web/config.json')).body.attach_url;
    return this;
  }

  /** What `podterm dev` has said; the services' logs lie in state/log. */
  get said() {
    return this.#said;
  }

  get logs() {
    const dir = path.join(this.dir, 'state/log');
    return fs.existsSync(dir) ? fs.readdirSync(dir).map((name) => path.join(dir, name)) : [];
  }

  /** Processes of this stack whose program is `name` ("podterm-gateway"). */
  pids(name = '') {
    return fs
      .readdirSync('/proc')
      .filter((pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid)
      .filter((pid) => {
        try {
          const line = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
          return line.join(' ').includes(this.dir) && path.basename(line[0]).startsWith(name);
        } catch {
          return false; // it has ended meanwhile
        }
      })
      .map(Number);
  }

  /** Kill a service of it, by its process id: `podterm dev` starts it again. */
  kill(name, signal = 'SIGKILL') {
    const pids = this.pids(name);
    if (pids.length !== 1) throw new Error(`${pids.length} processes of ${name}`);
    process.kill(pids[0], signal);
  }

  /** A bundle whose bin/prog is this script; files: further ones, by name. */
  pack(name, script, files = {}) {
    return this.packTree(name, (tree) => {
      for (const [file, text] of Object.entries({ 'bin/prog': script, ...files })) {
        const to = path.join(tree, file);
        fs.mkdirSync(path.dirname(to), { recursive: true });
        fs.writeFileSync(to, text, { mode: file.startsWith('bin/') ? 0o755 : 0o644 });
      }
    });
  }

  /** A bundle of what `layOut` puts into the directory it is given. */
  packTree(name, layOut) {
    const tree = fs.mkdtempSync(path.join(this.dir, 'pack.'));
    const archive = path.join(this.bundles, `${name}.tar.gz`);
    layOut(tree);
    execFileSync('tar', ['-C', tree, '-czf', archive, '.']);
    fs.rmSync(tree, { recursive: true });
    fs.chmodSync(archive, 0o644);
    const sha256 = createHash('sha256').update(fs.readFileSync(archive)).digest('hex');
    return { url: `file://${archive}`, sha256 };
  }

  /** One call of the API, as `who` if that is given. */
  async call(method, at, { who, body } = {}) {
    const headers = {};
    if (who) headers.authorization = `Bearer ${await this.identity(who)}`;
    if (body !== undefined) headers['content-type'] = 'application/json';
    const answer = await fetch(new URL(at, this.url), {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    let parsed = text;
    try {
      parsed = JSON.parse(text);
    } catch {
      // no JSON: as it is
    }
    return { status: answer.status, body: parsed, headers: answer.headers };
  }

  async identity(who) {
    const { status, body } = await this.call('GET', `dev/token?sub=${encodeURIComponent(who)}`);
    if (status !== 200) throw new Error(`/dev/token: ${status}`);
    return body.id_token;
  }

  /** A session made by the API, not by the page. */
  async create(who, bundle, more = {}) {
    const wish = { bundle, cols: 80, rows: 24, ...more };
    const { status, body } = await this.call('POST', 'api/sessions', { who, body: wish });
    if (status !== 201) throw new Error(`create: ${status} ${JSON.stringify(body)}`);
    return body;
  }

  /** The caller's sessions, newest first. */
  async sessions(who) {
    return (await this.call('GET', 'api/sessions', { who })).body.sessions;
  }

  async session(who, id) {
    return (await this.call('GET', `api/sessions/${id}`, { who })).body;
  }

  async ended(who, id, ms = 15000) {
    return until(`session ${id} has ended`, ms, async () => {
      const one = await this.session(who, id);
      return one.state === 'ended' && one;
    });
  }

  /** SIGTERM; it leaves with 0, and no process of it is left. */
  async stop() {
    if (!this.child || this.child.exitCode !== null) return;
    this.child.kill('SIGTERM');
    const late = nap(STOP_MS).then(() => 'late');
    const how = await Promise.race([this.#gone, late]);
    if (how === 'late') this.child.kill('SIGKILL');
    if (how !== 0) throw new Error(`podterm dev left with ${how}: ${this.#said}`);
    await until('no process of the stack is left', LEFT_MS, () => this.pids().length === 0);
  }

  async remove() {
    try {
      await this.stop();
    } finally {
      fs.rmSync(this.dir, { recursive: true, force: true });
    }
  }
}

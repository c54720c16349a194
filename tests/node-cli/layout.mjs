// The program as a bundle has it: bin/tasks, and its packages beside. Node is
// no part of it where the runner finds this very one in the host's /usr;
// elsewhere it goes along as bin/node. By hand:
//   node tests/node-cli/layout.mjs DIR && tar -C DIR -czf tasks.tar.gz .

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
const dirs = ['/usr/local/bin', '/usr/bin', '/bin']; // as a program's PATH has them

/** Does `node` mean Node of this version there, by files that are in view? */
function isInView() {
  const found = dirs.map((dir) => path.join(dir, 'node')).find((file) => fs.existsSync(file));
  if (!found || !fs.realpathSync(found).startsWith('/usr/')) return false;
  return execFileSync(found, ['--version'], { encoding: 'utf8' }).trim() === process.version;
}

/** Into a directory that is there, and empty. */
export function layOut(dir) {
  fs.mkdirSync(path.join(dir, 'bin'));
  fs.copyFileSync(path.join(here, 'bin/tasks'), path.join(dir, 'bin/tasks'));
  fs.copyFileSync(path.join(here, 'package.json'), path.join(dir, 'package.json'));
  fs.cpSync(path.join(here, 'node_modules'), path.join(dir, 'node_modules'), { recursive: true });
  if (!isInView()) {
    fs.copyFileSync(process.execPath, path.join(dir, 'bin/node'));
    fs.writeFileSync(path.join(dir, 'podterm.json'), '{"entrypoint":["bin/tasks"]}\n');
  }
}

/** What the runner sets for a program whose bundle lies there. */
export function environment(dir) {
  return {
    PATH: [path.join(dir, 'bin'), ...dirs].join(':'),
    TERM: 'xterm-256color',
    COLORTERM: 'truecolor',
    LANG: 'C.UTF-8',
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv.length !== 3) {
    console.error('usage: node layout.mjs DIR, an empty directory');
    process.exit(2);
  }
  layOut(process.argv[2]);
}

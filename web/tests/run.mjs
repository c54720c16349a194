// Run the tests that build.mjs has made into build/tests, with node's runner.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';

const dir = new URL('../build/tests/', import.meta.url).pathname;
const files = readdirSync(dir).filter((name) => name.endsWith('.test.mjs'));
if (files.length === 0) throw new Error('there are no tests');
process.exit(spawnSync(process.execPath, ['--test', ...files.map((name) => dir + name)], { stdio: 'inherit' }).status ?? 1);

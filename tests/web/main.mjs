// node tests/web/main.mjs [FILTER]: the tests whose names have it in them.

import fs from 'node:fs';
import { runAll } from './lib/suite.mjs';

const here = new URL('.', import.meta.url);

for (const name of fs.readdirSync(here).sort()) if (/^test_.*\.mjs$/.test(name)) await import(new URL(name, here));
const { passed, failed } = await runAll(process.argv[2]);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);

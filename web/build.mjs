// Builds module/dist/ (what `npm pack` packs) and dist/ (the page); with
// --example build/example/, with --tests build/tests/. The same sources give
// the same bytes (.gz: by the same node, whose zlib makes them).
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const at = (...names) => join(here, ...names);
const target = ['es2022', 'chrome111', 'firefox115', 'safari16.4'];
const common = { bundle: true, format: 'esm', target, charset: 'utf8', logLevel: 'warning', absWorkingDir: here };

/** xterm.js makes <style> elements and sets style attributes, which a strict
 * style-src refuses. Here it gets page/src/sheet.ts' stand-in for the one and
 * CSSOM for the other. Counted, so that another version of it is looked at
 * before it is shipped. */
const strictStyles = {
  name: 'strict-styles',
  setup(b) {
    b.onLoad({ filter: /@xterm\/xterm\/lib\/xterm\.mjs$/ }, ({ path }) => {
      let text = readFileSync(path, 'utf8');
      const change = (from, to, times) => {
        const parts = text.split(from);
        if (parts.length !== times + 1) throw new Error(`${path}: ${parts.length - 1} times ${from}, not ${times}`);
        text = parts.join(to);
      };
      text = text.replace(/[\w.$]+\.createElement\("style"\)/g, 'podtermSheet()');
      change('podtermSheet()', 'podtermSheet()', 3);
      change('{t.setAttribute("style",`${t.getAttribute("style")||""}${e};`)}', '{t.style.cssText+=e+";"}', 1);
      return { contents: `import{sheetElement as podtermSheet}from${JSON.stringify(at('page/src/sheet.ts'))};${text}`, loader: 'js', resolveDir: dirname(path) };
    });
  },
};

function compress(file) {
  const bytes = readFileSync(file);
  const br = brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } });
  writeFileSync(`${file}.br`, br);
  writeFileSync(`${file}.gz`, gzipSync(bytes, { level: 9 })); // no name, no time: always the same
  return br.length;
}

function report(sizes) {
  let first = 0;
  for (const [name, bytes] of sizes) {
    const isLazy = name.startsWith('addon-webgl');
    if (!isLazy) first += bytes;
    console.log(`${String(bytes).padStart(8)}  ${name}.br${isLazy ? '  (when it is used)' : ''}`);
  }
  console.log(`${String(first).padStart(8)}  in all, without WebGL`);
}

/** Of each package something of which is in the page: their terms ask for it. */
function licenses(inputs) {
  const names = inputs.map((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]).filter(Boolean);
  return [...new Set(names)].sort().map((name) => {
    const { version, license } = JSON.parse(readFileSync(at('node_modules', name, 'package.json'), 'utf8'));
    const text = readFileSync(at('node_modules', name, 'LICENSE'), 'utf8').replace(/\r/g, '').trim();
    return `${name} ${version} (${license})\n\n${text}\n`;
  }).join(`\n${'-'.repeat(72)}\n\n`);
}

async function page() {
  rmSync(at('dist'), { recursive: true, force: true });
  const { metafile } = await build({
    ...common,
    entryPoints: { page: 'page/src/main.ts', style: 'page/style.css' },
    outdir: 'dist/assets',
    entryNames: '[name]-[hash]',
    chunkNames: '[name]-[hash]',
    splitting: true,
    minify: true,
    legalComments: 'none',
    metafile: true,
    plugins: [strictStyles],
  });
  const outputs = Object.keys(metafile.outputs).map((path) => path.replace('dist/assets/', ''));
  const named = (pattern) => outputs.find((name) => pattern.test(name)) ?? '';
  const html = readFileSync(at('page/index.html'), 'utf8')
    .replace('{{page}}', `assets/${named(/^page-\w+\.js$/)}`)
    .replace('{{style}}', `assets/${named(/^style-\w+\.css$/)}`);
  const sizes = outputs.sort().map((name) => [name, compress(at('dist/assets', name))]);
  writeFileSync(at('dist/licenses.txt'), licenses(Object.keys(metafile.inputs)));
  compress(at('dist/licenses.txt'));
  writeFileSync(at('dist/index.html'), html); // last: make takes it for the whole
  report([['index.html', compress(at('dist/index.html'))], ...sizes]);
}

async function module() {
  rmSync(at('module/dist'), { recursive: true, force: true });
  await build({ ...common, entryPoints: ['module/src/index.ts'], outfile: 'module/dist/index.js' });
  const tsc = spawnSync(process.execPath, [at('node_modules/typescript/bin/tsc'), '-p', at('module/tsconfig.json')], { stdio: 'inherit' });
  if (tsc.status !== 0) process.exit(1);
}

/** A page of its own beside ours: made with what `npm pack` packs. */
async function example() {
  await module();
  rmSync(at('build/example'), { recursive: true, force: true });
  await build({
    ...common,
    entryPoints: ['example/example.ts', 'example/example.css'],
    outdir: 'build/example',
    minify: true,
    alias: { '@podterm/terminal': at('module/dist/index.js') },
    plugins: [strictStyles],
  });
  writeFileSync(at('build/example/index.html'), readFileSync(at('example/index.html')));
}

async function tests() {
  const found = ['module/test', 'page/test'].flatMap((dir) => {
    try {
      return readdirSync(at(dir)).filter((name) => name.endsWith('.test.ts')).map((name) => `${dir}/${name}`);
    } catch {
      return [];
    }
  });
  rmSync(at('build/tests'), { recursive: true, force: true });
  mkdirSync(at('build/tests'), { recursive: true });
  await build({ ...common, entryPoints: found, outdir: 'build/tests', entryNames: '[name]', outExtension: { '.js': '.mjs' }, platform: 'node', target: 'node18', sourcemap: 'inline' });
}

const wants = process.argv.slice(2);
if (wants.includes('--tests')) await tests();
else if (wants.includes('--module')) await module();
else if (wants.includes('--example')) await example();
else {
  await module();
  await page();
}

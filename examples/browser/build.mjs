// Builds the page: one file, dist/index.html, with the classifier component, the script, the style
// and the examples in it. It loads nothing, so it works from a file server, from file://, and as an
// attachment of a letter.
//
//   npm run build -- <path to lazaretto-classifier.wasm>
//   LAZARETTO_CLASSIFIER_WASM=<path> npm run build

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { transpileBytes } from '@bytecodealliance/jco-transpile';
import { build } from 'esbuild';
import { findComponent, transpileTo } from '../../bindings/node/scripts/transpile.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const component = findComponent('lazaretto-classifier.wasm', process.argv[2] ?? process.env.LAZARETTO_CLASSIFIER_WASM);
for (const directory of ['generated', 'dist']) rmSync(here(directory), { recursive: true, force: true });
mkdirSync(here('dist'), { recursive: true });
await transpileTo(transpileBytes, component, here('generated'), 'classifier');
writeFileSync(here('generated/examples.json'), JSON.stringify(examples()));
writeFileSync(here('generated/providers.json'), JSON.stringify(providers()));

const { outputFiles } = await build({
  entryPoints: [here('src/app.js')],
  bundle: true,
  write: false,
  format: 'esm',
  target: 'es2022',
  minify: true,
  legalComments: 'none',
  charset: 'utf8',
  loader: { '.wasm': 'binary' },
  logLevel: 'warning',
});
const script = outputFiles[0].text.replaceAll('</script', '<\\/script');
const page = readFileSync(here('src/index.html'), 'utf8')
  .replace('/*style*/', () => readFileSync(here('src/style.css'), 'utf8'))
  .replace('/*script*/', () => script);
writeFileSync(here('dist/index.html'), page);
console.log(`built dist/index.html (${Math.round(page.length / 1024)} KB) from ${component}`);

/**
 * Returns the answers to choose from, out of the repository's cases: what was seen, where, and in
 * whose words.
 */
function examples() {
  const cases = new Map();
  for (const file of ['refresh-failures.jsonl', 'more-answers.jsonl']) {
    for (const line of readFileSync(here(`../../tests/cases/${file}`), 'utf8').split('\n').filter(Boolean)) {
      const found = JSON.parse(line);
      cases.set(found.id, found);
    }
  }
  return JSON.parse(readFileSync(here('src/examples.json'), 'utf8')).map(({ id, title }) => {
    const found = cases.get(id);
    if (!found) throw new Error(`there is no case ${id} any more: see tests/cases`);
    const { provider, status, headers, body, transport_error: transportError, source, verdict } = found;
    return { id, title, provider, status, headers, body, transportError, source, verdict };
  });
}

function providers() {
  const { profiles } = JSON.parse(readFileSync(here('../../src/provider/providers.json'), 'utf8'));
  return Object.entries(profiles).map(([id, { name }]) => ({ id, name }));
}

// The types as a program sees them that installs the package and nothing else: of its own it has a
// TypeScript, and it trusts no library's types (`skipLibCheck: false`).

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { folder } from './helpers.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const manifest = (path) => JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'));

/**
 * Returns what `npm install` puts there for a package: what it publishes, and what it depends on.
 */
function install(path, { name, dependencies, files }, types) {
  const own = join(path, 'node_modules', name);
  mkdirSync(own, { recursive: true });
  for (const file of [...files, 'package.json']) cpSync(join(root, file), join(own, file), { recursive: true });
  for (const dependency of Object.keys(dependencies)) {
    const from = dependency === '@types/node' ? types : dependency;
    cpSync(join(root, 'node_modules', from), join(path, 'node_modules', dependency), { recursive: true });
    for (const next of Object.keys(manifest(join(root, 'node_modules', from)).dependencies ?? {})) {
      const to = join(path, 'node_modules', next);
      // What it has of its own is copied with it.
      cpSync(join(root, 'node_modules', next), to, { recursive: true });
    }
  }
}

const STORAGE = `import { FileStorage, type LoadOutcome } from 'lazaretto/storage';
export const found: LoadOutcome = new FileStorage({ vault: 'auth.json' }).load('vault');
`;

// The newest types of Node want TypeScript 5.6; the README says so.
for (const [typescript, types] of [
  ['typescript-5.4', '@types/node'],
  ['typescript-5.9', '@types/node'],
  ['typescript-5.9', 'types-node-newest'],
  ['typescript', '@types/node'],
  ['typescript', 'types-node-newest'],
]) {
  const version = (name) => manifest(join(root, 'node_modules', name)).version;
  test(`the README's example compiles by TypeScript ${version(typescript)} with @types/node ${version(types)}`, (t) => {
    const path = folder(t);
    writeFileSync(join(path, 'package.json'), '{ "type": "module", "private": true }');
    install(path, manifest(root), types);
    const example = /```js\n(.*?)```/s.exec(readFileSync(join(root, 'README.md'), 'utf8'))[1];
    writeFileSync(join(path, 'example.ts'), example);
    writeFileSync(join(path, 'storage.ts'), STORAGE);
    const flags = ['--noEmit', '--strict', '--target', 'es2022', '--lib', 'es2022', '--module', 'nodenext', '--skipLibCheck', 'false'];
    const tsc = join(root, 'node_modules', typescript, 'bin/tsc');
    const ran = spawnSync(process.execPath, [tsc, ...flags, 'example.ts', 'storage.ts'], { cwd: path, encoding: 'utf8' });
    assert.equal(ran.status, 0, ran.stdout);
  });
}

test('the README’s example ends with 1 when there is no token', (t) => {
  const path = folder(t);
  const example = /```js\n(.*?)```/s.exec(readFileSync(join(root, 'README.md'), 'utf8'))[1];
  const ran = spawnSync(process.execPath, ['--input-type=module', '-e', example.replace("'auth.json'", JSON.stringify(join(path, 'auth.json')))], {
    cwd: import.meta.dirname,
    encoding: 'utf8',
  });
  assert.equal(ran.status, 1, ran.stderr);
  assert.match(ran.stderr, /^run: lazaretto --vault \S+auth\.json login xai-oauth$/m);
});

// Runs the tests: the types of a sample, then node:test.

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
if (!existsSync(`${root}/dist/index.js`)) {
  console.error('error: build the package first: npm run build');
  process.exit(2);
}
const run = (...args) => {
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
};
run('node_modules/typescript/bin/tsc', '-p', 'test/types');
const asked = process.argv.slice(2);
const files = asked.length > 0 ? asked : readdirSync(`${root}/test`).filter((name) => name.endsWith('.test.mjs')).map((name) => `test/${name}`);
run('--test', ...files);

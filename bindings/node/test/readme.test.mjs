import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { folder, writeVault } from './helpers.mjs';

const ROOT = new URL('..', import.meta.url).pathname;

/** Returns the programs in a page: what stands between ```js and ```, if it uses this package. */
function snippets(page) {
  return [...readFileSync(page, 'utf8').matchAll(/```js\n([\s\S]*?)```/g)].map(([, code]) => code).filter((code) => code.includes("from 'lazaretto'"));
}

const pages = [join(ROOT, 'README.md'), join(ROOT, '../../docs/languages.md')].filter((page) => existsSync(page));

for (const page of pages) {
  test(`the example in ${page.slice(join(ROOT, '../..').length)} does what it says`, (t) => {
    const path = folder(t);
    const run = (code) => {
      const program = code.replace("'auth.json'", JSON.stringify(join(path, 'auth.json')));
      const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { cwd: ROOT, encoding: 'utf8' });
      return { status, out: stdout.trim(), err: stderr };
    };
    for (const code of snippets(page)) {
      writeVault(join(path, 'auth.json'), { 'xai-oauth': { access: 'at-good', expiresAt: new Date(Date.now() + 86_400_000).toISOString() } });
      assert.deepEqual(run(code), { status: 0, out: 'at-good', err: '' });
      writeFileSync(join(path, 'auth.json'), '{}');
      const { status, out, err } = run(code);
      assert.deepEqual([status, out], [1, ''], 'without a login it says so, on standard error');
      assert.match(err, /^run: lazaretto .*login xai-oauth$/m);
    }
    assert.ok(page !== join(ROOT, 'README.md') || snippets(page).length > 0);
  });
}

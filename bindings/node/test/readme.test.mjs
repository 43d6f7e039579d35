import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { folder, writeVault } from './helpers.mjs';

const ROOT = new URL('..', import.meta.url).pathname;

/** The programs in a page: what stands between ```js and ```, if it uses this package. */
function snippets(page) {
  return [...readFileSync(page, 'utf8').matchAll(/```js\n([\s\S]*?)```/g)].map(([, code]) => code).filter((code) => code.includes("from 'lazaret'"));
}

const pages = [join(ROOT, 'README.md'), join(ROOT, '../../README.md')].filter((page) => existsSync(page));

for (const page of pages) {
  test(`the example in ${page.slice(join(ROOT, '../..').length)} does what it says`, (t) => {
    const path = folder(t);
    const run = (code) => execFileSync(process.execPath, ['--input-type=module', '-e', code.replace("'auth.json'", JSON.stringify(join(path, 'auth.json')))], { cwd: ROOT, stdio: 'pipe' }).toString();
    for (const code of snippets(page)) {
      writeVault(join(path, 'auth.json'), { 'xai-oauth': { access: 'at-good', expiresAt: new Date(Date.now() + 86_400_000).toISOString() } });
      assert.equal(run(code).trim(), 'at-good');
      writeFileSync(join(path, 'auth.json'), '{}');
      assert.equal(run(code).trim(), '', 'without a login it says so, on standard error');
    }
    assert.ok(page !== join(ROOT, 'README.md') || snippets(page).length > 0);
  });
}

// Tokens that can be stored nowhere are kept in a file that only their user can read, and the next
// call stores them before it does anything else.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Keeper } from 'lazaretto';
import { FileStorage } from 'lazaretto/storage';
import { acme, folder, read, skipsUnlessRoot, SOMEBODY } from './helpers.mjs';

const RESCUE = join(process.env.XDG_STATE_HOME, 'lazaretto/rescue');
const prefixOf = (vault) => `${createHash('sha256').update(join(realpathSync(join(vault, '..')), 'auth.json')).digest('hex').slice(0, 32)}.`;
const keptFor = (vault) => (existsSync(RESCUE) ? readdirSync(RESCUE).filter((name) => name.startsWith(prefixOf(vault))) : []);

async function open(t, options) {
  const keeper = await Keeper.open(options);
  t.after(() => keeper.close());
  return keeper;
}

/** Returns a vault whose tokens are kept, and what the call said. */
async function withKept(t) {
  const a = await acme(t);
  const failing = await Keeper.open({ ...a.options, modules: { storage: new URL('./failing-storage.mjs', import.meta.url) } });
  const token = await failing.token('acme');
  await failing.close();
  return { ...a, token, files: keptFor(a.vault).map((name) => join(RESCUE, name)) };
}

test('what can be stored nowhere is stored by the next call', { timeout: 30_000 }, async (t) => {
  const a = await withKept(t);
  assert.deepEqual([a.token.token, a.token.unsaved], ['at-2', undefined]);
  assert.match(a.token.warning, /kept in a file that only this user can read, and the next call stores them/);
  assert.ok(!/unsaved/.test(a.token.warning), 'nobody is told to keep what is not shown');
  assert.equal(a.files.length, 1);
  assert.deepEqual([statSync(a.files[0]).mode & 0o7777, statSync(RESCUE).mode & 0o7777], [0o600, 0o700]);
  assert.match(a.files[0], /\.[0-9a-f]{32}$/);
  assert.equal(read(a.vault).providers.acme.tokens.refresh_token, 'rt-1', 'the vault still has the spent one');

  const keeper = await open(t, a.options);
  assert.equal((await keeper.token('acme')).token, 'at-2');
  assert.equal(read(a.vault).providers.acme.tokens.refresh_token, 'rt-2');
  assert.deepEqual(keptFor(a.vault), []);
  assert.equal((await keeper.refresh('acme')).token, 'at-3');
  assert.deepEqual(a.requests.map(({ form }) => form.get('refresh_token')), ['rt-1', 'rt-2']);
});

test('what is stored after all within the call is not kept', async (t) => {
  const a = await acme(t);
  const keeper = await open(t, { ...a.options, modules: { storage: new URL('./failing-storage.mjs?until=kept', import.meta.url) } });
  assert.match((await keeper.token('acme')).warning, /in it now/);
  assert.equal(read(a.vault).providers.acme.tokens.refresh_token, 'rt-2');
  assert.deepEqual(keptFor(a.vault), []);
});

test('what is kept is stored by a report and by hand as well', { timeout: 60_000 }, async (t) => {
  const reported = await withKept(t);
  const keeper = await open(t, reported.options);
  await keeper.report('acme', { accessToken: 'at-2', status: 200 });
  assert.equal(read(reported.vault).providers.acme.tokens.refresh_token, 'rt-2');
  assert.deepEqual(keptFor(reported.vault), []);

  const byHand = await withKept(t);
  const other = await open(t, byHand.options);
  await other.saveUnsaved(readFileSync(byHand.files[0], 'utf8'));
  assert.equal(read(byHand.vault).providers.acme.tokens.refresh_token, 'rt-2');
  assert.deepEqual(keptFor(byHand.vault), []);
});

test('what cannot be taken up is left, and the call goes on', async (t) => {
  const a = await acme(t);
  mkdirSync(RESCUE, { recursive: true, mode: 0o700 });
  const put = (last, text, mode = 0o600) => {
    const path = join(RESCUE, `${prefixOf(a.vault)}${last.repeat(32)}`);
    writeFileSync(path, text);
    chmodSync(path, mode);
    return path;
  };
  const left = [put('a', 'this is none'), put('b', 'others can read it', 0o644), join(RESCUE, `${prefixOf(a.vault)}${'c'.repeat(32)}`)];
  symlinkSync(left[0], left[2]);
  t.after(() => left.forEach((path) => writeFileSync(path, '')));
  assert.equal((await (await open(t, a.options)).token('acme')).token, 'at-2');
  assert.deepEqual(keptFor(a.vault).length, 3);
  assert.deepEqual(new FileStorage({ vault: a.vault }).rescued().map(({ unsaved }) => unsaved), ['this is none']);
});

test("what another user could have put there is not believed", (t) => {
  if (skipsUnlessRoot(t)) return;
  const state = process.env.XDG_STATE_HOME;
  t.after(() => (process.env.XDG_STATE_HOME = state));
  process.env.XDG_STATE_HOME = folder(t);
  const rescue = join(process.env.XDG_STATE_HOME, 'lazaretto/rescue');
  const vault = join(folder(t), 'auth.json');
  const storage = new FileStorage({ vault });
  storage.keepUnsaved('one');
  assert.deepEqual(storage.rescued().map(({ unsaved }) => unsaved), ['one']);
  chownSync(join(rescue, readdirSync(rescue)[0]), SOMEBODY, SOMEBODY);
  assert.deepEqual(storage.rescued(), []);
  storage.keepUnsaved('two');
  chmodSync(rescue, 0o777);
  assert.deepEqual(storage.rescued(), []);
  assert.throws(() => storage.keepUnsaved('three'), { code: 'unsafe' });
  assert.equal(readdirSync(rescue).length, 2);
});

test('all names of a vault, and no other, find what is kept', (t) => {
  const path = folder(t);
  mkdirSync(join(path, 'real'));
  writeFileSync(join(path, 'real/auth.json'), '{}');
  symlinkSync('real/auth.json', join(path, 'link'));
  new FileStorage({ vault: join(path, 'link') }).keepUnsaved('it');
  const [rescued, ...more] = new FileStorage({ vault: join(path, 'real/auth.json') }).rescued();
  assert.deepEqual([rescued.unsaved, more], ['it', []]);
  assert.deepEqual(new FileStorage({ vault: join(path, 'other') }).rescued(), []);
  new FileStorage({ vault: join(path, 'link') }).forgetRescued(rescued);
  assert.deepEqual(new FileStorage({ vault: join(path, 'link') }).rescued(), []);
});

// Everything is done in the folder that was checked, whatever is exchanged or moved at whatever
// moment; and what lies beside a vault belongs to its owner or root.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import koffi from 'koffi';
import { Keeper } from 'lazaretto';
import { FileStorage, StorageError } from 'lazaretto/storage';
import { nameAs } from '../dist/storage/folder.js';
import { acme, callApart, folder, read, rotate, skipsUnlessLinux, skipsUnlessRoot, SOMEBODY, writeVault } from './helpers.mjs';

const { chmodSync, chownSync, existsSync, lchownSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, symlinkSync, writeFileSync } = fs;
const GRANT = { tag: 'grant', val: { document: 'vault', fingerprint: '0'.repeat(32) } };
const LEDGER = 'vault.lazaretto';

/** Lets two names exchange what they name, in one step. */
function exchange(one, other) {
  const AT_FDCWD = -100;
  const RENAME_EXCHANGE = 2;
  const renameat2 = koffi.load(null).func('int renameat2(int a, const char *one, int b, const char *other, unsigned int flags)');
  assert.equal(renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE), 0, `errno ${koffi.errno()}`);
}

const CALLS = ['lstatSync', 'lutimesSync', 'mkdirSync', 'openSync', 'opendirSync', 'readFileSync', 'readlinkSync', 'renameSync', 'rmdirSync', 'statSync', 'statfsSync', 'unlinkSync'];

/**
 * Runs `act`, and `meddle` just before its `n`th call that names a file. True: there were so many.
 */
function meddlingAt(n, meddle, act) {
  const real = Object.fromEntries([...CALLS, 'fsyncSync'].map((name) => [name, fs[name]]));
  let calls = 0;
  let isMeddling = false;
  for (const name of CALLS) {
    fs[name] = (...args) => {
      if (!isMeddling && ++calls === n) {
        isMeddling = true;
        meddle();
        isMeddling = false;
      }
      return real[name](...args);
    };
  }
  // A disk is not what this is about.
  fs.fsyncSync = () => {};
  syncBuiltinESMExports();
  try {
    act();
  } finally {
    Object.assign(fs, real);
    syncBuiltinESMExports();
  }
  return calls >= n;
}

function refreshLike(storage, isStopped = () => false) {
  try {
    const vault = storage.load('vault');
    const { lease } = storage.acquire(GRANT, 0, 0).val;
    const ledger = storage.store(LEDGER, '{"n":1}', undefined, true);
    storage.store('vault', '{"secret":1}', vault.val.version, true);
    storage.store(LEDGER, '{"n":2}', ledger.val, false);
    storage.release(lease);
  } catch (error) {
    // A refusal is as good as a success; so is a document that is not there.
    if (!(error instanceof StorageError) && !(error instanceof TypeError)) throw error;
    assert.ok(!isStopped(error), error);
  }
}

/**
 * Returns a vault in a folder that everybody may write to, and somebody's own folder where nothing
 * of ours belongs.
 */
function openToAll(path, n) {
  const home = join(path, `${n}`);
  for (const name of ['', 'shared', 'shared/vault', 'private']) mkdirSync(join(home, name));
  writeFileSync(join(home, 'shared/vault/auth.json'), '{}');
  return { home, shared: join(home, 'shared'), folder: join(home, 'shared/vault'), victim: join(home, 'private') };
}

test('a locks folder exchanged for a link leads nowhere', (t) => {
  if (skipsUnlessLinux(t)) return;
  const path = folder(t);
  let n = 1;
  for (let goesOn = true; goesOn; n += 1) {
    const it = openToAll(path, n);
    const storage = new FileStorage({ vault: join(it.folder, 'auth.json') });
    storage.release(storage.acquire(GRANT, 0, 0).val.lease);
    chmodSync(it.folder, 0o777);
    const [locks, link] = [join(it.folder, 'auth.json.lazaretto-locks'), join(it.folder, 'x')];
    symlinkSync(it.victim, link);
    goesOn = meddlingAt(n, () => exchange(locks, link), () => refreshLike(storage));
    assert.deepEqual(readdirSync(it.victim), [], `exchanged before call ${n}`);
  }
  assert.ok(n > 50, `${n}`);
});

test("a vault's folder exchanged for a link leads nowhere", (t) => {
  if (skipsUnlessLinux(t)) return;
  const path = folder(t);
  let n = 1;
  for (let goesOn = true; goesOn; n += 1) {
    const it = openToAll(path, n);
    const storage = new FileStorage({ vault: join(it.folder, 'auth.json') });
    chmodSync(it.shared, 0o777);
    const link = join(it.shared, 'x');
    symlinkSync(it.victim, link);
    goesOn = meddlingAt(n, () => exchange(it.folder, link), () => refreshLike(storage));
    assert.deepEqual(readdirSync(it.victim), [], `exchanged before call ${n}`);
  }
  assert.ok(n > 50, `${n}`);
});

test('a folder that moves under a lease takes what is stored along', (t) => {
  if (skipsUnlessLinux(t)) return;
  const path = folder(t);
  let n = 1;
  for (let goesOn = true; goesOn; n += 1) {
    const [was, is] = [join(path, `was-${n}`), join(path, `is-${n}`)];
    mkdirSync(was);
    writeFileSync(join(was, 'auth.json'), '{}');
    const storage = new FileStorage({ vault: join(was, 'auth.json') });
    const { version } = storage.load('vault').val;
    const { lease } = storage.acquire(GRANT, 0, 0).val;
    goesOn = meddlingAt(n, () => renameSync(was, is), () => {
      const ledger = storage.store(LEDGER, '{"n":1}', undefined, true).val;
      assert.equal(storage.store('vault', '{"new":1}', version, true).tag, 'stored');
      assert.equal(storage.store(LEDGER, '{"n":2}', ledger, false).tag, 'stored');
      assert.equal(storage.load('vault').val.text, '{"new":1}');
      assert.equal(storage.load(LEDGER).val.text, '{"n":2}');
    });
    storage.release(lease);
    if (!goesOn) break;
    assert.ok(!existsSync(was), `moved before call ${n}: nothing is made at the old path`);
    assert.equal(readFileSync(join(is, 'auth.json'), 'utf8'), '{"new":1}');
    assert.equal(new FileStorage({ vault: join(is, 'auth.json') }).load(LEDGER).val.text, '{"n":2}');
  }
  assert.ok(n > 50, `${n}`);
});

test('a vault that moves while the request is out keeps its login', async (t) => {
  const rotating = rotate();
  let moved;
  const a = await acme(t, (...exchange) => {
    if (moved === undefined) {
      moved = `${a.folder}-moved`;
      t.after(() => fs.rmSync(moved, { recursive: true, force: true }));
      // The profiles stay where they are.
      mkdirSync(`${a.folder}-next`);
      renameSync(a.providers, join(`${a.folder}-next`, 'providers.json'));
      renameSync(a.folder, moved);
      renameSync(`${a.folder}-next`, a.folder);
    }
    return rotating(...exchange);
  });
  const keeper = await Keeper.open(a.options);
  t.after(() => keeper.close());
  const token = await keeper.token('acme');
  assert.deepEqual([token.token, token.unsaved, token.warning], ['at-2', undefined, undefined]);
  assert.deepEqual(readdirSync(a.folder), ['providers.json']);
  assert.equal(read(join(moved, 'auth.json')).providers.acme.tokens.refresh_token, 'rt-2');
  const other = await Keeper.open({ ...a.options, vault: join(moved, 'auth.json') });
  t.after(() => other.close());
  assert.equal((await other.refresh('acme')).token, 'at-3');
  assert.deepEqual(a.requests.map(({ form }) => form.get('refresh_token')), ['rt-1', 'rt-2']);
});

test('no file and no folder stays open, whatever fails', (t) => {
  if (skipsUnlessLinux(t)) return;
  const path = folder(t);
  const open = () => readdirSync('/proc/self/fd').length;
  for (const name of ['real', 'away']) mkdirSync(join(path, name));
  writeFileSync(join(path, 'real/auth.json'), '{}');
  writeFileSync(join(path, 'away/settings'), '{"a":1}');
  symlinkSync('../away/settings', join(path, 'real/auth.json.lazaretto-settings.json'));
  symlinkSync('real/auth.json', join(path, 'link'));
  const storage = new FileStorage({ vault: join(path, 'link') });
  const act = () => {
    assert.equal(storage.load('settings.json').val.text, '{"a":1}', 'a link beside the vault, through the folder above');
    const { lease } = storage.acquire(GRANT, 0, 0).val;
    assert.equal(storage.load('settings.json').val.text, '{"a":1}');
    const inner = storage.acquire({ tag: 'document', val: 'vault' }, 0, 0).val.lease;
    storage.release(lease);
    storage.store('vault', '{}', storage.load('vault').val.version, true, inner);
    storage.release(inner);
    assert.throws(() => storage.store('vault', '', 'x'.repeat(32), true, 'no-lease'), StorageError);
    for (const bad of ['loop', 'real']) assert.throws(() => new FileStorage({ vault: join(path, bad) }).load('vault'));
    storage.describe();
    storage.list('');
  };
  symlinkSync('loop', join(path, 'loop'));
  act();
  const before = open();
  for (let times = 0; times < 20; times += 1) act();
  assert.equal(open(), before);
});

test('without /proc a folder that was moved is noticed', (t) => {
  const path = folder(t);
  nameAs('path');
  t.after(() => nameAs(undefined));
  mkdirSync(join(path, 'a'));
  const storage = new FileStorage({ vault: join(path, 'a/auth.json') });
  const { val: version } = storage.store('vault', '{}', undefined, true);
  const { lease } = storage.acquire(GRANT, 0, 0).val;
  renameSync(join(path, 'a'), join(path, 'b'));
  assert.throws(() => storage.store('vault', '[]', version, true), { code: 'unavailable' });
  storage.release(lease);
  assert.deepEqual(readdirSync(path), ['b']);
});

for (const [name, touch] of [
  ['auth.json.lazaretto', (storage) => storage.load(LEDGER)],
  ['auth.json.lazaretto.unsynced', (storage) => storage.load(LEDGER)],
  ['auth.json.lazaretto-sealed', (storage) => storage.load('vault.lazaretto-sealed')],
  ['auth.json.lazaretto-pool', (storage) => storage.load('vault.lazaretto-pool')],
  ['auth.json.lazaretto-settings.json', (storage) => storage.load('settings.json')],
  ['auth.json.lazaretto-locks', (storage) => storage.acquire(GRANT, 0, 0)],
  ['auth.json.lazaretto-locks/00', (storage) => storage.acquire(GRANT, 0, 0)],
  ['auth.lock', (storage) => storage.acquire({ tag: 'document', val: 'vault' }, 0, 0)],
]) {
  test(`somebody else's ${name} is refused`, (t) => {
    if (skipsUnlessRoot(t)) return;
    const vault = join(folder(t), 'auth.json');
    writeFileSync(vault, '{}');
    new FileStorage({ vault }).store(LEDGER, '{}', undefined, true);
    const theirs = vault.replace('auth.json', name);
    if (name.endsWith('-locks') || name.includes('/')) mkdirSync(`${vault}.lazaretto-locks`, { recursive: true });
    if (!name.endsWith('-locks')) writeFileSync(theirs, '{}', { mode: 0o600 });
    chownSync(theirs, SOMEBODY, SOMEBODY);
    const is = (error) => error.code === 'unsafe' && error.message.includes(theirs) && error.message.includes(`user ${SOMEBODY}`);
    assert.throws(() => touch(new FileStorage({ vault })), is);
    const document = { 'auth.json.lazaretto': LEDGER, 'auth.json.lazaretto-sealed': 'vault.lazaretto-sealed' }[name];
    if (document) assert.throws(() => new FileStorage({ vault }).store(document, 'secret', undefined, true), is);
    if (!name.endsWith('-locks')) assert.equal(readFileSync(theirs, 'utf8'), '{}');
  });
}

test('a folder of locks that others may write to is refused', (t) => {
  const vault = join(folder(t), 'auth.json');
  mkdirSync(`${vault}.lazaretto-locks`);
  chmodSync(`${vault}.lazaretto-locks`, 0o770);
  assert.throws(() => new FileStorage({ vault }).acquire(GRANT, 0, 0), (error) => error.code === 'unsafe' && /chmod go-w/.test(error.message));
});

test("root refuses another user's vault and says what to run", async (t) => {
  if (skipsUnlessRoot(t)) return;
  const a = await acme(t);
  for (const path of [a.folder, a.vault]) chownSync(path, SOMEBODY, SOMEBODY);
  const elsewhere = folder(t);
  symlinkSync(elsewhere, `${a.vault}.lazaretto-locks`);
  lchownSync(`${a.vault}.lazaretto-locks`, SOMEBODY, SOMEBODY);
  const keeper = await Keeper.open(a.options);
  t.after(() => keeper.close());
  for (const call of [() => keeper.token('acme'), () => keeper.refresh('acme'), () => keeper.status()]) {
    await assert.rejects(call(), (error) => error.message.includes(`sudo -u '#${SOMEBODY}'`) && /root/.test(error.message));
  }
  assert.equal(a.requests.length, 0);
  assert.deepEqual(readdirSync(a.folder).sort(), ['auth.json', 'auth.json.lazaretto-locks', 'providers.json']);
  assert.deepEqual(readdirSync(elsewhere), []);
});

test("only a vault's owner sends; what root put beside it is used", async (t) => {
  if (skipsUnlessRoot(t)) return;
  const a = await acme(t);
  for (const path of [a.folder, a.vault]) chownSync(path, SOMEBODY, SOMEBODY);
  chmodSync(a.providers, 0o644);
  writeFileSync(`${a.vault}.lazaretto-settings.json`, '{}', { mode: 0o644 });
  assert.equal((await callApart(a.options, { uid: SOMEBODY })).token, 'at-2');
  const stat = statSync(a.vault);
  assert.deepEqual([stat.uid, stat.mode & 0o7777], [SOMEBODY, 0o640]);

  // Who may write the folder, and read the vault, still does not own it.
  writeVault(a.vault, { acme: { refresh: 'rt-2' } });
  for (const path of [a.folder, a.vault]) chmodSync(path, 0o777);
  const { code, message } = await callApart(a.options, { uid: SOMEBODY + 1 });
  assert.deepEqual([code, a.requests.length], ['storage', 1], message);
  assert.match(message, new RegExp(`belongs to user ${SOMEBODY}`));
});

// Nothing is sent for a vault that cannot be replaced, and the error names cause and cure.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { FileStorage, PrepareError } from 'lazaretto/storage';
import { acme, callApart, folder, read, skipsUnlessMounting, skipsUnlessRoot, SOMEBODY } from './helpers.mjs';

const GRANT = { tag: 'grant', val: { document: 'vault', fingerprint: '0'.repeat(32) } };

/**
 * Takes a token where it must not be refreshed: the error names `cause`, nothing was sent, and no
 * byte of the vault changed.
 */
async function refused(a, cause, how) {
  const before = readFileSync(a.vault);
  const error = await callApart(a.options, how);
  assert.equal(error.code, 'storage', JSON.stringify(error));
  for (const words of [cause].flat()) assert.match(error.message, words);
  assert.equal(a.requests.length, 0, 'nothing was sent');
  assert.deepEqual(readFileSync(a.vault), before);
  assert.deepEqual(readdirSync(a.folder).filter((name) => name.includes('lazaretto-tmp')), []);
}

for (const [what, mode] of [
  ['a vault that is mounted as a single file', 'rw'],
  ['a vault that is mounted as a single file, read-only', 'ro'],
]) {
  test(`${what} is not refreshed`, async (t) => {
    if (skipsUnlessMounting(t)) return;
    const a = await acme(t);
    const other = join(folder(t), 'auth.json');
    writeFileSync(other, readFileSync(a.vault));
    const mounts = `mount --bind '${other}' '${a.vault}'; mount -o remount,bind,${mode} '${a.vault}'`;
    await refused(a, [/mounted as a single file, so it cannot be replaced/, /mount its folder instead/], { mounts });
  });
}

test('a vault on a read-only file system is not refreshed', async (t) => {
  if (skipsUnlessMounting(t)) return;
  const a = await acme(t);
  const mounts = `mount --bind '${a.folder}' '${a.folder}'; mount -o remount,bind,ro '${a.folder}'`;
  await refused(a, /read-only/, { mounts });
  // Also where all locks are there already, on a file system that lets them be opened.
  mkdirSync(`${a.vault}.lazaretto-locks`, { mode: 0o700 });
  const alsoLocks = `mkdir /tmp/locks; mount -t tmpfs none /tmp/locks; chmod 700 /tmp/locks; ${mounts}; mount --bind /tmp/locks '${a.vault}.lazaretto-locks'`;
  await refused(a, [/read-only file system, so the vault cannot be replaced/, /mount it writable/], {
    mounts: alsoLocks.replaceAll('/tmp/locks', join(folder(t), 'locks')),
  });
});

test('a vault on a full disk is not refreshed', async (t) => {
  if (skipsUnlessMounting(t)) return;
  const a = await acme(t);
  const text = readFileSync(a.vault, 'utf8');
  const fill = `mount -t tmpfs -o size=192k none '${a.folder}'; printf '%s' '${text}' > '${a.vault}'; mkdir -m 700 '${a.vault}.lazaretto-locks'`;
  const spared = `mkdir -p '${a.folder}-p'; cp '${a.providers}' '${a.folder}-p/providers.json'`;
  t.after(() => execFileSync('rm', ['-rf', `${a.folder}-p`]));
  const options = { ...a.options, providers: `${a.folder}-p/providers.json` };
  const room = await callApart(options, { mounts: `${spared}; ${fill}` });
  assert.equal(room.token, 'at-2', 'with room it is');
  a.requests.length = 0;
  await refused({ ...a, options }, [/no space left/, /make room/], { mounts: `${fill}; head -c 150000 /dev/zero > '${a.folder}/filler'` });
});

for (const [what, flag, of] of [
  ['immutable', 'i', 'vault'],
  ['append-only', 'a', 'vault'],
  ['immutable', 'i', 'folder'],
  ['append-only', 'a', 'folder'],
]) {
  test(`a vault whose ${of === 'vault' ? 'file' : of} is ${what} is not refreshed`, async (t) => {
    if (skipsUnlessMounting(t)) return;
    const a = await acme(t);
    try {
      execFileSync('chattr', [`+${flag}`, a[of]], { stdio: 'pipe' });
    } catch {
      if (process.env.CI === 'true') throw new Error('this test needs a file system that knows chattr');
      return t.skip('needs a file system that knows chattr, and the right to set it');
    }
    try {
      await refused(a, [new RegExp(`is ${what}, so the vault cannot be replaced`), new RegExp(`chattr -${flag}`)]);
    } finally {
      execFileSync('chattr', [`-${flag}`, a[of]]);
    }
  });
}

test('a vault of another user is not refreshed', async (t) => {
  if (skipsUnlessRoot(t)) return;
  const a = await acme(t);
  for (const path of [a.folder, a.vault, a.providers]) chmodSync(path, 0o777);
  await refused(a, [/belongs to user 0/, /sudo -u '#0'/], { uid: SOMEBODY });
  assert.deepEqual(readdirSync(a.folder).sort(), ['auth.json', 'providers.json'], 'and nothing is made beside it');
});

test('a vault in a folder that is not writable is not refreshed', async (t) => {
  if (skipsUnlessRoot(t)) return;
  const a = await acme(t);
  chmodSync(a.providers, 0o644);
  for (const path of [a.folder, a.vault]) chownSync(path, SOMEBODY, SOMEBODY);
  chmodSync(a.folder, 0o500);
  await refused(a, /permission denied/, { uid: SOMEBODY });
  mkdirSync(`${a.vault}.lazaretto-locks`, { mode: 0o700 });
  chownSync(`${a.vault}.lazaretto-locks`, SOMEBODY, SOMEBODY);
  await refused(a, [/not writable for this user, so the vault cannot be replaced/, /chmod u\+w/], { uid: SOMEBODY });
});

test('a good token is served from where nothing can be written', async (t) => {
  if (skipsUnlessMounting(t)) return;
  const a = await acme(t);
  const vault = read(a.vault);
  vault.providers.acme.tokens = { access_token: 'at-good', refresh_token: 'rt-1', expires_at: new Date(Date.now() + 86_400_000).toISOString() };
  writeFileSync(a.vault, JSON.stringify(vault));
  const mounts = `mount --bind '${a.folder}' '${a.folder}'; mount -o remount,bind,ro '${a.folder}'`;
  assert.equal((await callApart(a.options, { mounts })).token, 'at-good');
});

test('of the trial for room nothing is left', (t) => {
  const path = folder(t);
  const storage = new FileStorage({ vault: join(path, 'v') });
  writeFileSync(join(path, 'v'), 'x'.repeat(100_000));
  storage.release(storage.acquire(GRANT, 0, 0).val.lease);
  assert.deepEqual(readdirSync(path).sort(), ['v', 'v.lazaretto-locks']);
});

function leased(t) {
  const path = folder(t);
  const storage = new FileStorage({ vault: join(path, 'auth.json') });
  const taken = storage.acquire(GRANT, 60_000, 0);
  assert.equal(taken.tag, 'acquired');
  const hidden = () => readdirSync(path).filter((name) => name.startsWith('.'));
  return { path, storage, lease: taken.val.lease, hidden };
}

test('a store uses what was prepared and leaves nothing', (t) => {
  const { path, storage, lease, hidden } = leased(t);
  const ticket = storage.prepare('vault', 100, lease);
  const [name] = hidden();
  const { ino, size, mode } = statSync(join(path, name));
  assert.ok(size >= 100 && (mode & 0o777) === 0o600);
  assert.equal(storage.store('vault', '{}', undefined, true, undefined, ticket).tag, 'stored');
  assert.deepEqual([readFileSync(join(path, 'auth.json'), 'utf8'), statSync(join(path, 'auth.json')).ino], ['{}', ino]);
  storage.release(lease);
  assert.deepEqual(hidden(), []);
});

test('what was prepared goes with its lease', (t) => {
  const { storage, lease, hidden } = leased(t);
  storage.prepare('vault', 100, lease);
  storage.prepare('vault', 100, lease);
  assert.equal(hidden().length, 2);
  storage.release(lease);
  assert.deepEqual(hidden(), []);
});

test('another store of the process leaves what is prepared', (t) => {
  const { path, storage, lease, hidden } = leased(t);
  const ticket = storage.prepare('vault', 100, lease);
  const first = new FileStorage({ vault: join(path, 'auth.json') }).store('vault', '1', undefined, true);
  assert.equal(hidden().length, 1);
  assert.equal(storage.store('vault', '2', first.val, true, undefined, ticket).tag, 'stored');
  assert.deepEqual([readFileSync(join(path, 'auth.json'), 'utf8'), hidden()], ['2', []]);
});

test('a store works although what was prepared is gone', (t) => {
  const { path, storage, lease, hidden } = leased(t);
  const ticket = storage.prepare('vault', 100, lease);
  unlinkSync(join(path, hidden()[0]));
  assert.equal(storage.store('vault', '{}', undefined, true, undefined, ticket).tag, 'stored');
  assert.deepEqual(hidden(), []);
});

test('nothing is prepared without a lease that is held', (t) => {
  const { storage, lease, hidden } = leased(t);
  storage.release(lease);
  for (const name of [lease, 'no-such-lease']) {
    assert.throws(() => storage.prepare('vault', 100, name), (error) => error instanceof PrepareError && error.cause === 'other');
  }
  assert.deepEqual(hidden(), []);
});

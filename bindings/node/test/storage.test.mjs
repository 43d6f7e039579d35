import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { FileStorage } from 'lazaret/storage';
import { pidIn } from '../dist/storage/replace.js';
import { networkNameOf, validUpTo } from '../dist/storage/text.js';
import { parseUnsynced, spellUnsynced } from '../dist/storage/unsynced.js';
import { folder } from './helpers.mjs';

const LEDGER = 'vault.lazaret';
const grant = (first) => ({ tag: 'grant', val: { document: 'vault', fingerprint: first.padEnd(32, '0') } });
const THE_VAULT = { tag: 'document', val: 'vault' };

function store(storage, name, text, expected, durable = true, lease = undefined) {
  const outcome = storage.store(name, text, expected, durable, lease);
  assert.equal(outcome.tag, 'stored', JSON.stringify(outcome));
  return outcome.val;
}

test('a document is stored only over the version that was expected', (t) => {
  const path = folder(t);
  const storage = new FileStorage({ vault: join(path, 'deep/er/vault') });
  assert.equal(storage.load('vault').tag, 'absent');
  const one = store(storage, 'vault', '\ufeffone ü', undefined);
  assert.equal(one.length, 32);
  assert.deepEqual(storage.load('vault'), { tag: 'loaded', val: { version: one, text: '\ufeffone ü' } });
  assert.equal(storage.load('vault', one).tag, 'unchanged');
  assert.equal(storage.store('vault', 'two', undefined, true).tag, 'stale');
  assert.equal(storage.store('vault', 'two', 'x'.repeat(32), true).val.text, '\ufeffone ü');
  store(storage, 'vault', 'two', one);
  assert.equal(statSync(join(path, 'deep/er/vault')).mode & 0o7777, 0o600);
  assert.equal(statSync(join(path, 'deep')).mode & 0o7777, 0o700);
  assert.deepEqual(storage.list('vault'), ['vault']);
});

test('a lease excludes every other, and only its document is stored under it', (t) => {
  const vault = join(folder(t), 'auth.json');
  const [one, other] = [new FileStorage({ vault }), new FileStorage({ vault })];
  const { lease } = one.acquire(THE_VAULT, 0, 0).val;
  const busy = other.acquire(THE_VAULT, 0, 60);
  assert.equal(busy.tag, 'busy');
  assert.match(busy.val.name, new RegExp(`^pid ${process.pid}`));
  const version = store(one, 'vault', '{}', undefined, true, lease);
  assert.throws(() => one.store(LEDGER, '{}', undefined, true, lease), { code: 'invalid-lease' });
  assert.throws(() => other.store('vault', '{ }', version, true, lease), { code: 'invalid-lease' });
  one.release('nobody');
  one.release(lease);
  assert.throws(() => one.store('vault', '{ }', version, true, lease), { code: 'invalid-lease' });
  other.release(other.acquire(THE_VAULT, 0, 0).val.lease);

  const first = one.acquire(grant('00'), 0, 0);
  assert.equal(other.acquire(grant('40'), 0, 0).tag, 'busy', 'the same of the 64 locks');
  assert.equal(other.acquire(grant('41'), 0, 0).tag, 'acquired');
  one.release(first.val.lease);
  assert.throws(() => one.acquire(grant('zz'), 0, 0), { code: 'other' });
});

test('nothing is written beside a host that cannot flock', (t) => {
  const path = folder(t);
  const vault = join(path, 'auth.json');
  writeFileSync(vault, '{}');
  mkdirSync(`${vault}.lazaret-wasi`);
  const storage = new FileStorage({ vault });
  const { version } = storage.load('vault').val;
  assert.throws(() => storage.store('vault', '[]', version, true), { code: 'unsupported' });
  assert.throws(() => storage.acquire(grant('00'), 0, 0), { code: 'unsupported' });
  assert.equal(readFileSync(vault, 'utf8'), '{}');
  assert.ok(!existsSync(`${vault}.lazaret-locks`));
});

test('another program that holds auth.lock is waited for', (t) => {
  const path = folder(t);
  const storage = new FileStorage({ vault: join(path, 'auth.json') });
  assert.equal(storage.describe().excludesForeign, true);
  writeFileSync(join(path, 'auth.lock'), 'theirs');
  // util-linux: the reference's kind of lock, from another process.
  const held = (seconds) => execFileSync('sh', ['-c', `flock -x ${JSON.stringify(join(path, 'auth.lock'))} sleep ${seconds} >/dev/null 2>&1 & sleep 0.15`]);
  held(0.6);
  const busy = storage.acquire(THE_VAULT, 0, 0);
  assert.equal(busy.tag, 'busy');
  assert.match(busy.val.name, /a program that holds .*auth\.lock/);
  assert.equal(storage.acquire(THE_VAULT, 0, 5000).tag, 'acquired');
  assert.equal(readFileSync(join(path, 'auth.lock'), 'utf8'), 'theirs');
});

test('a lock that was moved away permits nothing any more', (t) => {
  const path = folder(t);
  const storage = new FileStorage({ vault: join(path, 'v') });
  const { lease } = storage.acquire(THE_VAULT, 0, 0).val;
  renameSync(join(path, 'v.lazaret-locks'), join(path, 'moved'));
  assert.throws(() => storage.store('vault', '{}', undefined, true, lease), { code: 'unavailable' });
});

test('the ledger’s newest text may lie beside it, and counts only if it is whole and of this ledger', (t) => {
  const path = folder(t);
  const storage = new FileStorage({ vault: join(path, 'v') });
  const [file, beside] = [join(path, 'v.lazaret'), join(path, 'v.lazaret.unsynced')];
  const one = store(storage, LEDGER, '{"n":1}\n', undefined, false);
  assert.ok(!existsSync(beside), 'the first text has a file of its own');
  const two = store(storage, LEDGER, '{"n":2}\n', one, false);
  assert.deepEqual([readFileSync(file, 'utf8'), readFileSync(beside, 'utf8')], ['{"n":1}\n', `lazaret-unsynced 1 ${one} ${two}\n{"n":2}\n`]);
  assert.equal(storage.load(LEDGER).val.text, '{"n":2}\n');
  const whole = readFileSync(beside);
  truncateSync(beside, whole.length - 1);
  assert.equal(storage.load(LEDGER).val.text, '{"n":1}\n', 'a torn one is as if it were not there');
  const three = store(storage, LEDGER, '{"n":3}\n', one, true);
  assert.ok(!existsSync(beside), 'what was left behind is removed');
  const four = store(storage, LEDGER, '{"n":4}\n', three, false);
  store(storage, LEDGER, '{"n":5}\n', four, true);
  assert.ok(!existsSync(beside));
  const spelled = spellUnsynced('base', 'text\n');
  assert.equal(parseUnsynced(spelled).document.text, 'text\n');
  for (let cut = 0; cut < spelled.length; cut += 1) assert.equal(parseUnsynced(spelled.slice(0, cut)), undefined);
});

test('what cannot be a document is refused, and the refusal shows nothing of it', (t) => {
  const path = folder(t);
  const at = (name) => new FileStorage({ vault: join(path, name) });
  writeFileSync(join(path, 'bad'), Buffer.from('{"refresh_token": "very-secret\xff"}', 'latin1'));
  assert.throws(() => at('bad').load('vault'), (error) => error.code === 'corrupt' && /offset 30/.test(error.message) && !error.message.includes('secret'));
  writeFileSync(join(path, 'large'), '');
  truncateSync(join(path, 'large'), 17 * 1024 * 1024);
  assert.throws(() => at('large').load('vault'), { code: 'too-large' });
  assert.throws(() => at('.').load('vault'), { code: 'unsupported' });
  execFileSync('mkfifo', [join(path, 'pipe')]);
  assert.throws(() => at('pipe').load('vault'), { code: 'unsupported' });
  writeFileSync(join(path, 'empty'), '');
  assert.deepEqual(at('empty').load('vault').val.text, '');
  assert.throws(() => at('v').store('vault', 'x'.repeat(16 * 1024 * 1024 + 1), undefined, true), { code: 'too-large' });
  assert.equal(validUpTo(Buffer.concat([Buffer.from('ü'.repeat(5000)), Buffer.from([0xc3]), Buffer.from('x'.repeat(500))])), 10000);
});

test('links are followed where they are safe, and everything of ours lies beside their target', (t) => {
  const path = folder(t);
  for (const name of ['real', 'open']) mkdirSync(join(path, name));
  writeFileSync(join(path, 'real/vault'), '{}');
  symlinkSync('real/vault', join(path, 'auth.json'));
  const storage = new FileStorage({ vault: join(path, 'auth.json') });
  const { val } = storage.load('vault');
  storage.acquire(THE_VAULT, 0, 0);
  assert.deepEqual(readdirSync(join(path, 'real')).sort(), ['vault', 'vault.lazaret-locks']);
  assert.ok(existsSync(join(path, 'auth.lock')), 'beside the link, where the reference looks');
  assert.equal(val.text, '{}');
  symlinkSync('../real/vault', join(path, 'open/link'));
  chmodSync(join(path, 'open'), 0o777);
  assert.throws(() => new FileStorage({ vault: join(path, 'open/link') }).load('vault'), { code: 'unsafe' });
  symlinkSync('loop', join(path, 'loop'));
  assert.throws(() => new FileStorage({ vault: join(path, 'loop') }).load('vault'), { code: 'unsafe' });
});

test('a file is not read again while a stat proves it unchanged, and else it is', (t) => {
  const path = folder(t);
  const storage = new FileStorage({ vault: join(path, 'v') });
  writeFileSync(join(path, 'v'), 'one');
  const { version } = storage.load('vault').val;
  writeFileSync(join(path, 'v'), 'two');
  assert.equal(storage.load('vault', version).tag, 'loaded', 'the same size, within the step of a clock');
});

test('what a dead process left is removed, and only what is exactly named so', (t) => {
  const path = folder(t);
  const random = '0123456789abcdef0123456789abcdef';
  const [dead, living, other] = [`.v.lazaret-tmp.2147483646.${random}`, `.v.lazaret-tmp.1.${random}`, `.v.lazaret-tmp.7.${random}.bak`];
  for (const name of [dead, living, other]) writeFileSync(join(path, name), 'secret');
  store(new FileStorage({ vault: join(path, 'v') }), 'vault', '{}', undefined);
  assert.deepEqual(readdirSync(path).filter((name) => name.startsWith('.')).sort(), [living, other].sort());
  assert.equal(pidIn(`.auth.json.lazaret-tmp.17.${random}`, 'auth.json'), 17);
  assert.equal(pidIn(`.auth.json.lazaret-tmp.17.${random}`, 'auth.json.lazaret'), undefined);
});

test('the locks of other tools are made, respected, taken away when stale, and removed', (t) => {
  const path = folder(t);
  const storage = new FileStorage({ vault: join(path, '.credentials.json') });
  const lock = join(path, '.oauth_refresh.lock');
  const { lease } = storage.acquire(THE_VAULT, 0, 0).val;
  assert.ok(statSync(lock).isDirectory() && statSync(lock).mtimeMs > Date.now() + 8000);
  storage.release(lease);
  assert.ok(!existsSync(lock));
  mkdirSync(lock);
  assert.equal(storage.acquire(THE_VAULT, 0, 0).tag, 'busy');
  utimesSync(lock, Date.now() / 1000 - 12, Date.now() / 1000 - 12);
  assert.equal(storage.acquire(THE_VAULT, 0, 0).tag, 'acquired');
});

test('other files that may own a grant are listed and read, and never written', (t) => {
  const root = folder(t);
  mkdirSync(join(root, 'profiles/work'), { recursive: true });
  mkdirSync(join(root, 'shared'));
  for (const file of ['auth.json', 'profiles/work/auth.json', 'shared/nous_auth.json']) writeFileSync(join(root, file), `"${file}"`);
  const storage = new FileStorage({ vault: join(root, 'profiles/work/auth.json') });
  const list = JSON.parse(storage.load('also.json').val.text);
  assert.deepEqual(list, {
    'also/0': { called: join(root, 'shared/nous_auth.json'), owns: ['nous'] },
    'also/1': { called: join(root, 'auth.json'), owns: [] },
  });
  assert.equal(storage.load('also/1').val.text, '"auth.json"');
  assert.equal(storage.load('also/1.lazaret').tag, 'absent');
  assert.throws(() => storage.store('also/1', '', undefined, true), { code: 'unsupported' });
  assert.equal(new FileStorage({ vault: join(root, 'v') }).load('also.json').tag, 'absent');
});

test('where the vault lies, and what is stated of it, is a document', (t) => {
  const root = folder(t);
  const vault = join(root, 'auth.json');
  for (const layout of [undefined, 'codex']) {
    const storage = new FileStorage({ vault, layout });
    const found = storage.load('vault.lazaret-place').val;
    assert.deepEqual(JSON.parse(found.text), layout ? { path: vault, layout } : { path: vault });
    assert.equal(storage.load('vault.lazaret-place', found.version).tag, 'unchanged');
    assert.throws(() => storage.store('vault.lazaret-place', '', undefined, true), { code: 'unsupported' });
  }
});

test('variables are read only if they are called like a key, and only if that was asked for', (t) => {
  const vault = join(folder(t), 'v');
  process.env.LAZARET_TEST_API_KEY = 'k';
  process.env.LAZARET_TEST_OTHER = 'o';
  t.after(() => ['LAZARET_TEST_API_KEY', 'LAZARET_TEST_OTHER'].forEach((name) => delete process.env[name]));
  const storage = new FileStorage({ vault, environment: true });
  assert.equal(storage.load('env/lazaret_test_api_key').val.text, 'k');
  assert.equal(storage.load('env/lazaret_test_other').tag, 'absent');
  assert.throws(() => new FileStorage({ vault }).load('env/lazaret_test_api_key'), { code: 'unsupported' });
});

test('network file systems are known by their number', () => {
  assert.deepEqual([0x6969, 0xff534d42, -11317950, 0x517b, 0xef53].map(networkNameOf), ['NFS', 'SMB', 'SMB', 'SMB', undefined]);
});

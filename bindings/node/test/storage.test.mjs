import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, renameSync, statSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { FileStorage } from 'lazaretto/storage';
import { ANSWERED, networkHttp } from '../dist/http/client.js';
import { pathOf } from '../dist/storage/folder.js';
import { marksOf } from '../dist/storage/other-tools.js';
import { pidIn } from '../dist/storage/temporary.js';
import { walk } from '../dist/storage/safe-path.js';
import { networkNameOf, validUpTo } from '../dist/storage/text.js';
import { parseUnsynced, spellUnsynced } from '../dist/storage/unsynced.js';
import { acme, callApart, folder, OTHERS, skipsUnlessRoot, SOMEBODY } from './helpers.mjs';

const LEDGER = 'vault.lazaretto';
const grant = (first) => ({ tag: 'grant', val: { document: 'vault', fingerprint: first.padEnd(32, '0') } });
const THE_VAULT = { tag: 'document', val: 'vault' };

/** The arguments of a Node that runs `code` in a process of its own. */
const apart = (code, ...args) => ['--input-type=module', '-e', `import { FileStorage } from 'lazaretto/storage';${code}`, ...args];

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

/** A lease excludes every other, and only its document is stored under it. */
test('a lease excludes others and permits its document alone', (t) => {
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

test('who holds a lease is told without taking or making anything', (t) => {
  const path = folder(t);
  const vault = join(path, 'auth.json');
  writeFileSync(vault, '{}');
  const [one, other] = [new FileStorage({ vault }), new FileStorage({ vault })];
  assert.equal(other.holderOf(grant('07')), undefined);
  assert.deepEqual(readdirSync(path), ['auth.json'], 'nothing was made');
  assert.equal(new FileStorage({ vault: join(path, 'nowhere/auth.json') }).holderOf(grant('07')), undefined);
  const { lease } = one.acquire(grant('07'), 0, 0).val;
  for (const storage of [one, other]) {
    const holder = storage.holderOf(grant('07'));
    assert.match(holder.name, new RegExp(`^pid ${process.pid}`));
    assert.ok(holder.sinceMs > 1_700_000_000_000);
    assert.equal(storage.holderOf(grant('47')), undefined, 'the same lock, held for another grant');
    assert.equal(storage.holderOf(THE_VAULT), undefined);
  }
  assert.deepEqual(readdirSync(`${vault}.lazaretto-locks`), ['07'], 'nothing was made');
  one.release(lease);
  assert.equal(other.holderOf(grant('07')), undefined);

  // Another process takes one, is killed, and leaves its hint behind.
  const killed = spawnSync(process.execPath, apart(`
    new FileStorage({ vault: process.argv[1] }).acquire({ tag: 'document', val: 'vault' }, 0, 0);
    process.kill(process.pid, 'SIGKILL');`, vault), { cwd: import.meta.dirname });
  assert.equal(killed.signal, 'SIGKILL', String(killed.stderr));
  assert.match(readFileSync(`${vault}.lazaretto-locks/document-vault`, 'utf8'), new RegExp(`"pid":${killed.pid}`));
  assert.equal(other.holderOf(THE_VAULT), undefined);

  mkdirSync(`${vault}.lazaretto-wasi`);
  assert.throws(() => other.holderOf(grant('07')), { code: 'unsupported' }, 'what holds it there cannot be seen from here');
});

test('asking who holds a lease keeps nobody out', async (t) => {
  const vault = join(folder(t), 'auth.json');
  const storage = new FileStorage({ vault });
  storage.release(storage.acquire(grant('07'), 0, 0).val.lease);
  const asking = spawn(process.execPath, apart(`
    const storage = new FileStorage({ vault: process.argv[1] });
    for (let asked = 0; ; asked += 1) {
      storage.holderOf(${JSON.stringify(grant('07'))});
      if (asked === 100) console.log('it asks');
    }`, vault), { cwd: import.meta.dirname, stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => asking.kill('SIGKILL'));
  await once(asking.stdout, 'data');
  for (let round = 0; round < 500; round += 1) {
    const outcome = storage.acquire(grant('07'), 0, 0);
    assert.equal(outcome.tag, 'acquired', `round ${round}`);
    storage.release(outcome.val.lease);
  }
  assert.equal(asking.exitCode, null, 'it asked to the end');
});

test('nothing is written beside a host that cannot flock', (t) => {
  const path = folder(t);
  const vault = join(path, 'auth.json');
  writeFileSync(vault, '{}');
  mkdirSync(`${vault}.lazaretto-wasi`);
  const storage = new FileStorage({ vault });
  const { version } = storage.load('vault').val;
  assert.throws(() => storage.store('vault', '[]', version, true), { code: 'unsupported' });
  assert.throws(() => storage.acquire(grant('00'), 0, 0), { code: 'unsupported' });
  assert.equal(readFileSync(vault, 'utf8'), '{}');
  assert.ok(!existsSync(`${vault}.lazaretto-locks`));
});

test('another program that holds auth.lock is waited for', (t) => {
  const path = folder(t);
  const storage = new FileStorage({ vault: join(path, 'auth.json') });
  assert.equal(storage.describe().excludesForeign, true);
  writeFileSync(join(path, 'auth.lock'), 'theirs');
  // util-linux: the reference's kind of lock, from another process. It is held when this returns,
  // and until the file `go` is there.
  const hold = 'touch held; until [ -e go ]; do sleep 0.02; done; sleep 0.2';
  execFileSync('sh', ['-c', `flock -x auth.lock sh -c '${hold}' >/dev/null 2>&1 & until [ -e held ]; do sleep 0.02; done`], { cwd: path });
  const busy = storage.acquire(THE_VAULT, 0, 0);
  assert.equal(busy.tag, 'busy');
  assert.match(busy.val.name, /a program that holds .*auth\.lock/);
  writeFileSync(join(path, 'go'), '');
  assert.equal(storage.acquire(THE_VAULT, 0, 30_000).tag, 'acquired');
  assert.equal(readFileSync(join(path, 'auth.lock'), 'utf8'), 'theirs');
});

test('a lock that was moved away permits nothing any more', (t) => {
  const path = folder(t);
  const storage = new FileStorage({ vault: join(path, 'v') });
  const { lease } = storage.acquire(THE_VAULT, 0, 0).val;
  renameSync(join(path, 'v.lazaretto-locks'), join(path, 'moved'));
  assert.throws(() => storage.store('vault', '{}', undefined, true, lease), { code: 'unavailable' });
});

/**
 * The ledger’s newest text may lie beside it, and counts only if it is whole and of this ledger.
 */
test('an unsynced ledger counts if it is whole and of this ledger', (t) => {
  const path = folder(t);
  const storage = new FileStorage({ vault: join(path, 'v') });
  const [file, beside] = [join(path, 'v.lazaretto'), join(path, 'v.lazaretto.unsynced')];
  const one = store(storage, LEDGER, '{"n":1}\n', undefined, false);
  assert.ok(!existsSync(beside), 'the first text has a file of its own');
  const two = store(storage, LEDGER, '{"n":2}\n', one, false);
  assert.deepEqual([readFileSync(file, 'utf8'), readFileSync(beside, 'utf8')], ['{"n":1}\n', `lazaretto-unsynced 1 ${one} ${two}\n{"n":2}\n`]);
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

/** What cannot be a document is refused, and the refusal shows nothing of it. */
test('what cannot be a document is refused without showing it', (t) => {
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

/** Links are followed where they are safe, and everything of ours lies beside their target. */
test('safe links are followed, and our files lie beside the target', (t) => {
  const path = folder(t);
  for (const name of ['real', 'open']) mkdirSync(join(path, name));
  writeFileSync(join(path, 'real/vault'), '{}');
  symlinkSync('real/vault', join(path, 'auth.json'));
  const storage = new FileStorage({ vault: join(path, 'auth.json') });
  const { val } = storage.load('vault');
  storage.acquire(THE_VAULT, 0, 0);
  assert.deepEqual(readdirSync(join(path, 'real')).sort(), ['vault', 'vault.lazaretto-locks']);
  assert.ok(existsSync(join(path, 'auth.lock')), 'beside the link, where the reference looks');
  assert.equal(val.text, '{}');
  symlinkSync('../real/vault', join(path, 'open/link'));
  chmodSync(join(path, 'open'), 0o777);
  assert.throws(() => new FileStorage({ vault: join(path, 'open/link') }).load('vault'), { code: 'unsafe' });
  symlinkSync('loop', join(path, 'loop'));
  assert.throws(() => new FileStorage({ vault: join(path, 'loop') }).load('vault'), { code: 'unsafe' });
});

/** A file is not read again while a stat proves it unchanged, and else it is. */
test('a file is read again unless a stat proves it unchanged', (t) => {
  const path = folder(t);
  const storage = new FileStorage({ vault: join(path, 'v') });
  writeFileSync(join(path, 'v'), 'one');
  const { version } = storage.load('vault').val;
  writeFileSync(join(path, 'v'), 'two');
  assert.equal(storage.load('vault', version).tag, 'loaded', 'the same size, within the step of a clock');
});

/** What a dead process left is removed, and only what is exactly named so. */
test('only what a dead process left is removed', (t) => {
  const path = folder(t);
  const random = '0123456789abcdef0123456789abcdef';
  const [dead, living, other] = [`.v.lazaretto-tmp.2147483646.${random}`, `.v.lazaretto-tmp.1.${random}`, `.v.lazaretto-tmp.7.${random}.bak`];
  for (const name of [dead, living, other]) writeFileSync(join(path, name), 'secret');
  store(new FileStorage({ vault: join(path, 'v') }), 'vault', '{}', undefined);
  assert.deepEqual(readdirSync(path).filter((name) => name.startsWith('.')).sort(), [living, other].sort());
  assert.equal(pidIn(`.auth.json.lazaretto-tmp.17.${random}`, 'auth.json'), 17);
  assert.equal(pidIn(`.auth.json.lazaretto-tmp.17.${random}`, 'auth.json.lazaretto'), undefined);
});

const NOW_S = 1_800_000_000;

/** Returns a vault of another tool, with a clock that stands still. */
function tool(path, name, content = '{}') {
  mkdirSync(dirname(join(path, name)), { recursive: true });
  writeFileSync(join(path, name), content);
  return toolStorage(path, name);
}

function toolStorage(path, name) {
  const storage = new FileStorage({ vault: join(path, name) });
  storage.now = () => NOW_S * 1000;
  return storage;
}

const setTime = (path, s) => utimesSync(path, s, s);

for (const [name, limitS, ...locks] of [
  ['.qwen/oauth_creds.json', 35, '.qwen/oauth_creds.lock'],
  ['.claude/.credentials.json', 60, '.claude/.oauth_refresh.lock', '.claude.lock'],
]) {
  /** The locks of other tools are made, respected, taken away when stale, and removed. */
  test(`other tools’ locks are made, respected and removed: ${name}`, (t) => {
    const path = folder(t);
    const storage = tool(path, name);
    const paths = locks.map((lock) => join(path, lock));
    const { lease } = storage.acquire(THE_VAULT, 0, 0).val;
    for (const lock of paths) assert.equal(Math.floor(statSync(lock).mtimeMs / 1000), NOW_S);
    assert.equal(toolStorage(path, name).acquire(THE_VAULT, 0, 0).tag, 'busy');
    storage.release(lease);
    assert.ok(!paths.some((lock) => existsSync(lock)));
    for (const lock of paths) {
      if (name.startsWith('.claude')) mkdirSync(lock);
      else writeFileSync(lock, '');
      for (const ageS of [0, limitS, -5]) {
        setTime(lock, NOW_S - ageS);
        assert.equal(storage.acquire(THE_VAULT, 0, 0).tag, 'busy', `${ageS}`);
      }
      setTime(lock, NOW_S - limitS - 1);
      storage.release(storage.acquire(THE_VAULT, 0, 0).val.lease);
      assert.ok(!existsSync(lock) && !readdirSync(dirname(lock)).some((left) => left.includes('.stale.')));
    }
  });
}

/** A time in the future ends when it was seen unchanged for the limit. */
test('a mark from the future ends after its limit', (t) => {
  const path = folder(t);
  const storage = tool(path, '.claude/.credentials.json');
  const lock = join(path, '.claude/.oauth_refresh.lock');
  mkdirSync(lock);
  setTime(lock, NOW_S + 1e6);
  const at = (s) => {
    storage.now = () => (NOW_S + s) * 1000;
    return storage.acquire(THE_VAULT, 0, 0);
  };
  for (const s of [0, 60]) assert.equal(at(s).tag, 'busy');
  setTime(lock, NOW_S + 1e6 + 5); // it lives
  for (const s of [61, 121, 10, 70]) assert.equal(at(s).tag, 'busy');
  storage.release(at(71).val.lease);
  assert.ok(!existsSync(lock));
});

/** What a killed process made is known again and taken away at once. */
test('what a killed process made is removed at once', (t) => {
  const path = folder(t);
  const storage = tool(path, '.claude/.credentials.json');
  const locks = ['.claude/.oauth_refresh.lock', '.claude.lock'].map((lock) => join(path, lock));
  const killed = () => {
    const script = `import { FileStorage } from 'lazaretto/storage';
      new FileStorage({ vault: process.argv[1] }).acquire({ tag: 'document', val: 'vault' }, 0, 0);
      process.kill(process.pid, 'SIGKILL');`;
    const options = { cwd: new URL('..', import.meta.url), stdio: 'ignore' };
    const arguments_ = ['--input-type=module', '-e', script, join(path, '.claude/.credentials.json')];
    assert.throws(() => execFileSync(process.execPath, arguments_, options), { signal: 'SIGKILL' });
    for (const lock of locks) assert.deepEqual(readdirSync(lock), [], 'others can remove an empty folder only');
  };
  for (let times = 0; times < 2; times += 1) {
    killed();
    storage.release(storage.acquire(THE_VAULT, 0, 0).val.lease);
    assert.ok(!locks.some((lock) => existsSync(lock)));
  }
  killed();
  setTime(locks[0], NOW_S); // another program's sign of life in that place
  assert.equal(storage.acquire(THE_VAULT, 0, 0).tag, 'busy');
});

/** A mark shows life while it is held, and what takes its place is left alone. */
test('a held mark shows life, and a foreign one is left alone', (t) => {
  const path = folder(t);
  const storage = tool(path, '.claude/.credentials.json');
  const lock = join(path, '.claude/.oauth_refresh.lock');
  const { lease } = storage.acquire(THE_VAULT, 0, 0).val;
  storage.now = () => (NOW_S + 5) * 1000;
  storage.beat();
  assert.equal(Math.floor(statSync(lock).mtimeMs / 1000), NOW_S + 5);
  renameSync(lock, join(path, 'aside'));
  mkdirSync(lock);
  setTime(lock, 7);
  storage.now = () => (NOW_S + 10) * 1000;
  storage.beat();
  assert.equal(statSync(lock).mtimeMs, 7000);
  assert.equal(Math.floor(statSync(join(path, 'aside')).mtimeMs / 1000), NOW_S + 10);
  storage.release(lease);
  assert.ok(existsSync(lock), 'theirs stays');
});

test('who waits for an answer shows life meanwhile', () => {
  let state;
  let beats = 0;
  const port = { postMessage: ({ signal }) => (state = new Int32Array(signal)) };
  const beat = () => {
    beats += 1;
    if (beats === 3) Atomics.store(state, 0, ANSWERED);
  };
  const http = networkHttp(port, () => {}, () => [], beat, 1);
  // A port that holds nothing: what matters is that the waiting ended by the third sign of life.
  assert.throws(() => http.send({ method: 'POST', url: '', headers: [], body: '', deadlineMs: 60_000 }), TypeError);
  assert.equal(beats, 3);
});

function marksAt(vault) {
  const safePath = walk(vault);
  try {
    return marksOf(safePath, undefined).map(pathOf);
  } finally {
    safePath.close();
  }
}

test('a lock is taken by place or content, and never by name alone', (t) => {
  const path = realpathSync(folder(t));
  const mcp = '{"linear|1":{"server_name":"linear","access_token":"a"}}';
  for (const [file, content, ...locks] of [
    ['.claude/.credentials.json', '{}', '.claude/.oauth_refresh.lock', '.claude.lock'],
    ['else/.credentials.json', '{"claudeAiOauth":{}}', 'else/.oauth_refresh.lock', 'else.lock'],
    ['.codex/.credentials.json', mcp],
    ['other/.credentials.json', '{}'],
    ['other/.credentials.json', '{"claudeAiOauth":'],
    ['.qwen/oauth_creds.json', '{}', '.qwen/oauth_creds.lock'],
    ['q/oauth_creds.json', '{"resource_url":"x"}', 'q/oauth_creds.lock'],
    ['.gemini/oauth_creds.json', '{"scope":"x"}'],
  ]) {
    tool(path, file, content);
    const found = marksAt(join(path, file));
    assert.deepEqual(found, locks.map((lock) => join(path, lock)), file);
  }
  process.env.CLAUDE_CONFIG_DIR = join(path, 'other');
  t.after(() => delete process.env.CLAUDE_CONFIG_DIR);
  assert.equal(marksAt(join(path, 'other/.credentials.json')).length, 2);
});

/** Other files that may own a grant are listed and read, and never written. */
test('other files that may own a grant are never written', (t) => {
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
  assert.equal(storage.load('also/1.lazaretto').tag, 'absent');
  assert.throws(() => storage.store('also/1', '', undefined, true), { code: 'unsupported' });
  assert.equal(new FileStorage({ vault: join(root, 'v') }).load('also.json').tag, 'absent');
});

/** Where the vault lies, and what is stated of it, is a document. */
test('where the vault lies is a document', (t) => {
  const root = folder(t);
  const vault = join(root, 'auth.json');
  const providers = join(root, "it's mine.json");
  for (const [more, said] of [
    [{}, { command: `lazaretto --vault ${vault}` }],
    [{ layout: 'codex', providers }, { layout: 'codex', command: `lazaretto --vault ${vault} --layout codex --providers '${root}/it'\\''s mine.json'` }],
    [{ command: 'acme auth', loginHint: 'acme login {provider}' }, { command: 'acme auth', login_hint: 'acme login {provider}' }],
  ]) {
    const storage = new FileStorage({ vault, ...more });
    const found = storage.load('vault.lazaretto-place').val;
    assert.deepEqual(JSON.parse(found.text), { path: vault, ...said });
    assert.equal(storage.load('vault.lazaretto-place', found.version).tag, 'unchanged');
    assert.throws(() => storage.store('vault.lazaretto-place', '', undefined, true), { code: 'unsupported' });
  }
});

/** Variables are read only if they are called like a key, and only if that was asked for. */
test('only variables called like a key are read, and on demand', (t) => {
  const vault = join(folder(t), 'v');
  process.env.LAZARETTO_TEST_API_KEY = 'k';
  process.env.LAZARETTO_TEST_OTHER = 'o';
  t.after(() => ['LAZARETTO_TEST_API_KEY', 'LAZARETTO_TEST_OTHER'].forEach((name) => delete process.env[name]));
  const storage = new FileStorage({ vault, environment: true });
  assert.equal(storage.load('env/lazaretto_test_api_key').val.text, 'k');
  assert.equal(storage.load('env/lazaretto_test_other').tag, 'absent');
  assert.throws(() => new FileStorage({ vault }).load('env/lazaretto_test_api_key'), { code: 'unsupported' });
});

const acmeWith = (members) => ({ a: { token_endpoint: 'https://a.example/t', client_id: 'c', ...members } });

function secretOf(path, profiles) {
  const providers = join(path, 'providers.json');
  writeFileSync(providers, JSON.stringify({ profiles }), { mode: 0o600 });
  return new FileStorage({ vault: join(path, 'v'), providers }).load('secret/a').val?.text;
}

test('a client’s secret is the first line of its place', (t) => {
  const path = folder(t);
  process.env.LAZARETTO_TEST_SECRET = 's-env';
  t.after(() => delete process.env.LAZARETTO_TEST_SECRET);
  writeFileSync(join(path, 'secret'), 's-file\r\nrest\n');
  assert.equal(secretOf(path, acmeWith({ client_secret_file: 'secret' })), 's-file');
  assert.equal(secretOf(path, acmeWith({ client_secret_env: 'LAZARETTO_TEST_SECRET' })), 's-env');
  assert.equal(secretOf(path, acmeWith({ client_secret_command: ['printf', '%s\n%s', 's-command', 'rest'] })), 's-command');
  assert.equal(secretOf(path, acmeWith({ client_secret: 's' })), undefined);
  assert.equal(secretOf(path, acmeWith({ client_secret_env: 'LAZARETTO_TEST_SECRET', client_secret_file: 'secret' })), undefined);
  assert.equal(new FileStorage({ vault: join(path, 'v') }).load('secret/a').tag, 'absent');
  // A layer that names another client or server inherits none.
  const b = { token_endpoint: 'https://b.example/t', client_id: 'c', client_secret_file: 'secret' };
  assert.equal(secretOf(path, { a: { extends: 'b' }, b }), 's-file');
  for (const top of [{ token_endpoint: 'https://a.example/t' }, { client_id: 'd' }, { client_secret: null }]) {
    assert.equal(secretOf(path, { a: { extends: 'b', ...top }, b }), undefined);
  }
});

/**
 * A secret that cannot be read is told of without what was read, and a program runs once and only
 * for its owner.
 */
test('a client secret that cannot be read shows nothing of itself', (t) => {
  const path = folder(t);
  for (const [members, message] of [
    [{ client_secret_env: 'LAZARETTO_TEST_NO_SUCH' }, /LAZARETTO_TEST_NO_SUCH is not set/],
    [{ client_secret_file: 'none' }, /cannot read/],
    [{ client_secret_file: '.' }, /it is no file/],
    [{ client_secret_command: ['/no/such/program'] }, /cannot run \/no\/such\/program/],
    [{ client_secret_command: ['sh', '-c', 'echo s-secret; exit 3'] }, /sh failed \(exit status: 3\)$/],
  ]) {
    assert.throws(() => secretOf(path, acmeWith(members)), { code: 'other', message });
  }
  const [runs, providers] = [join(path, 'runs'), join(path, 'providers.json')];
  const profiles = acmeWith({ client_secret_command: ['sh', '-c', `echo x >> ${runs}; echo s`] });
  writeFileSync(providers, JSON.stringify({ profiles }), { mode: 0o600 });
  const storage = new FileStorage({ vault: join(path, 'v'), providers });
  for (let time = 0; time < 2; time += 1) assert.equal(storage.load('secret/a').val.text, 's');
  assert.equal(readFileSync(runs, 'utf8'), 'x\n');
  chmodSync(providers, 0o620);
  assert.throws(() => storage.load('secret/a'), { message: /mode 0620/ });
});

test('network file systems are known by their number', () => {
  assert.deepEqual([0x6969, 0xff534d42, -11317950, 0x517b, 0xef53].map(networkNameOf), ['NFS', 'SMB', 'SMB', 'SMB', undefined]);
});

/** What is replaced keeps its group, and what owner and group may do. */
test('a replaced file keeps its group and its mode', (t) => {
  if (skipsUnlessRoot(t)) return;
  const vault = join(folder(t), 'auth.json');
  const storage = new FileStorage({ vault });
  let version = storage.store('vault', '{}', undefined, true).val;
  assert.equal(statSync(vault).mode & 0o7777, 0o600, 'a new one is its owner’s alone');
  for (const [was, is] of [[0o640, 0o640], [0o664, 0o660], [0o4777, 0o770], [0o400, 0o600], [0o604, 0o600]]) {
    chownSync(vault, 0, OTHERS);
    chmodSync(vault, was);
    version = storage.store('vault', `{"n":${was}}`, version, true).val;
    const stat = statSync(vault);
    assert.deepEqual([stat.uid, stat.gid, stat.mode & 0o7777], [0, OTHERS, is], was.toString(8));
  }
});

test('a new document is its owner’s alone, whatever the umask', (t) => {
  const vault = join(folder(t), 'v');
  const umask = process.umask(0o277);
  try {
    new FileStorage({ vault }).store('vault', '{}', undefined, true);
  } finally {
    process.umask(umask);
  }
  assert.equal(statSync(vault).mode & 0o7777, 0o600);
});

test('a group that cannot be kept loses its rights', async (t) => {
  if (skipsUnlessRoot(t)) return;
  const a = await acme(t);
  chmodSync(a.providers, 0o644);
  chownSync(a.folder, SOMEBODY, SOMEBODY);
  chownSync(a.vault, SOMEBODY, OTHERS);
  chmodSync(a.vault, 0o660);
  assert.equal((await callApart(a.options, { uid: SOMEBODY })).token, 'at-2');
  const stat = statSync(a.vault);
  assert.deepEqual([stat.uid, stat.gid, stat.mode & 0o7777], [SOMEBODY, SOMEBODY, 0o600]);
});

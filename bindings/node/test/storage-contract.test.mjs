// The file storage keeps the rules of wit/storage.wit: the cases of tests/conformance/storage/cases.json,
// which other languages run too. A storage of a worker lives in that worker, so there is none in memory.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { FileStorage, StorageError } from 'lazaretto/storage';

const CASES = new URL('../../../tests/conformance/storage/cases.json', import.meta.url);
const MODULE = new URL('../dist/storage/file-storage.js', import.meta.url).href;
const VAULT = { tag: 'document', val: 'vault' };
const SETTINGS = { tag: 'document', val: 'settings.json' };
const grantOf = (fingerprint) => ({ tag: 'grant', val: { document: 'vault', fingerprint } });
const GRANT = grantOf('0123456789abcdef'.repeat(2));

/** A vault file in a folder of its own. */
function worldOf(t) {
  const folder = mkdtempSync(join(tmpdir(), 'lazaretto-contract-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const vault = join(folder, 'vault.json');
  const open = () => new FileStorage({ vault });
  return { vault, open, reopen: open };
}

/** Takes a lease in a process that is then killed. */
async function crash({ vault }, scope) {
  const code = `
    const { FileStorage } = await import(${JSON.stringify(MODULE)});
    const storage = new FileStorage({ vault: ${JSON.stringify(vault)} });
    console.log(storage.acquire(${JSON.stringify(scope)}, 60_000, 10_000).tag);
    setInterval(() => storage, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await new Promise((resolve) => child.stdout.once('data', (data) => resolve([String(data)])));
  assert.equal(line, 'acquired\n');
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}

/** Stores in a thread of its own, without a lease, and returns the outcome. */
function storeElsewhere({ vault }, text, expected) {
  const code = `
    const { parentPort } = require('node:worker_threads');
    import(${JSON.stringify(MODULE)}).then(({ FileStorage }) => {
      const storage = new FileStorage({ vault: ${JSON.stringify(vault)} });
      parentPort.postMessage(storage.store('vault', ${JSON.stringify(text)}, ${JSON.stringify(expected)}, true));
    });`;
  const worker = new Worker(code, { eval: true });
  return new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
}

function stored(outcome) {
  assert.equal(outcome.tag, 'stored');
  return outcome.val;
}

function documentIn(storage, name = 'vault') {
  const found = storage.load(name);
  assert.equal(found.tag, 'loaded');
  return { version: found.val.version, text: found.val.text };
}

function leaseOn(storage, scope = VAULT) {
  const taken = storage.acquire(scope, 60_000, 10_000);
  assert.equal(taken.tag, 'acquired');
  return taken.val.lease;
}

function isStale(outcome, current) {
  assert.equal(outcome.tag, 'stale');
  assert.deepEqual(outcome.val && { version: outcome.val.version, text: outcome.val.text }, current);
}

function refuses(code, act) {
  assert.throws(act, (error) => error instanceof StorageError && error.code === code);
}

const isBusy = (storage, scope) => assert.equal(storage.acquire(scope, 1_000, 0).tag, 'busy');

const CHECKS = {
  'an-absent-document-is-absent'({ open }) {
    assert.deepEqual(open().load('vault'), { tag: 'absent' });
    assert.deepEqual(open().load('vault', 'known'), { tag: 'absent' });
  },
  'a-stored-text-is-loaded-with-its-version'({ open }) {
    const storage = open();
    const version = stored(storage.store('vault', '{}', undefined, true));
    assert.deepEqual(documentIn(storage), { version, text: '{}' });
  },
  'any-text-comes-back-as-it-was'({ open }) {
    const storage = open();
    let version;
    for (const text of ['', '\ufeff{}\r\n', 'a\nb\n', 'é𝄞\u2028', 'x'.repeat(100_000)]) {
      version = stored(storage.store('vault', text, version, true));
      assert.equal(documentIn(storage).text, text);
    }
  },
  'a-known-version-is-unchanged'({ open }) {
    const storage = open();
    const version = stored(storage.store('vault', '{}', undefined, true));
    assert.deepEqual(storage.load('vault', version), { tag: 'unchanged' });
  },
  'an-old-version-loads-the-document'({ open }) {
    const storage = open();
    const first = stored(storage.store('vault', '1', undefined, true));
    const second = stored(storage.store('vault', '2', first, true));
    const found = storage.load('vault', first);
    assert.deepEqual([found.tag, found.val.version, found.val.text], ['loaded', second, '2']);
  },
  'no-two-texts-have-one-version'({ open }) {
    const storage = open();
    const seen = new Map();
    let version;
    for (const text of ['1', '2', '3', '1', '4']) {
      version = stored(storage.store('vault', text, version, true));
      assert.equal(seen.get(version) ?? text, text);
      seen.set(version, text);
    }
  },
  'a-name-outside-the-grammar-is-refused'({ open }) {
    const storage = open();
    for (const name of ['', '../x', 'a/../b', '/etc/passwd', 'Vault', 'a//b', 'a\nb', 'a b', 'vault\0']) {
      refuses('invalid-name', () => storage.load(name));
      refuses('invalid-name', () => storage.store(name, '', undefined, true));
      refuses('invalid-name', () => storage.acquire({ tag: 'document', val: name }, 1, 0));
    }
  },
  'expected-none-stores-only-what-is-absent'({ open }) {
    const storage = open();
    const version = stored(storage.store('vault', '1', undefined, true));
    isStale(storage.store('vault', '2', undefined, true), { version, text: '1' });
    assert.equal(documentIn(storage).text, '1');
  },
  'a-stale-store-writes-nothing'({ open }) {
    const storage = open();
    const first = stored(storage.store('vault', '1', undefined, true));
    const version = stored(storage.store('vault', '2', first, true));
    isStale(storage.store('vault', '3', first, true), { version, text: '2' });
    assert.deepEqual(documentIn(storage), { version, text: '2' });
  },
  'a-stale-store-of-an-absent-document-carries-nothing'({ open }) {
    const storage = open();
    isStale(storage.store('vault', '1', 'some-version', true), undefined);
    assert.deepEqual(storage.load('vault'), { tag: 'absent' });
  },
  async 'of-two-stores-at-one-version-one-wins'(world) {
    const version = stored(world.open().store('vault', '0', undefined, true));
    const outcomes = await Promise.all(['1', '2', '3', '4'].map((text) => storeElsewhere(world, text, version)));
    assert.deepEqual(outcomes.map(({ tag }) => tag).sort(), ['stale', 'stale', 'stale', 'stored']);
  },
  'a-durable-store-survives-reopen'({ open, reopen }) {
    const version = stored(open().store('vault', 'kept', undefined, true));
    assert.deepEqual(documentIn(reopen()), { version, text: 'kept' });
  },
  'a-store-that-need-not-be-durable-survives-reopen'({ open, reopen }) {
    const storage = open();
    const first = stored(storage.store('vault.lazaretto', '1', undefined, true));
    const version = stored(storage.store('vault.lazaretto', '2', first, false));
    assert.deepEqual(documentIn(reopen(), 'vault.lazaretto'), { version, text: '2' });
  },
  'a-store-under-its-lease-takes-no-lock'({ open }) {
    const storage = open();
    const lease = leaseOn(storage);
    const version = stored(storage.store('vault', '1', undefined, true, lease));
    stored(storage.store('vault', '2', version, true, lease));
  },
  /** However late the other thread begins: its store ends after the holder's, and is stale. */
  async 'a-lease-keeps-other-stores-out'(world) {
    const storage = world.open();
    const first = stored(storage.store('vault', '1', undefined, true));
    const lease = leaseOn(storage);
    const theirs = storeElsewhere(world, 'theirs', first);
    const version = stored(storage.store('vault', 'ours', first, true, lease));
    storage.release(lease);
    isStale(await theirs, { version, text: 'ours' });
  },
  'a-lease-on-another-document-permits-no-store'({ open }) {
    const storage = open();
    for (const scope of [SETTINGS, GRANT]) {
      const lease = leaseOn(storage, scope);
      refuses('invalid-lease', () => storage.store('vault', '1', undefined, true, lease));
      storage.release(lease);
    }
    assert.deepEqual(storage.load('vault'), { tag: 'absent' });
  },
  'a-released-lease-permits-no-store'({ open }) {
    const storage = open();
    const lease = leaseOn(storage);
    storage.release(lease);
    refuses('invalid-lease', () => storage.store('vault', '1', undefined, true, lease));
  },
  'a-document-lease-excludes-every-other'({ open }) {
    const storage = open();
    leaseOn(storage);
    isBusy(storage, VAULT);
    isBusy(open(), VAULT);
    leaseOn(open(), SETTINGS);
  },
  'a-grant-lease-excludes-every-other'({ open }) {
    const storage = open();
    leaseOn(storage, GRANT);
    isBusy(storage, GRANT);
    isBusy(open(), GRANT);
  },
  'a-grant-lease-leaves-the-document-free'({ open }) {
    const storage = open();
    leaseOn(storage, GRANT);
    stored(storage.store('vault', '1', undefined, true, leaseOn(storage)));
  },
  'a-fingerprint-outside-the-grammar-is-refused'({ open }) {
    for (const fingerprint of ['', 'rt-secret', '0'.repeat(31), '0'.repeat(33), 'A'.repeat(32)]) {
      assert.throws(
        () => open().acquire(grantOf(fingerprint), 1_000, 0),
        (error) => error instanceof StorageError && (fingerprint === '' || !error.message.includes(fingerprint)),
      );
    }
  },
  'a-released-lease-is-free'({ open }) {
    const storage = open();
    for (const scope of [VAULT, GRANT]) {
      storage.release(leaseOn(storage, scope));
      leaseOn(open(), scope);
    }
  },
  'an-unknown-lease-releases-nothing'({ open }) {
    const storage = open();
    const lease = leaseOn(storage);
    open().release('no-such-lease');
    storage.release('no-such-lease');
    isBusy(open(), VAULT);
    stored(storage.store('vault', '1', undefined, true, lease));
  },
  'the-holder-is-told-and-keeps-its-lease'({ open }) {
    const storage = open();
    for (const scope of [VAULT, GRANT]) {
      const lease = leaseOn(storage, scope);
      assert.notEqual(open().holderOf(scope), undefined);
      isBusy(open(), scope);
      storage.release(lease);
    }
  },
  'nobody-holds-a-free-lease'({ open }) {
    const storage = open();
    for (const scope of [VAULT, GRANT]) {
      assert.equal(storage.holderOf(scope), undefined);
      storage.release(leaseOn(storage, scope));
      assert.equal(open().holderOf(scope), undefined);
    }
  },
  async 'a-holder-that-ended-holds-nothing'(world) {
    for (const scope of [VAULT, GRANT]) {
      await crash(world, scope);
      const storage = world.reopen();
      assert.equal(storage.holderOf(scope), undefined);
      storage.release(leaseOn(storage, scope));
    }
  },
  'list-names-what-begins-with-the-prefix'({ open }) {
    const storage = open();
    assert.deepEqual(storage.list(''), []);
    for (const name of ['vault', 'vault.lazaretto', 'settings.json']) stored(storage.store(name, '{}', undefined, true));
    assert.deepEqual(storage.list('vault').sort(), ['vault', 'vault.lazaretto']);
    assert.deepEqual(storage.list('').sort(), ['settings.json', 'vault', 'vault.lazaretto']);
  },
  'describe-promises-what-reopen-shows'({ open, reopen }) {
    stored(open().store('vault', '1', undefined, true));
    assert.equal(documentIn(reopen()).text, '1');
    assert.notEqual(open().describe().durability, 'none');
  },
};

for (const [name, check] of Object.entries(CHECKS)) test(`storage: ${name}`, async (t) => check(worldOf(t)));

test('every case of the list is run', { skip: !existsSync(CASES) }, () => {
  const listed = JSON.parse(readFileSync(CASES, 'utf8')).cases.map(({ name }) => name);
  assert.deepEqual(Object.keys(CHECKS).sort(), listed.sort());
});

// What holds a secret does not show it by accident.

import assert from 'node:assert/strict';
import { Console } from 'node:console';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { format, inspect } from 'node:util';
import { Keeper } from 'lazaretto';
import { FileStorage } from 'lazaretto/storage';
import { acme } from './helpers.mjs';

/** Returns every way in which a value is printed without anybody naming the secret. */
function shown(value) {
  let text = '';
  const stream = new Writable({ write: (chunk, _, done) => ((text += chunk), done()) });
  const console = new Console(stream, stream);
  console.log(value);
  console.log('%o %O %s', value, value, value);
  console.dir(value, { depth: null, showHidden: true });
  return [text, inspect(value, { depth: null, showHidden: true, customInspect: false }), format('%O', [value]), `${value}`].join('\n');
}

test('a token shows itself only to who names it', async (t) => {
  const a = await acme(t);
  const keeper = await Keeper.open(a.options);
  t.after(() => keeper.close());
  const token = await keeper.token('acme');
  const { token: named, tokenType } = token;
  assert.deepEqual([named, tokenType, { ...token }.token, structuredClone(token).token], ['at-2', 'Bearer', 'at-2', 'at-2']);
  assert.ok(!shown(token).includes('at-2'), shown(token));
  token.token = 'at-mine';
  assert.equal(token.token, 'at-mine');
  assert.match(inspect(token), /token: '\[redacted\]',\n\s+tokenType: 'Bearer'/);
  assert.ok(!JSON.stringify({ token }).includes('at-2'));
  assert.equal(JSON.parse(JSON.stringify(token)).token, '[redacted]');

  const refreshed = await keeper.refresh('acme');
  assert.ok(!(shown(refreshed) + JSON.stringify(refreshed)).includes('at-3'));
  const advice = await keeper.report('acme', { accessToken: 'at-2', status: 401 });
  assert.equal(advice.token.token, 'at-3');
  assert.ok(!(shown(advice) + JSON.stringify(advice)).includes('at-3'), shown(advice));
});

/** Tokens that could be stored nowhere do not show themselves either. */
test('tokens that could be stored nowhere are not shown', { timeout: 30_000 }, async (t) => {
  const a = await acme(t);
  const state = process.env.XDG_STATE_HOME;
  t.after(() => (process.env.XDG_STATE_HOME = state));
  process.env.XDG_STATE_HOME = `${a.vault}/is-no-folder`;
  const keeper = await Keeper.open({ ...a.options, modules: { storage: new URL('./failing-storage.mjs', import.meta.url) } });
  t.after(() => keeper.close());
  const token = await keeper.token('acme');
  assert.match(token.unsaved, /rt-2/);
  assert.ok(!/[ar]t-2/.test(shown(token) + JSON.stringify(token)), shown(token));
});

test('a document that was loaded shows no text of it', async (t) => {
  const a = await acme(t);
  const loaded = new FileStorage({ vault: a.vault }).load('vault');
  assert.match(loaded.val.text, /rt-1/);
  assert.ok(!shown(loaded).includes('rt-1'));
});

// A component gets as much memory as a call needs, and no more.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { InspectionNeeded, Keeper } from 'lazaretto';
import { instantiate } from '../dist/component.js';
import { bounded } from '../scripts/transpile.mjs';
import { acme } from './helpers.mjs';

const HEAD = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
/**
 * A module with a table and a memory that it exports; `table` is its type and limits, `memory` its
 * limits.
 */
const moduleWith = (table, memory, tables = 1) =>
  Buffer.from([
    ...HEAD,
    ...[4, 1 + tables * table.length, tables, ...Array(tables).fill(table).flat()],
    ...[5, 1 + memory.length, 1, ...memory],
    ...[7, 9, 2, 1, 0x74, 1, 0, 1, 0x6d, 2, 0],
  ]);
const FUNCTIONS = 0x70;
const exportsOf = (bytes) => new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;

test('tables and memories cannot grow beyond their limits', () => {
  const MOST = [0xff, 0xff, 0xff, 0xff, 0x0f];
  for (const bytes of [moduleWith([FUNCTIONS, 0, 1], [0, 1]), moduleWith([FUNCTIONS, 1, 1, ...MOST], [1, 1, 0x80, 0x80, 4])]) {
    const { t, m } = exportsOf(bounded(bytes));
    assert.equal(t.grow(16_383), 1);
    assert.throws(() => t.grow(1), RangeError);
    assert.equal(m.grow(6143), 1);
    assert.throws(() => m.grow(1), RangeError);
  }
  // A smaller limit stays.
  const { t, m } = exportsOf(bounded(moduleWith([FUNCTIONS, 1, 1, 3], [1, 1, 2])));
  assert.deepEqual([t.grow(2), m.grow(1)], [1, 1]);
  assert.throws(() => t.grow(1), RangeError);
  assert.throws(() => m.grow(1), RangeError);
});

test('a module that cannot be bounded is not built', () => {
  const memory = [0, 1];
  const refused = [
    [moduleWith([FUNCTIONS, 0, 1], memory, 5), /5 tables/],
    [moduleWith([FUNCTIONS, 0, 0x81, 0x80, 1], memory), /begins with 16385/],
    [moduleWith([FUNCTIONS, 4, 1], memory), /cannot be bounded/],
    [moduleWith([0x40, 0, 1], memory), /cannot be bounded/],
    [moduleWith([FUNCTIONS, 0, 1], [3, 1, 2]), /cannot be bounded/],
    [moduleWith([FUNCTIONS, 0, 1], [0, 0x81, 0x30]), /begins with 6145/],
  ];
  for (const [bytes, why] of refused) assert.throws(() => bounded(bytes), why);
});

test('what was built is bounded', () => {
  const generated = new URL('../generated/', import.meta.url);
  for (const name of readdirSync(generated).filter((name) => name.endsWith('.wasm'))) {
    const bytes = readFileSync(new URL(name, generated));
    assert.deepEqual(bounded(bytes), bytes, name);
  }
});

test('a component gets no module, and so no memory, twice', () => {
  const module = new WebAssembly.Module(bounded(moduleWith([FUNCTIONS, 0, 1], [0, 1])));
  const greedy = { instantiate: (core, imports, instantiateCore) => [1, 2].map(() => instantiateCore(core('m'), imports)) };
  assert.throws(() => instantiate(greedy, { m: module }, {}), /twice/);
});

test('a component that wants memory without end loses its thread', { timeout: 120_000 }, async (t) => {
  const a = await acme(t);
  const component = new URL('./hungry.mjs', import.meta.url);
  const hungry = await Keeper.open({ ...a.options, workers: 1, modules: { component } });
  t.after(() => hungry.close());
  const error = await hungry.token('acme').then(assert.fail, (error) => error);
  assert.ok(error instanceof InspectionNeeded && /ERR_WORKER_OUT_OF_MEMORY/.test(error.message), error);
  const keeper = await Keeper.open(a.options);
  t.after(() => keeper.close());
  assert.equal((await keeper.token('acme')).token, 'at-2');
});

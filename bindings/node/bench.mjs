// Figures of this binding, as one line of JSON.
//
//   node bench.mjs                       median µs of token() warm: the same keeper, a token that
//   is good node bench.mjs --refresh <origin>    the same, and of a refresh against a token
//   endpoint at <origin>/oauth/token, which takes any refresh token node bench.mjs --once <vault>
//   opens, takes one token, and ends: the caller measures the process

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Keeper } from 'lazaretto';

const [mode, argument] = process.argv.slice(2);
if (mode === '--once') {
  const keeper = await Keeper.open({ vault: argument });
  const { token } = await keeper.token('xai-oauth');
  console.log(token.length > 0 ? 'ok' : 'no token');
  await keeper.close();
  process.exit(0);
}

const folder = mkdtempSync(join(tmpdir(), 'lazaretto-bench-'));
const vault = join(folder, 'auth.json');
const providers = join(folder, 'providers.json');
const expires_at = new Date(Date.now() + 86_400_000).toISOString();
const login = (expires) => ({ tokens: { access_token: 'at-1', refresh_token: 'rt-1', ...expires }, last_refresh: '2020-01-01T00:00:00Z' });
writeFileSync(vault, JSON.stringify({ version: 1, providers: { 'xai-oauth': login({ expires_at }), bench: login({ expires_in: 1 }) } }));
const token_endpoint = `${mode === '--refresh' ? argument : 'http://127.0.0.1:9'}/oauth/token`;
writeFileSync(providers, JSON.stringify({ profiles: { bench: { token_endpoint, client_id: 'bench' } } }));

async function medianUs(times, act) {
  const took = [];
  for (let n = 0; n < times; n += 1) {
    const began = performance.now();
    await act();
    took.push((performance.now() - began) * 1000);
  }
  took.sort((one, other) => one - other);
  return Math.round(took[Math.floor(times / 2)]);
}

const figures = { binding: 'node', node: process.version };
for (const warmInstances of [false, true]) {
  const keeper = await Keeper.open({ vault, providers, allowLoopbackHttp: true, warmInstances });
  const token = () => keeper.token('xai-oauth');
  await medianUs(200, token);
  figures[warmInstances ? 'token_warm_instance_us' : 'token_us'] = await medianUs(1000, token);
  if (mode === '--refresh' && !warmInstances) figures.refresh_us = await medianUs(50, () => keeper.refresh('bench'));
  await keeper.close();
}
rmSync(folder, { recursive: true });
console.log(JSON.stringify(figures));

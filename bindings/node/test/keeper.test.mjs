import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { classify, ConfigurationNeeded, InspectionNeeded, Keeper, LazarettoError, LoginNeeded, RetryLater, UsageError } from 'lazaretto';
import { FileStorage } from 'lazaretto/storage';
import { originsOf } from '../dist/http/profile-origins.js';
import { acme, folder, json, read, rotate, server, writeProfiles, writeVault } from './helpers.mjs';

const FAR = new Date(Date.now() + 86_400_000).toISOString();

async function open(t, options) {
  const keeper = await Keeper.open(options);
  t.after(() => keeper.close());
  return keeper;
}

/** A token that is good is served from the file, and nothing is sent or written. */
test('a good token is served, and nothing is sent or written', async (t) => {
  const a = await acme(t);
  writeVault(a.vault, { acme: { access: 'at-good', expiresAt: FAR } });
  const before = readFileSync(a.vault);
  const keeper = await open(t, a.options);
  const { token, tokenType, origin, credential, unsaved } = await keeper.token('acme');
  assert.deepEqual([token, tokenType, origin, credential, unsaved], ['at-good', 'Bearer', 'stored', 'login', undefined]);
  assert.equal(a.requests.length, 0);
  assert.deepEqual(readFileSync(a.vault), before);
  assert.deepEqual(readdirSync(a.folder).sort(), ['auth.json', 'providers.json']);
});

/** An expired token is refreshed once, and only the values that changed are other bytes. */
test('an expired token is refreshed once, and other bytes stay', async (t) => {
  const events = [];
  const a = await acme(t);
  const before = readFileSync(a.vault, 'utf8');
  const keeper = await open(t, { ...a.options, onEvent: (event) => events.push(event) });
  const tokens = await Promise.all(Array.from({ length: 20 }, () => keeper.token('acme')));
  assert.deepEqual([...new Set(tokens.map(({ token }) => token))], ['at-2']);
  assert.equal(a.requests.length, 1);
  assert.equal(a.requests[0].form.get('refresh_token'), 'rt-1');
  assert.equal(a.requests[0].headers.connection, 'close');
  const after = readFileSync(a.vault, 'utf8');
  const [was, is] = [before, after].map((text) => text.replace(/"(access_token|refresh_token|last_refresh)": "[^"]*"/g, '"$1": _'));
  assert.equal(is, was);
  assert.equal(read(a.vault).providers.acme.tokens.refresh_token, 'rt-2');
  assert.equal(statSync(a.vault).mode & 0o7777, 0o640);
  // Everybody could read it, which is told once; the other callers find what one has stored.
  const [exposed, ...others] = events;
  assert.deepEqual([exposed.name, exposed.severity, exposed.attributes.run], ['vault-exposed', 'warning', `chmod 600 ${a.vault}`]);
  assert.equal(others[0].name, 'refreshed');
  assert.ok(others.slice(1).every(({ name }) => name === 'adopted'));
  assert.ok(!JSON.stringify(events).includes('rt-'));
  assert.ok(readdirSync(a.folder).includes('auth.lock'), "the reference's lock was taken");
  assert.ok(!readdirSync(a.folder).some((name) => name.includes('lazaretto-tmp')));
});

test('an error has the command that helps, as the embedder says it', async (t) => {
  const a = await acme(t);
  writeFileSync(a.vault, '{"providers": {}}');
  const run = async (more) => {
    const keeper = await open(t, { ...a.options, ...more });
    return keeper.token('xai-oauth').then(assert.fail, (error) => error.run);
  };
  assert.equal(await run({}), `lazaretto --vault ${a.vault} --providers ${a.options.providers} login xai-oauth`);
  assert.equal(await run({ command: 'acme auth' }), 'acme auth login xai-oauth');
  assert.equal(await run({ loginHint: 'acme login {provider}' }), 'acme login xai-oauth');
});

/** A refused refresh token is quarantined, stays out of use, and can be taken back. */
test('a refused refresh token is quarantined and can be restored', async (t) => {
  const a = await acme(t, ({ form }, response) => json(response, 400, { error: 'invalid_grant', error_description: `no ${form.get('refresh_token')}` }));
  const keeper = await open(t, a.options);
  const error = await keeper.token('acme').then(assert.fail, (error) => error);
  assert.ok(error instanceof LoginNeeded && error instanceof LazarettoError && error instanceof Error);
  assert.deepEqual([error.name, error.code, error.action, error.provider, error.credential], ['LoginNeeded', 'quarantined', 'login', 'acme', 'login']);
  assert.ok(!inspect(error).includes('rt-1'), inspect(error));
  assert.match(error.stack, /keeper\.test\.mjs/, 'the caller is in the stack');
  await assert.rejects(keeper.token('acme'), LoginNeeded);
  assert.equal(a.requests.length, 1, 'it is never sent again');
  assert.ok(!readFileSync(a.vault, 'utf8').includes('rt-1') && readFileSync(`${a.vault}.lazaretto-sealed`, 'utf8').includes('rt-1'));
  const { credentials } = await keeper.status('acme');
  assert.equal(credentials[0].state, 'quarantined');
  assert.equal(typeof credentials[0].sealedUntilMs, 'number');
  assert.equal((await keeper.unquarantine('acme')).credential, 'login');
  assert.ok(readFileSync(a.vault, 'utf8').includes('rt-1'));
});

test('every action has a class', async (t) => {
  let status = 503;
  const a = await acme(t, (_, response) => json(response, status, { error: 'temporarily_unavailable' }, { 'retry-after': '120' }));
  const keeper = await open(t, a.options);
  const later = await keeper.token('acme').then(assert.fail, (error) => error);
  assert.ok(later instanceof RetryLater, inspect(later));
  assert.ok(later.retryAfterSeconds > 0);
  await assert.rejects(keeper.token('nobody'), ConfigurationNeeded);
  await assert.rejects(keeper.token('acme', { credential: 'no-such' }), UsageError);
  await assert.rejects(keeper.token(), UsageError);
  await assert.rejects(keeper.token('acme', { minValidSeconds: -1 }), UsageError);
  await assert.rejects(keeper.report('acme', { accessToken: 'x', body: () => {} }), UsageError);
  await assert.rejects(keeper.report('acme', { accessToken: 'x', status: '401' }), UsageError);
  await assert.rejects(keeper.report('acme', { accessToken: 'x', extra: () => {} }), UsageError);
  await assert.rejects(keeper.classify({ provider: 'acme', status: 'x' }), UsageError);
  await assert.rejects(Keeper.open({ vault: 7 }), UsageError);
  await assert.rejects(Keeper.open({ vault: a.vault, workers: 0 }), UsageError);
  writeFileSync(a.vault, '{ not JSON');
  await assert.rejects(keeper.token('acme'), InspectionNeeded);
  assert.equal(readFileSync(a.vault, 'utf8'), '{ not JSON');
});

/** The other calls go through: report, reset, endUse, origins, classify. */
test('report, reset, endUse, origins and classify go through', async (t) => {
  const a = await acme(t);
  const keeper = await open(t, a.options);
  const { token } = await keeper.token('acme');
  const advice = await keeper.report('acme', { accessToken: token, status: 401, headers: new Headers({ 'content-type': 'text/plain' }), body: 'no' });
  assert.equal(advice.advice, 'use');
  assert.equal(advice.token.token, 'at-3');
  assert.equal((await keeper.refresh('acme')).token, 'at-4');
  assert.ok((await keeper.origins()).includes(a.origin));
  await assert.rejects(keeper.endUse('acme'), UsageError, 'nobody was counted');
  assert.equal((await keeper.reset('acme')).state, 'valid');
  const answer = { provider: 'acme', status: 400, headers: { 'content-type': 'application/json' }, body: '{"error":"invalid_grant"}' };
  assert.deepEqual(await keeper.classify(answer, { nowSeconds: 0 }), await classify(answer, { nowSeconds: 0 }));
});

test('the host and the component name the same origins', async (t) => {
  const path = folder(t);
  const cases = read(new URL('../../../tests/cases/origins.json', import.meta.url));
  for (const { is, providers, names = [], names_not = [] } of cases) {
    const file = join(path, `${is.replaceAll(/[^a-z]/g, '-')}.json`);
    const user = providers === null ? undefined : typeof providers === 'string' ? providers : JSON.stringify(providers);
    if (user !== undefined) writeFileSync(file, user);
    const keeper = await open(t, { vault: join(path, 'auth.json'), providers: file });
    let named;
    try {
      named = originsOf(user);
    } catch {
      await assert.rejects(keeper.origins(), LazarettoError, is);
      continue;
    }
    assert.deepEqual(named, await keeper.origins(), is);
    assert.deepEqual([names.filter((origin) => !named.includes(origin)), names_not.filter((origin) => named.includes(origin))], [[], []], is);
    await keeper.close();
  }
});

test('classify needs no keeper', async () => {
  const judgement = await classify({ provider: 'x', status: 502, headers: [['content-type', 'text/html']], body: '<html>Bad gateway</html>' });
  assert.equal(judgement.verdict, 'transient');
  assert.ok(judgement.rule && judgement.steps.length > 0);
  await assert.rejects(classify({ provider: 'x', status: 400 }, { profiles: '{' }), ConfigurationNeeded);
});

/** A provider that answers slowly delays nobody else, however many wait for it. */
test('a slow provider delays no other', async (t) => {
  const slow = await server(t, rotate({ delayMs: 1500 }));
  const path = folder(t);
  const [vault, providers] = [join(path, 'auth.json'), join(path, 'providers.json')];
  writeProfiles(providers, { slow: slow.endpoint, quick: slow.endpoint });
  writeVault(vault, { slow: {}, quick: { access: 'at-quick', refresh: 'q-1', expiresAt: FAR } });
  const keeper = await open(t, { vault, providers, allowLoopbackHttp: true });
  await keeper.token('quick');
  const slowOnes = Array.from({ length: 50 }, () => keeper.token('slow'));
  while (slow.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  const began = performance.now();
  for (let n = 0; n < 10; n += 1) assert.equal((await keeper.token('quick')).token, 'at-quick');
  assert.ok(performance.now() - began < 1000, `${performance.now() - began} ms`);
  assert.ok((await Promise.all(slowOnes)).every(({ token }) => token === 'at-2'));
  assert.equal(slow.requests.length, 1);
});

test('two processes with one expired token send one request', async (t) => {
  const a = await acme(t, rotate({ delayMs: 200 }));
  const script = `
    import { Keeper } from 'lazaretto';
    const keeper = await Keeper.open(JSON.parse(process.argv[1]));
    console.log((await keeper.token('acme')).token);
    await keeper.close();`;
  const run = () =>
    new Promise((resolve) => {
      const child = spawn(process.execPath, ['--input-type=module', '-e', script, JSON.stringify(a.options)], { cwd: import.meta.dirname ?? new URL('.', import.meta.url).pathname });
      let [out, err] = ['', ''];
      child.stdout.on('data', (chunk) => (out += chunk));
      child.stderr.on('data', (chunk) => (err += chunk));
      child.on('exit', () => resolve(out.trim() || err));
    });
  assert.deepEqual(await Promise.all([run(), run(), run()]), ['at-2', 'at-2', 'at-2']);
  assert.equal(a.requests.length, 1);
});

/** A process that is killed while it refreshes leaves nothing that blocks the next. */
test('a process killed in a refresh blocks nobody', async (t) => {
  let isKilled = false;
  const a = await acme(t, async (seen, response, n) => {
    if (n > 1) return rotate()(seen, response);
  });
  const script = `
    import { Keeper } from 'lazaretto';
    const keeper = await Keeper.open(JSON.parse(process.argv[1]));
    await keeper.token('acme');`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, JSON.stringify(a.options)], { cwd: new URL('.', import.meta.url).pathname });
  child.on('exit', () => (isKilled = true));
  while (a.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  child.kill('SIGKILL');
  while (!isKilled) await new Promise((resolve) => setTimeout(resolve, 5));
  const began = performance.now();
  const keeper = await open(t, a.options);
  assert.equal((await keeper.token('acme')).token, 'at-2', 'the same token is sent once more');
  assert.ok(performance.now() - began < 5000);
});

const PRLIMIT = '/usr/bin/prlimit';
/** A vault beyond the file size limit ends nothing and loses nothing. */
test('a vault beyond the file size limit loses nothing', { skip: !existsSync(PRLIMIT) }, async (t) => {
  let child;
  const a = await acme(t, (seen, response) => {
    // While the answer is on its way, so that nothing before it fails.
    if (child) execFileSync(PRLIMIT, ['--pid', String(child.pid), '--fsize=16384:unlimited']);
    return rotate()(seen, response);
  });
  writeFileSync(a.vault, JSON.stringify({ ...read(a.vault), notes: 'x'.repeat(65536) }));
  const script = `
    import { Keeper } from 'lazaretto';
    const keeper = await Keeper.open(JSON.parse(process.argv[1]));
    await keeper.token('acme').catch(() => {});
    await keeper.close();`;
  child = spawn(process.execPath, ['--input-type=module', '-e', script, JSON.stringify(a.options)], { cwd: new URL('.', import.meta.url).pathname });
  assert.deepEqual(await new Promise((resolve) => child.on('exit', (code, signal) => resolve([code, signal]))), [0, null]);
  child = undefined;
  assert.equal(read(a.vault).providers.acme.tokens.refresh_token, 'rt-1');
  const keeper = await open(t, a.options);
  await keeper.refresh('acme');
  assert.equal(read(a.vault).providers.acme.tokens.refresh_token, 'rt-2', 'it was sealed');
  assert.equal(a.requests.length, 1);
});

test('an aborted call stops waiting, and its refresh is stored', async (t) => {
  const a = await acme(t, rotate({ delayMs: 300 }));
  const keeper = await open(t, a.options);
  await assert.rejects(keeper.token('acme', { signal: AbortSignal.timeout(100) }), { name: 'TimeoutError' });
  await assert.rejects(keeper.token('acme', { signal: AbortSignal.abort(new Error('not now')) }), /not now/);
  await keeper.close();
  assert.equal(read(a.vault).providers.acme.tokens.refresh_token, 'rt-2');
  await assert.rejects(keeper.token('acme'), UsageError);
});

/** An idle keeper does not keep the process alive, and one that works does. */
test('only a keeper that works keeps the process alive', (t) => {
  const path = folder(t);
  writeVault(join(path, 'vault.json'), { 'xai-oauth': { access: 'at-good', expiresAt: FAR } });
  const script = `
    import { Keeper } from 'lazaretto';
    const keeper = await Keeper.open({ vault: process.argv[1] });
    keeper.token('xai-oauth').then(({ token }) => console.log(token));`;
  const out = execFileSync(process.execPath, ['--input-type=module', '-e', script, join(path, 'vault.json')], { cwd: new URL('.', import.meta.url).pathname, timeout: 10_000 });
  assert.equal(out.toString().trim(), 'at-good');
});

test('an endless loop is stopped, and its locks are free', { timeout: 60_000 }, async (t) => {
  const a = await acme(t);
  const component = new URL('./endless.mjs', import.meta.url);
  const endless = await Keeper.open({ ...a.options, workers: 1, modules: { component } });
  const began = performance.now();
  const error = await endless.token('acme').then(assert.fail, (error) => error);
  assert.ok(error instanceof InspectionNeeded && error.code === 'internal' && /10 s/.test(error.message), inspect(error));
  assert.ok(performance.now() - began < 20_000);
  const keeper = await open(t, a.options);
  assert.equal((await keeper.token('acme')).token, 'at-2');
  await endless.close();
});

/** A storage that refuses gives a typed error, and nothing is sent. */
test('a storage that refuses is a typed error', async (t) => {
  const a = await acme(t);
  const keeper = await open(t, { ...a.options, modules: { storage: new URL('./refusing-storage.mjs', import.meta.url) } });
  await assert.rejects(keeper.token('acme'), (error) => error instanceof InspectionNeeded && error.code === 'storage' && /says the test/.test(error.message));
  assert.equal(a.requests.length, 0);
});

/** An HTTP that refuses gives a typed error, and nothing is lost. */
test('an HTTP that refuses is a typed error', async (t) => {
  const a = await acme(t);
  const before = readFileSync(a.vault);
  const keeper = await open(t, { ...a.options, modules: { http: new URL('./refusing-http.mjs', import.meta.url) } });
  await assert.rejects(keeper.token('acme'), (error) => error instanceof LazarettoError && !(error instanceof LoginNeeded));
  assert.deepEqual(readFileSync(a.vault), before);
  assert.equal(a.requests.length, 0);
});

/** A successor that can be stored nowhere at first is stored when that works again. */
test('a successor is stored as soon as the storage works again', async (t) => {
  const a = await acme(t);
  const keeper = await open(t, { ...a.options, modules: { storage: new URL('./failing-storage.mjs?until=kept', import.meta.url) } });
  const token = await keeper.token('acme');
  assert.deepEqual([token.token, token.unsaved], ['at-2', undefined]);
  assert.match(token.warning, /in it now/);
  assert.equal(read(a.vault).providers.acme.tokens.refresh_token, 'rt-2');
});

/** A successor that can be stored and kept nowhere is handed to the caller. */
test('a successor that nothing keeps is handed to the caller', { timeout: 30_000 }, async (t) => {
  const a = await acme(t);
  const state = process.env.XDG_STATE_HOME;
  t.after(() => (process.env.XDG_STATE_HOME = state));
  process.env.XDG_STATE_HOME = join(a.vault, 'is-no-folder');
  const keeper = await open(t, { ...a.options, modules: { storage: new URL('./failing-storage.mjs', import.meta.url) } });
  const { token, unsaved, warning } = await keeper.token('acme');
  assert.equal(token, 'at-2');
  assert.match(warning, /saveUnsaved/);
  const other = await open(t, a.options);
  await other.saveUnsaved(unsaved);
  assert.equal(read(a.vault).providers.acme.tokens.refresh_token, 'rt-2');
});

/** No other document than the vault can be named, and the storage refuses `..` by itself. */
test('no document but the vault can be named', async (t) => {
  const a = await acme(t);
  const keeper = await open(t, a.options);
  for (const document of ['../x', '/etc/passwd', 'a/../b', 'Vault']) {
    await assert.rejects(keeper.token('acme', { document }), LazarettoError, document);
  }
  const storage = new FileStorage({ vault: a.vault });
  for (const name of ['../vault', '..', 'a/../b', '/etc/passwd', '', 'vault\n', 'VAULT']) {
    assert.throws(() => storage.load(name), { code: 'invalid-name' }, name);
    assert.throws(() => storage.store(name, '', undefined, true), { code: 'invalid-name' }, name);
  }
  assert.throws(() => storage.load('other'), { code: 'unsupported' });
});

test('nothing of a keeper shows a secret', async (t) => {
  const a = await acme(t);
  const keeper = await open(t, a.options);
  await keeper.token('acme');
  const shown = inspect(keeper, { depth: 10, showHidden: true });
  assert.ok(!/at-2|rt-1|rt-2/.test(shown), shown);
});

test('a warm instance serves what another process has written', async (t) => {
  const a = await acme(t);
  const keeper = await open(t, { ...a.options, warmInstances: true, workers: 1 });
  assert.equal((await keeper.token('acme')).token, 'at-2');
  writeVault(a.vault, { acme: { access: 'at-other', refresh: 'rt-other', expiresAt: FAR } });
  assert.equal((await keeper.token('acme')).token, 'at-other');
});

test('the native lazaretto and this one keep one vault', { skip: !process.env.LAZARETTO_BIN && 'LAZARETTO_BIN names none' }, async (t) => {
  const a = await acme(t);
  const keeper = await open(t, a.options);
  const native = (...args) =>
    new Promise((resolve) => {
      const child = spawn(process.env.LAZARETTO_BIN, ['--vault', a.vault, '--providers', a.providers, '--allow-loopback-http', ...args]);
      let out = '';
      child.stdout.on('data', (chunk) => (out += chunk));
      child.on('exit', () => resolve(out.trim()));
    });
  const [{ token }, theirs] = await Promise.all([keeper.token('acme'), native('token', 'acme')]);
  assert.deepEqual([token, theirs, a.requests.length], ['at-2', 'at-2', 1]);
});

test('a mode that lets everybody read is closed by the first store', async (t) => {
  const a = await acme(t);
  chmodSync(a.vault, 0o644);
  await (await open(t, a.options)).token('acme');
  assert.equal(statSync(a.vault).mode & 0o7777, 0o640);
  assert.ok(existsSync(`${a.vault}.lazaretto-locks`));
});

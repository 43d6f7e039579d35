// A vault in a folder of its own, and an authorization server on loopback.

import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

// What cannot be stored is kept there, and not in the state of whoever runs the tests.
process.env.XDG_STATE_HOME = mkdtempSync(join(tmpdir(), 'lazaretto-node-state-'));
process.on('exit', () => rmSync(process.env.XDG_STATE_HOME, { recursive: true, force: true }));

const EXPIRED = '2020-01-01T00:00:00Z';

/** Returns a folder that is gone when the test is over. */
export function folder(t) {
  const path = mkdtempSync(join(tmpdir(), 'lazaretto-node-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/**
 * Starts a server whose token endpoint answers as `behave` says; by default it rotates. It records
 * the requests.
 */
export async function server(t, behave = rotate()) {
  const requests = [];
  const it = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request.setEncoding('utf8')) body += chunk;
    const seen = { method: request.method, url: request.url, headers: request.headers, body, form: new URLSearchParams(body) };
    requests.push(seen);
    await behave(seen, response, requests.length);
  });
  await new Promise((resolve) => it.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    it.closeAllConnections();
    it.close();
  });
  const origin = `http://127.0.0.1:${it.address().port}`;
  return { requests, origin, endpoint: `${origin}/oauth/token` };
}

export function json(response, status, value, headers = {}) {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(value));
}

/** Takes each refresh token once, for a pair of new tokens. */
export function rotate({ expiresIn = 3600, delayMs = 0 } = {}) {
  const used = new Set();
  return async ({ form }, response) => {
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    const token = form.get('refresh_token');
    if (used.has(token)) return json(response, 400, { error: 'invalid_grant', error_description: 'reuse' });
    used.add(token);
    const n = Number(token.split('-').at(-1)) + 1;
    return json(response, 200, { access_token: `at-${n}`, refresh_token: `rt-${n}`, token_type: 'Bearer', expires_in: expiresIn });
  };
}

/** Profiles for providers at these endpoints. */
export function writeProfiles(path, endpoints) {
  const profiles = Object.fromEntries(
    Object.entries(endpoints).map(([id, endpoint]) => [id, { token_endpoint: endpoint, client_id: `${id}-client` }]),
  );
  writeFileSync(path, JSON.stringify({ profiles }));
}

/**
 * Makes a vault with a login of each provider. Unless told otherwise its access token has
 * expired.
 */
export function writeVault(path, logins) {
  const providers = Object.fromEntries(
    Object.entries(logins).map(([id, { access = 'at-1', refresh = 'rt-1', expiresAt, ...more } = {}]) => [
      id,
      {
        tokens: { access_token: access, refresh_token: refresh, ...(expiresAt ? { expires_at: expiresAt } : { expires_in: 3600 }) },
        last_refresh: EXPIRED,
        ...more,
      },
    ]),
  );
  writeFileSync(path, JSON.stringify({ version: 1, providers, unknown: { kept: [1, 2.50, 'ü'] } }, null, 2));
}

/**
 * Returns a vault with an expired login of `acme`, and a server that rotates. What opens a keeper
 * on them.
 */
export async function acme(t, behave) {
  const it = await server(t, behave);
  const path = folder(t);
  const [vault, providers] = [join(path, 'auth.json'), join(path, 'providers.json')];
  writeProfiles(providers, { acme: it.endpoint });
  writeVault(vault, { acme: {} });
  return { ...it, folder: path, vault, providers, options: { vault, providers, allowLoopbackHttp: true } };
}

export function read(path) {
  return JSON.parse(readFileSync(path, 'utf8'));
}

/** Another user than root, and a group that this user is not in. */
export const SOMEBODY = 64_242;
export const OTHERS = 64_343;

/**
 * Skips a test that this machine cannot run, and says so; where `CI` is set every test must run.
 * True: skip.
 */
function skips(t, isPossible, what) {
  if (isPossible) return false;
  if (process.env.CI === 'true') throw new Error(`this test needs ${what}`);
  t.skip(`needs ${what}`);
  return true;
}

export function skipsUnlessRoot(t) {
  return skips(t, process.platform === 'linux' && process.geteuid() === 0, 'Linux and root');
}

export function skipsUnlessMounting(t) {
  let isPossible = process.platform === 'linux';
  try {
    if (isPossible) execFileSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'none', '/mnt'], { stdio: 'ignore' });
  } catch {
    isPossible = false;
  }
  return skips(t, isPossible, 'Linux, and the right to mount in a namespace of its own (unshare -m)');
}

export function skipsUnlessLinux(t) {
  return skips(t, process.platform === 'linux', 'Linux');
}

const CALL = `
  import { Keeper } from 'lazaretto';
  const keeper = await Keeper.open(JSON.parse(process.argv[1]));
  const show = (value) => console.log(JSON.stringify(value));
  try {
    const { token, origin, warning } = await keeper.token('acme');
    show({ token, origin, warning });
  } catch ({ code, action, message }) {
    show({ code, action, message });
  }
  await keeper.close();`;

/**
 * Takes a token of `acme` in a process of its own: as another user, or with mounts of its own that
 * `mounts`, a shell program, makes. What comes back is the token or the error.
 */
export function callApart(options, { uid, mounts, env } = {}) {
  const node = [process.execPath, '--input-type=module', '-e', CALL, JSON.stringify(options)];
  const [program, ...args] = mounts === undefined ? node : ['unshare', '-m', 'sh', '-ec', `${mounts}\nexec "$@"`, 'sh', ...node];
  const as = uid === undefined ? {} : { uid, gid: uid };
  const child = spawn(program, args, { cwd: import.meta.dirname ?? new URL('.', import.meta.url).pathname, env: { ...process.env, ...env }, ...as });
  let [out, err] = ['', ''];
  child.stdout.on('data', (chunk) => (out += chunk));
  child.stderr.on('data', (chunk) => (err += chunk));
  return new Promise((resolve, reject) =>
    child.on('close', () => {
      try {
        resolve(JSON.parse(out));
      } catch {
        reject(new Error(`the call said: ${out}${err}`));
      }
    }),
  );
}

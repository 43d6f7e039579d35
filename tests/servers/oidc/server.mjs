// A real authorization server for lazaretto's tests: oidc-provider on a free loopback port.
//
// Refresh tokens rotate at every use, and a used one that comes back revokes its whole grant, as
// strict servers do. One client, no login pages: the tests get their logins from /_t/seed, or log in with a browser
// that approves everything (/_t/browse) and a hand that types user codes (/_t/approve).
//
//   npm ci && node server.mjs
//
// Environment: ACCESS_TTL   seconds an access token lives   (300)
//              CLIENT_ID    id of the one client            (lazaretto-test)
//              CLIENT_SECRET  its secret; without, it is a public client
//              CLIENT_AUTH  how it proves itself then       (client_secret_basic)
//
// Standard output is exactly one JSON line, once it listens:
//   {"ready":true,"issuer":"http://127.0.0.1:PORT","token_endpoint":"...","control":"http://127.0.0.1:PORT/_t"}
// Everything else goes to standard error, and no token goes anywhere but into an answer.
// The server ends when its standard input closes, so it dies with the test that started it.
//
// Control endpoints (JSON in, JSON out; the tests' own hand, not part of OAuth):
//   POST /_t/seed    a fresh login -> {access_token, refresh_token, token_type, expires_in, scope,
//                    client_id, token_endpoint}
//   POST /_t/approve {user_code, approve = true}: a person types a user code, and approves or refuses
//   POST /_t/browse  {url, approve = true}: a browser opens an authorization request, a person approves or refuses -> {url}: where
//                    the browser is sent when it leaves this server
//   POST /_t/revoke  {refresh_token}: the user withdraws that grant -> {revoked: bool}
//   GET  /_t/state   -> {token_requests, refresh_requests, refreshed, refused, replays,
//                    live_refresh_tokens, revoked_grants}; see `count` below for what each counts
//   POST /_t/fault   {kind, times = 1, delay_ms = 0}: the next `times` token requests go wrong:
//                      none         no fault; also ends an earlier one
//                      status-503   503 with a JSON body and no OAuth error code; not processed
//                      html-403     403 with an HTML page, as a proxy sends it; not processed
//                      drop-before  connection closed without an answer; not processed
//                      drop-after   processed (the token is rotated), then closed without an answer
//                      half-body    processed, then closed in the middle of the answer
//                      slow         processed at once, answered delay_ms later
//                      held         processed at once, answered when /_t/let-go was called
//   POST /_t/let-go  answers what is held, now and from now on
//   POST /_t/faults  {faults: [{kind, delay_ms = 0}, ...]}: the same for the requests after those, one each;
//                    an empty list ends them all
//   POST /_t/exchanges  {from = 0}: the refresh requests that were decided, from that one on, in the order of their
//                    decisions -> {exchanges: [{asker, token, processed, successor, replay, fault}]}
//                      asker        the request's user-agent
//                      token        fingerprint of the refresh token in it; successor: of the one in the answer
//                      processed    no | refreshed | refused
//                      replay       refused because the token was used before

import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { Provider } from 'oidc-provider';

const ACCESS_TTL = Number(process.env.ACCESS_TTL ?? 300);
const CLIENT_ID = process.env.CLIENT_ID ?? 'lazaretto-test';
const CLIENT_SECRET = process.env.CLIENT_SECRET;
const CLIENT_AUTH = CLIENT_SECRET ? process.env.CLIENT_AUTH ?? 'client_secret_basic' : 'none';
const SCOPE = 'openid offline_access';
const TOKEN_PATH = '/token';
const FAULTS = ['none', 'status-503', 'html-403', 'drop-before', 'drop-after', 'half-body', 'slow', 'held'];

if (!(Number.isInteger(ACCESS_TTL) && ACCESS_TTL > 0)) {
  throw new Error('ACCESS_TTL must be a positive whole number of seconds');
}

// The library writes notices with console.info; standard output belongs to the ready line.
console.info = console.error;
console.log = console.error;

// Counted on arrival, so that a request which is never answered counts too.
const count = {
  token_requests: 0, // POSTs to the token endpoint
  refresh_requests: 0, // those with grant_type=refresh_token
  refreshed: 0, // refreshes the server carried out, whether or not the answer arrived
  refused: 0, // refreshes the server refused, whatever for
  replays: 0, // those refused because the token was used before: the grant is revoked for it
};
const revokedGrants = new Set();
let fault = { kind: 'none', times: 0, delay_ms: 0 };
let faults = [];
const exchanges = [];
let letGo;
const isLetGo = new Promise((resolve) => { letGo = resolve; });

// What the server knows, in memory. The library's own memory adapter is atomic in one process too,
// but it forgets after 1000 entries, and a forgotten token would no longer be seen as a replay.
const documents = new Map(); // "Model:id" -> payload

class MemoryAdapter {
  constructor(model) {
    this.model = model;
  }

  key(id) {
    return `${this.model}:${id}`;
  }

  async upsert(id, payload) {
    documents.set(this.key(id), payload);
  }

  async find(id) {
    return documents.get(this.key(id));
  }

  async findByUid(uid) {
    return this.#findWhere((payload) => payload.uid === uid);
  }

  async findByUserCode(userCode) {
    return this.#findWhere((payload) => payload.userCode === userCode);
  }

  // Nothing but promise jobs runs between the library's look and this call, so no second request
  // comes between. Were that to change, one token would have two successors: fail loudly.
  async consume(id) {
    const payload = documents.get(this.key(id));
    if (payload.consumed) throw new Error(`${this.model} consumed twice`);
    payload.consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    documents.delete(this.key(id));
  }

  async revokeByGrantId(grantId) {
    for (const [key, payload] of documents) {
      if (payload.grantId === grantId) documents.delete(key);
    }
  }

  #findWhere(matches) {
    for (const [key, payload] of documents) {
      if (key.startsWith(`${this.model}:`) && matches(payload)) return payload;
    }
    return undefined;
  }
}

function startProvider(issuer) {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const provider = new Provider(issuer, {
    adapter: MemoryAdapter,
    clients: [{
      client_id: CLIENT_ID,
      ...(CLIENT_SECRET ? { client_secret: CLIENT_SECRET } : {}),
      token_endpoint_auth_method: CLIENT_AUTH,
      application_type: 'native',
      grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
      response_types: ['code'],
      redirect_uris: ['http://127.0.0.1/callback'],
      id_token_signed_response_alg: 'ES256',
    }],
    cookies: { keys: [randomBytes(16).toString('hex')] },
    features: { deviceFlow: { enabled: true }, devInteractions: { enabled: false }, revocation: { enabled: true } },
    interactions: { url: (ctx, interaction) => `/_t/interaction/${interaction.uid}` },
    findAccount: (ctx, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'ES256' }] },
    rotateRefreshToken: true,
    ttl: {
      AccessToken: ACCESS_TTL, Grant: 86400, IdToken: ACCESS_TTL, RefreshToken: 86400,
    },
  });

  provider.on('grant.success', (ctx) => {
    if (isRefresh(ctx)) count.refreshed += 1;
  });
  provider.on('grant.error', (ctx, error) => {
    if (isRefresh(ctx)) count.refused += 1;
    if (ctx.oidc.entities.RefreshToken?.consumed) {
      count.replays += 1;
      ctx.state.isReplay = true;
    }
    console.error(`refused: ${error.error} (${error.error_detail ?? error.error_description})`);
  });
  provider.on('grant.revoked', (ctx, grantId) => revokedGrants.add(grantId));
  provider.on('server_error', (ctx, error) => console.error(error.stack));
  provider.use(countAndFault);
  return provider;
}

function isRefresh(ctx) {
  return ctx.oidc.params?.grant_type === 'refresh_token';
}

async function countAndFault(ctx, next) {
  if (ctx.method !== 'POST' || ctx.path !== TOKEN_PATH) return next();

  // Read here, so that the request is counted whatever becomes of it; the library then takes this
  // text instead of reading the stream again.
  ctx.req.body = await text(ctx.req);
  count.token_requests += 1;
  if (new URLSearchParams(ctx.req.body).get('grant_type') === 'refresh_token') {
    count.refresh_requests += 1;
  }

  const { kind, delay_ms: delayMs } = takeFault();
  const isProcessed = !['status-503', 'html-403', 'drop-before'].includes(kind);
  if (isProcessed) await next();
  note(ctx, kind, isProcessed);
  switch (kind) {
    case 'status-503':
      ctx.status = 503;
      ctx.body = { message: 'upstream is not available' };
      return undefined;
    case 'html-403':
      ctx.status = 403;
      ctx.type = 'text/html; charset=utf-8';
      ctx.body = '<!DOCTYPE html><html><head><title>403 Forbidden</title></head>'
        + '<body><h1>Access denied</h1><p>The proxy refused this request.</p></body></html>\n';
      return undefined;
    case 'drop-before':
    case 'drop-after':
      return hangUp(ctx);
    case 'half-body':
      return answerHalf(ctx);
    case 'slow':
      return sleep(delayMs);
    case 'held':
      return isLetGo;
    default:
      return undefined;
  }
}

// Before the answer leaves, so that whoever has it finds it noted.
function note(ctx, kind, isProcessed) {
  const sent = new URLSearchParams(ctx.req.body);
  if (sent.get('grant_type') !== 'refresh_token') return;
  const isRefreshed = isProcessed && ctx.status === 200;
  let processed = 'no';
  if (isProcessed) processed = isRefreshed ? 'refreshed' : 'refused';
  exchanges.push({
    asker: ctx.get('user-agent'),
    token: fingerprint(sent.get('refresh_token') ?? ''),
    processed,
    successor: isRefreshed ? fingerprint(ctx.body.refresh_token) : null,
    replay: ctx.state.isReplay === true,
    fault: kind,
  });
}

function takeFault() {
  if (fault.times === 0) return faults.shift() ?? { kind: 'none' };
  fault.times -= 1;
  return fault;
}

function hangUp(ctx) {
  ctx.respond = false;
  ctx.req.socket.destroy();
}

function answerHalf(ctx) {
  const body = JSON.stringify(ctx.body);
  ctx.respond = false;
  ctx.res.writeHead(ctx.status, { 'content-type': 'application/json', 'content-length': body.length });
  ctx.res.write(body.slice(0, body.length / 2), () => ctx.req.socket.destroy());
}

// Somebody new, who grants all that is asked for.
async function newGrant(provider) {
  const accountId = `user-${randomBytes(6).toString('hex')}`;
  const grant = new provider.Grant({ accountId, clientId: CLIENT_ID });
  grant.addOIDCScope(SCOPE);
  return { accountId, grantId: await grant.save() };
}

async function seed(provider) {
  const client = await provider.Client.find(CLIENT_ID);
  const { accountId, grantId } = await newGrant(provider);

  const issued = {
    accountId, client, grantId, gty: 'device_code', scope: SCOPE,
  };
  const accessToken = new provider.AccessToken(issued);
  const refreshToken = new provider.RefreshToken({
    ...issued, authTime: Math.floor(Date.now() / 1000), rotations: 0,
  });
  return {
    access_token: await accessToken.save(),
    refresh_token: await refreshToken.save(),
    token_type: 'Bearer',
    expires_in: ACCESS_TTL,
    scope: SCOPE,
    client_id: CLIENT_ID,
    token_endpoint: `${provider.issuer}${TOKEN_PATH}`,
  };
}

// As the library does when the person has gone through its pages.
async function approve(provider, { user_code: userCode, approve: isApproved = true }) {
  const code = await provider.DeviceCode.findByUserCode(userCode.replace(/[^A-Z0-9]/g, ''));
  if (!code) throw new BadRequest('no such user code');
  if (isApproved) {
    Object.assign(code, await newGrant(provider), { scope: SCOPE, authTime: Math.floor(Date.now() / 1000) });
  } else {
    Object.assign(code, { error: 'access_denied', errorDescription: 'the person refused' });
  }
  await code.save();
  return {};
}

let isApproving = true;

async function interact(provider, request, response) {
  const { accountId, grantId } = await newGrant(provider);
  const result = isApproving
    ? { login: { accountId }, consent: { grantId } }
    : { error: 'access_denied', error_description: 'the person refused' };
  await provider.interactionFinished(request, response, result);
}

async function browse(provider, { url, approve: isApproved = true }) {
  isApproving = isApproved;
  const cookies = new Map();
  let at = url;
  for (let hops = 0; at.startsWith(`${provider.issuer}/`) && hops < 10; hops += 1) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const page = await fetch(at, { redirect: 'manual', headers: { cookie } });
    for (const set of page.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(set);
      cookies.set(name, value);
    }
    const location = page.headers.get('location');
    if (!location) throw new BadRequest(`the browser ends at ${page.status}: ${await page.text()}`);
    at = new URL(location, at).href;
  }
  return { url: at };
}

// As when a user withdraws the application's access: any token of the grant names it, a used one too.
async function revoke(provider, { refresh_token: value }) {
  const refreshToken = await provider.RefreshToken.find(value, { ignoreExpiration: true });
  if (!refreshToken) return { revoked: false };
  const { grantId } = refreshToken;
  await provider.RefreshToken.revokeByGrantId(grantId);
  await provider.Grant.adapter.destroy(grantId);
  revokedGrants.add(grantId);
  return { revoked: true };
}

function state() {
  const now = Date.now() / 1000;
  const live = [];
  for (const [key, payload] of documents) {
    if (payload.kind === 'RefreshToken' && !payload.consumed && payload.exp > now) {
      live.push(fingerprint(key.slice('RefreshToken:'.length)));
    }
  }
  return { ...count, live_refresh_tokens: live.sort(), revoked_grants: revokedGrants.size };
}

// lazaretto's own: SHA-256 shortened to 128 bits, in hex.
function fingerprint(token) {
  return createHash('sha256').update(token).digest('hex').slice(0, 32);
}

function setFaults({ faults: next }) {
  for (const { kind } of next) checkKind(kind);
  faults = next.length === 0 ? [] : [...faults, ...next];
  return { waiting: faults.length };
}

function checkKind(kind) {
  if (!FAULTS.includes(kind)) throw new BadRequest(`kind must be one of ${FAULTS.join(', ')}`);
}

function setFault({ kind, times = 1, delay_ms: delayMs = 0 }) {
  checkKind(kind);
  if (![times, delayMs].every((n) => Number.isInteger(n) && n >= 0)) {
    throw new BadRequest('times and delay_ms must be whole numbers');
  }
  fault = { kind, times: kind === 'none' ? 0 : times, delay_ms: delayMs };
  return { ...fault };
}

class BadRequest extends Error {}

async function control(provider, request, response) {
  const route = `${request.method} ${request.url}`;
  let status = 200;
  let answer;
  try {
    const body = JSON.parse((await text(request)) || '{}');
    switch (route) {
      case 'POST /_t/seed': answer = await seed(provider); break;
      case 'POST /_t/approve': answer = await approve(provider, body); break;
      case 'POST /_t/browse': answer = await browse(provider, body); break;
      case 'POST /_t/revoke': answer = await revoke(provider, body); break;
      case 'POST /_t/fault': answer = setFault(body); break;
      case 'POST /_t/faults': answer = setFaults(body); break;
      case 'POST /_t/let-go': letGo(); answer = {}; break;
      case 'POST /_t/exchanges': answer = { exchanges: exchanges.slice(body.from ?? 0) }; break;
      case 'GET /_t/state': answer = state(); break;
      default: throw new BadRequest('no such control endpoint');
    }
  } catch (error) {
    status = error instanceof BadRequest || error instanceof SyntaxError ? 400 : 500;
    answer = { error: error.message };
  }
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(answer)}\n`);
}

// The issuer names the port, so the port comes first.
const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = startProvider(issuer);
  const answerOAuth = provider.callback();
  server.on('request', (request, response) => {
    if (request.url.startsWith('/_t/interaction/')) interact(provider, request, response);
    else if (request.url.startsWith('/_t/')) control(provider, request, response);
    else answerOAuth(request, response);
  });

  const ready = {
    ready: true, issuer, token_endpoint: `${issuer}${TOKEN_PATH}`, control: `${issuer}/_t`,
  };
  process.stdout.write(`${JSON.stringify(ready)}\n`);
});

process.stdin.on('close', () => process.exit(0));
process.stdin.resume();

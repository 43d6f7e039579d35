// One request is one attempt: it leaves once, on a connection of its own, after everything that can
// fail harmlessly, and nothing of it leaves after the deadline. What has arrived by then is read to
// its end: the deadline bounds what leaves.
//
// Why not `fetch`. It keeps connections and takes them again; it sends a request anew if a kept
// connection breaks under it; it follows redirects unless told not to; a program can put a retrying
// agent under it for all its callers; and its errors do not say whether the request left. A refresh
// token may be single use, so every one of these can cost a login. Here the connection is opened
// first, and TLS agreed on, by ourselves: until then `sent` is certainly `no`. Only then is the
// request handed to Node's HTTP/1.1 client, with that socket and no agent, and it never asks for
// another.
//
// **Given up for certain.** A socket closed in the usual way goes on retransmitting what it holds,
// minutes after its process is gone. Ours is set to reset instead (SO_LINGER 0) until a whole
// answer is in; where that cannot be set, it is reset at the deadline.

import { lookup } from 'node:dns';
import { readFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { createRequire } from 'node:module';
import { connect, isIP, type Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { readBody } from './body.js';
import { CAP_BYTES, notSent, type HttpOutcome, type HttpRequest, type HttpResponse } from './contract.js';
import { authorityOf, isLoopback, isLoopbackAddress, spellOrigin, type Target } from './origin.js';

/** Headers that say how a message is carried. They are the host's. */
const RESERVED = [
  'connection', 'content-length', 'cookie', 'expect', 'host', 'keep-alive', 'proxy-authorization', 'te', 'trailer',
  'transfer-encoding', 'upgrade',
];
/** The longest deadline; longer ones overflow timers. */
const LONGEST_MS = 24 * 60 * 60 * 1000;
/**
 * At the deadline, how many turns of the event loop without a byte show that the kernel holds no
 * more, and the most that is read.
 */
const QUIET_TURNS = 3;
const MOST_LATE_BYTES = 4 * CAP_BYTES;

/** How far a request got. */
type Phase = 'resolving' | 'connecting' | 'negotiating' | 'sent';

const DOING: Record<Phase, string> = {
  resolving: 'looking up the name',
  connecting: 'connecting',
  negotiating: 'negotiating with the proxy or about TLS',
  sent: 'waiting for the answer',
};

class Failed extends Error {
  readonly kind: string;
  constructor(kind: string, message: string) {
    super(message);
    this.kind = kind;
  }
}

/**
 * Sends a checked request to its target, and waits for the answer until `untilMs` on the clock of
 * `performance.now()`.
 */
export async function attempt(request: HttpRequest, target: Target, untilMs: number): Promise<HttpOutcome> {
  const { origin } = target;
  let headers: string[];
  let proxy: Proxy | undefined;
  try {
    headers = prepare(request, target);
    proxy = proxyFor(target);
  } catch (error) {
    if (error instanceof Failed) return notSent(error.kind, error.message);
    throw error;
  }
  const exchange = new Exchange(Math.min(untilMs, performance.now() + LONGEST_MS));
  try {
    const socket = await exchange.connect(target, proxy);
    const response = await exchange.send(socket, request.method, target.pathAndQuery, headers, request.body);
    return { response: await exchange.receive(response) };
  } catch (error) {
    const via = proxy ? ` through the proxy ${proxy.host}:${proxy.port}` : '';
    const { kind, message } = explain(error, exchange.phase, request.deadlineMs, origin.tls);
    return {
      failure: { kind, sent: exchange.phase === 'sent' ? 'maybe' : 'no', message: `${spellOrigin(origin)}${via}: ${message}` },
    };
  } finally {
    exchange.end();
  }
}

/** Its deadline, and how far it got. */
class Exchange {
  phase: Phase = 'resolving';
  readonly #untilMs: number;
  readonly #timer: NodeJS.Timeout;
  #socket: Socket | undefined;
  #over = false;
  #hasEnded = false;
  #isResetWhenClosed = false;
  #isAnswered = false;
  #giveUp: ((error: Failed) => void) | undefined;
  readonly #deadline: Promise<never>;

  constructor(untilMs: number) {
    this.#untilMs = untilMs;
    this.#deadline = new Promise((_, reject) => {
      this.#giveUp = reject;
    });
    // Somebody may not be waiting at the time.
    this.#deadline.catch(() => {});
    this.#timer = setTimeout(() => this.#pass(), Math.max(0, untilMs - performance.now()));
  }

  #pass(): void {
    if (this.phase === 'sent' && !holdsUnsent(this.#socket)) void this.#readWhatIsThere();
    else this.#giveUpNow();
  }

  /**
   * Timers run before sockets are read: where the process was stopped meanwhile (SIGSTOP, a paused
   * container, a debugger), an answer that came in time still lies in the kernel. Nothing of the
   * request waits to leave.
   */
  async #readWhatIsThere(): Promise<void> {
    const before = this.#socket?.bytesRead ?? 0;
    let [read, quiet] = [before, 0];
    while (quiet < QUIET_TURNS && read - before <= MOST_LATE_BYTES) {
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#hasEnded) return;
      const now = this.#socket?.bytesRead ?? read;
      quiet = now === read ? quiet + 1 : 0;
      read = now;
    }
    this.#giveUpNow();
  }

  #giveUpNow(): void {
    this.#over = true;
    this.#reset();
    this.#giveUp?.(new Failed('timeout', ''));
  }

  #leftMs(): number {
    return this.#untilMs - performance.now();
  }

  /** What is queued on the socket is thrown away, here and in the kernel. */
  #reset(): void {
    const socket = this.#socket;
    if (!socket || socket.destroyed) return;
    socket.on('error', () => {});
    // A socket that is being shut down already cannot be reset in this way: Node would wait for it
    // without end.
    if (this.#isResetWhenClosed || this.#isAnswered || socket.writableEnded) socket.destroy();
    else socket.resetAndDestroy();
  }

  end(): void {
    this.#hasEnded = true;
    clearTimeout(this.#timer);
    this.#reset();
  }

  /** Opens the one connection, TLS and all. Not one byte of the request leaves. */
  async connect(target: Target, proxy: Proxy | undefined): Promise<Socket> {
    const { origin } = target;
    const peer = proxy ?? { host: origin.host, port: origin.port };
    const addresses = await this.#race(resolve(peer.host));
    if (!origin.tls && !addresses.every(isLoopbackAddress)) {
      throw new Failed('not-allowed', 'localhost does not resolve to loopback here');
    }
    this.phase = 'connecting';
    const socket = await this.#firstThatConnects(addresses.slice(0, 16), peer.port);
    this.#isResetWhenClosed = resetWhenClosed(socket, true);
    socket.setNoDelay(true);
    this.phase = 'negotiating';
    if (proxy) await this.#race(tunnel(socket, target, proxy));
    if (!origin.tls) return socket;
    const secure = tlsConnect({
      socket,
      ...(origin.isName ? { servername: origin.host } : {}),
      host: origin.host,
      ALPNProtocols: ['http/1.1'],
      ca: authorities(),
    });
    await this.#race(once(secure, 'secureConnect'));
    return secure;
  }

  /** Not one byte of the request has left yet, so each address may be tried. */
  async #firstThatConnects(addresses: string[], port: number): Promise<Socket> {
    let last: unknown = new Failed('dns', 'the name has no address');
    for (const [tried, host] of addresses.entries()) {
      // An address that swallows packets must not eat up the time of those behind it.
      const shareMs = tried + 1 === addresses.length ? this.#leftMs() : this.#leftMs() / 2;
      const socket = connect({ host, port });
      this.#socket = socket;
      const timer = setTimeout(() => socket.destroy(new Failed('timeout', '')), Math.max(1, shareMs));
      try {
        await this.#race(once(socket, 'connect'));
        return socket;
      } catch (error) {
        socket.destroy();
        if (this.#over) throw error;
        last = error;
      } finally {
        clearTimeout(timer);
      }
    }
    throw last;
  }

  /** Hands the request over. Until the answer's head is in. */
  async send(socket: Socket, method: string, path: string, headers: string[], body: string): Promise<IncomingMessage> {
    if (this.#over || this.#leftMs() <= 0) throw new Failed('timeout', '');
    if (socket.destroyed) throw new Failed('reset', 'the connection ended before anything was sent');
    let isTaken = false;
    const client = httpRequest({
      // Without `agent`, and only so, this is where the client takes its connection from: with
      // `agent: false` it would dial by itself.
      createConnection: () => {
        if (isTaken) throw new Failed('other', 'a second connection was asked for');
        isTaken = true;
        return socket;
      },
      method,
      path,
      headers,
      setHost: false,
      // Headers we drop must still fit to be parsed.
      maxHeaderSize: 2 * CAP_BYTES,
    });
    const answer = new Promise<IncomingMessage>((resolve, reject) => {
      client.on('response', resolve);
      client.on('upgrade', () => reject(new Failed('protocol', 'the server switched protocols')));
      client.on('error', reject);
      client.on('close', () => reject(new Failed('reset', 'the connection ended before an answer came')));
    });
    answer.catch(() => {});
    this.phase = 'sent';
    client.end(body);
    return this.#race(answer);
  }

  /**
   * Returns the answer as far as it came. Nothing that happens after the status line makes it a
   * failure.
   */
  async receive(message: IncomingMessage): Promise<HttpResponse> {
    const rawHeaders: [string, string][] = [];
    for (let at = 0; at + 1 < message.rawHeaders.length; at += 2) {
      const value = Buffer.from(message.rawHeaders[at + 1] ?? '', 'latin1').toString('utf8');
      rawHeaders.push([(message.rawHeaders[at] ?? '').toLowerCase(), value]);
    }
    const headers: { name: string; value: string }[] = [];
    let room = CAP_BYTES;
    for (const [name, value] of rawHeaders) {
      room -= name.length + Buffer.byteLength(value);
      if (room < 0) break;
      headers.push({ name, value });
    }
    const codings = rawHeaders
      .filter(([name]) => name === 'content-encoding')
      .flatMap(([, value]) => value.toLowerCase().split(','))
      .map((coding) => coding.trim())
      .filter((coding) => coding !== '' && coding !== 'identity');
    const { bytes, ended } = await this.#readBytes(message);
    if (ended && this.#socket) {
      this.#isAnswered = true;
      resetWhenClosed(this.#socket, false);
    }
    const body = await readBody(bytes, ended, codings);
    return {
      status: message.statusCode ?? 0,
      headers: body.isCoded ? headers : headers.filter(({ name }) => name !== 'content-encoding'),
      body: body.text,
      bodyComplete: body.isComplete,
      bodyLossy: body.isLossy,
    };
  }

  /** Returns at most {@link CAP_BYTES}, and whether that is where the body ended. */
  #readBytes(message: IncomingMessage): Promise<{ bytes: Buffer; ended: boolean }> {
    return new Promise((resolve) => {
      const chunks: Buffer[] = [];
      let length = 0;
      const done = (ended: boolean) => resolve({ bytes: Buffer.concat(chunks), ended });
      message.on('data', (chunk: Buffer) => {
        const fits = chunk.subarray(0, CAP_BYTES - length);
        chunks.push(fits);
        length += fits.length;
        if (fits.length < chunk.length) done(false);
      });
      message.on('end', () => done(true));
      message.on('error', () => done(false));
      message.on('aborted', () => done(false));
      message.on('close', () => {
        if (!message.complete) done(false);
      });
      this.#deadline.catch(() => done(false));
    });
  }

  #race<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#deadline]);
  }
}

/** Returns the request's headers as they will stand on the wire: names and values in turn. */
function prepare(request: HttpRequest, target: Target): string[] {
  const unsupported = (message: string) => new Failed('unsupported', message);
  if (request.method === 'GET' && request.body !== '') throw unsupported('a GET request has no body; use POST');
  if (request.method !== 'GET' && request.method !== 'POST') throw unsupported('the method is neither POST nor GET');
  const headers = ['host', authorityOf(target.origin)];
  let hasAgent = false;
  for (const [index, { name, value }] of request.headers.entries()) {
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) throw unsupported(`the name of header ${index + 1} is not one`);
    const lower = name.toLowerCase();
    if (RESERVED.includes(lower)) throw unsupported(`the header ${lower} is the host's to set; leave it out`);
    if (!/^[\t\x20-\x7e]*$/.test(value) || value.includes('\n')) {
      throw unsupported(`the value of the header ${lower} holds a control character or one outside ASCII`);
    }
    if (lower === 'accept-encoding') continue;
    hasAgent ||= lower === 'user-agent';
    headers.push(lower, value);
  }
  if (!hasAgent) headers.push('user-agent', 'lazaretto/0.1.0');
  headers.push('accept-encoding', 'identity', 'connection', 'close');
  if (request.method === 'POST') headers.push('content-length', String(Buffer.byteLength(request.body)));
  return headers;
}

/** Returns all addresses of a name, which may be one already. */
function resolve(host: string): Promise<string[]> {
  if (isIP(host)) return Promise.resolve([host]);
  return new Promise((resolve, reject) => {
    lookup(host, { all: true }, (error, found) => {
      if (error) reject(new Failed('dns', error.code === 'ENOTFOUND' ? 'the name has no address' : `the name cannot be looked up (${error.code})`));
      else resolve(found.map(({ address }) => address));
    });
  });
}

function once(socket: Socket, event: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once(event, () => resolve());
    socket.on('error', reject);
    socket.once('close', () => reject(new Failed('reset', 'the connection ended before anything was sent')));
  });
}

/** A proxy on the way, which is told the target's host and port and no more. */
interface Proxy {
  host: string;
  port: number;
  authorization: string | undefined;
}

/** Https goes through the proxy that the environment names, as curl has it; loopback never does. */
function proxyFor(target: Target): Proxy | undefined {
  const { origin } = target;
  if (isLoopback(origin)) return undefined;
  const names = ['ALL_PROXY', 'all_proxy', 'HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy'];
  const spelled = names.map((name) => process.env[name]?.trim()).find(Boolean);
  if (!spelled || isNoProxy(origin.host)) return undefined;
  let url: URL;
  try {
    url = new URL(spelled.includes('://') ? spelled : `http://${spelled}`);
  } catch {
    throw new Failed('unsupported', `${spellOrigin(origin)}: the proxy that the environment names is no URL`);
  }
  const port = url.port ? Number(url.port) : 80;
  if (url.protocol !== 'http:') {
    throw new Failed(
      'unsupported',
      `${spellOrigin(origin)}: the environment asks for the ${url.protocol.slice(0, -1)} proxy ${url.hostname}:${port}, and only http ` +
        'proxies work here. Set HTTPS_PROXY=http://... and unset ALL_PROXY, or add the host to NO_PROXY',
    );
  }
  const user = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  const authorization = user === ':' ? undefined : `Basic ${Buffer.from(user).toString('base64')}`;
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port, authorization };
}

function isNoProxy(host: string): boolean {
  const entries = (process.env.NO_PROXY ?? process.env.no_proxy ?? '').toLowerCase().split(',').map((entry) => entry.trim());
  return entries.some((entry) => {
    const domain = entry.replace(/^\*?\./, '');
    return entry === '*' || (domain !== '' && (host === domain || (entry !== domain && host.endsWith(`.${domain}`))));
  });
}

/**
 * Asks a proxy for a tunnel to the target. Exactly its answer's head is read: what follows is the
 * target's.
 */
function tunnel(socket: Socket, { origin }: Target, proxy: Proxy): Promise<void> {
  const peer = `${origin.host.includes(':') ? `[${origin.host}]` : origin.host}:${origin.port}`;
  const authorization = proxy.authorization ? `Proxy-Authorization: ${proxy.authorization}\r\n` : '';
  socket.write(`CONNECT ${peer} HTTP/1.1\r\nHost: ${peer}\r\n${authorization}\r\n`);
  return new Promise((resolve, reject) => {
    let head = Buffer.alloc(0);
    const read = () => {
      for (let byte = socket.read(1) as Buffer | null; byte; byte = socket.read(1) as Buffer | null) {
        head = Buffer.concat([head, byte]);
        if (head.length > 16 * 1024) return reject(new Failed('connect', "the proxy's answer is not HTTP"));
        if (!head.toString('latin1').endsWith('\r\n\r\n')) continue;
        socket.off('readable', read);
        if (/^HTTP\/1\.[01] 200/.test(head.toString('latin1'))) return resolve();
        return reject(new Failed('connect', 'the proxy refused to connect'));
      }
    };
    socket.on('readable', read);
    socket.once('error', reject);
    socket.once('close', () => reject(new Failed('connect', 'the proxy refused to connect')));
  });
}

let trusted: { path: string; pem: string } | undefined;

/**
 * Returns the certificate authorities to trust *instead of* those that Node has built in, if the
 * environment names a bundle.
 */
function authorities(): string | undefined {
  const path = process.env.SSL_CERT_FILE;
  if (!path) return undefined;
  try {
    if (trusted?.path !== path) trusted = { path, pem: readFileSync(path, 'utf8') };
    return trusted.pem;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unreadable';
    throw new Failed(
      'tls',
      `SSL_CERT_FILE names ${path}, which cannot be used: ${code}. Correct it, or unset it to trust the certificate authorities of Node`,
    );
  }
}

/**
 * Names a failure by what went wrong and how far the request had got. Never quotes what could quote
 * the request.
 */
function explain(error: unknown, phase: Phase, deadlineMs: number, tls: boolean): { kind: string; message: string } {
  if (error instanceof Failed) {
    if (error.kind === 'timeout') return { kind: 'timeout', message: `${deadlineMs} ms passed while ${DOING[phase]}` };
    return { kind: error.kind, message: error.message };
  }
  const code = (error as NodeJS.ErrnoException | undefined)?.code ?? '';
  const isSystem = /^E[A-Z0-9]+$/.test(code);
  if (phase === 'resolving') return { kind: 'dns', message: `the name cannot be looked up (${code})` };
  if (phase === 'connecting') return { kind: 'connect', message: `the connection was not made (${code || 'no reason was given'})` };
  if (['ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ENOTCONN'].includes(code)) {
    const message =
      phase === 'sent'
        ? 'the connection ended before an answer came'
        : 'the connection ended before anything was sent, while TLS was agreed on';
    return { kind: 'reset', message };
  }
  if (code.startsWith('HPE_')) return { kind: 'protocol', message: 'the answer is not HTTP/1.1 as it should be' };
  if (tls && (phase === 'negotiating' || code.startsWith('ERR_SSL_') || code.startsWith('ERR_TLS_'))) {
    const advice = /ISSUER|SELF_SIGNED|UNABLE_TO_VERIFY/.test(code)
      ? '. If your network has a certificate authority of its own, name its PEM bundle in SSL_CERT_FILE'
      : '';
    return { kind: 'tls', message: `TLS was not agreed on (${code || 'no reason was given'})${advice}` };
  }
  return { kind: 'other', message: isSystem ? `the connection failed (${code})` : 'the HTTP client failed' };
}

/** Returns whether there is something that the kernel has not taken yet. */
function holdsUnsent(socket: Socket | undefined): boolean {
  const handle = (socket as unknown as { _handle?: { writeQueueSize?: number } } | undefined)?._handle;
  return (handle?.writeQueueSize ?? 0) > 0;
}

type SetLinger = (fd: number, on: boolean) => boolean;
let setLinger: SetLinger | undefined;

/**
 * Returns whether closing the socket, or the end of the process, throws away what it holds
 * (SO_LINGER with no time).
 */
function resetWhenClosed(socket: Socket, on: boolean): boolean {
  const fd = (socket as unknown as { _handle?: { fd?: number } })._handle?.fd;
  if (typeof fd !== 'number' || fd < 0) return false;
  try {
    setLinger ??= loadSetLinger();
    return setLinger(fd, on);
  } catch {
    // At the deadline it is reset all the same.
    return false;
  }
}

function loadSetLinger(): SetLinger {
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi').default;
  const setsockopt = koffi.load(null).func('int setsockopt(int fd, int level, int name, const void *value, uint32_t length)');
  const [level, name] = process.platform === 'linux' || process.platform === 'android' ? [1, 13] : [0xffff, 0x80];
  return (fd, on) => {
    const value = Buffer.from(new Int32Array([on ? 1 : 0, 0]).buffer);
    return setsockopt(fd, level, name, value, value.length) === 0;
  };
}

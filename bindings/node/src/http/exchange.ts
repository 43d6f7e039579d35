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

import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { readBody } from './body.js';
import { CAP_BYTES, notSent, type HttpOutcome, type HttpRequest, type HttpResponse, type Reach } from './contract.js';
import { explain, Failed, type Phase } from './failures.js';
import { holdsUnsent, resetWhenClosed } from './linger.js';
import { spellOrigin, type Target } from './origin.js';
import { proxyFor, tunnel, type Proxy } from './proxy.js';
import { headersOf } from './request-headers.js';
import { addressesOf } from './resolve.js';
import { authorities } from './trust.js';

/** The longest deadline; longer ones overflow timers. */
const LONGEST_MS = 24 * 60 * 60 * 1000;
/**
 * At the deadline, how many turns of the event loop without a byte show that the kernel holds no
 * more, and the most that is read.
 */
const QUIET_TURNS = 3;
const MOST_LATE_BYTES = 4 * CAP_BYTES;

/**
 * Sends a checked request to its target, and waits for the answer until `untilMs` on the clock of
 * `performance.now()`.
 */
export async function attempt(request: HttpRequest, target: Target, untilMs: number): Promise<HttpOutcome> {
  const { origin } = target;
  let headers: string[];
  let proxy: Proxy | undefined;
  try {
    headers = headersOf(request, target);
    proxy = proxyFor(target);
    if (proxy && request.reach === 'public') {
      throw new Failed(
        'unsupported',
        `${spellOrigin(origin)}: behind a proxy nobody here can tell whether the address is public. Add the host to NO_PROXY`,
      );
    }
  } catch (error) {
    if (error instanceof Failed) return notSent(error.kind, error.message);
    throw error;
  }
  const exchange = new Exchange(Math.min(untilMs, performance.now() + LONGEST_MS));
  try {
    const socket = await exchange.connect(target, proxy, request.reach ?? 'any');
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
  async connect(target: Target, proxy: Proxy | undefined, reach: Reach): Promise<Socket> {
    const { origin } = target;
    const peer = proxy ?? { host: origin.host, port: origin.port };
    const addresses = await this.#race(addressesOf(peer.host, origin, reach));
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

function once(socket: Socket, event: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once(event, () => resolve());
    socket.on('error', reject);
    socket.once('close', () => reject(new Failed('reset', 'the connection ended before anything was sent')));
  });
}

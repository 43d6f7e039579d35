// A URL or an origin is either read the one way every parser reads it, or refused; and only an
// origin on the list is sent to. The list is parsed once and never widened.

import { isIPv6 } from 'node:net';
import type { FailureKind } from './contract.js';

/** Scheme, host and port. */
export interface Origin {
  tls: boolean;
  /** A name in lower case, an IPv4 address, or an IPv6 address without brackets. */
  host: string;
  port: number;
  isName: boolean;
}

/** An allowed URL in parts: what is dialled comes from the same parse that was checked. */
export interface Target {
  origin: Origin;
  /** Begins with `/`. */
  pathAndQuery: string;
}

/** What is wrong with a URL. */
export class Malformed extends Error {
  /** The `kind` of the failure this becomes. */
  readonly kind: FailureKind;

  constructor(message: string, kind: FailureKind = 'unsupported') {
    super(message);
    this.kind = kind;
  }
}

/** `https://host:port`, always with its port. */
export function spellOrigin({ tls, host, port }: Origin): string {
  return `${tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Returns what stands in the Host header: without a default port. */
export function authorityOf({ tls, host, port }: Origin): string {
  const shown = host.includes(':') ? `[${host}]` : host;
  return port === defaultPort(tls) ? shown : `${shown}:${port}`;
}

/**
 * 127.0.0.0/8, ::1 or `localhost`. What `localhost` stands for is looked at when it is resolved.
 */
export function isLoopback(origin: Origin): boolean {
  return origin.isName ? origin.host === 'localhost' : isLoopbackAddress(origin.host);
}

export function isLoopbackAddress(address: string): boolean {
  return /^127\./.test(address) || address === '::1' || /^::ffff:127\./i.test(address);
}

export function parseUrl(url: string): Target {
  if (!/^[\x21-\x5b\x5d-\x7e]*$/.test(url) || url.includes('\n')) {
    throw new Malformed('it holds a space, a control character, a backslash or a character outside ASCII; percent-encode it');
  }
  if (url.includes('#')) throw new Malformed('it has a fragment after a #; leave that out');
  const found = /^(https?):\/\/([^/?]*)(.*)$/i.exec(url);
  if (!found) throw new Malformed('it does not begin with https://');
  const [, scheme = '', authority = '', rest = ''] = found;
  const tls = scheme.toLowerCase() === 'https';
  if (authority.includes('@')) {
    throw new Malformed('it names a user before an @; leave that out, credentials do not go into URLs');
  }
  const split = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(authority);
  if (!split) throw badHost();
  const port = split[2] === undefined ? defaultPort(tls) : parsePort(split[2]);
  const origin = { tls, port, ...parseHost(split[1] ?? '') };
  if (!tls && !isLoopback(origin)) {
    const message = `plain http is only for loopback (127.0.0.0/8, ::1, localhost); use https://${origin.host}`;
    throw new Malformed(message, 'not-allowed');
  }
  return { origin, pathAndQuery: rest.startsWith('/') ? rest : `/${rest}` };
}

function parsePort(port: string): number {
  const number = /^[0-9]{1,5}$/.test(port) ? Number(port) : 0;
  if (number < 1 || number > 65535) throw new Malformed('its port is not a number from 1 to 65535');
  return number;
}

function parseHost(host: string): { host: string; isName: boolean } {
  if (host.startsWith('[')) {
    const address = host.slice(1, -1);
    if (!host.endsWith(']') || !isIPv6(address) || address.includes('%')) throw badHost();
    // Spelled the one way, so that two spellings of one address are one origin.
    return { host: new URL(`http://[${address}]`).hostname.slice(1, -1), isName: false };
  }
  const labels = host.split('.');
  if (host.length > 253 || !labels.every((label) => /^[a-z0-9_-]{1,63}$/i.test(label))) throw badHost();
  // WHATWG URL, "ends in a number": such a host is an IPv4 address, which resolvers also read in
  // octal, in hex and with parts left out.
  if (/^([0-9]+|0x[0-9a-f]*)$/i.test(labels.at(-1) ?? '')) {
    const isPlain = labels.length === 4 && labels.every((part) => /^(0|[1-9][0-9]{0,2})$/.test(part) && Number(part) < 256);
    if (!isPlain) throw badHost();
    return { host, isName: false };
  }
  return { host: host.toLowerCase(), isName: true };
}

function badHost(): Malformed {
  return new Malformed('its host is neither a name like auth.example.com nor an address like 192.0.2.7 or [2001:db8::7]');
}

function defaultPort(tls: boolean): number {
  return tls ? 443 : 80;
}

/** The origins that may be sent to. */
export class AllowList {
  readonly #origins: Set<string>;
  readonly #allowLoopbackHttp: boolean;

  /**
   * An entry that is no origin is an error; a loopback http one is refused only when it is sent to,
   * so that one such profile does not stop the others.
   */
  constructor(origins: Iterable<string>, allowLoopbackHttp: boolean) {
    this.#allowLoopbackHttp = allowLoopbackHttp;
    this.#origins = new Set();
    for (const entry of origins) {
      const { origin, pathAndQuery } = parseUrl(entry);
      if (pathAndQuery !== '/') throw new Malformed('an origin has no path and no query');
      this.#origins.add(spellOrigin(origin));
    }
  }

  /** Returns the parts of an allowed URL. */
  target(url: string): Target {
    let target: Target;
    try {
      target = parseUrl(url);
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      throw new Malformed(`nothing is sent to this URL: ${error.message}`, error.kind);
    }
    const origin = spellOrigin(target.origin);
    if (!target.origin.tls && !this.#allowLoopbackHttp) {
      const message = `nothing is sent to ${origin}: http without TLS must be asked for. For a server on this machine set allowLoopbackHttp`;
      throw new Malformed(message, 'not-allowed');
    }
    if (!this.#origins.has(origin)) {
      throw new Malformed(
        `nothing is sent to ${origin}: it is not on the allow-list, which holds ${[...this.#origins].join(', ') || 'nothing'}. To ` +
          `allow it, give a profile an endpoint on ${origin} in the providers file and open the keeper again; the list is never ` +
          'widened while a keeper is open',
        'not-allowed',
      );
    }
    return target;
  }
}

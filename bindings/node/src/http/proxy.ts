// Https goes through the proxy that the environment names, by CONNECT; loopback never does.

import type { Socket } from 'node:net';
import { Failed } from './failures.js';
import { isLoopback, spellOrigin, type Target } from './origin.js';

/** A proxy on the way, which is told the target's host and port and no more. */
export interface Proxy {
  host: string;
  port: number;
  authorization: string | undefined;
}

/** Https goes through the proxy that the environment names, as curl has it; loopback never does. */
export function proxyFor(target: Target): Proxy | undefined {
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
export function tunnel(socket: Socket, { origin }: Target, proxy: Proxy): Promise<void> {
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

// The host alone says how a message is carried, and asks for no coding.

import type { HttpRequest } from './contract.js';
import { Failed } from './failures.js';
import { authorityOf, type Target } from './origin.js';

/** Headers that say how a message is carried. They are the host's. */
const RESERVED = [
  'connection', 'content-length', 'cookie', 'expect', 'host', 'keep-alive', 'proxy-authorization', 'te', 'trailer',
  'transfer-encoding', 'upgrade',
];

/** Returns the request's headers as they will stand on the wire: names and values in turn. */
export function headersOf(request: HttpRequest, target: Target): string[] {
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

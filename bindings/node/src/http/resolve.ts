// A name is looked up once, and what was checked of its addresses is what is connected to.

import dns from 'node:dns';
import { isIP } from 'node:net';
import type { Reach } from './contract.js';
import { Failed } from './failures.js';
import { isLoopbackAddress, type Origin } from './origin.js';
import { isPublicAddress } from './public-address.js';

/**
 * Returns the addresses of `host`, the peer on the way to `origin`. Fails if `reach` or the missing
 * TLS forbids one of them.
 */
export async function addressesOf(host: string, origin: Origin, reach: Reach): Promise<string[]> {
  const addresses = await lookUp(host);
  if (!origin.tls && !addresses.every(isLoopbackAddress)) {
    throw new Failed('not-allowed', 'localhost does not resolve to loopback here');
  }
  if (reach === 'public' && !addresses.every(isPublicAddress)) {
    // The address is not told: a server that is probed would learn of this network.
    throw new Failed('not-allowed', 'its address is not a public one');
  }
  return addresses;
}

/** Returns all addresses of a name, which may be an address already. */
function lookUp(host: string): Promise<string[]> {
  if (isIP(host)) return Promise.resolve([host]);
  return new Promise((resolve, reject) => {
    dns.lookup(host, { all: true }, (error, found) => {
      if (error) reject(new Failed('dns', error.code === 'ENOTFOUND' ? 'the name has no address' : `the name cannot be looked up (${error.code})`));
      else resolve(found.map(({ address }) => address));
    });
  });
}

// An address is public only if everybody on the internet would reach the same machine by it: none
// that is private, loopback, link-local, shared, multicast or reserved, nor one of those inside IPv6.

import { BlockList, isIPv4, isIPv6 } from 'node:net';

// The IANA registries of special-purpose addresses (RFC 6890 and its updates), 2026-11.
const NOT_PUBLIC_V4 = networks('ipv4', [
  '0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12', '192.0.0.0/24', '192.0.2.0/24',
  '192.88.99.0/24', '192.168.0.0/16', '198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24', '224.0.0.0/3',
]);
const GLOBAL_V6 = networks('ipv6', ['2000::/3']);
const NOT_PUBLIC_V6 = networks('ipv6', ['2001::/23', '2001:db8::/32', '3fff::/20']);

/** Where an IPv4 address lies in an IPv6 one: the groups before it, and the first of its two groups. */
const AROUND_V4: [prefix: number[], group: number][] = [
  [[0, 0, 0, 0, 0, 0xffff], 6],
  [[0x64, 0xff9b, 0, 0, 0, 0], 6],
  [[0x2002], 1],
];

function networks(family: 'ipv4' | 'ipv6', texts: string[]): BlockList {
  const list = new BlockList();
  for (const text of texts) {
    const [address = '', bits] = text.split('/');
    list.addSubnet(address, Number(bits), family);
  }
  return list;
}

/** Returns whether an address is public. What is no address is not. */
export function isPublicAddress(text: string): boolean {
  if (isIPv4(text)) return !NOT_PUBLIC_V4.check(text, 'ipv4');
  // An address with a zone is link-local.
  if (text.includes('%') || !isIPv6(text)) return false;
  const groups = groupsOf(text);
  for (const [prefix, at] of AROUND_V4) {
    if (!prefix.every((group, index) => groups[index] === group)) continue;
    const [high = 0, low = 0] = groups.slice(at);
    return isPublicAddress([high >> 8, high & 0xff, low >> 8, low & 0xff].join('.'));
  }
  return GLOBAL_V6.check(text, 'ipv6') && !NOT_PUBLIC_V6.check(text, 'ipv6');
}

/** Returns the eight groups of an IPv6 address. */
function groupsOf(address: string): number[] {
  // The URL parser writes it without an IPv4 part.
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const parse = (part: string) => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16)));
  const [before, after] = [parse(head), parse(tail ?? '')];
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}

// A socket closed in the usual way goes on retransmitting what it holds, minutes after its process is
// gone. One that lingers for no time resets instead.

import { createRequire } from 'node:module';
import type { Socket } from 'node:net';

/** Returns whether there is something that the kernel has not taken yet. */
export function holdsUnsent(socket: Socket | undefined): boolean {
  const handle = (socket as unknown as { _handle?: { writeQueueSize?: number } } | undefined)?._handle;
  return (handle?.writeQueueSize ?? 0) > 0;
}

type SetLinger = (fd: number, on: boolean) => boolean;
let setLinger: SetLinger | undefined;

/**
 * Returns whether closing the socket, or the end of the process, throws away what it holds
 * (SO_LINGER with no time).
 */
export function resetWhenClosed(socket: Socket, on: boolean): boolean {
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

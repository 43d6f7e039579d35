// flock(2), which Node does not have. One call of libc each, through koffi: it never waits (LOCK_NB), so no thread is stuck in it.

import { createRequire } from 'node:module';
import { StorageError } from './contract.js';

const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_UN = 8;

interface Libc {
  flock(fd: number, operation: number): number;
  errno(): number;
  wouldBlock: number;
  interrupted: number;
}

let libc: Libc | undefined;

/** Loaded when the first lock is wanted: a call that only reads needs none of it. */
function load(): Libc {
  if (libc) return libc;
  const why = (reason: string) =>
    new StorageError(
      'unsupported',
      `this Node cannot lock files (${reason}), and without the locks of flock(2) two programs could refresh one login at once. ` +
        'lazaret for Node runs on Linux, macOS and the BSDs, with the package koffi',
    );
  if (process.platform === 'win32') throw why('Windows has no flock');
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi').default;
    const flock = koffi.load(null).func('int flock(int fd, int operation)');
    const errnos: Record<string, number> = koffi.os.errno;
    libc = {
      flock: (fd, operation) => flock(fd, operation) as number,
      errno: () => koffi.errno(),
      wouldBlock: errnos.EWOULDBLOCK ?? errnos.EAGAIN ?? -1,
      interrupted: errnos.EINTR ?? -1,
    };
    return libc;
  } catch (error) {
    throw why((error as NodeJS.ErrnoException).code ?? 'koffi cannot be loaded');
  }
}

/** Locks an open file for this open file alone, without waiting. False: somebody else holds it. Otherwise throws an errno error. */
export function tryLock(fd: number): boolean {
  const c = load();
  for (;;) {
    if (c.flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
    const errno = c.errno();
    if (errno === c.wouldBlock) return false;
    if (errno !== c.interrupted) throw Object.assign(new Error('flock'), { errno: -errno });
  }
}

export function unlock(fd: number): void {
  // What cannot be unlocked is unlocked when it is closed.
  load().flock(fd, LOCK_UN);
}

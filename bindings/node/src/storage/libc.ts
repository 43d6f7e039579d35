// Of libc, what Node does not have: one call each through koffi, on files that Node has opened.
// None of them waits, so no thread is stuck in one.

import { createRequire } from 'node:module';
import { isMainThread } from 'node:worker_threads';
import { StorageError } from './contract.js';

const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_UN = 8;

/** `FS_IOC_GETFLAGS` of Linux: `_IOR('f', 1, long)`, on the machines that Node runs on. */
const GET_FLAGS: Record<string, number> = { arm: 0x80046601, ia32: 0x80046601, ppc64: 0x40086601, mips: 0x40046601, mipsel: 0x40046601 };
const GET_FLAGS_ELSEWHERE = 0x80086601;
const IMMUTABLE = 0x10;
const APPEND_ONLY = 0x20;

type Koffi = typeof import('koffi').default;
type Call = (...values: unknown[]) => number;

interface Libc {
  flock: Call;
  errno(): number;
  wouldBlock: number;
  interrupted: number;
  /** A function that is not in every libc. */
  optional(declaration: string): Call | undefined;
}

let libc: Libc | undefined;

/** Loaded when the first lock is wanted: a call that only reads needs none of it. */
function load(): Libc {
  if (libc) return libc;
  const why = (reason: string) =>
    new StorageError(
      'unsupported',
      `this Node cannot lock files (${reason}), and without the locks of flock(2) two programs could refresh one login at once. ` +
        'lazaretto for Node runs on Linux, macOS and the BSDs, with the package koffi',
    );
  if (process.platform === 'win32') throw why('Windows has no flock');
  try {
    const koffi = createRequire(import.meta.url)('koffi') as Koffi;
    const library = koffi.load(null);
    const errnos: Record<string, number> = koffi.os.errno;
    libc = {
      flock: library.func('int flock(int fd, int operation)') as Call,
      errno: () => koffi.errno(),
      wouldBlock: errnos.EWOULDBLOCK ?? errnos.EAGAIN ?? -1,
      interrupted: errnos.EINTR ?? -1,
      optional: remembered((declaration) => {
        try {
          return library.func(declaration) as Call;
        } catch {
          return undefined;
        }
      }),
    };
    return libc;
  } catch (error) {
    throw why((error as NodeJS.ErrnoException).code ?? 'koffi cannot be loaded');
  }
}

function remembered<T>(make: (key: string) => T): (key: string) => T {
  const made = new Map<string, T>();
  return (key) => {
    const known = made.get(key);
    if (known !== undefined) return known;
    const value = make(key);
    made.set(key, value);
    return value;
  };
}

function failed(call: string, errno: number): Error {
  return Object.assign(new Error(call), { errno: -errno });
}

/**
 * Locks an open file for this open file alone, without waiting. False: somebody else holds it.
 * Otherwise throws an errno error.
 */
export function tryLock(fd: number): boolean {
  const c = load();
  for (;;) {
    if (c.flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
    const errno = c.errno();
    if (errno === c.wouldBlock) return false;
    if (errno !== c.interrupted) throw failed('flock', errno);
  }
}

export function unlock(fd: number): void {
  // What cannot be unlocked is unlocked when it is closed.
  load().flock(fd, LOCK_UN);
}

/** `fcntl` of Linux: `F_OFD_GETLK`, `F_OFD_SETLK`, `F_WRLCK`, `F_UNLCK`. */
const OFD_GETLK = 36;
const OFD_SETLK = 37;
const WRITE_LOCK = 1;
const NO_LOCK = 2;

/**
 * Returns what Linux answers to a question about the lock of an open file on the first byte, in a
 * `struct flock`. None: it cannot be told or done.
 */
function ofd(fd: number, command: number, kind: number): number | undefined {
  if (process.platform !== 'linux' || !OFFSETS_HAVE_64_BITS.has(process.arch)) return undefined;
  const fcntl = load().optional('int fcntl(int fd, int command, ...)');
  const lock = new ArrayBuffer(32);
  // Type, whence; start, length.
  new Int16Array(lock, 0, 2).set([kind, 0]);
  new BigInt64Array(lock, 8, 2).set([0n, 1n]);
  if (!fcntl || fcntl(fd, command, 'int *', new Int32Array(lock)) !== 0) return undefined;
  return new Int16Array(lock, 0, 1)[0];
}

const OFFSETS_HAVE_64_BITS = new Set(['x64', 'arm64', 'ppc64', 's390x', 'riscv64', 'loong64']);

/** Shows, or shows no more, that the lock on an open file is held. Nobody waits for it. */
export function setSeen(fd: number, isSeen: boolean): void {
  ofd(fd, OFD_SETLK, isSeen ? WRITE_LOCK : NO_LOCK);
}

/** Returns whether somebody shows that the lock is held. None: it cannot be told here. */
export function isSeen(fd: number): boolean | undefined {
  const kind = ofd(fd, OFD_GETLK, WRITE_LOCK);
  return kind === undefined ? undefined : kind !== NO_LOCK;
}

/**
 * Returns what keeps an open file or directory from being replaced or changed, whoever it belongs
 * to. None: nothing, or it cannot be told.
 */
export function fixedBy(fd: number): 'immutable' | 'append-only' | undefined {
  if (process.platform !== 'linux') return undefined;
  const ioctl = load().optional('int ioctl(int fd, unsigned long request, ...)');
  // The kernel writes an int, although the number says long.
  const flags = new Int32Array(2);
  if (!ioctl || ioctl(fd, GET_FLAGS[process.arch] ?? GET_FLAGS_ELSEWHERE, 'int *', flags) !== 0) return undefined;
  const found = flags[0] ?? 0;
  if (found & IMMUTABLE) return 'immutable';
  return found & APPEND_ONLY ? 'append-only' : undefined;
}

/**
 * Allocates the first `bytes` of an open file on its disk. Throws an errno error; a file system
 * that cannot do it is no error.
 */
export function allocate(fd: number, bytes: number): void {
  const c = load();
  // Where an offset has 32 bits the other name takes 64.
  const call =
    c.optional('int posix_fallocate64(int fd, int64_t offset, int64_t bytes)') ??
    c.optional('int posix_fallocate(int fd, int64_t offset, int64_t bytes)');
  if (!call) return;
  for (;;) {
    const errno = call(fd, 0, bytes);
    if (errno === c.interrupted) continue;
    if (NO_ROOM.has(errno)) throw failed('posix_fallocate', errno);
    return;
  }
}

/** EFBIG, ENOSPC, EDQUOT of Linux, macOS and the BSDs. */
const NO_ROOM = new Set([27, 28, process.platform === 'linux' ? 122 : 69]);

/**
 * Makes an open directory the current one of this worker alone, which macOS can. False: it cannot
 * be done here.
 */
export function enterInThisThread(fd: number): boolean {
  // Of a program's own thread the current directory is the program's.
  if (process.platform !== 'darwin' || isMainThread) return false;
  try {
    return load().optional('int pthread_fchdir_np(int fd)')?.(fd) === 0;
  } catch {
    return false;
  }
}

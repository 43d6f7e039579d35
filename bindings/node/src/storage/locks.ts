// A lock is held by an open file, so it ends with its holder and with nothing else: never by age, never because somebody removed a
// file. Locks are `flock` on files of their own, which are never deleted; two open files exclude each other within one process
// as between two.
//
// Which file is open matters beyond this thread: if the main thread stops a worker that computes without end, Node closes
// the worker's files (`trackUnmanagedFds`), and with them go its locks. libuv opens all files with O_CLOEXEC, so that no child inherits one.

import { closeSync, constants, fchownSync, fstatSync, openSync, rmdirSync, type BigIntStats } from 'node:fs';
import { dirname, join } from 'node:path';
import { StorageError, type Holder } from './contract.js';
import { doing, errnoOf, ioError } from './errors.js';
import { createDirs, openDir } from './files.js';
import { tryLock, unlock } from './flock.js';
import { clearHint, holderOf, isOfALivingProcessHere, readHint, writeHint } from './holder.js';
import { LeftBehind } from './left-behind.js';
import { beat, isMarkInPlace, makeMark, removeMark, type Made, type Mark } from './marks.js';
import { lstat, type Owner } from './way.js';

/** The pauses between two looks at a lock that somebody holds, in milliseconds. */
const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 25;
/** What is known of other tools' locks, in the directory of ours. */
const LEFT_BEHIND = 'made';

/** The locks that make up one lease, in the order in which they are taken. */
export interface Locks {
  /** Another program's own lock files: locked, never written. */
  foreign: string[];
  /** Other programs' too, of those that lock by making something. */
  marks: Mark[];
  /** Ours, in a directory that is ours as well. */
  own: string;
  /** Whom lock files that do not exist yet are to belong to. None: to this process. */
  owner: Owner | undefined;
  /** What time the marks are dated with and judged by. */
  now: () => number;
}

interface Lock {
  fd: number;
  path: string;
  identity: string;
}

/** Locks that are held until they are let go. */
export class Held {
  /** Another program's, in the order of taking, and our own as the last. */
  readonly #locks: Lock[];
  readonly #made: Made[];

  constructor(locks: Lock[], made: Made[]) {
    this.#locks = locks;
    this.#made = made;
  }

  /** Whether each is still the file that others would lock: somebody may have moved or removed it all the same. */
  isInPlace(): boolean {
    return this.#locks.every((lock) => isLockInPlace(lock)) && this.#made.every(isMarkInPlace);
  }

  /** Shows other programs that the holder lives. */
  beat(nowMs: number): void {
    for (const made of this.#made) beat(made, nowMs);
  }

  letGo(): void {
    const own = this.#locks.at(-1);
    if (own) clearHint(own.fd);
    for (const made of this.#made.splice(0)) removeMark(made);
    // Closing would do, but for a process forked off in between, which keeps the file open.
    unlockAll(this.#locks);
    closeAll(this.#locks);
    this.#locks.length = 0;
  }
}

/** When somebody's patience ends who waits for all locks together. */
export class Patience {
  readonly #until: number;

  constructor(waitMs: number) {
    this.#until = performance.now() + waitMs;
  }

  leftMs(): number {
    return this.#until - performance.now();
  }
}

/** Takes all of them, or none: then says who is in the way. */
export function takeLocks(wanted: Locks, patience: Patience): Held | Holder {
  createOwnDir(wanted);
  const locks = openAll(wanted);
  try {
    let nextMs = FIRST_PAUSE_MS;
    for (;;) {
      const busy = lockAll(locks);
      let holder: Holder;
      if (busy === undefined) {
        const made = makeAll(wanted, locks);
        if (Array.isArray(made)) {
          const held = new Held([...locks], made);
          const own = locks.at(-1);
          if (own) writeHint(own.fd);
          locks.length = 0;
          return held;
        }
        holder = { name: heldByAProgram(made.path) };
      } else {
        holder = holderOfLock(locks, busy);
      }
      const leftMs = patience.leftMs();
      if (leftMs <= 0) return holder;
      // Half of the pause by chance, so that those who wait do not all look at the same moment.
      sleep(Math.min(nextMs * (0.5 + Math.random() / 2), leftMs));
      nextMs = Math.min(nextMs * 2, LONGEST_PAUSE_MS);
    }
  } finally {
    closeAll(locks);
  }
}

const nobody = new Int32Array(new SharedArrayBuffer(4));

/** Blocks this thread. */
export function sleep(ms: number): void {
  Atomics.wait(nobody, 0, 0, ms);
}

/** Every mark, or none: then the one that somebody else holds, with the locks let go. */
function makeAll(wanted: Locks, locks: Lock[]): Made[] | Mark {
  const made: Made[] = [];
  try {
    const busy = wanted.marks.length > 0 ? makeEach(wanted, made) : undefined;
    if (!busy) return made;
    made.forEach(removeMark);
    unlockAll(locks);
    return busy;
  } catch (error) {
    made.forEach(removeMark);
    unlockAll(locks);
    throw error;
  }
}

/** Our own lock is held, so nobody else reads or writes what is known of them. */
function makeEach(wanted: Locks, made: Made[]): Mark | undefined {
  const known = openLock(join(dirname(wanted.own), LEFT_BEHIND), wanted.owner).fd;
  const left = new LeftBehind(known);
  try {
    for (const mark of wanted.marks) {
      try {
        const mine = makeMark(mark, wanted.owner, wanted.now(), left);
        if (!mine) return mark;
        made.push(mine);
      } catch (error) {
        if (!mark.isOptional) throw error;
      }
    }
    return undefined;
  } finally {
    left.write(known);
    closeSync(known);
  }
}

/** All of them in their order, each once. */
function openAll(wanted: Locks): Lock[] {
  const locks: Lock[] = [];
  try {
    for (const path of [...wanted.foreign, wanted.own]) {
      const lock = openLock(path, wanted.owner);
      // Two names of one lock file would wait for each other for ever.
      if (locks.some((other) => other.identity === lock.identity)) closeSync(lock.fd);
      else locks.push(lock);
    }
    return locks;
  } catch (error) {
    closeAll(locks);
    throw error;
  }
}

function createOwnDir(wanted: Locks): void {
  const dir = dirname(wanted.own);
  noHostWithoutFlock(dir);
  let isNew = false;
  try {
    if (lstat(dir).isDirectory()) return;
    throw new StorageError('unsafe', `${dir} is not a directory: lazaret keeps its locks there; move it away`);
  } catch (error) {
    if (error instanceof StorageError) throw error;
    isNew = errnoOf(error) === 'ENOENT';
  }
  createDirs(dir);
  try {
    // Such a host makes its folder and then looks for this one: of two that begin at once none goes on.
    noHostWithoutFlock(dir);
  } catch (error) {
    try {
      rmdirSync(dir);
    } catch {
      // Somebody has made a lock in it.
    }
    throw error;
  }
  const owner = wanted.owner;
  if (isNew && owner) {
    const opened = openDir(dir);
    try {
      doing('give its owner the directory', dir, () => fchownSync(opened, owner.uid, owner.gid));
    } finally {
      closeSync(opened);
    }
  }
}

/** A WASI host takes none of these locks, and keeps leases of its own in a folder beside ours: both at once would lose updates. */
function noHostWithoutFlock(dir: string): void {
  const ours = '.lazaret-locks';
  if (!dir.endsWith(ours)) return;
  const vault = dir.slice(0, -ours.length);
  const theirs = `${vault}.lazaret-wasi`;
  try {
    lstat(theirs);
  } catch {
    return;
  }
  const what = 'is used by a lazaret on a WASI host, which sees none of this one\'s locks';
  const fix = `nothing is written. If no such lazaret uses the vault any more, remove ${theirs}`;
  throw new StorageError('unsupported', `${vault} ${what}: ${fix}`);
}

/** Opens a lock file, and creates it for its owner alone if it is missing. */
function openLock(path: string, owner: Owner | undefined): Lock {
  const flags = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;
  const open = (create: boolean) => openSync(path, create ? flags | constants.O_CREAT | constants.O_EXCL : flags, 0o600);
  let fd: number | undefined;
  try {
    fd = unlessErrno('ENOENT', () => open(false));
    if (fd === undefined) {
      fd = unlessErrno('EEXIST', () => open(true));
      if (fd !== undefined && owner) fchownSync(fd, owner.uid, owner.gid);
      // Somebody else was faster: theirs is the lock.
      fd ??= open(false);
    }
    const stat = fstatSync(fd, { bigint: true });
    if (!stat.isFile()) throw new StorageError('unsafe', `the lock ${path} is not a file: move it away`);
    return { fd, path, identity: identityOf(stat) };
  } catch (error) {
    if (fd !== undefined) closeSync(fd);
    throw ioError('open the lock', path, error);
  }
}

function unlessErrno<T>(errno: string, act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    if (errnoOf(error) === errno) return undefined;
    throw error;
  }
}

function isLockInPlace(lock: Lock): boolean {
  try {
    return identityOf(lstat(lock.path)) === lock.identity;
  } catch {
    return false;
  }
}

function identityOf(stat: BigIntStats): string {
  return `${stat.dev}:${stat.ino}`;
}

/**
 * Locks all of them, or none: who kept the first while waiting for the second could wait for somebody who does the opposite, and
 * another program's order is its own. A number: the one that somebody else holds.
 */
function lockAll(locks: Lock[]): number | undefined {
  for (const [at, lock] of locks.entries()) {
    let isLocked = false;
    try {
      isLocked = tryLock(lock.fd);
    } catch (error) {
      unlockAll(locks.slice(0, at));
      throw ioError('lock', lock.path, error);
    }
    if (!isLocked) {
      unlockAll(locks.slice(0, at));
      return at;
    }
  }
  return undefined;
}

/** In the reverse of the order of taking. */
function unlockAll(locks: Lock[]): void {
  for (const lock of [...locks].reverse()) unlock(lock.fd);
}

function closeAll(locks: Lock[]): void {
  for (const lock of locks) closeSync(lock.fd);
}

/** Who may hold `locks[busy]`. Another program's lock: a lazaret, if one that lives says so in our own lock file. */
function holderOfLock(locks: Lock[], busy: number): Holder {
  const own = locks.at(-1);
  const hint = own && readHint(own.fd);
  if (busy + 1 === locks.length) return holderOf(hint);
  if (hint && isOfALivingProcessHere(hint)) return holderOf(hint);
  return { name: heldByAProgram(locks[busy]?.path ?? '') };
}

function heldByAProgram(lock: string): string {
  return `a program that holds ${lock}`;
}

// A lock is held by an open file, so it ends with its holder and with nothing else: never by age,
// never because somebody removed a file. Locks are `flock` on files of their own, which are never
// deleted; two open files exclude each other within one process as between two.
//
// Which file is open matters beyond this thread: if the main thread stops a worker that computes
// without end, Node closes the worker's files (`trackUnmanagedFds`), and with them go its locks.
// libuv opens all files with O_CLOEXEC, so that no child inherits one.

import { closeSync, constants, fstatSync, mkdirSync, openSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { StorageError, type Holder } from './contract.js';
import { at, identityOf, pathOf, type Folder, type Spot } from './folder.js';
import { errnoOf, ioError } from './errors.js';
import { syncDir } from './sync.js';
import { tryLock, unlock } from './libc.js';
import { hide, holderAt, show } from './lock-probe.js';
import { clearHint, holderOf, isOfALivingProcessHere, readHint, writeHint } from './holder.js';
import { LeftBehind } from './left-behind.js';
import { beat, isMarkInPlace, makeMark, removeMark, type MadeMark, type Mark } from './foreign-marks.js';
import { mustBeKeptFromOthers, mustBelong } from './file-owner.js';

/** The pauses between two looks at a lock that somebody holds, in milliseconds. */
const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 25;
/** What is known of other tools' locks, in the folder of ours. */
const LEFT_BEHIND = 'made';

/** The locks that make up one lease, in the order in which they are taken. */
export interface Locks {
  /** Another program's own lock files: locked, never written. */
  foreign: Spot[];
  /** Other programs' too, of those that lock by making something. */
  marks: Mark[];
  /** The file that ours are named after: they lie in a folder beside it. */
  anchor: Spot;
  /** Ours, in that folder. */
  own: string;
  /** The fingerprint of the grant that it is wanted for, if it is one on grants. */
  grant: string | undefined;
  /** To whom all of them belong, if not to root. */
  owner: number;
  /** What time the marks are dated with and judged by. */
  now: () => number;
}

interface Lock extends Spot {
  fd: number;
  identity: string;
}

/** The folder of our locks, open for as long as one is held. */
interface LocksFolder {
  dir: Folder;
  spot: Spot;
}

/** Locks that are held until they are let go. */
export class Held {
  /** Another program's, in the order of taking, and our own as the last. */
  readonly #locks: Lock[];
  readonly #made: MadeMark[];
  readonly #folder: LocksFolder;

  constructor(locks: Lock[], made: MadeMark[], folder: LocksFolder) {
    this.#locks = locks;
    this.#made = made;
    this.#folder = folder;
  }

  /**
   * Returns whether each is still the file that others would lock: somebody may have moved or
   * removed it all the same.
   */
  isInPlace(): boolean {
    const { dir, spot } = this.#folder;
    return isInPlace(spot, identityOf(dir.stat)) && this.#locks.every((lock) => isInPlace(lock, lock.identity)) && this.#made.every(isMarkInPlace);
  }

  /** Shows other programs that the holder lives. */
  beat(nowMs: number): void {
    for (const made of this.#made) beat(made, nowMs);
  }

  letGo(): void {
    const own = this.#locks.at(-1);
    if (own) {
      hide(own.fd);
      clearHint(own.fd);
    }
    for (const made of this.#made.splice(0)) removeMark(made);
    // Closing would do, but for a process forked off in between, which keeps the file open.
    unlockAll(this.#locks);
    closeAll(this.#locks);
    if (own) this.#folder.dir.close();
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
  const folder = openOwnFolder(wanted);
  let locks: Lock[] = [];
  let isHeld = false;
  try {
    locks = openAll(wanted, folder.dir);
    let nextMs = FIRST_PAUSE_MS;
    for (;;) {
      const busy = lockAll(locks);
      let holder: Holder;
      if (busy === undefined) {
        const made = makeAll(wanted, folder.dir, locks);
        if (Array.isArray(made)) {
          isHeld = true;
          const own = locks.at(-1);
          if (own) {
            writeHint(own.fd, wanted.grant);
            show(own.fd);
          }
          return new Held(locks, made, folder);
        }
        holder = { name: heldByAProgram(made) };
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
    if (!isHeld) {
      closeAll(locks);
      folder.dir.close();
    }
  }
}

/** Returns who holds our own lock. Nothing is taken, made or written. */
export function holderOfLocks({ anchor, own, grant, owner }: Locks): Holder | undefined {
  noHostWithoutFlock(anchor);
  const folder = ownFolder(anchor);
  const dir = unlessErrno('ENOENT', () => anchor.dir.enter(folder.name));
  if (!dir) return undefined;
  try {
    mustBeKeptFromOthers(dir, owner);
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;
    const fd = unlessErrno('ENOENT', () => openSync(at({ dir, name: own }), flags));
    if (fd === undefined) return undefined;
    try {
      return holderAt(fd, grant);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw ioError('look at the lock in', pathOf(folder), error);
  } finally {
    dir.close();
  }
}

function ownFolder(anchor: Spot): Spot {
  return { dir: anchor.dir, name: `${anchor.name}.lazaretto-locks` };
}

const nobody = new Int32Array(new SharedArrayBuffer(4));

/** Blocks this thread. */
export function sleep(ms: number): void {
  Atomics.wait(nobody, 0, 0, ms);
}

/**
 * Makes every mark, or none: then it returns the mark that somebody else holds, and releases the
 * locks.
 */
function makeAll(wanted: Locks, folder: Folder, locks: Lock[]): MadeMark[] | Mark {
  const made: MadeMark[] = [];
  try {
    const busy = wanted.marks.length > 0 ? makeEach(wanted, folder, made) : undefined;
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
function makeEach(wanted: Locks, folder: Folder, made: MadeMark[]): Mark | undefined {
  const known = openLock({ dir: folder, name: LEFT_BEHIND }, wanted.owner).fd;
  const left = new LeftBehind(known);
  try {
    for (const mark of wanted.marks) {
      try {
        const mine = makeMark(mark, wanted.now(), left);
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

/** Opens all locks in their order, each once. */
function openAll(wanted: Locks, folder: Folder): Lock[] {
  const locks: Lock[] = [];
  try {
    for (const spot of [...wanted.foreign, { dir: folder, name: wanted.own }]) {
      const lock = openLock(spot, wanted.owner);
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

/** Opens the folder of our locks, and creates it if it is missing. */
function openOwnFolder({ anchor, owner }: Locks): LocksFolder {
  noHostWithoutFlock(anchor);
  const spot = ownFolder(anchor);
  const path = pathOf(spot);
  let dir: Folder | undefined;
  try {
    dir = unlessErrno('ENOENT', () => spot.dir.enter(spot.name));
    if (!dir) {
      create(anchor, spot);
      dir = spot.dir.enter(spot.name);
    }
    mustBeKeptFromOthers(dir, owner);
    return { dir, spot };
  } catch (error) {
    dir?.close();
    if (!['ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')) throw ioError('open the directory', path, error);
    throw new StorageError('unsafe', `${path} is not a directory: lazaretto keeps its locks there; move it away`);
  }
}

function create(anchor: Spot, folder: Spot): void {
  try {
    if (unlessErrno('EEXIST', () => (mkdirSync(at(folder), 0o700), true)) === undefined) return;
    const above = folder.dir.open();
    try {
      syncDir(above);
    } finally {
      closeSync(above);
    }
  } catch (error) {
    throw ioError('create the directory', pathOf(folder), error);
  }
  try {
    // Such a host makes its folder and then looks for this one: of two that begin at once none goes
    // on.
    noHostWithoutFlock(anchor);
  } catch (error) {
    try {
      rmdirSync(at(folder));
    } catch {
      // Somebody has made a lock in it.
    }
    throw error;
  }
}

/**
 * A WASI host takes none of these locks, and keeps leases of its own in a folder beside ours: both
 * at once would lose updates.
 */
function noHostWithoutFlock({ dir, name }: Spot): void {
  const theirs = `${name}.lazaretto-wasi`;
  try {
    dir.lstat(theirs);
  } catch {
    return;
  }
  const what = 'is used by a lazaretto on a WASI host, which sees none of this one\'s locks';
  const fix = `nothing is written. If no such lazaretto uses the vault any more, remove ${join(dir.path, theirs)}`;
  throw new StorageError('unsupported', `${join(dir.path, name)} ${what}: ${fix}`);
}

/** Opens a lock file, and creates it for its owner alone if it is missing. */
function openLock(spot: Spot, owner: number): Lock {
  const flags = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;
  const open = (create: boolean) => openSync(at(spot), create ? flags | constants.O_CREAT | constants.O_EXCL : flags, 0o600);
  const path = pathOf(spot);
  let fd: number | undefined;
  try {
    // Somebody else may be faster: theirs is the lock.
    fd = unlessErrno('ENOENT', () => open(false)) ?? unlessErrno('EEXIST', () => open(true)) ?? open(false);
    const stat = fstatSync(fd, { bigint: true });
    if (!stat.isFile()) throw new StorageError('unsafe', `the lock ${path} is not a file: move it away`);
    mustBelong(stat, owner, path);
    return { ...spot, fd, identity: identityOf(stat) };
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

function isInPlace({ dir, name }: Spot, identity: string): boolean {
  try {
    return identityOf(dir.lstat(name)) === identity;
  } catch {
    return false;
  }
}

/**
 * Locks all of them, or none: who kept the first while waiting for the second could wait for
 * somebody who does the opposite, and another program's order is its own. A number: the one that
 * somebody else holds.
 */
function lockAll(locks: Lock[]): number | undefined {
  for (const [at, lock] of locks.entries()) {
    let isLocked = false;
    try {
      isLocked = tryLock(lock.fd);
    } catch (error) {
      unlockAll(locks.slice(0, at));
      throw ioError('lock', pathOf(lock), error);
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

/**
 * Returns who may hold `locks[busy]`. Another program's lock: a lazaretto, if one that lives says
 * so in our own lock file.
 */
function holderOfLock(locks: Lock[], busy: number): Holder {
  const own = locks.at(-1);
  const hint = own && readHint(own.fd);
  if (busy + 1 === locks.length) return holderOf(hint);
  if (hint && isOfALivingProcessHere(hint)) return holderOf(hint);
  const lock = locks[busy];
  return lock ? { name: heldByAProgram(lock) } : holderOf(undefined);
}

function heldByAProgram(lock: Spot): string {
  return `a program that holds ${pathOf(lock)}`;
}

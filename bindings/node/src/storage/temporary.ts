// A text is written beside its document under another name, and renamed over it. What a process that
// died has left of such files is removed, for they may hold secrets.

import { closeSync, constants, fstatSync, ftruncateSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { randomId } from './contract.js';
import { at, identityOf, type Spot } from './folder.js';
import { isAlive } from './holder.js';
import { tryLock } from './libc.js';

/** How many names are looked at, and how many files removed, in search of what was left. */
const MAX_NAMES = 1024;
const MAX_LEFTOVERS = 16;

/** A temporary file of a document, open until it is closed. */
export class Temporary {
  /** The document. */
  readonly target: Spot;
  readonly spot: Spot;
  readonly fd: number;
  readonly #identity: string;

  private constructor(target: Spot, spot: Spot, fd: number) {
    this.target = target;
    this.spot = spot;
    this.fd = fd;
    this.#identity = identityOf(fstatSync(fd, { bigint: true }));
  }

  /**
   * Creates a file that its owner alone can read and write, from the first moment. Throws an errno
   * error.
   */
  static create(target: Spot): Temporary {
    const spot = { dir: target.dir, name: `${tempPrefix(target.name)}${process.pid}.${randomId()}` };
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    return new Temporary(target, spot, openSync(at(spot), flags, 0o600));
  }

  /** Returns whether its name still leads to it. */
  get isInPlace(): boolean {
    try {
      return identityOf(this.spot.dir.lstat(this.spot.name)) === this.#identity;
    } catch {
      return false;
    }
  }

  /** Locks it, so that no store of this document takes it for a leftover. */
  showThatItIsWanted(): void {
    try {
      tryLock(this.fd);
    } catch {
      // Then a store may remove it, and the one that it is for makes another.
    }
  }

  /** Writes the whole content, and cuts off what was allocated beyond it. Throws an errno error. */
  write(bytes: Buffer): void {
    for (let from = 0; from < bytes.length; ) from += writeSync(this.fd, bytes, from);
    ftruncateSync(this.fd, bytes.length);
  }

  /** Removes it. If that cannot be done now, a later store does it. */
  remove(): void {
    removeQuietly(this.spot);
  }

  /** Removes it, if it still has its name, and closes it. */
  discard(): void {
    if (this.isInPlace) this.remove();
    this.close();
  }

  /** Closes it. It keeps its name, if it has one. */
  close(): void {
    closeSync(this.fd);
  }
}

/** Returns what the names of a document's temporary files begin with, before `<pid>.<random>`. */
function tempPrefix(fileName: string): string {
  return `.${fileName}.lazaretto-tmp.`;
}

/**
 * Returns the process that made a temporary file of a document, if its name is exactly one of ours.
 */
export function pidIn(name: string, fileName: string): number | undefined {
  const prefix = tempPrefix(fileName);
  const found = name.startsWith(prefix) ? /^([0-9]{1,10})\.[0-9a-f]{32}$/.exec(name.slice(prefix.length)) : null;
  return found ? Number(found[1]) : undefined;
}

/**
 * Removes what processes that have ended left of this document. As the caller holds the document's
 * lock, no living process has such a file but a prepared one; that its process has ended as well is
 * asked for safety.
 */
export function removeLeftovers(target: Spot): void {
  let left = MAX_LEFTOVERS;
  try {
    for (const { name, isFile } of target.dir.names(MAX_NAMES)) {
      const pid = pidIn(name, target.name);
      // A file with our own pid need not be ours: in a container every process may have had it.
      if (pid === undefined || !isFile || (pid !== process.pid && isAlive(pid))) continue;
      const spot = { dir: target.dir, name };
      if (isWanted(spot)) continue;
      removeQuietly(spot);
      left -= 1;
      if (left === 0) return;
    }
  } catch {}
}

/** Returns whether somebody prepared the file and still holds the lease that it is for. */
function isWanted(spot: Spot): boolean {
  const fd = openSync(at(spot), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY);
  try {
    return !tryLock(fd);
  } finally {
    closeSync(fd);
  }
}

/** Removes a file, if that can be done now. */
export function removeQuietly(spot: Spot): void {
  try {
    unlinkSync(at(spot));
  } catch {}
}

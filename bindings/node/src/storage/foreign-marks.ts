// The locks of programs that lock by making something: whoever makes the file or the folder holds
// the lock until it is gone, or has shown no sign of life for so long that its maker must have
// died. We show one while we hold it, remove it when it is let go, and know again what a lazaretto
// that was killed left behind (`left-behind`).
//
// A worker has no event loop while it works, so it shows signs of life between the waits of an
// exchange: `beat`. It touches only the very thing that was made. What another program puts in its
// place is never touched, for that program takes a changed time for the loss of its lock.

import { closeSync, constants, fstatSync, futimesSync, mkdirSync, openSync, renameSync, rmdirSync, unlinkSync, type BigIntStats } from 'node:fs';
import { randomId } from './contract.js';
import { at, identityOf, pathOf, type Spot } from './folder.js';
import { errnoOf, ioError } from './errors.js';
import type { LeftBehind } from './left-behind.js';

/** How often a holder shows that it lives, by the mark's modification time. */
export const BEAT_MS = 5_000;

/** A lock of that kind. Which ones there are is `other-tools`. */
export interface Mark extends Spot {
  /** A folder, not a file. */
  isFolder: boolean;
  /** Without a sign of life for longer than this it was left behind. */
  staleAfterMs: number;
  /** Its own program goes on without it, if it cannot be made. */
  isOptional: boolean;
}

/** A mark that is ours. */
export interface MadeMark extends Spot {
  isFolder: boolean;
  /** The very thing that was made, whatever has its name by now. */
  fd: number;
  identity: string;
  /** The microseconds of its times, by which a lazaretto's are known. */
  signature: number;
}

/** Makes it. None if somebody else holds it. */
export function makeMark(mark: Mark, nowMs: number, left: LeftBehind): MadeMark | undefined {
  // A second time if what stood there was stale.
  for (let tries = 0; tries < 2; tries += 1) {
    let fd: number;
    try {
      fd = create(mark);
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw ioError('make the lock', pathOf(mark), error);
      if (!makeRoom(mark, nowMs, left)) return undefined;
      continue;
    }
    const stat = fstatSync(fd, { bigint: true });
    const { dir, name, isFolder } = mark;
    const made = { dir, name, isFolder, fd, identity: identityOf(stat), signature: left.signature };
    beat(made, nowMs);
    left.noteMade(pathOf(mark), stat);
    return made;
  }
  return undefined;
}

/** Shows that its maker lives. */
export function beat(made: MadeMark, nowMs: number): void {
  // Half a microsecond more: Node takes seconds as a floating-point number, and cuts off what is
  // less than its step.
  const seconds = Math.floor(nowMs / 1000) + (made.signature + 0.5) / 1e6;
  try {
    futimesSync(made.fd, seconds, seconds);
  } catch {
    // It is a lock all the same.
  }
}

/** Returns whether it is still what others find. */
export function isMarkInPlace(made: MadeMark): boolean {
  try {
    return identityOf(made.dir.lstat(made.name)) === made.identity;
  } catch {
    return false;
  }
}

export function removeMark(made: MadeMark): void {
  // What somebody took away for stale and made anew is theirs.
  if (isMarkInPlace(made)) removeQuietly(made, made.isFolder);
  try {
    closeSync(made.fd);
  } catch {}
}

function create(mark: Mark): number {
  const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY } = constants;
  if (!mark.isFolder) return openSync(at(mark), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  mkdirSync(at(mark), { mode: 0o700 });
  return openSync(at(mark), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

/** Removes what its maker left behind. False if the maker may be alive. */
function makeRoom(mark: Mark, nowMs: number, left: LeftBehind): boolean {
  let stat: BigIntStats;
  try {
    stat = mark.dir.lstat(mark.name);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return true;
    throw ioError('look at the lock', pathOf(mark), error);
  }
  return isLeftBehind(mark, stat, nowMs, left) && takeAway(mark, stat);
}

/** Returns whether its maker has died. A time in the future counts from when it was first seen. */
function isLeftBehind(mark: Mark, stat: BigIntStats, nowMs: number, left: LeftBehind): boolean {
  const path = pathOf(mark);
  if (left.isOurs(path, stat)) return true;
  const ageMs = nowMs - Number(stat.mtimeNs / 1_000n) / 1_000;
  // Clocks and the steps of file systems differ a little; the next sign of life mends that.
  if (ageMs >= -BEAT_MS) return ageMs > mark.staleAfterMs;
  const seenMs = left.seenInTheFuture(path, stat);
  if (seenMs !== undefined && seenMs <= nowMs) return nowMs - seenMs > mark.staleAfterMs;
  left.noteFuture(path, stat, nowMs);
  return false;
}

/** Removes a mark whose maker has died. False if somebody was faster. */
function takeAway(mark: Spot, stat: BigIntStats): boolean {
  // Of two who find it stale one moves it; what the other would move is a new one.
  const aside: Spot = { dir: mark.dir, name: `${mark.name}.stale.${randomId()}` };
  try {
    renameSync(at(mark), at(aside));
    if (identityOf(aside.dir.lstat(aside.name)) !== identityOf(stat)) {
      // It was a new one: its maker finds it again, unless somebody made another meanwhile.
      renameSync(at(aside), at(mark));
      return false;
    }
  } catch {
    return false;
  }
  removeQuietly(aside, stat.isDirectory());
  return true;
}

function removeQuietly(mark: Spot, isFolder: boolean): void {
  try {
    if (isFolder) rmdirSync(at(mark));
    else unlinkSync(at(mark));
  } catch {}
}

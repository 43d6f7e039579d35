// A document is the old text or the new one at every moment, whole, whatever fails or crashes: the
// new text is written beside it under another name, synced, and renamed over it
// (docs/file-store.md, "A store, step by step").

import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  openSync,
  renameSync,
  unlinkSync,
  writeSync,
  type Stats,
} from 'node:fs';
import { randomId, StorageError, versionOf, type StoreOutcome } from './contract.js';
import { at, pathOf, type Spot } from './folder.js';
import { doing, errnoOf, ioError } from './errors.js';
import { openDir, syncDir, syncFoldersAbove } from './sync.js';
import { isAlive } from './holder.js';
import type { Text } from './text.js';
import { spellUnsynced } from './unsynced.js';

/**
 * How many names are looked at, and how many files removed, in search of what crashed processes
 * left.
 */
const MAX_NAMES = 1024;
const MAX_LEFTOVERS = 16;

/** One replacement of a document. */
export interface Change {
  /** The document, in its folder. */
  target: Spot;
  /** Where a text that need not be durable may lie, in the same folder. */
  unsynced: Spot | undefined;
  text: string;
  /** The version that it must be at. None: it must not exist. */
  expected: string | undefined;
  durable: boolean;
}

/**
 * Performs a change under the document's lock, which the caller holds. `read` reads the document.
 */
export function replace(change: Change, read: () => Text | undefined): StoreOutcome {
  const before = read();
  if (before?.document.version !== change.expected) return stale(before);
  const dir = openDir(change.target.dir);
  try {
    return replaceIn(dir, change, before, read);
  } finally {
    closeSync(dir);
  }
}

function replaceIn(dir: number, change: Change, before: Text | undefined, read: () => Text | undefined): StoreOutcome {
  const { target, unsynced: beside } = change;
  removeLeftovers(target);
  if (change.durable && !before) syncFoldersAbove(target.dir);

  const isReplaced = before?.isUnsynced ?? false;
  if (beside !== undefined && !isReplaced && exists(beside)) {
    // It was left behind. It must not come back if the file below it should ever be at that version
    // again.
    doing('remove', pathOf(beside), () => {
      unlinkSync(at(beside));
      syncDir(dir);
    });
  }

  // The first text of a document needs a file of its own.
  const spelled =
    before && !change.durable && beside !== undefined ? spellUnsynced(before.base, change.text) : undefined;
  const to = spelled === undefined || beside === undefined ? target : beside;
  const tempSpot = temporary(target);
  const temp = doing('create', pathOf(tempSpot), () => createTemporary(tempSpot));
  const path = pathOf(target);
  let isKept = false;
  try {
    keepOwnerAndMode(temp, before, path);
    const bytes = Buffer.from(spelled ?? change.text);
    doing('write', path, () => {
      for (let from = 0; from < bytes.length; ) from += writeSync(temp, bytes, from);
    });
    // Also when the store need not be durable: a rename that reaches the disk before the content it
    // names would leave an empty document after a power cut.
    if (spelled === undefined) doing('sync', path, () => fsyncSync(temp));

    // As late as can be, for programs that keep no lock.
    const now = read();
    if (now?.document.version !== change.expected || now?.base !== before?.base) return stale(now);
    try {
      renameSync(at(tempSpot), at(to));
      isKept = true;
    } catch (error) {
      // What still has its own name has not taken the other's.
      if (exists(tempSpot)) throw errnoOf(error) === 'EBUSY' ? mountedAsAFile(path) : ioError('replace', path, error);
      isKept = true;
      return { tag: 'unknown' };
    }
  } finally {
    closeSync(temp);
    // If it cannot be removed now, a later store does it.
    if (!isKept) removeQuietly(tempSpot);
  }

  try {
    if (beside !== undefined && isReplaced && to === target) unlinkSync(at(beside));
    if (change.durable) syncDir(dir);
  } catch {
    return { tag: 'unknown' };
  }
  return { tag: 'stored', val: versionOf(change.text) };
}

function stale(current: Text | undefined): StoreOutcome {
  return { tag: 'stale', val: current?.document };
}

/**
 * The file keeps its owner and its group, and what both may do; everybody else may do nothing. A
 * group that cannot be kept has no rights: it would be another's.
 */
function keepOwnerAndMode(temp: number, before: Text | undefined, path: string): void {
  const born = doing('look at', path, () => fstatSync(temp));
  // A new one is its owner's alone, whatever the umask says.
  let mode = 0o600;
  if (before) {
    const [uid, gid] = [Number(before.stat.uid), Number(before.stat.gid)];
    if (uid !== born.uid) {
      throw new StorageError(
        'denied',
        `${path} belongs to user ${uid}, and only that user can replace it and leave it so; nothing was written. Run as that user`,
      );
    }
    mode |= Number(before.stat.mode) & (keepsGroup(temp, born, gid) ? 0o770 : 0o700);
  }
  if ((born.mode & 0o7777) !== mode) doing('set the mode of', path, () => fchmodSync(temp, mode));
}

function keepsGroup(temp: number, born: Stats, gid: number): boolean {
  if (born.gid === gid) return true;
  try {
    fchownSync(temp, born.uid, gid);
    return true;
  } catch {
    // This user is not in it; or it is one that this namespace of users does not know.
    return false;
  }
}

/** Returns a name for a temporary file of a document. */
export function temporary({ dir, name }: Spot): Spot {
  return { dir, name: `${tempPrefix(name)}${process.pid}.${randomId()}` };
}

/** Creates it, for its owner alone from the first moment. Throws an errno error. */
export function createTemporary(spot: Spot): number {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  return openSync(at(spot), flags, 0o600);
}

/** Returns the error for a vault that is the mount of a single file. */
export function mountedAsAFile(path: string): StorageError {
  return new StorageError('read-only', `${path} is mounted as a single file, so it cannot be replaced; mount its folder instead`);
}

/** `.<file>.lazaretto-tmp.`, before `<pid>.<random>` */
function tempPrefix(fileName: string): string {
  return `.${fileName}.lazaretto-tmp.`;
}

/**
 * Removes what processes that are no more left of this document: it holds secrets. As we hold the
 * document's lock, no living process has such a file; that its process is gone as well is asked for
 * safety.
 */
function removeLeftovers(target: Spot): void {
  let left = MAX_LEFTOVERS;
  try {
    for (const { name, isFile } of target.dir.names(MAX_NAMES)) {
      const pid = pidIn(name, target.name);
      // A file with our own pid is not ours either: in a container every process may have had it.
      if (pid === undefined || !isFile || (pid !== process.pid && isAlive(pid))) continue;
      removeQuietly({ dir: target.dir, name });
      left -= 1;
      if (left === 0) return;
    }
  } catch {}
}

/**
 * Returns the process that made a temporary file of a document, if its name is exactly one of ours.
 */
export function pidIn(name: string, fileName: string): number | undefined {
  const prefix = tempPrefix(fileName);
  const found = name.startsWith(prefix) ? /^([0-9]{1,10})\.[0-9a-f]{32}$/.exec(name.slice(prefix.length)) : null;
  return found ? Number(found[1]) : undefined;
}

function exists({ dir, name }: Spot): boolean {
  try {
    dir.lstat(name);
    return true;
  } catch {
    return false;
  }
}

export function removeQuietly(spot: Spot): void {
  try {
    unlinkSync(at(spot));
  } catch {}
}

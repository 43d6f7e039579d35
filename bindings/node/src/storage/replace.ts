// A document is the old text or the new one at every moment, whole, whatever fails or crashes: the
// new text is written beside it under another name, synced, and renamed over it
// (docs/file-store.md, "A store, step by step").

import { closeSync, fchmodSync, fchownSync, fstatSync, fsyncSync, renameSync, unlinkSync, type Stats } from 'node:fs';
import { StorageError, versionOf, type StoreOutcome } from './contract.js';
import { doing, errnoOf, ioError } from './errors.js';
import { at, pathOf, type Spot } from './folder.js';
import { openDir, syncDir, syncFoldersAbove } from './sync.js';
import { removeLeftovers, Temporary } from './temporary.js';
import type { Text } from './text.js';
import { spellUnsynced } from './unsynced.js';

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
  /** What was made ready for it. It is used if it is still there. */
  prepared?: Temporary | undefined;
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

  if (beside !== undefined && !before?.isUnsynced && exists(beside)) {
    // It was left behind. It must not come back if the file below it should ever be at that version
    // again.
    doing('remove', pathOf(beside), () => {
      unlinkSync(at(beside));
      syncDir(dir);
    });
  }

  const prepared = change.prepared?.isInPlace ? change.prepared : undefined;
  const temp = prepared ?? doing('create a temporary file of', pathOf(target), () => Temporary.create(target));
  try {
    return replaceBy(temp, dir, change, before, read);
  } finally {
    if (temp !== prepared) temp.close();
  }
}

/** Writes the text into `temp`, and renames it over the document. */
function replaceBy(temp: Temporary, dir: number, change: Change, before: Text | undefined, read: () => Text | undefined): StoreOutcome {
  const { target, unsynced: beside } = change;
  // The first text of a document needs a file of its own.
  const spelled = before && !change.durable && beside !== undefined ? spellUnsynced(before.base, change.text) : undefined;
  const to = spelled === undefined || beside === undefined ? target : beside;
  let isKept = false;
  try {
    write(temp, change, before, spelled);
    // As late as can be, for programs that keep no lock.
    const now = read();
    if (now?.document.version !== change.expected || now?.base !== before?.base) return stale(now);
    try {
      renameSync(at(temp.spot), at(to));
      isKept = true;
    } catch (error) {
      const path = pathOf(target);
      // What still has its own name has not taken the other's.
      if (exists(temp.spot)) throw errnoOf(error) === 'EBUSY' ? mountedAsAFile(path) : ioError('replace', path, error);
      isKept = true;
      return { tag: 'unknown' };
    }
  } finally {
    if (!isKept) temp.remove();
  }

  try {
    if (beside !== undefined && before?.isUnsynced && to === target) unlinkSync(at(beside));
    if (change.durable) syncDir(dir);
  } catch {
    return { tag: 'unknown' };
  }
  return { tag: 'stored', val: versionOf(change.text) };
}

function write(temp: Temporary, { target, text }: Change, before: Text | undefined, spelled: string | undefined): void {
  const path = pathOf(target);
  keepOwnerAndMode(temp.fd, before, path);
  doing('write', path, () => temp.write(Buffer.from(spelled ?? text)));
  // Also when the store need not be durable: a rename that reaches the disk before the content it
  // names would leave an empty document after a power cut.
  if (spelled === undefined) doing('sync', path, () => fsyncSync(temp.fd));
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

/** Returns the error for a vault that is the mount of a single file. */
export function mountedAsAFile(path: string): StorageError {
  return new StorageError('read-only', `${path} is mounted as a single file, so it cannot be replaced; mount its folder instead`);
}

function exists({ dir, name }: Spot): boolean {
  try {
    dir.lstat(name);
    return true;
  } catch {
    return false;
  }
}

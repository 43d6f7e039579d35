// A document is the old text or the new one at every moment, whole, whatever fails or crashes: the new text is written beside it
// under another name, synced, and renamed over it (docs/file-store.md, "A store, step by step").

import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  opendirSync,
  openSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { randomId, StorageError, versionOf, type StoreOutcome } from './contract.js';
import { doing } from './errors.js';
import { openDir, syncDir, syncWayTo } from './files.js';
import { isAlive } from './holder.js';
import type { Text } from './text.js';
import { spellUnsynced } from './unsynced.js';
import { lstat, type Owner } from './way.js';

/** How many names are looked at, and how many files removed, in search of what crashed processes left. */
const MAX_NAMES = 1024;
const MAX_LEFTOVERS = 16;

/** One replacement of a document. */
export interface Change {
  /** The document, in a directory named without links. */
  target: string;
  /** Where a text that need not be durable may lie, in the same directory. */
  unsynced: string | undefined;
  text: string;
  /** The version that it must be at. None: it must not exist. */
  expected: string | undefined;
  durable: boolean;
  /** Whom the document is to belong to if it is new. None: to this process. */
  newOwner: Owner | undefined;
}

/** Performs a change under the document's lock, which the caller holds. `read` reads the document. */
export function replace(change: Change, read: () => Text | undefined): StoreOutcome {
  const before = read();
  if (before?.document.version !== change.expected) return stale(before);
  const dir = openDir(dirname(change.target));
  try {
    return replaceIn(dir, change, before, read);
  } finally {
    closeSync(dir);
  }
}

function replaceIn(dir: number, change: Change, before: Text | undefined, read: () => Text | undefined): StoreOutcome {
  const { target, unsynced: beside } = change;
  const folder = dirname(target);
  removeLeftovers(folder, basename(target));
  if (change.durable && !before) syncWayTo(folder, dir);

  const isReplaced = before?.isUnsynced ?? false;
  if (beside !== undefined && !isReplaced && exists(beside)) {
    // It was left behind. It must not come back if the file below it should ever be at that version again.
    doing('remove', beside, () => {
      unlinkSync(beside);
      syncDir(dir);
    });
  }

  // The first text of a document needs a file of its own.
  const spelled =
    before && !change.durable && beside !== undefined ? spellUnsynced(before.base, change.text) : undefined;
  const to = spelled === undefined || beside === undefined ? target : beside;
  const tempPath = join(folder, `${tempPrefix(basename(target))}${process.pid}.${randomId()}`);
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const temp = doing('create', tempPath, () => openSync(tempPath, flags, 0o600));
  let isKept = false;
  try {
    keepOwnerAndMode(temp, tempPath, before, change);
    const bytes = Buffer.from(spelled ?? change.text);
    doing('write', target, () => {
      for (let at = 0; at < bytes.length; ) at += writeSync(temp, bytes, at);
    });
    // Also when the store need not be durable: a rename that reaches the disk before the content it names would leave an
    // empty document after a power cut.
    if (spelled === undefined) doing('sync', target, () => fsyncSync(temp));

    // As late as can be, for programs that keep no lock.
    const now = read();
    if (now?.document.version !== change.expected || now?.base !== before?.base) return stale(now);
    try {
      doing('replace', target, () => renameSync(tempPath, to));
      isKept = true;
    } catch (error) {
      // What still has its own name has not taken the other's.
      if (exists(tempPath)) throw error;
      isKept = true;
      return { tag: 'unknown' };
    }
  } finally {
    closeSync(temp);
    // If it cannot be removed now, a later store does it.
    if (!isKept) removeQuietly(tempPath);
  }

  try {
    if (beside !== undefined && isReplaced && to === target) unlinkSync(beside);
    if (change.durable) syncDir(dir);
  } catch {
    return { tag: 'unknown' };
  }
  return { tag: 'stored', val: versionOf(change.text) };
}

function stale(current: Text | undefined): StoreOutcome {
  return { tag: 'stale', val: current?.document };
}

/** The file keeps its owner, and never gets more rights than its owner's own. */
function keepOwnerAndMode(temp: number, tempPath: string, before: Text | undefined, change: Change): void {
  const born = doing('look at', tempPath, () => fstatSync(temp));
  const owner = before ? { uid: Number(before.stat.uid), gid: Number(before.stat.gid) } : change.newOwner;
  if (owner && (owner.uid !== born.uid || owner.gid !== born.gid)) {
    try {
      fchownSync(temp, owner.uid, owner.gid);
    } catch {
      // A group that cannot be kept has no rights to lose: the mode gives it none.
      if (owner.uid !== born.uid) {
        throw new StorageError(
          'denied',
          `${change.target} belongs to user ${owner.uid}, and only that user or root can replace it and leave it so; nothing was ` +
            'written. Run as that user',
        );
      }
    }
  }
  const mode = (before ? Number(before.stat.mode) & 0o700 : 0) | 0o600;
  if ((born.mode & 0o7777) !== mode) doing('set the mode of', tempPath, () => fchmodSync(temp, mode));
}

/** `.<file>.lazaret-tmp.`, before `<pid>.<random>` */
function tempPrefix(fileName: string): string {
  return `.${fileName}.lazaret-tmp.`;
}

/**
 * Removes what processes that are no more left of this document: it holds secrets. As we hold the document's lock, no living
 * process has such a file; that its process is gone as well is asked for safety.
 */
function removeLeftovers(folder: string, fileName: string): void {
  let left = MAX_LEFTOVERS;
  try {
    const names = opendirSync(folder);
    try {
      for (let looked = 0; looked < MAX_NAMES && left > 0; looked += 1) {
        const entry = names.readSync();
        if (!entry) break;
        const pid = pidIn(entry.name, fileName);
        // A file with our own pid is not ours either: in a container every process may have had it.
        if (pid === undefined || !entry.isFile() || (pid !== process.pid && isAlive(pid))) continue;
        removeQuietly(join(folder, entry.name));
        left -= 1;
      }
    } finally {
      names.closeSync();
    }
  } catch {}
}

/** The process that made a temporary file of a document, if its name is exactly one of ours. */
export function pidIn(name: string, fileName: string): number | undefined {
  const prefix = tempPrefix(fileName);
  const found = name.startsWith(prefix) ? /^([0-9]{1,10})\.[0-9a-f]{32}$/.exec(name.slice(prefix.length)) : null;
  return found ? Number(found[1]) : undefined;
}

function exists(path: string): boolean {
  try {
    lstat(path);
    return true;
  } catch {
    return false;
  }
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {}
}

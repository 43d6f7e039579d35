// The locks of programs that lock by making something: whoever makes the file or the folder holds the lock until it is gone, or
// is so old that its maker must have died. What we make is removed when it is let go.

import { closeSync, lchownSync, lutimesSync, mkdirSync, openSync, renameSync, rmdirSync, unlinkSync } from 'node:fs';
import { randomId } from './contract.js';
import { doing, errnoOf, ioError } from './errors.js';
import { lstat, type Owner } from './way.js';

/** What is older was left behind: both programs that lock so take it away after ten seconds. */
const STALE_MS = 10_000;

/** A lock of that kind. */
export interface Mark {
  path: string;
  /** A folder, not a file. */
  isFolder: boolean;
}

/** A mark that is ours. */
export interface Made extends Mark {
  identity: string;
}

/** Makes it. None: somebody else holds it. */
export function makeMark(mark: Mark, owner: Owner | undefined): Made | undefined {
  // A second time if what stood there was stale.
  for (let tries = 0; tries < 2; tries += 1) {
    try {
      if (mark.isFolder) mkdirSync(mark.path, { mode: 0o700 });
      else closeSync(openSync(mark.path, 'wx', 0o600));
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw ioError('make the lock', mark.path, error);
      if (!takeAwayIfStale(mark.path)) return undefined;
      continue;
    }
    const identity = doing('make the lock', mark.path, () => identityOf(mark.path));
    const made = { ...mark, identity };
    if (owner) {
      try {
        lchownSync(mark.path, owner.uid, owner.gid);
      } catch (error) {
        removeMark(made);
        throw ioError('make the lock', mark.path, error);
      }
    }
    outlast(made);
    return made;
  }
  return undefined;
}

/** Whether it is still what others find. */
export function isMarkInPlace(made: Made): boolean {
  try {
    return identityOf(made.path) === made.identity;
  } catch {
    return false;
  }
}

export function removeMark(made: Made): void {
  // What somebody took away for stale and made anew is theirs.
  if (isMarkInPlace(made)) removeQuietly(made.path, made.isFolder);
}

/** One exchange may take longer than the others take a mark to be alive: so it is from a little later. */
function outlast(made: Made): void {
  const at = Math.floor((Date.now() + STALE_MS) / 1000);
  try {
    lutimesSync(made.path, at, at);
  } catch {
    // It is one all the same.
  }
}

/** Takes a mark away whose maker has died. False: he may be alive. */
function takeAwayIfStale(path: string): boolean {
  let stat: ReturnType<typeof lstat>;
  try {
    stat = lstat(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return true;
    throw ioError('look at the lock', path, error);
  }
  if (Date.now() - Number(stat.mtimeMs) <= STALE_MS) return false;
  // Of two who find it stale one moves it; what the other would move is a new one.
  const aside = `${path}.stale.${randomId()}`;
  try {
    renameSync(path, aside);
    if (identityOf(aside) !== `${stat.dev}:${stat.ino}`) {
      // It was a new one: its maker finds it again, unless somebody made another meanwhile.
      renameSync(aside, path);
      return false;
    }
  } catch {
    return false;
  }
  removeQuietly(aside, stat.isDirectory());
  return true;
}

function removeQuietly(path: string, isFolder: boolean): void {
  try {
    if (isFolder) rmdirSync(path);
    else unlinkSync(path);
  } catch {}
}

function identityOf(path: string): string {
  const stat = lstat(path);
  return `${stat.dev}:${stat.ino}`;
}

// A link is followed only where nobody but the user and root could have put it, and only to a place where nobody else can put
// another file. Without a link the path is the user's own word and is taken as it is.
//
// The way is walked by hand, one name at a time, because the kernel would follow anybody's link. What comes out is a path
// without links, so that all names of one file lead to one set of locks.

import { lstatSync, readlinkSync, type BigIntStats } from 'node:fs';
import { join } from 'node:path';
import { StorageError } from './contract.js';
import { doing, errnoOf, ioError, notAFile, whatIs } from './errors.js';

/** How many links may stand for the file itself, one behind the other. */
const MAX_FILE_LINKS = 5;
/** How many links there may be in all, directories included: what Linux allows. */
const MAX_LINKS = 40;

export interface Owner {
  uid: number;
  gid: number;
}

/** Where a path leads. */
export interface Way {
  /** The file, in a directory named without links. It need not exist, nor its directory. */
  target: string;
  /** The links that stood for the file, in the order they were followed; each in a directory named without links. */
  links: string[];
  /** Whose the file is, if it exists. */
  owner: Owner | undefined;
}

export function lstat(path: string): BigIntStats {
  return lstatSync(path, { bigint: true });
}

export function effectiveUser(): number {
  return process.geteuid?.() ?? -1;
}

/** Walks to an absolute path that leads to a file or to nothing. */
export function walk(path: string): Way {
  if (!path.startsWith('/')) {
    throw new StorageError('other', `${path} is relative, and the current directory cannot be told: use an absolute path`);
  }
  const links: string[] = [];
  let linksInAll = 0;
  /** The names still to go, the next one last. */
  const ahead = namesOf(path).reverse();
  /** The directory reached so far, named without links. */
  let real = '/';
  /** It and all directories above it, the root first. */
  let inside: BigIntStats[] = [];
  /** The first thing on the way that somebody else controls. */
  let doubt: string | undefined;

  const enter = (directory: BigIntStats) => {
    if (!isTrusted(directory)) {
      doubt ??= `the directory ${real} belongs to user ${directory.uid}`;
    } else if (isWritableByOthers(directory) && !isSticky(directory)) {
      const mode = (directory.mode & 0o7777n).toString(8).padStart(4, '0');
      doubt ??= `the directory ${real} is writable by others (mode ${mode})`;
    }
    inside.push(directory);
  };
  const backToRoot = () => {
    real = '/';
    inside = [];
    enter(doing('look at', '/', () => lstat('/')));
  };
  const arrive = (target: string, owner: Owner | undefined): Way => {
    const link = links.at(-1);
    if (link !== undefined && doubt !== undefined) throw refused(link, doubt);
    return { target, links, owner };
  };

  backToRoot();
  for (let name = ahead.pop(); name !== undefined; name = ahead.pop()) {
    if (name === '..') {
      if (inside.length > 1) {
        inside.pop();
        real = parentOf(real);
      }
      continue;
    }
    const here = join(real, name);
    let found: BigIntStats;
    try {
      found = lstat(here);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw ioError('look at', here, error);
      // There is nothing. What is still ahead is missing too.
      let target = here;
      for (const rest of ahead.reverse()) {
        if (rest === '..') throw new StorageError('other', `there is no directory ${target}`);
        target = join(target, rest);
      }
      return arrive(target, undefined);
    }
    // A link must be ours wherever it lies; anything must be ours in a directory where everybody may put things.
    const around = inside.at(-1);
    const isShared = around !== undefined && isWritableByOthers(around);
    if ((isShared || found.isSymbolicLink()) && !isTrusted(found)) {
      doubt ??= `${here} belongs to user ${found.uid}`;
    }
    if (found.isSymbolicLink()) {
      if (doubt !== undefined) throw refused(here, doubt);
      linksInAll += 1;
      if (ahead.length === 0) links.push(here);
      if (links.length > MAX_FILE_LINKS || linksInAll > MAX_LINKS) {
        throw refused(here, `too many links on the way (at most ${MAX_FILE_LINKS} for a file, ${MAX_LINKS} in all)`);
      }
      const text = doing('read the link', here, () => readlinkSync(here));
      if (text.startsWith('/')) backToRoot();
      ahead.push(...namesOf(text).reverse());
    } else if (found.isDirectory()) {
      real = here;
      enter(found);
    } else if (ahead.length > 0) {
      throw new StorageError('other', `${here} is not a directory`);
    } else if (!found.isFile()) {
      throw notAFile(here, whatIs(found));
    } else {
      return arrive(here, { uid: Number(found.uid), gid: Number(found.gid) });
    }
  }
  throw notAFile(real, 'a directory');
}

function namesOf(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.');
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/';
}

function refused(link: string, doubt: string): StorageError {
  return new StorageError(
    'unsafe',
    `will not follow the link ${link}: ${doubt}. Everything on the way must belong to you or root and be writable by nobody else ` +
      '(chmod go-w), or name the file itself instead of the link',
  );
}

function isTrusted(stat: BigIntStats): boolean {
  return stat.uid === 0n || stat.uid === BigInt(effectiveUser());
}

function isWritableByOthers(directory: BigIntStats): boolean {
  return (directory.mode & 0o022n) !== 0n;
}

/** In a sticky directory (`/tmp`) an entry can be replaced only by its owner. */
function isSticky(directory: BigIntStats): boolean {
  return (directory.mode & 0o1000n) !== 0n;
}

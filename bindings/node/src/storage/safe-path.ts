// A link is followed only where nobody but the user and root could have put it, and only to a place
// where nobody else can put another file. Without a link the path is the user's own word and is
// taken as it is.
//
// The way is walked by hand, one name at a time, because the kernel would follow anybody's link.
// Each directory is opened from the one before it and looked at when it is open, and the last one
// stays open: what is done there later is done in the directory that was looked at. What comes out
// has a path without links, so that all names of one file lead to one set of locks.

import { closeSync, mkdirSync, readlinkSync, type BigIntStats } from 'node:fs';
import { join } from 'node:path';
import { StorageError } from './contract.js';
import { Folder, pathOf, type Spot } from './folder.js';
import { doing, errnoOf, ioError, notAFile, whatIs } from './errors.js';
import { syncDir } from './sync.js';

/** How many links may stand for the file itself, one behind the other. */
const MAX_FILE_LINKS = 5;
/** How many links there may be in all, directories included: what Linux allows. */
const MAX_LINKS = 40;

/** Where a path leads. Its directories stay open until each who keeps it has closed it. */
export class SafePath {
  /** The links that stood for the file, in the order they were followed. */
  readonly links: readonly Spot[];
  readonly name: string;
  /** Whose the file is, if it exists. */
  readonly owner: number | undefined;
  /** The first thing on the way that somebody else controls. */
  readonly doubt: string | undefined;
  #dir: Folder;
  #missing: string[];
  #users = 1;

  constructor(dir: Folder, missing: string[], name: string, links: Spot[], owner: number | undefined, doubt: string | undefined) {
    this.#dir = dir;
    this.#missing = missing;
    this.name = name;
    this.links = links;
    this.owner = owner;
    this.doubt = doubt;
  }

  /** Returns the folder of the file; while that is missing, the nearest one above it. */
  get dir(): Folder {
    return this.#dir;
  }

  /** Returns whether the folder is there. */
  get hasFolder(): boolean {
    return this.#missing.length === 0;
  }

  /**
   * Returns the path of the file, in a folder named without links. It need not exist, nor its
   * folder.
   */
  get target(): string {
    return join(this.#dir.path, ...this.#missing, this.name);
  }

  /** To whom the vault and what lies beside it belongs. */
  get ownerOfAll(): number {
    return this.owner ?? effectiveUser();
  }

  /** Creates the folders that are missing, durably and for their owner alone. */
  createFolder(): void {
    for (let name = this.#missing[0]; name !== undefined; name = this.#missing[0]) {
      const path = join(this.#dir.path, name);
      const isNew = made(this.#dir, name, path);
      const next = doing('open the directory', path, () => this.#dir.enter(name));
      if (isNew) {
        doing('create the directory', path, () => {
          const above = this.#dir.open();
          try {
            syncDir(above);
          } finally {
            closeSync(above);
          }
        });
      }
      this.#dir.close();
      this.#dir = next;
      this.#missing.shift();
    }
  }

  /** Adds a user. Each user closes it when done. */
  keep(): this {
    this.#users += 1;
    return this;
  }

  close(): void {
    this.#users -= 1;
    if (this.#users > 0) return;
    this.#dir.close();
    for (const { dir } of this.links) dir.close();
  }
}

function made(dir: Folder, name: string, path: string): boolean {
  try {
    mkdirSync(dir.at(name), 0o700);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false;
    throw ioError('create the directory', path, error);
  }
}

export function effectiveUser(): number {
  return process.geteuid?.() ?? -1;
}

/** Walks to an absolute path that leads to a file or to nothing. */
export function walk(path: string): SafePath {
  if (!path.startsWith('/')) {
    throw new StorageError('other', `${path} is relative, and the current directory cannot be told: use an absolute path`);
  }
  const walker = new Walker(namesOf(path), undefined);
  try {
    walker.backToRoot();
    return walker.walk();
  } finally {
    walker.close();
  }
}

/** Walks on from the folder of a way to a file beside, which may be a link. */
export function walkBeside(safePath: SafePath, name: string): SafePath {
  const walker = new Walker([name], safePath.doubt);
  try {
    walker.begin(safePath.dir.keep());
    return walker.walk();
  } finally {
    walker.close();
  }
}

class Walker {
  /** The names still to go, the next one last. */
  readonly #ahead: string[];
  readonly #links: Spot[] = [];
  #linksInAll = 0;
  /** The directory reached so far as the last, and those above it that were walked through. */
  #inside: Folder[] = [];
  #doubt: string | undefined;
  #isDone = false;

  constructor(names: string[], doubt: string | undefined) {
    this.#ahead = names.reverse();
    this.#doubt = doubt;
  }

  begin(dir: Folder): void {
    this.#inside.push(dir);
  }

  backToRoot(): void {
    this.#closeInside();
    this.#enter(doing('look at', '/', () => Folder.root()));
  }

  close(): void {
    this.#closeInside();
    if (!this.#isDone) for (const { dir } of this.#links) dir.close();
  }

  walk(): SafePath {
    for (let name = this.#ahead.pop(); name !== undefined; name = this.#ahead.pop()) {
      if (name === '..') {
        this.#up();
        continue;
      }
      const here: Spot = { dir: this.#here(), name };
      // Most names on the way are directories, and one that is opened need not be looked at before.
      const next = this.#ahead.length > 0 ? this.#tryToOpen(here) : undefined;
      if (next) {
        this.#suspect(here, next.stat);
        this.#enter(next);
        continue;
      }
      const found = doing('look at', pathOf(here), () => here.dir.look(name));
      if (!found) return this.#arriveAtNothing(here);
      if (found.isSymbolicLink()) {
        this.#suspect(here, found);
        this.#follow(here);
      } else if (found.isDirectory()) {
        const dir = this.#open(here);
        this.#suspect(here, dir.stat);
        this.#enter(dir);
      } else {
        this.#suspect(here, found);
        if (this.#ahead.length > 0) throw new StorageError('other', `${pathOf(here)} is not a directory`);
        if (!found.isFile()) throw notAFile(pathOf(here), whatIs(found));
        return this.#arrive([], name, Number(found.uid));
      }
    }
    throw notAFile(this.#here().path, 'a directory');
  }

  #here(): Folder {
    const dir = this.#inside.at(-1);
    if (!dir) throw new StorageError('other', 'a way begins in a directory');
    return dir;
  }

  /**
   * A link must be ours wherever it lies; anything must be ours in a directory where everybody may
   * put things.
   */
  #suspect(here: Spot, found: BigIntStats): void {
    if ((isWritableByOthers(here.dir.stat) || found.isSymbolicLink()) && !isTrusted(found)) {
      this.#doubt ??= `${pathOf(here)} belongs to user ${found.uid}`;
    }
  }

  /** None: it is no directory, or cannot be opened; why is found out then. */
  #tryToOpen(here: Spot): Folder | undefined {
    try {
      return here.dir.enter(here.name);
    } catch (error) {
      if (error instanceof StorageError) throw error;
      return undefined;
    }
  }

  #open(here: Spot): Folder {
    try {
      return here.dir.enter(here.name);
    } catch (error) {
      // It was a directory a moment ago.
      if (!['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')) throw ioError('open the directory', pathOf(here), error);
      throw new StorageError('unavailable', `${pathOf(here)} was replaced while it was being opened; try again`);
    }
  }

  #enter(dir: Folder): void {
    this.#inside.push(dir);
    if (!isTrusted(dir.stat)) {
      this.#doubt ??= `the directory ${dir.path} belongs to user ${dir.stat.uid}`;
    } else if (isWritableByOthers(dir.stat) && !isSticky(dir.stat)) {
      const mode = (dir.stat.mode & 0o7777n).toString(8).padStart(4, '0');
      this.#doubt ??= `the directory ${dir.path} is writable by others (mode ${mode})`;
    }
  }

  #up(): void {
    if (this.#inside.length > 1) {
      this.#inside.pop()?.close();
      return;
    }
    // The walk began here, or this is the root, which is its own parent.
    const from = this.#here();
    const above = doing('look at', from.path, () => from.above());
    this.#inside = [];
    from.close();
    this.#enter(above);
  }

  #follow(here: Spot): void {
    if (this.#doubt !== undefined) throw refused(pathOf(here), this.#doubt);
    this.#linksInAll += 1;
    if (this.#ahead.length === 0) this.#links.push({ dir: here.dir.keep(), name: here.name });
    if (this.#links.length > MAX_FILE_LINKS || this.#linksInAll > MAX_LINKS) {
      throw refused(pathOf(here), `too many links on the way (at most ${MAX_FILE_LINKS} for a file, ${MAX_LINKS} in all)`);
    }
    const text = doing('read the link', pathOf(here), () => readlinkSync(here.dir.at(here.name)));
    if (text.startsWith('/')) this.backToRoot();
    this.#ahead.push(...namesOf(text).reverse());
  }

  /** Ends the walk at a name that does not exist. The names still ahead are missing too. */
  #arriveAtNothing(here: Spot): SafePath {
    const names = [here.name, ...this.#ahead.reverse()];
    const up = names.indexOf('..');
    if (up >= 0) throw new StorageError('other', `there is no directory ${join(here.dir.path, ...names.slice(0, up))}`);
    const name = names.pop() ?? here.name;
    return this.#arrive(names, name, undefined);
  }

  #arrive(missing: string[], name: string, owner: number | undefined): SafePath {
    const link = this.#links.at(-1);
    if (link !== undefined && this.#doubt !== undefined) throw refused(pathOf(link), this.#doubt);
    this.#isDone = true;
    return new SafePath(this.#here().keep(), missing, name, this.#links, owner, this.#doubt);
  }

  #closeInside(): void {
    for (const dir of this.#inside.splice(0)) dir.close();
  }
}

function namesOf(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.');
}

function refused(link: string, doubt: string): StorageError {
  return new StorageError(
    'unsafe',
    `will not follow the link ${link}: ${doubt}. Everything on the way must belong to you or root and be writable by nobody else ` +
      '(chmod go-w), or name the file itself instead of the link',
  );
}

export function isTrusted(stat: BigIntStats): boolean {
  return stat.uid === 0n || stat.uid === BigInt(effectiveUser());
}

export function isWritableByOthers(stat: BigIntStats): boolean {
  return (stat.mode & 0o022n) !== 0n;
}

/** In a sticky directory (`/tmp`) an entry can be replaced only by its owner. */
function isSticky(directory: BigIntStats): boolean {
  return (directory.mode & 0o1000n) !== 0n;
}

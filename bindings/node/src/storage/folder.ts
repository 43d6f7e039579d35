// A directory is opened and checked once. From then on what lies in it is reached through that open
// directory and a bare name: whoever exchanges a directory on the way, or moves this one, changes
// nothing of where we read and write.
//
// Node has no openat(2), and what libc opens Node would not close with a thread that is stopped. So
// the name is one that the kernel resolves from the open directory:
//
// | system | the name | holds |
// |---|---|---|
// | Linux | `/proc/self/fd/<n>/<name>` | always |
// | macOS, in a worker | `<name>`, in this thread's own current directory (`pthread_fchdir_np`) | always |
// | elsewhere: the BSDs, Linux without /proc, another thread of macOS | the path, if it still leads to the directory that is open | but for an exchange between that look and the use |

import { closeSync, constants, fstatSync, lstatSync, opendirSync, openSync, readFileSync, type BigIntStats } from 'node:fs';
import { join } from 'node:path';
import { StorageError } from './contract.js';
import { errnoOf } from './errors.js';
import { enterInThisThread } from './libc.js';

/** Linux: opens a file or directory as a place only, for which it need not be readable. */
export const O_PATH = process.platform === 'linux' || process.platform === 'android' ? 0o10000000 : 0;

/** How names are spelled; see above. */
type Naming = 'proc' | 'thread' | 'path';

let naming: Naming | undefined;

/** For tests: the naming of another system, or this system's own again. */
export function nameAs(other: Naming | undefined): void {
  naming = other;
}

function namingHere(fd: number): Naming {
  if (O_PATH === 0) return enterInThisThread(fd) ? 'thread' : 'path';
  try {
    lstatSync(`/proc/self/fd/${fd}/.`);
    return 'proc';
  } catch {
    return 'path';
  }
}

/** A name in a directory that is open. */
export interface Spot {
  dir: Folder;
  name: string;
}

/** As it may be given to the next call of `fs`. */
export function at({ dir, name }: Spot): string {
  return dir.at(name);
}

/** For messages. */
export function pathOf({ dir, name }: Spot): string {
  return join(dir.path, name);
}

/** Returns what does not change while a file or directory is there. */
export function identityOf(stat: BigIntStats): string {
  return `${stat.dev}:${stat.ino}`;
}

/** Returns the number of the mount that an open file lies on. None: the system does not tell. */
export function mountOf(fd: number): string | undefined {
  try {
    return /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
  } catch {
    return undefined;
  }
}

export class Folder {
  /** None where it may be passed through and not be opened, on systems without O_PATH. */
  readonly #fd: number | undefined;
  /** The path that it was reached by, without links: for messages. It may have been moved since. */
  readonly path: string;
  /** When it was opened. */
  readonly stat: BigIntStats;
  #users = 1;
  #parent: Folder | undefined;

  private constructor(path: string, name: string) {
    this.path = path;
    const flags = constants.O_DIRECTORY | constants.O_NOFOLLOW | (O_PATH || constants.O_RDONLY);
    try {
      this.#fd = openSync(name, flags);
    } catch (error) {
      if (O_PATH !== 0 || errnoOf(error) !== 'EACCES') throw error;
    }
    this.stat = this.#fd === undefined ? lstatSync(name, { bigint: true }) : fstatSync(this.#fd, { bigint: true });
  }

  static root(): Folder {
    return new Folder('/', '/');
  }

  /** Opens the directory of that name in this one, not through a link. Throws an errno error. */
  enter(name: string): Folder {
    return new Folder(join(this.path, name), this.at(name));
  }

  /** Returns the directory above when it is first asked for; it is closed with this one. */
  parent(): Folder {
    this.#parent ??= this.above();
    return this.#parent;
  }

  /** Returns the directory above, wherever this one is now; itself for the root. */
  above(): Folder {
    return new Folder(join(this.path, '..'), this.at('..'));
  }

  /**
   * Returns a name in this directory, as it may be given to the next call of `fs`, and to no later
   * one.
   */
  at(name: string): string {
    if (name === '' || name.includes('/') || name.includes('\0')) throw new StorageError('other', 'a file has a name without a slash');
    const fd = this.#fd;
    if (fd !== undefined) {
      naming ??= namingHere(fd);
      if (naming === 'proc') return `/proc/self/fd/${fd}/${name}`;
      if (naming === 'thread' && enterInThisThread(fd)) return `./${name}`;
    }
    if (!this.#isWhereItWas()) {
      throw new StorageError('unavailable', `the directory ${this.path} was moved while it was being used; try again`);
    }
    return `${this.path}/${name}`;
  }

  lstat(name: string): BigIntStats {
    return lstatSync(this.at(name), { bigint: true });
  }

  /** None: nothing of that name is there. */
  look(name: string): BigIntStats | undefined {
    return lstatSync(this.at(name), { bigint: true, throwIfNoEntry: false });
  }

  /** Opens it for reading its names and for syncing. */
  open(): number {
    return openSync(this.at('.'), constants.O_RDONLY | constants.O_DIRECTORY);
  }

  /**
   * Returns the names in it, `.` and `..` left out, and whether each is a file; at most `limit`.
   */
  *names(limit: number): Generator<{ name: string; isFile: boolean }> {
    const names = opendirSync(this.at('.'));
    try {
      for (let looked = 0; looked < limit; looked += 1) {
        const entry = names.readSync();
        if (!entry) return;
        yield { name: entry.name, isFile: entry.isFile() };
      }
    } finally {
      names.closeSync();
    }
  }

  isSame(other: Folder): boolean {
    return identityOf(this.stat) === identityOf(other.stat);
  }

  /** Returns the number of its mount, where the system tells. */
  mount(): string | undefined {
    return this.#fd === undefined ? undefined : mountOf(this.#fd);
  }

  /** Adds a user. Each user closes it when done. */
  keep(): this {
    this.#users += 1;
    return this;
  }

  close(): void {
    this.#users -= 1;
    if (this.#users > 0) return;
    this.#parent?.close();
    if (this.#fd !== undefined) closeSync(this.#fd);
  }

  #isWhereItWas(): boolean {
    const now = lstatSync(this.path, { bigint: true, throwIfNoEntry: false });
    return now !== undefined && identityOf(now) === identityOf(this.stat);
  }
}

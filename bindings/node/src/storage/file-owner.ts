// What lies beside a vault belongs to the vault's owner or to root: whoever else could put a file
// there would be told tokens, or be believed.

import type { BigIntStats } from 'node:fs';
import { StorageError } from './contract.js';
import type { Folder } from './folder.js';
import { effectiveUser, isWritableByOthers, type SafePath } from './safe-path.js';

/** Refuses a file or folder beside a vault of `owner` that is neither this user's nor root's. */
export function mustBelong(stat: BigIntStats, owner: number, path: string): void {
  if (stat.uid === 0n || stat.uid === BigInt(owner)) return;
  throw new StorageError(
    'unsafe',
    `${path} belongs to user ${stat.uid}, and what lies beside a vault must belong to the vault's owner (user ${owner}) or root; nothing ` +
      `was read from it or written to it. Look at who put it there, and move it away (or chown it, if it is yours)`,
  );
}

/** Refuses a folder of locks, which is open, that others could fill. */
export function mustBeKeptFromOthers(dir: Folder, owner: number): void {
  mustBelong(dir.stat, owner, dir.path);
  if (!isWritableByOthers(dir.stat)) return;
  const mode = (dir.stat.mode & 0o7777n).toString(8).padStart(4, '0');
  throw new StorageError('unsafe', `${dir.path} is writable by others (mode ${mode}), who could take its locks away; run: chmod go-w '${dir.path}'`);
}

/** Only its owner replaces a file, and makes anything beside it. */
export function mustBeOurs({ owner, target }: SafePath): void {
  if (owner === undefined || owner === effectiveUser()) return;
  throw new StorageError(
    'denied',
    `${target} belongs to user ${owner}, and only that user can replace it and leave it so; nothing was sent or written. Run as that user ` +
      `(sudo -u '#${owner}' ...)`,
  );
}

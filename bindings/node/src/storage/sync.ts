// Directories, told to the disk.

import { closeSync, fsyncSync } from 'node:fs';
import { StorageError } from './contract.js';
import type { Folder } from './folder.js';
import { doing, errnoOf } from './errors.js';

/**
 * Opens a directory before anything in it is changed: what cannot be opened is found out in time.
 */
export function openDir(dir: Folder): number {
  return doing('open the directory', dir.path, () => dir.open());
}

/** Returns once the names in the directory are on the disk. */
export function syncDir(fd: number): void {
  try {
    fsyncSync(fd);
  } catch (error) {
    // A file system that has nothing to sync in a directory says so; it is not a failure.
    if (!['EINVAL', 'ENOTSUP', 'EOPNOTSUPP'].includes(errnoOf(error) ?? '')) throw error;
  }
}

/**
 * Makes the names of the directories that lead to a directory durable, on its file system. Somebody
 * else may have created them just now, and have died before telling the disk.
 */
export function syncFoldersAbove(dir: Folder): void {
  let at = dir.keep();
  try {
    for (;;) {
      const from = at;
      const above = doing('look at', from.path, () => from.above());
      at = above;
      const isRoot = above.isSame(from);
      from.close();
      if (isRoot || above.stat.dev !== dir.stat.dev) return;
      sync(above);
    }
  } finally {
    at.close();
  }
}

function sync(dir: Folder): void {
  let fd: number;
  try {
    fd = openDir(dir);
  } catch (error) {
    // Who may not read a directory has hardly created one in it.
    if (error instanceof StorageError && error.code === 'denied') return;
    throw error;
  }
  try {
    doing('sync', dir.path, () => syncDir(fd));
  } finally {
    closeSync(fd);
  }
}

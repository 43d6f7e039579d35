// Directories: made for their owner alone, and told to the disk.

import { closeSync, constants, fstatSync, fsyncSync, mkdirSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { StorageError } from './contract.js';
import { doing, errnoOf, ioError } from './errors.js';

/** Opens a directory before anything in it is changed: what cannot be opened is found out in time. */
export function openDir(path: string): number {
  return doing('open the directory', path, () =>
    openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW),
  );
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

/** Creates a directory and those above it that are missing, durably. */
export function createDirs(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return;
  const above = dirname(path);
  if (above === path) return;
  createDirs(above);
  try {
    mkdirSync(path, 0o700);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw ioError('create the directory', path, error);
    return;
  }
  const dir = openDir(above);
  try {
    doing('create the directory', path, () => syncDir(dir));
  } finally {
    closeSync(dir);
  }
}

/**
 * Makes the names of the directories that lead to a directory durable, on its file system. Somebody else may have created them just
 * now, and have died before telling the disk.
 */
export function syncWayTo(path: string, fd: number): void {
  const device = fstatSync(fd).dev;
  for (let at = path; at !== dirname(at); ) {
    at = dirname(at);
    let above: number;
    try {
      above = openDir(at);
    } catch (error) {
      // Who may not read a directory has hardly created one in it.
      if (error instanceof StorageError && error.code === 'denied') continue;
      throw error;
    }
    try {
      if (fstatSync(above).dev !== device) return;
      doing('sync', at, () => syncDir(above));
    } finally {
      closeSync(above);
    }
  }
}

// Before a refresh token is sent it is known that its successor can be stored: whether the vault
// can be replaced is tried, not guessed. It is no promise, for a disk can fill and be taken away at
// any time; what follows a store that fails stays as it is.

import { closeSync, constants, openSync } from 'node:fs';
import { StorageError } from './contract.js';
import { at, mountOf, O_PATH, pathOf, type Spot } from './folder.js';
import { doing, errnoOf, ioError } from './errors.js';
import { allocate, fixedBy } from './libc.js';
import { createTemporary, mountedAsAFile, removeQuietly, temporary } from './replace.js';

/** How much larger than the vault its successor may be. */
const ROOM_TO_GROW = 64 * 1024;

/**
 * What can be told without making anything: the mount and the flags. Refuses a vault that cannot be
 * replaced.
 */
export function mustBeReplaceable(vault: Spot): void {
  refuseMount(vault);
  refuseFixed(pathOf(vault), open(vault));
  refuseFixed(vault.dir.path, quietly(() => vault.dir.open()));
}

/** The rest: makes what a store would make, of the size to come, and removes it again. */
export function mustHaveRoom(vault: Spot): void {
  const size = Number(vault.dir.look(vault.name)?.size ?? 0n);
  const temp = temporary(vault);
  let fd: number;
  try {
    fd = createTemporary(temp);
  } catch (error) {
    throw withCause(vault.dir.path, error);
  }
  try {
    doing('make room for', pathOf(vault), () => allocate(fd, size + ROOM_TO_GROW));
  } finally {
    closeSync(fd);
    removeQuietly(temp);
  }
}

/** A rename cannot replace a mount point, and the file on it is another one than its folder's. */
function refuseMount(vault: Spot): void {
  if (O_PATH === 0) {
    const device = vault.dir.look(vault.name)?.dev;
    if (device !== undefined && device !== vault.dir.stat.dev) throw mountedAsAFile(pathOf(vault));
    return;
  }
  // Devices do not tell here: a mount may be of the same one, and on an overlay (the disk of a
  // container) files and folders are on different ones.
  const fd = quietly(() => openSync(at(vault), O_PATH | constants.O_NOFOLLOW));
  if (fd === undefined) return;
  try {
    const [own, folder] = [mountOf(fd), vault.dir.mount()];
    if (own === undefined || folder === undefined || own === folder) return;
  } finally {
    closeSync(fd);
  }
  throw mountedAsAFile(pathOf(vault));
}

function refuseFixed(path: string, fd: number | undefined): void {
  if (fd === undefined) return;
  let why: ReturnType<typeof fixedBy>;
  try {
    why = fixedBy(fd);
  } finally {
    closeSync(fd);
  }
  if (why === undefined) return;
  const flag = why === 'immutable' ? 'i' : 'a';
  throw new StorageError('read-only', `${path} is ${why}, so the vault cannot be replaced; run: chattr -${flag} '${path}'`);
}

/** Opens the vault. A vault that cannot be opened is reported where it is read. */
function open(vault: Spot): number | undefined {
  return quietly(() => openSync(at(vault), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY));
}

function quietly(act: () => number): number | undefined {
  try {
    return act();
  } catch {
    return undefined;
  }
}

function withCause(folder: string, error: unknown): StorageError {
  switch (errnoOf(error)) {
    case 'EROFS':
      return new StorageError('read-only', `${folder} is on a read-only file system, so the vault cannot be replaced; mount it writable`);
    case 'EPERM':
      return new StorageError('read-only', `${folder} takes no new files, so the vault cannot be replaced; look at its flags (lsattr -d) and its file system`);
    case 'EACCES':
      return new StorageError('denied', `${folder} is not writable for this user, so the vault cannot be replaced; run: chmod u+w '${folder}'`);
    default:
      return ioError('create a file in', folder, error);
  }
}

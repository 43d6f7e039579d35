// Before a refresh token is spent, what the store of its successor needs is made ready: a temporary
// file beside the document, with its blocks allocated. It is no promise: a disk can fail at any time.

import { closeSync, constants, openSync } from 'node:fs';
import { PrepareError, StorageError, type PrepareCause } from './contract.js';
import { at, mountOf, O_PATH, pathOf, type Spot } from './folder.js';
import { doing, errnoOf, ioError } from './errors.js';
import { allocate, fixedBy } from './libc.js';
import { mountedAsAFile } from './replace.js';
import { Temporary } from './temporary.js';

/** How much larger than expected the text may become, in bytes. */
const ROOM_TO_GROW = 64 * 1024;

/** Refuses a vault that cannot be replaced, by what can be told without making anything. */
export function mustBeReplaceable(vault: Spot): void {
  refuseMount(vault);
  refuseFixed(pathOf(vault), open(vault));
  refuseFixed(vault.dir.path, quietly(() => vault.dir.open()));
}

/** Makes the temporary file for a text of `size` bytes. Throws a {@link PrepareError}. */
export function prepareTemporary(target: Spot, size: number): Temporary {
  mustBeReplaceable(target);
  let temp: Temporary;
  try {
    temp = Temporary.create(target);
  } catch (error) {
    throw withCause(target.dir.path, error);
  }
  try {
    doing('make room for', pathOf(target), () => allocate(temp.fd, size + ROOM_TO_GROW));
  } catch (error) {
    temp.discard();
    const { code, message } = error as StorageError;
    throw new PrepareError(code === 'full' ? 'no-room' : 'other', code, message);
  }
  temp.showThatItIsWanted();
  return temp;
}

/** Refuses a vault that a text of its size could not replace now. */
export function mustHaveRoom(vault: Spot): void {
  prepareTemporary(vault, Number(vault.dir.look(vault.name)?.size ?? 0n)).discard();
}

/** A rename cannot replace a mount point, and the file on it is another one than its folder's. */
function refuseMount(vault: Spot): void {
  if (O_PATH === 0) {
    const device = vault.dir.look(vault.name)?.dev;
    if (device !== undefined && device !== vault.dir.stat.dev) throw asMountPoint(vault);
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
  throw asMountPoint(vault);
}

function asMountPoint(vault: Spot): PrepareError {
  const { code, message } = mountedAsAFile(pathOf(vault));
  return new PrepareError('mount-point', code, message);
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
  throw new PrepareError('immutable', 'read-only', `${path} is ${why}, so the vault cannot be replaced; run: chattr -${flag} '${path}'`);
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

function withCause(folder: string, error: unknown): PrepareError {
  switch (errnoOf(error)) {
    case 'EROFS':
      return new PrepareError('read-only', 'read-only', `${folder} is on a read-only file system, so the vault cannot be replaced; mount it writable`);
    case 'EPERM':
      return new PrepareError('immutable', 'read-only', `${folder} takes no new files, so the vault cannot be replaced; look at its flags (lsattr -d) and its file system`);
    case 'EACCES':
      return new PrepareError('folder', 'denied', `${folder} is not writable for this user, so the vault cannot be replaced; run: chmod u+w '${folder}'`);
    default:
      return becauseOf(ioError('create a file in', folder, error));
  }
}

function becauseOf({ code, message }: StorageError): PrepareError {
  const causes: Record<string, PrepareCause> = { full: 'no-room', denied: 'folder', 'read-only': 'read-only' };
  return new PrepareError(causes[code] ?? 'other', code, message);
}

// Tokens that can be stored nowhere else are kept in a file that only their user can read, in the
// folder of that user's state, until a call stores them. The file is named after its vault, so that
// whoever next opens the vault finds it.

import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, fsyncSync, openSync, readSync, statSync, unlinkSync, writeSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { redact } from '../redact.js';
import { randomId, StorageError, type Rescued } from './contract.js';
import { at, type Folder, type Spot } from './folder.js';
import { openDir, syncDir, syncFoldersAbove } from './sync.js';
import { removeQuietly } from './temporary.js';
import { effectiveUser, walk } from './safe-path.js';

/** What one file may hold, and how many names and files are looked at. */
const MAX_BYTES = 1024 * 1024;
const MAX_NAMES = 1024;
const MAX_FILES = 16;

/** Keeps `unsaved` for the vault at a path, durably. Throws if it cannot. */
export function keep(vault: string, unsaved: string): void {
  const safePath = walk(join(folder(), `${prefixOf(vault)}${randomId()}`));
  try {
    safePath.createFolder();
    mustBePrivate(safePath.dir);
    const dir = openDir(safePath.dir);
    try {
      write({ dir: safePath.dir, name: safePath.name }, unsaved);
      syncDir(dir);
      syncFoldersAbove(safePath.dir);
    } finally {
      closeSync(dir);
    }
  } finally {
    safePath.close();
  }
}

function write(spot: Spot, unsaved: string): void {
  const fd = openSync(at(spot), constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
  let isWhole = false;
  try {
    const bytes = Buffer.from(unsaved);
    for (let from = 0; from < bytes.length; ) from += writeSync(fd, bytes, from);
    fsyncSync(fd);
    isWhole = true;
  } finally {
    closeSync(fd);
    if (!isWhole) removeQuietly(spot);
  }
}

/**
 * Returns what is kept for the vault at any of the paths; nothing that cannot be read or that
 * another user could have put there.
 */
export function rescued(paths: () => string[]): Rescued[] {
  const found: Rescued[] = [];
  inFolder((dir) => {
    const prefixes = paths().map(prefixOf);
    for (const { name, isFile } of dir.names(MAX_NAMES)) {
      if (!isFile || !prefixes.some((prefix) => name.startsWith(prefix)) || !/^[0-9a-f]{32}\.[0-9a-f]{32}$/.test(name)) continue;
      const unsaved = read({ dir, name });
      if (unsaved !== undefined) found.push(redact({ name, unsaved }, 'unsaved'));
      if (found.length === MAX_FILES) return;
    }
  });
  return found;
}

/** Removes what has been stored. */
export function forget({ name }: Rescued): void {
  inFolder((dir) => {
    unlinkSync(dir.at(name));
    const fd = dir.open();
    try {
      syncDir(fd);
    } finally {
      closeSync(fd);
    }
  });
}

/**
 * Does something in the folder, if it is there and is this user's alone. What fails is left for
 * another time.
 */
function inFolder(act: (dir: Folder) => void): void {
  try {
    const path = folder();
    if (!statSync(path, { throwIfNoEntry: false })) return;
    const safePath = walk(join(path, 'any'));
    try {
      if (!safePath.hasFolder) return;
      mustBePrivate(safePath.dir);
      act(safePath.dir);
    } finally {
      safePath.close();
    }
  } catch {}
}

function read(spot: Spot): string | undefined {
  let fd: number | undefined;
  try {
    fd = openSync(at(spot), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY);
    const stat = fstatSync(fd);
    if (!stat.isFile() || stat.uid !== effectiveUser() || (stat.mode & 0o7777) !== 0o600 || stat.size > MAX_BYTES) return undefined;
    const bytes = Buffer.alloc(stat.size);
    let length = 0;
    for (let more = -1; more !== 0 && length < bytes.length; length += more) more = readSync(fd, bytes, length, bytes.length - length, null);
    return length === bytes.length ? bytes.toString('utf8') : undefined;
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function folder(): string {
  const named = process.env.XDG_STATE_HOME;
  const state = named !== undefined && isAbsolute(named) ? named : join(homedir(), '.local/state');
  if (!isAbsolute(state)) throw new StorageError('other', 'this user has no home folder: set XDG_STATE_HOME to an absolute path');
  return join(state, 'lazaretto/rescue');
}

/** Nobody else can put a file there, or list what there is. */
function mustBePrivate({ stat, path }: Folder): void {
  if (stat.uid === BigInt(effectiveUser()) && (stat.mode & 0o077n) === 0n) return;
  throw new StorageError('unsafe', `${path} is not this user's alone, so no tokens are kept there; run: chmod 700 '${path}'`);
}

function prefixOf(vault: string): string {
  return `${createHash('sha256').update(vault).digest('hex').slice(0, 32)}.`;
}

// What the system says, as a `StorageError`: a code to act on, and a sentence with the path and the
// way out.

import type { BigIntStats } from 'node:fs';
import { getSystemErrorMap } from 'node:util';
import { StorageError } from './contract.js';

const CODES: Record<string, [code: string, hint: string]> = {
  ENOSPC: ['full', 'make room on that disk; what was there before is untouched'],
  EDQUOT: ['full', 'make room on that disk; what was there before is untouched'],
  EFBIG: ['full', 'this process may write no larger file: raise its limit (ulimit -f)'],
  EROFS: ['read-only', 'the file system is mounted read-only'],
  EACCES: ['denied', 'check who owns it and its directory, and run as that user'],
  EPERM: ['denied', 'check who owns it and its directory, and run as that user'],
  ENOTDIR: ['other', 'something on the way to it is a file where a directory must be'],
  EINTR: ['unavailable', 'try again'],
  ENOMEM: ['unavailable', 'try again'],
  EBUSY: ['unavailable', 'try again'],
  ESTALE: ['unavailable', 'try again'],
  ETIMEDOUT: ['unavailable', 'try again'],
  EAGAIN: ['unavailable', 'try again'],
  EMFILE: ['unavailable', 'too many files are open; try again'],
  ENFILE: ['unavailable', 'too many files are open; try again'],
  ELOOP: ['unsafe', 'a link appeared in its place while it was being used'],
};

/** Returns the system's name of an error, as `ENOENT`. */
export function errnoOf(error: unknown): string | undefined {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return typeof code === 'string' ? code : undefined;
}

/**
 * `action` is what was tried, as in "cannot `read` /home/me/auth.json". What is an answer of ours
 * already stays so.
 */
export function ioError(action: string, path: string, error: unknown): StorageError {
  if (error instanceof StorageError) return error;
  const errno = (error as NodeJS.ErrnoException).errno;
  const name = errnoOf(error);
  const [code, hint] = (name && CODES[name]) || ['other', 'look at that path and its file system'];
  // Node's own message repeats the path, and may name a second one.
  const words = (errno !== undefined && getSystemErrorMap().get(errno)?.[1]) || name || 'the system gave no reason';
  return new StorageError(code, `cannot ${action} ${path}: ${words}; ${hint}`);
}

/** Does what may fail, and says so in our words. */
export function doing<T>(action: string, path: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw ioError(action, path, error);
  }
}

/** Returns the error for a document that is `what` instead of a file. */
export function notAFile(path: string, what: string): StorageError {
  return new StorageError('unsupported', `${path} is ${what}: a document is a file that can be read and replaced`);
}

/** Returns what something that is no file is called. */
export function whatIs(stat: BigIntStats): string {
  if (stat.isDirectory()) return 'a directory';
  if (stat.isFIFO()) return 'a pipe (FIFO)';
  if (stat.isSocket()) return 'a socket';
  return 'a device';
}

/** Returns a number of bytes as a person says it. */
export function size(bytes: number): string {
  if (bytes < 10_240) return `${bytes} bytes`;
  if (bytes < 10_485_760) return `${Math.floor(bytes / 1024)} KiB`;
  return `${Math.floor(bytes / (1024 * 1024))} MiB`;
}

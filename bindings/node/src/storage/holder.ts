// Who holds a lock, as its holder wrote into the lock file: a hint for a person, which nothing is
// decided by.

import { fstatSync, ftruncateSync, readSync, writeSync } from 'node:fs';
import { hostname } from 'node:os';
import type { Holder } from './contract.js';
import { errnoOf } from './errors.js';

interface Hint {
  pid: number;
  host: string;
  sinceMs: number | undefined;
  /** The fingerprint of the grant that the lock is held for: several share one. */
  grant: string | undefined;
}

const host = printable(hostname());

export function writeHint(fd: number, grant?: string): void {
  // A full disk is no reason not to hold a lock.
  try {
    const line = Buffer.from(`${JSON.stringify({ pid: process.pid, host, since_ms: Date.now(), grant })}\n`);
    writeSync(fd, line, 0, line.length, 0);
    // The last holder may have died and left a longer one.
    if (fstatSync(fd).size > line.length) ftruncateSync(fd, line.length);
  } catch {}
}

/** So that there is a hint only while there is a holder. */
export function clearHint(fd: number): void {
  try {
    ftruncateSync(fd, 0);
  } catch {}
}

/** None: nothing there that can be understood. */
export function readHint(fd: number): Hint | undefined {
  try {
    const bytes = Buffer.alloc(512);
    const length = readSync(fd, bytes, 0, bytes.length, 0);
    const found: unknown = JSON.parse(bytes.toString('utf8', 0, length).split('\n', 1)[0] ?? '');
    const { pid, host, since_ms, grant } = found as { pid: unknown; host: unknown; since_ms: unknown; grant: unknown };
    if (!Number.isInteger(pid) || (pid as number) < 0 || (pid as number) > 0xffff_ffff) return undefined;
    return {
      pid: pid as number,
      // It is shown on a terminal, and anybody who can write the lock file wrote it.
      host: typeof host === 'string' ? printable(host) : '',
      sinceMs: Number.isSafeInteger(since_ms) && (since_ms as number) >= 0 ? (since_ms as number) : undefined,
      grant: typeof grant === 'string' ? grant : undefined,
    };
  } catch {
    return undefined;
  }
}

/** Returns whether the process that wrote it is still there, on this machine. */
export function isOfALivingProcessHere(hint: Hint): boolean {
  return hint.host === host && isAlive(hint.pid);
}

export function holderOf(hint: Hint | undefined): Holder {
  if (!hint) return { name: '' };
  return { name: hint.host ? `pid ${hint.pid} on ${hint.host}` : `pid ${hint.pid}`, sinceMs: hint.sinceMs };
}

/** Returns whether there is such a process on this machine. In doubt, yes. */
export function isAlive(pid: number): boolean {
  if (pid <= 0 || pid > 0x7fff_ffff) return true;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) !== 'ESRCH';
  }
}

function printable(text: string): string {
  return text.replace(/[^\x21-\x7e]/g, '').slice(0, 64);
}

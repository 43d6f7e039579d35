// What is known of the marks that a lazaretto made and may have left behind, and of those that lie
// in the future: one line of JSON in `T.lazaretto-locks/made`, read and written only by who holds
// the vault's own lock. So whoever finds a mark of ours knows that its maker is gone. It may be
// missing or torn: then a mark is as good as another program's, and ends by its age.

import { randomInt } from 'node:crypto';
import { ftruncateSync, readSync, writeSync, type BigIntStats } from 'node:fs';

/** What is longer was not written by us. */
const MAX_BYTES = 16 * 1024;

interface Ours {
  path: string;
  inode: number;
  micros: number;
}

interface Future {
  path: string;
  inode: number;
  modified_us: number;
  /** When it was first seen so. */
  seen_ms: number;
}

/** See above. */
export class LeftBehind {
  /** What this worker's marks are known by: microseconds that no clock with milliseconds shows. */
  readonly signature = randomInt(1_000) * 1_000 + randomInt(1, 1_000);
  #made: Ours[];
  #future: Future[];
  #isChanged = false;

  /** From the file; from nothing nothing is known. */
  constructor(fd?: number) {
    const known = fd === undefined ? {} : read(fd);
    this.#made = records<Ours>(known.made, ['inode', 'micros']);
    this.#future = records<Future>(known.future, ['inode', 'modified_us', 'seen_ms']);
  }

  /** Writes it down, if anything is new. */
  write(fd: number): void {
    if (!this.#isChanged) return;
    this.#isChanged = false;
    // Without it a mark that is left behind ends by its age.
    try {
      ftruncateSync(fd, 0);
      writeSync(fd, Buffer.from(`${JSON.stringify({ made: this.#made, future: this.#future })}\n`), 0, undefined, 0);
    } catch {}
  }

  noteMade(path: string, stat: BigIntStats): void {
    this.#made = this.#made.filter((ours) => ours.path !== path);
    this.#future = this.#future.filter((future) => future.path !== path);
    this.#made.push({ path, inode: Number(stat.ino), micros: this.signature });
    this.#isChanged = true;
  }

  isOurs(path: string, stat: BigIntStats): boolean {
    const micros = Number((stat.mtimeNs / 1_000n) % 1_000_000n);
    return this.#made.some((ours) => ours.path === path && ours.inode === Number(stat.ino) && ours.micros === micros);
  }

  noteFuture(path: string, stat: BigIntStats, nowMs: number): void {
    this.#future = this.#future.filter((future) => future.path !== path);
    this.#future.push({ path, inode: Number(stat.ino), modified_us: modifiedUs(stat), seen_ms: Math.floor(nowMs) });
    this.#isChanged = true;
  }

  /** Returns when a mark was first seen with the time that it has. */
  seenInTheFuture(path: string, stat: BigIntStats): number | undefined {
    const isIt = (future: Future) => future.path === path && future.inode === Number(stat.ino) && future.modified_us === modifiedUs(stat);
    return this.#future.find(isIt)?.seen_ms;
  }
}

function read(fd: number): { made?: unknown; future?: unknown } {
  try {
    const bytes = Buffer.alloc(MAX_BYTES);
    const known: unknown = JSON.parse(bytes.toString('utf8', 0, readSync(fd, bytes, 0, bytes.length, 0)));
    return typeof known === 'object' && known !== null ? known : {};
  } catch {
    return {};
  }
}

function records<T extends { path: string }>(found: unknown, numbers: (keyof T)[]): T[] {
  if (!Array.isArray(found)) return [];
  const isOne = (record: T | null) => typeof record?.path === 'string' && numbers.every((name) => Number.isSafeInteger(record[name]));
  return found.filter(isOne);
}

function modifiedUs(stat: BigIntStats): number {
  return Number(stat.mtimeNs / 1_000n);
}

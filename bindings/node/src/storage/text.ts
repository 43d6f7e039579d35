// A file is read whole, bounded and without ever blocking; and it is not read again while its stat
// proves that it is the same (docs/file-store.md, "When a file need not be read").

import { isUtf8 } from 'node:buffer';
import { closeSync, constants, fstatSync, openSync, readSync, statfsSync, type BigIntStats } from 'node:fs';
import { StorageError, versionOf, type Document } from './contract.js';
import { at, pathOf, type Folder, type Spot } from './folder.js';
import { doing, errnoOf, ioError, notAFile, size, whatIs } from './errors.js';
import { redact } from '../redact.js';
import { mustBelong } from './file-owner.js';

/** The largest document: 16 MiB. */
export const MAX_BYTES = 16 * 1024 * 1024;

/** The coarsest step in which a file system stamps files, in nanoseconds. */
const STAMP_STEP_NS = 2_000_000_000n;

/** The version that was read at a stat which proves it. */
export interface Seen {
  key: string;
  version: string;
}

/** A document as read from its file. */
export interface Text {
  document: Document;
  /** The version of the document's own file. */
  base: string;
  /** Whether the text is that of another file, which lies beside the document's own. */
  isUnsynced: boolean;
  /** The file's, when it was read. */
  stat: BigIntStats;
  /** None: this file must be read again next time. */
  seen: Seen | undefined;
}

/** Returns what a stat says about the content of a file. */
export function keyOf(stat: BigIntStats): string {
  return [stat.dev, stat.ino, stat.size, stat.mtimeNs, stat.ctimeNs].join(':');
}

/** Reads a file of `owner` or root, not through a link. None if there is no file. */
export function readText(spot: Spot, owner: number): Text | undefined {
  const path = pathOf(spot);
  for (let triesLeft = 2; ; triesLeft -= 1) {
    const readAtNs = BigInt(Date.now()) * 1_000_000n;
    const fd = openForReading(spot);
    if (fd === undefined) return undefined;
    let bytes: Buffer;
    let before: BigIntStats;
    let stat: BigIntStats;
    try {
      before = doing('look at', path, () => fstatSync(fd, { bigint: true }));
      mustBelong(before, owner, path);
      bytes = readBounded(fd, before, path);
      stat = doing('look at', path, () => fstatSync(fd, { bigint: true }));
    } finally {
      closeSync(fd);
    }
    const key = keyOf(stat);
    const isSteady = key === keyOf(before);
    // Somebody is writing in place: the text may be half theirs.
    if (!isSteady && triesLeft > 0) continue;
    if (!isUtf8(bytes)) throw notUtf8(path, bytes);
    const version = versionOf(bytes);
    const newest = stat.mtimeNs > stat.ctimeNs ? stat.mtimeNs : stat.ctimeNs;
    const isProof = isSteady && newest < readAtNs - STAMP_STEP_NS && networkOf(spot.dir) === undefined;
    return {
      document: redact({ version, text: bytes.toString('utf8') }, 'text'),
      base: version,
      isUnsynced: false,
      stat,
      seen: isProof ? { key, version } : undefined,
    };
  }
}

function openForReading(spot: Spot): number | undefined {
  // Without NONBLOCK, opening a FIFO waits for a writer.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;
  try {
    return openSync(at(spot), flags);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    if (errnoOf(error) === 'ENXIO') throw notAFile(pathOf(spot), 'a socket');
    throw ioError('read', pathOf(spot), error);
  }
}

function readBounded(fd: number, stat: BigIntStats, path: string): Buffer {
  if (!stat.isFile()) throw notAFile(path, whatIs(stat));
  if (stat.size > BigInt(MAX_BYTES)) throw tooLarge(path, size(Number(stat.size)));
  // One more than is there, so that the end is seen without growing.
  let bytes = Buffer.allocUnsafeSlow(Number(stat.size) + 1);
  let length = 0;
  for (;;) {
    const read = doing('read', path, () => readSync(fd, bytes, length, bytes.length - length, null));
    if (read === 0) return bytes.subarray(0, length);
    length += read;
    if (length > MAX_BYTES) throw tooLarge(path, 'growing');
    if (length === bytes.length) bytes = Buffer.concat([bytes, Buffer.alloc(64 * 1024)]);
  }
}

/** `howLarge` is a size, or a word for one that is not known. */
export function tooLarge(path: string, howLarge: string): StorageError {
  return new StorageError(
    'too-large',
    `${path} is too large: ${howLarge}, and the limit is ${size(MAX_BYTES)}; is it the right file?`,
  );
}

function notUtf8(path: string, bytes: Buffer): StorageError {
  return new StorageError(
    'corrupt',
    `${path} is not UTF-8 text: the first bad byte is at offset ${validUpTo(bytes)}; restore it or move it away`,
  );
}

/** Returns how many bytes are whole characters, from the start. */
export function validUpTo(bytes: Buffer): number {
  let [good, bad] = [0, bytes.length];
  // By halves to some line of text, then by characters.
  while (bad - good > 64) {
    let middle = (good + bad) >> 1;
    while (middle > good && ((bytes[middle] ?? 0) & 0xc0) === 0x80) middle -= 1;
    if (middle === good) break;
    if (isUtf8(bytes.subarray(good, middle))) good = middle;
    else bad = middle;
  }
  for (let length = 1; good < bytes.length && length <= 4; length += 1) {
    if (good + length <= bytes.length && isUtf8(bytes.subarray(good, good + length))) {
      good += length;
      length = 0;
    }
  }
  return good;
}

/**
 * Returns the kind of network file system that a directory lies on. None: a local one, or it cannot
 * be told.
 */
export function networkOf(dir: Folder): string | undefined {
  // Elsewhere the kind is not looked at: macOS and the BSDs do lock over NFS, through lockd.
  if (process.platform !== 'linux' && process.platform !== 'android') return undefined;
  try {
    return networkNameOf(statfsSync(dir.at('.')).type);
  } catch {
    return undefined;
  }
}

export function networkNameOf(magic: number): string | undefined {
  switch (magic >>> 0) {
    case 0x6969:
      return 'NFS';
    case 0xff534d42:
    case 0xfe534d42:
    case 0x517b:
      return 'SMB';
    default:
      return undefined;
  }
}

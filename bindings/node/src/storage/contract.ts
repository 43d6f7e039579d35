// Documents with versions, and leases on them: what serves the component's `storage` import.
// `wit/storage.wit` is the contract.

import { createHash, randomBytes } from 'node:crypto';

/** A text and its version, read together. */
export interface Document {
  version: string;
  text: string;
}

export type LoadOutcome = { tag: 'unchanged' } | { tag: 'absent' } | { tag: 'loaded'; val: Document };

export type StoreOutcome =
  | { tag: 'stored'; val: string }
  | { tag: 'stale'; val: Document | undefined }
  | { tag: 'unknown' };

export type Scope =
  | { tag: 'document'; val: string }
  | { tag: 'grant'; val: { document: string; fingerprint: string } };

/** Who holds a lease, as far as is known: a hint for a person, never a reason to act. */
export interface Holder {
  name: string;
  sinceMs?: number | undefined;
}

export type AcquireOutcome =
  | { tag: 'acquired'; val: { lease: string; grantedTtlMs?: number | undefined } }
  | { tag: 'busy'; val: Holder };

/** What a storage promises. It must not promise more than it keeps. */
export interface Capabilities {
  cas: Cas;
  reads: Reads;
  durability: Durability;
  /** Whether a document lease also excludes other programs that write the same document. */
  excludesForeign: boolean;
}

/** Whether compare and swap is one step, or is made of a lock, a read and a write. */
export type Cas = 'native' | 'emulated';
/** Whether a load sees every store that ended before it. */
export type Reads = 'linearizable' | 'may-be-stale';
/** What a durable store survives. */
export type Durability = 'none' | 'process-crash' | 'machine-crash' | 'quorum';

/**
 * A place for documents. Every call is complete when it returns; it blocks its thread, which is a
 * worker's.
 */
export interface Storage {
  load(name: string, known?: string): LoadOutcome;
  /**
   * Replaces a document if it is still at `expected`; undefined: if it does not exist. `ticket` is
   * what `prepare` returned for this document: the store consumes it, whatever the outcome. One that
   * is not known changes nothing.
   */
  store(name: string, text: string, expected: string | undefined, durable: boolean, lease?: string, ticket?: string): StoreOutcome;
  /**
   * Makes ready what a later store of `size` bytes needs, and returns a ticket for it; undefined if
   * there is nothing to make ready. `lease` is held on the grant that is about to be refreshed.
   * Nothing of the document changes, and what is not used goes with the lease. Throws a
   * {@link PrepareError}.
   */
  prepare(name: string, size: number, lease: string): string | undefined;
  acquire(scope: Scope, ttlMs: number, waitMs: number): AcquireOutcome;
  release(lease: string): void;
  /**
   * Who holds a lease now; none: nobody. Takes no lease, writes nothing, waits for nothing and
   * keeps nobody out. The answer is for people: what may be done is decided by `acquire` alone.
   */
  holderOf(scope: Scope): Holder | undefined;
  describe(): Capabilities;
  /**
   * Called every few seconds while an exchange is out: for leases that must show that their holder
   * lives.
   */
  beat?(): void;
  /**
   * What is so of a vault that every user of the machine may open, and the command that ends it.
   */
  exposed?(): { message: string; run: string } | undefined;
  /**
   * Where a storage has one: another place for tokens that it could not store. Throws if that
   * cannot be written either.
   */
  keepUnsaved?(unsaved: string): void;
  /** What was kept there for this vault, by anybody. */
  rescued?(): Rescued[];
  /** Removes what has been stored. */
  forgetRescued?(rescued: Rescued): void;
}

/** What is kept in one place. */
export interface Rescued {
  name: string;
  /** Secret. */
  unsaved: string;
}

/**
 * Why a call could not be answered. The message says what, where and what to do; never text of a
 * document.
 */
export class StorageError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = 'StorageError';
    this.code = code;
  }
}

/** Why a document cannot be replaced. */
export type PrepareCause = 'read-only' | 'mount-point' | 'immutable' | 'not-owner' | 'folder' | 'no-room' | 'other';

/** Why nothing could be made ready. The message says what to do. */
export class PrepareError extends StorageError {
  override readonly cause: PrepareCause;

  constructor(cause: PrepareCause, code: string, message: string) {
    super(code, message);
    this.name = 'PrepareError';
    this.cause = cause;
  }
}

/** The name by which the component knows the vault that a storage was opened for. */
export const VAULT = 'vault';

/**
 * Refuses a name that is not made of segments of `[a-z0-9._-]+` joined by `/`, none of them `.` or
 * `..`.
 */
export function checkName(name: string): void {
  const isValid = name.split('/').every((part) => part !== '.' && part !== '..' && /^[a-z0-9._-]+$/.test(part) && !part.includes('\n'));
  if (!isValid) {
    throw new StorageError(
      'invalid-name',
      `${quoted(name)} is not a document name: use segments of a-z, 0-9, '.', '_' and '-' joined by '/'`,
    );
  }
}

/** Returns a name as it may stand in a message: escaped, and cut short. */
export function quoted(name: string): string {
  const shown = [...name].slice(0, 80).join('');
  return JSON.stringify(shown.length < name.length ? `${shown}…` : shown);
}

/** Returns the version of a text: SHA-256 shortened to 128 bits, in hex. */
export function versionOf(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex').slice(0, 32);
}

/** 128 random bits in hex: the name of a lease or of a temporary file. */
export function randomId(): string {
  return randomBytes(16).toString('hex');
}

/** Returns which of the 64 grant locks a fingerprint is mapped to. */
export function grantLock(fingerprint: string): number {
  if (!/^[0-9a-f]{32}$/.test(fingerprint)) {
    // Not shown: whoever passes something else may have passed the token itself.
    throw new StorageError('other', 'a grant lease is named by a fingerprint: 32 lower-case hex digits');
  }
  return Number.parseInt(fingerprint.slice(0, 2), 16) & 0x3f;
}

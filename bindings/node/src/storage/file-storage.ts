// Documents as files. `docs/file-store.md` in the repository is the written protocol, for hosts in any language; this is it in
// JavaScript. A native lazaret, a Python one and this one may use one vault at once.
//
// | file | what it holds true |
// |---|---|
// | `kinds` | which documents there are, and what can be locked |
// | `places` | a document and its locks lie beside the file that all links lead to |
// | `way` | links are followed only where they are safe |
// | `text` | files are read bounded, and not again while a stat proves them unchanged |
// | `locks` | a lock lasts as long as its holder |
// | `replace` | a document is the old text or the new one, whole |
// | `unsynced` | the ledger's newest text may lie beside it, and counts only if it is whole |

import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { loadAlso, PLACE, placeOf, variableNamed, type Also } from './also.js';
import {
  randomId,
  StorageError,
  type AcquireOutcome,
  type Capabilities,
  type Holder,
  type LoadOutcome,
  type Scope,
  type Storage,
  type StoreOutcome,
} from './contract.js';
import { doing, size } from './errors.js';
import { claimOf, kindOf, KINDS, VAULT_KIND, type Claim, type Kind } from './kinds.js';
import { Held, Patience, takeLocks } from './locks.js';
import { find, foreignLocks, glance, isSamePlace, lockOf, marksOf, ownerOfNew, unsyncedOf, type Place, type Places } from './places.js';
import { replace } from './replace.js';
import { keyOf, MAX_BYTES, networkOf, readText, tooLarge, type Seen, type Text } from './text.js';
import { readWithUnsynced } from './unsynced.js';
import { walk } from './way.js';

export { StorageError } from './contract.js';
export type * from './contract.js';

/** How long a `store` that was given no lease waits for the document's lock. */
const STORE_WAIT_MS = 10_000;

/** How a {@link FileStorage} is opened. Relative paths are made absolute at once. */
export interface FileStorageOptions {
  /** The vault file; it need not exist. */
  vault: string;
  /** Which program's layout the vault is in, where its name, its folder and what is in it do not tell for certain (docs/layouts.md). */
  layout?: string | undefined;
  /** Where `providers.json` lies. Without this it is absent and cannot be written. */
  providers?: string | undefined;
  /**
   * Whether `<stem>.lock` beside `<stem>.json`, the reference program's own lock, is taken for writing the vault. Default: yes for a
   * vault file called `auth.json` or `nous_auth.json`, and no for any other. `false` also leaves other tools' locks for their own files alone.
   */
  foreignLock?: boolean | undefined;
  /** Lets grants be leased on a network file system, where locks may not exclude other machines. */
  allowNetworkFilesystem?: boolean | undefined;
  /** Other files that may hold the same grants. Those that they hold are refreshed only there. */
  also?: string[] | undefined;
  /** Where the reference keeps the logins that its profiles share, if not in `shared` in its root. */
  sharedLogins?: string | undefined;
  /** Whether variables of the environment that are called like a key or a token may be read, for entries that only name one. */
  environment?: boolean | undefined;
}

/** Locks that are held, and for what. */
interface Lease {
  claim: Claim;
  place: Place;
  held: Held;
}

/** One vault file and what lies beside it. Any number of these, in any number of threads and processes, may share one vault. */
export class FileStorage implements Storage {
  readonly #places: Places;
  readonly #also: Also;
  readonly #layout: string | undefined;
  readonly #foreignLock: boolean | undefined;
  readonly #allowNetwork: boolean;
  readonly #environment: boolean;
  readonly #leases = new Map<string, Lease>();
  /** What was last read, if its stat proves it. */
  readonly #seen = new Map<Kind, Seen>();

  constructor(options: FileStorageOptions) {
    const vault = resolve(options.vault);
    this.#places = { vault, profiles: options.providers === undefined ? undefined : resolve(options.providers) };
    this.#also = {
      vault,
      named: (options.also ?? []).map((path) => resolve(path)),
      shared: options.sharedLogins ? resolve(options.sharedLogins) : undefined,
    };
    this.#layout = options.layout;
    this.#foreignLock = options.foreignLock;
    this.#allowNetwork = options.allowNetworkFilesystem ?? false;
    this.#environment = options.environment ?? false;
  }

  load(name: string, known?: string): LoadOutcome {
    const also = loadAlso(this.#also, name, known);
    if (also) return also;
    if (name === PLACE) return placeOf(this.#places.vault, this.#layout, known);
    if (this.#environment && name.startsWith('env/')) return variableNamed(name.slice('env/'.length), process.env);
    const kind = kindOf(name);
    const glanced = glance(this.#places, kind);
    if (glanced === 'absent') return { tag: 'absent' };
    const seen = this.#seen.get(kind);
    if (known !== undefined && glanced && seen?.version === known && seen.key === keyOf(glanced)) return { tag: 'unchanged' };
    const place = find(this.#places, kind);
    const text = place && this.#read(kind, place);
    if (!text) return { tag: 'absent' };
    if (text.seen) this.#seen.set(kind, text.seen);
    else this.#seen.delete(kind);
    return text.document.version === known ? { tag: 'unchanged' } : { tag: 'loaded', val: text.document };
  }

  store(name: string, text: string, expected: string | undefined, durable: boolean, lease?: string): StoreOutcome {
    const kind = kindOf(name);
    const held = lease === undefined ? this.#lockForStore(kind) : this.#leaseFor(kind, lease);
    try {
      const place = held.place;
      const bytes = Buffer.byteLength(text);
      if (bytes > MAX_BYTES) throw tooLarge(place.path, size(bytes));
      const change = {
        target: place.path,
        unsynced: unsyncedOf(place, kind),
        text,
        expected,
        durable,
        newOwner: ownerOfNew(place),
      };
      return replace(change, () => this.#read(kind, place));
    } finally {
      if (lease === undefined) held.held.letGo();
    }
  }

  acquire(scope: Scope, _ttlMs: number, waitMs: number): AcquireOutcome {
    const claimed = this.#claim(claimOf(scope), new Patience(waitMs));
    if (!('held' in claimed)) return { tag: 'busy', val: claimed };
    const lease = randomId();
    this.#leases.set(lease, claimed);
    // No lease here ends by time.
    return { tag: 'acquired', val: { lease } };
  }

  release(lease: string): void {
    const held = this.#leases.get(lease);
    this.#leases.delete(lease);
    held?.held.letGo();
  }

  /** The names of the documents that exist and begin with `prefix`. */
  list(prefix: string): string[] {
    return KINDS.filter(({ name }) => name.startsWith(prefix))
      .filter((kind) => {
        const place = find(this.#places, kind);
        return place !== undefined && existsSync(place.path);
      })
      .map(({ name }) => name);
  }

  describe(): Capabilities {
    let isNetwork = false;
    let excludesForeign = false;
    try {
      const way = walk(this.#places.vault);
      isNetwork = networkOf(way.target) !== undefined;
      // The reference knows its vault by one name only: a file of any other name has no foreign writer to exclude.
      excludesForeign = this.#foreignLock === undefined || foreignLocks(way, this.#foreignLock).length > 0;
    } catch {}
    return {
      cas: 'emulated',
      reads: isNetwork ? 'may-be-stale' : 'linearizable',
      durability: 'machine-crash',
      excludesForeign,
    };
  }

  #read(kind: Kind, place: Place): Text | undefined {
    const beside = unsyncedOf(place, kind);
    return beside === undefined ? readText(place.path) : readWithUnsynced(place.path, beside);
  }

  /**
   * Takes the locks of a claim, or says who is in the way. The order never changes: a grant's lock before a document's, and another
   * program's before our own.
   */
  #claim(claim: Claim, patience: Patience): Lease | Holder {
    // While one waits for a lock the link may be pointed elsewhere, or the lock file be removed: then it was the wrong lock.
    for (let tries = 0; tries < 3; tries += 1) {
      const place = find(this.#places, claim.kind);
      if (!place) {
        throw new StorageError('unsupported', 'no file for providers.json was named (providers), so it cannot be written');
      }
      this.#refuseNetwork(claim, place);
      const isVault = claim.grant === undefined && claim.kind === VAULT_KIND;
      const taken = takeLocks(
        {
          foreign: isVault ? foreignLocks(place.anchor, this.#foreignLock) : [],
          marks: isVault ? marksOf(place.anchor, this.#foreignLock) : [],
          own: lockOf(place, claim),
          owner: ownerOfNew(place),
        },
        patience,
      );
      if (!(taken instanceof Held)) return taken;
      const lease = { claim, place, held: taken };
      let isInPlace = false;
      try {
        isInPlace = this.#isInPlace(lease);
      } finally {
        if (!isInPlace) taken.letGo();
      }
      if (isInPlace) return lease;
    }
    throw new StorageError('unavailable', `${this.#places.vault} is being moved about; try again`);
  }

  /** Whether the document still lies where the lease reaches, and its locks where others find them. */
  #isInPlace(lease: Lease): boolean {
    const now = find(this.#places, lease.claim.kind);
    return now !== undefined && isSamePlace(now, lease.place) && lease.held.isInPlace();
  }

  #refuseNetwork(claim: Claim, place: Place): void {
    if (claim.grant === undefined || this.#allowNetwork) return;
    const network = networkOf(place.anchor.target);
    if (network === undefined) return;
    throw new StorageError(
      'unsupported',
      `${place.path} lies on ${network}, where a lock may not keep another machine from refreshing the same login; move it to a ` +
        'local disk, or allow network file systems if only this machine uses it',
    );
  }

  /** The lease that a store was given, if it permits this store. */
  #leaseFor(kind: Kind, lease: string): Lease {
    const held = this.#leases.get(lease);
    if (!held || held.claim.grant !== undefined || held.claim.kind !== kind) {
      throw new StorageError(
        'invalid-lease',
        `the lease given for storing ${kind.name} is not a lease on that document, or is no longer held`,
      );
    }
    if (this.#isInPlace(held)) return held;
    throw new StorageError(
      'unavailable',
      `${kind.name} or its lock was moved, and the lease does not reach there; try again`,
    );
  }

  #lockForStore(kind: Kind): Lease {
    const claimed = doing('lock', kind.name, () => this.#claim({ kind, grant: undefined }, new Patience(STORE_WAIT_MS)));
    if ('held' in claimed) return claimed;
    const name = claimed.name || 'somebody';
    throw new StorageError('unavailable', `${kind.name} has been locked by ${name} for ${STORE_WAIT_MS / 1000} s; try again`);
  }
}

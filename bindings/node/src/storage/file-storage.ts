/// <reference types="node" preserve="true" />
// Documents as files. `docs/file-store.md` in the repository is the written protocol, for hosts in
// any language; this is it in JavaScript. A native lazaretto, a Python one and this one may use one
// vault at once.
//
// | file | what it holds true |
// |---|---|
// | `documents` | which documents there are, and what can be locked |
// | `places` | a document and its locks lie beside the file that all links lead to |
// | `safe-path` | links are followed only where they are safe |
// | `folder` | a folder that was checked stays open, and everything in it is reached through it |
// | `file-owner` | what lies beside a vault belongs to its owner or root |
// | `prepared` | what a store needs is made ready before a token is spent |
// | `temporary` | a text is written beside its document, and what was left is removed |
// | `rescue` | tokens that can be stored nowhere are kept for the next call |
// | `text` | files are read bounded, and not again while a stat proves them unchanged |
// | `locks` | a lock lasts as long as its holder |
// | `lock-probe` | asking who holds a lock never takes it |
// | `holder` | the holder of a lock is named for people, and decides nothing |
// | `other-tools` | which other tool's lock belongs to a vault is decided by place and content |
// | `foreign-marks` | the locks that other tools make are made, show that we live, and end with us |
// | `left-behind` | a mark that a killed lazaretto made is recognised |
// | `replace` | a document is the old text or the new one, whole |
// | `sync` | a folder's names are on the disk |
// | `unsynced` | the ledger's newest text may lie beside it, and counts only if it is whole |
// | `secrets` | a client's secret is read from the place that the user's profile names |
// | `environment` | only variables called like a key or a token are read |
// | `other-owners` | which other files may own what is in the vault |
// | `vault-place` | where the vault lies, and by which command a person reaches it |

import { statSync, type BigIntStats } from 'node:fs';
import { resolve } from 'node:path';
import {
  randomId,
  PrepareError,
  versionOf,
  StorageError,
  type AcquireOutcome,
  type Capabilities,
  type Holder,
  type LoadOutcome,
  type Rescued,
  type Scope,
  type Storage,
  type StoreOutcome,
} from './contract.js';
import { loadVariable } from './environment.js';
import { doing, size } from './errors.js';
import { claimOf, kindOf, KINDS, PROFILES_KIND, VAULT_KIND, type Claim, type DocumentKind } from './documents.js';
import { Held, holderOfLocks, Patience, takeLocks, type Locks } from './locks.js';
import { pathOf } from './folder.js';
import { mustBeOurs } from './file-owner.js';
import { loadFromOthers, type OtherOwners } from './other-owners.js';
import { marksOf } from './other-tools.js';
import { find, foreignLocks, glance, isSamePlace, lockOf, unsyncedOf, type Place, type Places } from './places.js';
import { replace } from './replace.js';
import { mustBeReplaceable, mustHaveRoom, prepareTemporary } from './prepared.js';
import { forget, keep, rescued } from './rescue.js';
import { Secrets } from './secrets.js';
import { shellWord } from './shell.js';
import type { Temporary } from './temporary.js';
import { keyOf, MAX_BYTES, networkOf, readText, tooLarge, type Seen, type Text } from './text.js';
import { readWithUnsynced } from './unsynced.js';
import { commandAbout, loadPlace, PLACE, type Reach } from './vault-place.js';
import { walk, type SafePath } from './safe-path.js';

export { PrepareError, StorageError } from './contract.js';
export type * from './contract.js';

/** How long a `store` that was given no lease waits for the document's lock. */
const STORE_WAIT_MS = 10_000;

/** How a {@link FileStorage} is opened. Relative paths are made absolute at once. */
export interface FileStorageOptions {
  /** The vault file; it need not exist. */
  vault: string;
  /**
   * Which program's layout the vault is in, where its name, its folder and what is in it do not
   * tell for certain (docs/layouts.md).
   */
  layout?: string | undefined;
  /** Where `providers.json` lies. Without this it is absent and cannot be written. */
  providers?: string | undefined;
  /**
   * Whether `<stem>.lock` beside `<stem>.json`, the reference program's own lock, is taken for
   * writing the vault. Default: yes for a vault file called `auth.json` or `nous_auth.json`, and no
   * for any other. `false` also leaves other tools' locks for their own files alone.
   */
  foreignLock?: boolean | undefined;
  /** Lets grants be leased on a network file system, where locks may not exclude other machines. */
  allowNetworkFilesystem?: boolean | undefined;
  /** Other files that may hold the same grants. Those that they hold are refreshed only there. */
  also?: string[] | undefined;
  /**
   * Where the reference keeps the logins that its profiles share, if not in `shared` in its root.
   */
  sharedLogins?: string | undefined;
  /**
   * Whether variables of the environment that are called like a key or a token may be read, for
   * entries that only name one.
   */
  environment?: boolean | undefined;
  /**
   * By which words a person calls the command `lazaretto` so that it is about this vault. Default:
   * `lazaretto --vault PATH`, with the layout and the profiles where they are named.
   */
  command?: string | undefined;
  /**
   * What a person runs, or does, to log in, in place of that command. `{provider}` in it stands for
   * the provider.
   */
  loginHint?: string | undefined;
}

/** Locks that are held, for what, and the folder that they hold it in. */
interface Lease {
  claim: Claim;
  place: Place;
  held: Held;
}

/** What was made ready for one store, as long as a lease is held. */
interface Ticket {
  lease: string;
  place: Place;
  temporary: Temporary;
}

/**
 * One vault file and what lies beside it. Any number of these, in any number of threads and
 * processes, may share one vault.
 */
export class FileStorage implements Storage {
  readonly #places: Places;
  readonly #others: OtherOwners;
  readonly #reach: Reach;
  readonly #foreignLock: boolean | undefined;
  readonly #allowNetwork: boolean;
  readonly #environment: boolean;
  readonly #secrets = new Secrets();
  readonly #leases = new Map<string, Lease>();
  readonly #tickets = new Map<string, Ticket>();
  /** What was last read, if its stat proves it. */
  readonly #seen = new Map<DocumentKind, Seen>();

  /** What time other tools' locks are dated with and judged by. For tests. */
  now: () => number = Date.now;

  constructor(options: FileStorageOptions) {
    const vault = resolve(options.vault);
    this.#places = { vault, profiles: options.providers === undefined ? undefined : resolve(options.providers) };
    this.#others = {
      vault,
      named: (options.also ?? []).map((path) => resolve(path)),
      shared: options.sharedLogins ? resolve(options.sharedLogins) : undefined,
      load: (path, document, known) => new FileStorage({ vault: path }).load(document, known),
    };
    this.#reach = {
      layout: options.layout,
      command: options.command ?? commandAbout(vault, options.layout, this.#places.profiles),
      loginHint: options.loginHint,
    };
    this.#foreignLock = options.foreignLock;
    this.#allowNetwork = options.allowNetworkFilesystem ?? false;
    this.#environment = options.environment ?? false;
  }

  load(name: string, known?: string): LoadOutcome {
    const elsewhere = loadFromOthers(this.#others, name, known);
    if (elsewhere) return elsewhere;
    if (name === PLACE) return loadPlace(this.#places.vault, this.#reach, known);
    if (this.#environment && name.startsWith('env/')) return loadVariable(name.slice('env/'.length), process.env);
    if (name.startsWith('secret/')) return this.#clientSecret(name.slice('secret/'.length));
    const kind = kindOf(name);
    const anchor = this.#anchorHeld(kind);
    if (!anchor) {
      const glanced = glance(this.#places, kind);
      if (glanced === 'absent') return { tag: 'absent' };
      if (this.#isKnown(kind, known, glanced)) return { tag: 'unchanged' };
    }
    const place = find(this.#places, kind, anchor);
    if (!place) return { tag: 'absent' };
    try {
      if (anchor && this.#isKnown(kind, known, place.look())) return { tag: 'unchanged' };
      return this.#loadFrom(place, known);
    } finally {
      place.close();
    }
  }

  /** Returns the secret of a provider's client, as `providers.json` says where it is. */
  #clientSecret(provider: string): LoadOutcome {
    const path = this.#places.profiles;
    const found = path === undefined ? undefined : this.load('providers.json');
    if (path === undefined || found?.tag !== 'loaded') return { tag: 'absent' };
    const text = this.#secrets.of(provider, found.val.text, path);
    return text === undefined ? { tag: 'absent' } : { tag: 'loaded', val: { version: versionOf(text), text } };
  }

  #loadFrom(place: Place, known: string | undefined): LoadOutcome {
    const text = this.#read(place);
    if (!text) return { tag: 'absent' };
    if (text.seen) this.#seen.set(place.kind, text.seen);
    else this.#seen.delete(place.kind);
    return text.document.version === known ? { tag: 'unchanged' } : { tag: 'loaded', val: text.document };
  }

  /** Returns whether a stat proves that the file is still what the caller knows. */
  #isKnown(kind: DocumentKind, known: string | undefined, stat: BigIntStats | undefined): boolean {
    const seen = this.#seen.get(kind);
    return known !== undefined && stat !== undefined && seen?.version === known && seen.key === keyOf(stat);
  }

  store(name: string, text: string, expected: string | undefined, durable: boolean, lease?: string, ticket?: string): StoreOutcome {
    const kind = kindOf(name);
    const prepared = ticket === undefined ? undefined : this.#tickets.get(ticket);
    if (ticket !== undefined) this.#tickets.delete(ticket);
    try {
      const temporary = prepared?.place.kind === kind ? prepared.temporary : undefined;
      return this.#storeUnder(kind, { text, expected, durable }, lease, temporary);
    } finally {
      if (prepared) discard(prepared);
    }
  }

  /** Stores under the lease that the caller holds, or under a lock for this store alone. */
  #storeUnder(
    kind: DocumentKind,
    asked: { text: string; expected: string | undefined; durable: boolean },
    lease: string | undefined,
    prepared: Temporary | undefined,
  ): StoreOutcome {
    const held = lease === undefined ? this.#lockForStore(kind) : this.#leaseFor(kind, lease);
    try {
      const place = held.place;
      const bytes = Buffer.byteLength(asked.text);
      if (bytes > MAX_BYTES) throw tooLarge(pathOf(place.spot), size(bytes));
      place.file.createFolder();
      const target = place.spot;
      // The vault may have been moved since: then the file lies beside another document.
      const usable = prepared?.target.name === target.name && prepared.target.dir.isSame(target.dir) ? prepared : undefined;
      return replace({ ...asked, target, unsynced: unsyncedOf(place), prepared: usable }, () => this.#read(place));
    } finally {
      if (lease === undefined) letGo(held);
    }
  }

  prepare(name: string, bytes: number, lease: string): string | undefined {
    let place: Place | undefined;
    try {
      const kind = kindOf(name);
      const held = this.#leases.get(lease);
      if (!held) throw invalidLease(kind);
      place = find(this.#places, kind, held.place.anchor);
      if (!place) throw new StorageError('unsupported', `${kind.name} has no place in this storage`);
      if (bytes > MAX_BYTES) throw tooLarge(pathOf(place.spot), size(bytes));
      const ticket = randomId();
      this.#tickets.set(ticket, { lease, place, temporary: prepareTemporary(place.spot, bytes) });
      return ticket;
    } catch (error) {
      place?.close();
      if (error instanceof PrepareError || !(error instanceof StorageError)) throw error;
      throw new PrepareError('other', error.code, error.message);
    }
  }

  acquire(scope: Scope, _ttlMs: number, waitMs: number): AcquireOutcome {
    const claimed = this.#claim(claimOf(scope), new Patience(waitMs));
    if (!('held' in claimed)) return { tag: 'busy', val: claimed };
    try {
      if (claimed.claim.grant !== undefined) mustHaveRoom(claimed.place.spot);
    } catch (error) {
      letGo(claimed);
      throw error;
    }
    const lease = randomId();
    this.#leases.set(lease, claimed);
    // No lease here ends by time.
    return { tag: 'acquired', val: { lease } };
  }

  release(lease: string): void {
    const held = this.#leases.get(lease);
    this.#leases.delete(lease);
    for (const [ticket, prepared] of this.#tickets) {
      if (prepared.lease !== lease) continue;
      this.#tickets.delete(ticket);
      discard(prepared);
    }
    if (held) letGo(held);
  }

  holderOf(scope: Scope): Holder | undefined {
    const claim = claimOf(scope);
    const place = find(this.#places, claim.kind, this.#anchorHeld(claim.kind));
    if (!place) return undefined;
    try {
      // Where there is no folder there is no lock.
      return place.anchor.hasFolder ? holderOfLocks(this.#locks(claim, place)) : undefined;
    } finally {
      place.close();
    }
  }

  /** Returns the names of the documents that exist and begin with `prefix`. */
  list(prefix: string): string[] {
    return KINDS.filter((kind) => kind.name.startsWith(prefix) && this.#exists(kind)).map(({ name }) => name);
  }

  #exists(kind: DocumentKind): boolean {
    const place = find(this.#places, kind);
    if (!place) return false;
    try {
      return place.look() !== undefined;
    } finally {
      place.close();
    }
  }

  /** Shows other tools that who holds their locks is alive. */
  beat(): void {
    for (const { held } of this.#leases.values()) held.beat(this.now());
  }

  /**
   * Returns what is wrong if every user of the machine may open the vault. A group may share it.
   */
  exposed(): { message: string; run: string } | undefined {
    const path = this.#places.vault;
    const mode = (statSync(path, { throwIfNoEntry: false })?.mode ?? 0) & 0o7777;
    if ((mode & 0o007) === 0) return undefined;
    const octal = mode.toString(8).padStart(4, '0');
    return { message: `${path} has the mode ${octal}: every user of this machine may open it`, run: `chmod 600 ${shellWord(path)}` };
  }

  keepUnsaved(unsaved: string): void {
    doing('keep the new tokens of', this.#places.vault, () => keep(this.#target() ?? this.#places.vault, unsaved));
  }

  rescued(): Rescued[] {
    return rescued(() => [this.#places.vault, this.#target() ?? this.#places.vault]);
  }

  forgetRescued(rescued: Rescued): void {
    forget(rescued);
  }

  /**
   * Returns the path of the vault after all links. None: its links may not be followed, or not now.
   */
  #target(): string | undefined {
    try {
      const safePath = walk(this.#places.vault);
      safePath.close();
      return safePath.target;
    } catch {
      return undefined;
    }
  }

  describe(): Capabilities {
    let isNetwork = false;
    let excludesForeign = false;
    try {
      const safePath = walk(this.#places.vault);
      try {
        isNetwork = networkOf(safePath.dir) !== undefined;
        // The reference knows its vault by one name only: a file of any other name has no foreign
        // writer to exclude.
        excludesForeign = this.#foreignLock === undefined || foreignLocks(safePath, this.#foreignLock).length > 0;
      } finally {
        safePath.close();
      }
    } catch {}
    return {
      cas: 'emulated',
      reads: isNetwork ? 'may-be-stale' : 'linearizable',
      durability: 'machine-crash',
      excludesForeign,
    };
  }

  #read(place: Place): Text | undefined {
    if (!place.file.hasFolder) return undefined;
    const beside = unsyncedOf(place);
    const owner = place.anchor.ownerOfAll;
    return beside === undefined ? readText(place.spot, owner) : readWithUnsynced(place.spot, beside, owner);
  }

  /**
   * Returns the path that a held lease was taken on. What is loaded and stored meanwhile is loaded
   * and stored there, wherever that was moved: the tokens that a refresh brings belong to the vault
   * that it was begun for.
   */
  #anchorHeld(kind: DocumentKind): SafePath | undefined {
    const isOfProfiles = kind === PROFILES_KIND;
    for (const { place } of this.#leases.values()) if ((place.kind === PROFILES_KIND) === isOfProfiles) return place.anchor;
    return undefined;
  }

  /**
   * Takes the locks of a claim, or says who is in the way. The order never changes: a grant's lock
   * before a document's, and another program's before our own.
   */
  #claim(claim: Claim, patience: Patience): Lease | Holder {
    const anchor = this.#anchorHeld(claim.kind);
    // While one waits for a lock the link may be pointed elsewhere, or the lock file be removed:
    // then it was the wrong lock.
    for (let tries = 0; tries < 3; tries += 1) {
      const place = find(this.#places, claim.kind, anchor);
      if (!place) {
        throw new StorageError('unsupported', 'no file for providers.json was named (providers), so it cannot be written');
      }
      let lease: Lease | undefined;
      let isInPlace = false;
      try {
        const held = this.#lock(claim, place, patience);
        if (!(held instanceof Held)) return held;
        lease = { claim, place, held };
        isInPlace = held.isInPlace() && (anchor !== undefined || this.#leadsThere(place));
        if (isInPlace) return lease;
      } finally {
        if (!isInPlace) {
          lease?.held.letGo();
          place.close();
        }
      }
    }
    throw new StorageError('unavailable', `${this.#places.vault} is being moved about; try again`);
  }

  #lock(claim: Claim, place: Place, patience: Patience): Held | Holder {
    const { anchor } = place;
    mustBeOurs(anchor);
    this.#refuseNetwork(claim, place);
    anchor.createFolder();
    if (claim.grant !== undefined) mustBeReplaceable({ dir: anchor.dir, name: anchor.name });
    return takeLocks(this.#locks(claim, place), patience);
  }

  #locks(claim: Claim, { anchor }: Place): Locks {
    const isVault = claim.grant === undefined && claim.kind === VAULT_KIND;
    return {
      foreign: isVault ? foreignLocks(anchor, this.#foreignLock) : [],
      marks: isVault ? marksOf(anchor, this.#foreignLock) : [],
      anchor: { dir: anchor.dir, name: anchor.name },
      own: lockOf(claim),
      grant: claim.fingerprint,
      owner: anchor.ownerOfAll,
      now: this.now,
    };
  }

  /** Returns whether the path still leads to where the locks were taken. */
  #leadsThere(place: Place): boolean {
    const now = find(this.#places, place.kind);
    if (!now) return false;
    try {
      return isSamePlace(now, place);
    } finally {
      now.close();
    }
  }

  #refuseNetwork(claim: Claim, place: Place): void {
    if (claim.grant === undefined || this.#allowNetwork) return;
    const network = networkOf(place.anchor.dir);
    if (network === undefined) return;
    throw new StorageError(
      'unsupported',
      `${pathOf(place.spot)} lies on ${network}, where a lock may not keep another machine from refreshing the same login; move it to a ` +
        'local disk, or allow network file systems if only this machine uses it',
    );
  }

  /** Returns the lease that a store was given, if it permits this store. */
  #leaseFor(kind: DocumentKind, lease: string): Lease {
    const held = this.#leases.get(lease);
    if (!held || held.claim.grant !== undefined || held.claim.kind !== kind) {
      throw invalidLease(kind);
    }
    if (held.held.isInPlace()) return held;
    throw new StorageError('unavailable', `the lock of ${kind.name} was moved, and the lease does not reach there; try again`);
  }

  #lockForStore(kind: DocumentKind): Lease {
    const claimed = doing('lock', kind.name, () => this.#claim({ kind, grant: undefined }, new Patience(STORE_WAIT_MS)));
    if ('held' in claimed) return claimed;
    const name = claimed.name || 'somebody';
    throw new StorageError('unavailable', `${kind.name} has been locked by ${name} for ${STORE_WAIT_MS / 1000} s; try again`);
  }
}

function discard({ temporary, place }: Ticket): void {
  temporary.discard();
  place.close();
}

function invalidLease(kind: DocumentKind): StorageError {
  return new StorageError('invalid-lease', `the lease given for ${kind.name} is not a lease on that document, or is no longer held`);
}

function letGo({ held, place }: Lease): void {
  held.letGo();
  place.close();
}

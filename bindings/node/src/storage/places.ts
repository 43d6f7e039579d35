// A document lies beside the vault file that all links lead to, whatever name it was opened by; and
// so do its locks.

import { lstatSync, statSync, type BigIntStats } from 'node:fs';
import { StorageError } from './contract.js';
import { pathOf, type Spot } from './folder.js';
import { errnoOf } from './errors.js';
import { LEDGER_KIND, PROFILES_KIND, VAULT_KIND, type Claim, type DocumentKind } from './documents.js';
import { effectiveUser, walk, walkBeside, type SafePath } from './safe-path.js';

/** The reference's vault. */
export const REFERENCE_VAULT = 'auth.json';
/** The layouts whose own lock is taken unless somebody says otherwise. */
const REFERENCE_FILES = [REFERENCE_VAULT, 'nous_auth.json'];

/** Where a document lies, with its folder open until it is closed. */
export class Place {
  readonly kind: DocumentKind;
  /** The file that the locks are named after: the vault's, or the profiles' own. */
  readonly anchor: SafePath;
  /** Where the document's own file lies: the anchor's way, or another if the document is a link. */
  readonly file: SafePath;
  readonly #name: string;

  constructor(kind: DocumentKind, anchor: SafePath, file: SafePath, name: string) {
    this.kind = kind;
    this.anchor = anchor;
    this.file = file;
    this.#name = name;
  }

  /** Returns the document's own file. */
  get spot(): Spot {
    return { dir: this.file.dir, name: this.#name };
  }

  /** Returns one stat of it. None if it is not there. */
  look(): BigIntStats | undefined {
    return this.file.hasFolder ? this.file.dir.look(this.#name) : undefined;
  }

  close(): void {
    this.file.close();
    this.anchor.close();
  }
}

/** The paths that a storage was opened with, absolute. */
export interface Places {
  vault: string;
  profiles: string | undefined;
}

function statOrAbsent(path: string): BigIntStats | 'absent' | undefined {
  try {
    return statSync(path, { bigint: true });
  } catch (error) {
    return errnoOf(error) === 'ENOENT' ? 'absent' : undefined;
  }
}

/**
 * Looks at a document with one stat, wherever the kernel finds it. None: that may be the wrong
 * file, or cannot be told. It is good for saying that there is nothing, or nothing new: a file that
 * was found on a safe way is the same on any.
 */
export function glance(places: Places, kind: DocumentKind): BigIntStats | 'absent' | undefined {
  if (kind === VAULT_KIND) return statOrAbsent(places.vault);
  if (kind.suffix === undefined) return places.profiles === undefined ? 'absent' : statOrAbsent(places.profiles);
  // Beside a link there lies nothing of ours, but beside its target.
  return isLink(places.vault) ? undefined : statOrAbsent(places.vault + kind.suffix);
}

function isLink(path: string): boolean {
  try {
    return lstatSync(path).isSymbolicLink();
  } catch {
    return false;
  }
}

/**
 * Finds a document by walking to it, or from where `anchor` has led. None: it has no place in this
 * storage.
 */
export function find(places: Places, kind: DocumentKind, anchor?: SafePath): Place | undefined {
  const named = kind === PROFILES_KIND ? places.profiles : places.vault;
  if (named === undefined) return undefined;
  const to = anchor?.keep() ?? walk(named);
  try {
    if (kind !== PROFILES_KIND) refuseRoot(to);
    const name = kind.suffix === undefined ? to.name : to.name + kind.suffix;
    const isElsewhere = kind.suffix !== undefined && to.hasFolder && to.dir.look(name)?.isSymbolicLink() === true;
    const safePath = isElsewhere ? walkBeside(to, name) : to.keep();
    return new Place(kind, to, safePath, isElsewhere ? safePath.name : name);
  } catch (error) {
    to.close();
    throw error;
  }
}

/** What root would do in a folder that is another user's, that user could turn against it. */
function refuseRoot({ owner, target }: SafePath): void {
  if (owner === undefined || owner === 0 || effectiveUser() !== 0) return;
  throw new StorageError(
    'unsafe',
    `${target} belongs to user ${owner}, and this program runs as root: run it as that user (sudo -u '#${owner}' ...), or use the command ` +
      'lazaretto, which becomes that user',
  );
}

/** Returns whether both are the same file with the same locks; its owner may have changed. */
export function isSamePlace(one: Place, other: Place): boolean {
  return (
    isSamePath(one.anchor, other.anchor) &&
    one.spot.name === other.spot.name &&
    one.file.hasFolder === other.file.hasFolder &&
    one.spot.dir.isSame(other.spot.dir)
  );
}

function isSamePath(one: SafePath, other: SafePath): boolean {
  return (
    one.name === other.name &&
    one.hasFolder === other.hasFolder &&
    one.dir.isSame(other.dir) &&
    one.links.length === other.links.length &&
    one.links.every(({ dir, name }, at) => name === other.links[at]?.name && dir.isSame(other.links[at].dir))
  );
}

/**
 * Returns where a text of this document may lie that was not synced. None if there is no such
 * place.
 */
export function unsyncedOf({ kind, spot }: Place): Spot | undefined {
  // All other documents are read by people and by other programs, who would not know.
  return kind === LEDGER_KIND ? { dir: spot.dir, name: `${spot.name}.unsynced` } : undefined;
}

/** Our own lock file for a claim. */
export function lockOf(claim: Claim): string {
  return claim.grant === undefined ? claim.kind.lock : claim.grant.toString(16).padStart(2, '0');
}

/**
 * Returns the reference program's lock files for a vault, in the order of their paths. It locks
 * beside the path that it was given and not beside what a link leads to: so there is one beside
 * each. `wanted` none: if any of the paths is what the reference calls its vault.
 */
export function foreignLocks(vault: SafePath, wanted: boolean | undefined): Spot[] {
  const names = spotsOf(vault);
  if (!(wanted ?? names.some(({ name }) => REFERENCE_FILES.includes(name)))) return [];
  const locks = names.filter(({ name }) => /.\.json$/.test(name));
  return inOrder(locks.map(({ dir, name }) => ({ dir, name: name.replace(/\.json$/, '.lock') })));
}

/** Returns all names of the file. */
export function spotsOf(safePath: SafePath): Spot[] {
  return [...safePath.links, { dir: safePath.dir, name: safePath.name }];
}

/** By their paths, each once. */
function inOrder(spots: Spot[]): Spot[] {
  const byPath = new Map(spots.map((spot) => [pathOf(spot), spot]));
  const order = ([one]: [string, Spot], [other]: [string, Spot]) => Buffer.compare(Buffer.from(one), Buffer.from(other));
  return [...byPath].sort(order).map(([, spot]) => spot);
}

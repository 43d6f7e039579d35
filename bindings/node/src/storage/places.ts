// A document lies beside the vault file that all links lead to, whatever name it was opened by; and so do its locks.

import { statSync, type BigIntStats } from 'node:fs';
import { basename, join } from 'node:path';
import { LEDGER_KIND, PROFILES_KIND, VAULT_KIND, type Claim, type Kind } from './kinds.js';
import { errnoOf } from './errors.js';
import { effectiveUser, lstat, walk, type Owner, type Way } from './way.js';

/** The reference's vault. */
export const REFERENCE_VAULT = 'auth.json';
/** The layouts whose own lock is taken unless somebody says otherwise. */
const REFERENCE_FILES = [REFERENCE_VAULT, 'nous_auth.json'];

/** Where a document lies. */
export interface Place {
  /** The file that the locks are named after: the vault's, or the profiles' own. */
  anchor: Way;
  /** The document's own file. */
  path: string;
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

/** Looks at a document with one stat, wherever the kernel finds it. None: that may be the wrong file, or cannot be told. */
export function glance(places: Places, kind: Kind): BigIntStats | 'absent' | undefined {
  if (kind === VAULT_KIND) return statOrAbsent(places.vault);
  if (kind.suffix === undefined) return places.profiles === undefined ? 'absent' : statOrAbsent(places.profiles);
  // Beside a link there lies nothing of ours, but beside its target.
  return isLink(places.vault) ? undefined : statOrAbsent(places.vault + kind.suffix);
}

function isLink(path: string): boolean {
  try {
    return lstat(path).isSymbolicLink();
  } catch {
    return false;
  }
}

/** Finds a document by walking to it. None: it has no place in this storage. */
export function find(places: Places, kind: Kind): Place | undefined {
  const named = kind === PROFILES_KIND ? places.profiles : places.vault;
  if (named === undefined) return undefined;
  const anchor = walk(named);
  if (kind.suffix === undefined) return { anchor, path: anchor.target };
  const beside = anchor.target + kind.suffix;
  // Its directory has been walked to already; only a link leads elsewhere.
  return { anchor, path: isLink(beside) ? walk(beside).target : beside };
}

/** Whether both are the same file with the same locks; its owner may have changed. */
export function isSamePlace(one: Place, other: Place): boolean {
  return (
    one.path === other.path &&
    one.anchor.target === other.anchor.target &&
    one.anchor.links.join('\0') === other.anchor.links.join('\0')
  );
}

/** Where a text of this document may lie that was not synced. None: nowhere. */
export function unsyncedOf(place: Place, kind: Kind): string | undefined {
  // All other documents are read by people and by other programs, who would not know.
  return kind === LEDGER_KIND ? `${place.path}.unsynced` : undefined;
}

/** Our own lock file for a claim. */
export function lockOf(place: Place, claim: Claim): string {
  const name = claim.grant === undefined ? claim.kind.lock : claim.grant.toString(16).padStart(2, '0');
  return join(`${place.anchor.target}.lazaret-locks`, name);
}

/**
 * Whom anything new here is to belong to. None: to this process. What root creates beside somebody's vault belongs to that
 * somebody, or they could never use it.
 */
export function ownerOfNew(place: Place): Owner | undefined {
  const owner = place.anchor.owner;
  return owner && owner.uid !== 0 && effectiveUser() === 0 ? owner : undefined;
}

/**
 * The reference program's lock files for a vault, in the order of their paths. It locks beside the path that it was given and not
 * beside what a link leads to: so there is one beside each. `wanted` none: if any of the paths is what the reference calls its vault.
 */
export function foreignLocks(vault: Way, wanted: boolean | undefined): string[] {
  const names = [...vault.links, vault.target];
  if (!(wanted ?? names.some((path) => REFERENCE_FILES.includes(basename(path))))) return [];
  const locks = names.filter((path) => /[^/]\.json$/.test(path)).map((path) => path.replace(/\.json$/, '.lock'));
  return [...new Set(locks)].sort((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
}

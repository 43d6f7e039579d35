// Other files may hold the grants that are in a vault, and own them (docs/file-store.md, "One grant
// in several files"). They are read, never written.

import { statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { VAULT, versionOf, type LoadOutcome } from './contract.js';
import { REFERENCE_VAULT } from './places.js';

const LIST = 'also.json';
const PREFIX = 'also/';

/** A file that may own grants of the vault. */
interface OwnerFile {
  path: string;
  /** The providers whose logins this file owns, whatever their tokens. */
  owns: string[];
}

/** What decides which other files a vault has. */
export interface OtherOwners {
  vault: string;
  /** The files that the program named. */
  named: string[];
  /** The folder of the reference's shared logins, if it is not the usual one. */
  shared: string | undefined;
  /** Loads a document from the storage of another file. */
  load(path: string, document: string, known: string | undefined): LoadOutcome;
}

/** Loads the list of other files, or a document of one. Undefined: `name` is another document. */
export function loadFromOthers(others: OtherOwners, name: string, known: string | undefined): LoadOutcome | undefined {
  if (name === LIST) return list(others, known);
  const found = name.startsWith(PREFIX) ? /^([0-9]{1,9})(?:\.(.*))?$/.exec(name.slice(PREFIX.length)) : null;
  if (!found) return undefined;
  const owner = ownersOf(others)[Number(found[1])];
  if (!owner) return { tag: 'absent' };
  const document = found[2] === undefined ? VAULT : `${VAULT}.${found[2]}`;
  return others.load(owner.path, document, known);
}

function list(others: OtherOwners, known: string | undefined): LoadOutcome {
  const rows = ownersOf(others).map((owner, at) => [`${PREFIX}${at}`, { called: owner.path, owns: owner.owns }]);
  if (rows.length === 0) return { tag: 'absent' };
  const text = JSON.stringify(Object.fromEntries(rows));
  const version = versionOf(text);
  return known === version ? { tag: 'unchanged' } : { tag: 'loaded', val: { version, text } };
}

/** Returns the files that exist and are not the vault by another name. */
function ownersOf({ vault, named, shared }: OtherOwners): OwnerFile[] {
  const found: OwnerFile[] = [];
  if (basename(vault) === REFERENCE_VAULT) {
    const home = dirname(vault);
    const profiles = dirname(home);
    const root = basename(profiles) === 'profiles' ? dirname(profiles) : undefined;
    found.push({ path: join(shared ?? join(root ?? home, 'shared'), 'nous_auth.json'), owns: ['nous'] });
    // At each start the reference copies it over the entry that it once made from it, and never
    // back.
    found.push({ path: join(home, '.anthropic_oauth.json'), owns: [] });
    if (root !== undefined) found.push({ path: join(root, REFERENCE_VAULT), owns: [] });
  }
  found.push(...named.map((path) => ({ path, owns: [] })));
  const own = identityOf(vault);
  return found.filter(({ path }) => {
    const identity = identityOf(path);
    return identity !== undefined && identity !== own;
  });
}

function identityOf(path: string): string | undefined {
  try {
    const stat = statSync(path, { bigint: true });
    return `${stat.dev}:${stat.ino}`;
  } catch {
    return undefined;
  }
}

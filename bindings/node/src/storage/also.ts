// Which other files may hold the grants that are in a vault, and own them (docs/file-store.md, "One grant in several files"). They are
// read, never written.

import { statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { StorageError, VAULT, versionOf, type LoadOutcome } from './contract.js';
import { FileStorage } from './file-storage.js';
import { REFERENCE_VAULT } from './places.js';

const LIST = 'also.json';
const PREFIX = 'also/';

/** One of them. */
interface Owner {
  path: string;
  /** The providers whose logins are its own, whatever their tokens. */
  owns: string[];
}

export interface Also {
  vault: string;
  named: string[];
  /** Where the reference's shared logins lie, if not in their usual folder. */
  shared: string | undefined;
}

/** A document of theirs; none if `name` is not of that kind. */
export function loadAlso(also: Also, name: string, known: string | undefined): LoadOutcome | undefined {
  if (name === LIST) return list(also, known);
  const found = name.startsWith(PREFIX) ? /^([0-9]{1,9})(?:\.(.*))?$/.exec(name.slice(PREFIX.length)) : null;
  if (!found) return undefined;
  const owner = owners(also)[Number(found[1])];
  if (!owner) return { tag: 'absent' };
  const document = found[2] === undefined ? VAULT : `${VAULT}.${found[2]}`;
  return new FileStorage({ vault: owner.path }).load(document, known);
}

function list(also: Also, known: string | undefined): LoadOutcome {
  const rows = owners(also).map((owner, at) => [`${PREFIX}${at}`, { called: owner.path, owns: owner.owns }]);
  if (rows.length === 0) return { tag: 'absent' };
  const text = JSON.stringify(Object.fromEntries(rows));
  const version = versionOf(text);
  return known === version ? { tag: 'unchanged' } : { tag: 'loaded', val: { version, text } };
}

/** Those that are there, and are not the vault by another name. */
function owners({ vault, named, shared }: Also): Owner[] {
  const found: Owner[] = [];
  if (basename(vault) === REFERENCE_VAULT) {
    const home = dirname(vault);
    const profiles = dirname(home);
    const root = basename(profiles) === 'profiles' ? dirname(profiles) : undefined;
    found.push({ path: join(shared ?? join(root ?? home, 'shared'), 'nous_auth.json'), owns: ['nous'] });
    // At each start the reference copies it over the entry that it once made from it, and never back.
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

/** The document that says where the vault lies. */
export const PLACE = 'vault.lazaretto-place';

/** How a person reaches a vault. */
export interface Reach {
  layout: string | undefined;
  /** By which words the command `lazaretto` is about it. */
  command: string;
  loginHint: string | undefined;
}

/** Where the vault lies, as it was named, and how a person reaches it. */
export function placeOf(path: string, { layout, command, loginHint }: Reach, known: string | undefined): LoadOutcome {
  const text = JSON.stringify({ path, layout, command, login_hint: loginHint });
  const version = versionOf(text);
  return known === version ? { tag: 'unchanged' } : { tag: 'loaded', val: { version, text } };
}

/** The words by which a person calls the command `lazaretto` so that it is about this vault. */
export function commandAbout(vault: string, layout: string | undefined, providers: string | undefined): string {
  const words = ['lazaretto', '--vault', vault];
  if (layout !== undefined) words.push('--layout', layout);
  if (providers !== undefined) words.push('--providers', providers);
  return words.map(shellWord).join(' ');
}

function shellWord(text: string): string {
  return /^[a-zA-Z0-9_.:/@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** An environment variable as a document, its name in lower case. */
export function variableNamed(variable: string, environment: NodeJS.ProcessEnv): LoadOutcome {
  if (!/^[a-z0-9._-]+$/.test(variable)) throw new StorageError('invalid-name', 'this is not the name of a variable');
  const value = environment[variable.toUpperCase()];
  // What is called like a key or a token, and nothing else: who can write a vault must not be able to ask for just anything.
  if (!value || !/(_key|_token|_pat)$/.test(variable)) return { tag: 'absent' };
  return { tag: 'loaded', val: { version: versionOf(value), text: value } };
}

// What a file storage knows by name: six documents, and 64 grant locks.

import { checkName, grantLock, quoted, StorageError, VAULT, type Scope } from './contract.js';

/** A document that has a place on disk. */
export interface DocumentKind {
  name: string;
  /** What follows the vault file's path in this document's. None: a path of its own. */
  suffix: string | undefined;
  lock: string;
}

export const VAULT_KIND: DocumentKind = { name: VAULT, suffix: undefined, lock: 'document-vault' };
export const LEDGER_KIND: DocumentKind = { name: 'vault.lazaretto', suffix: '.lazaretto', lock: 'document-ledger' };
export const PROFILES_KIND: DocumentKind = { name: 'providers.json', suffix: undefined, lock: 'document-profiles' };

export const KINDS: readonly DocumentKind[] = [
  VAULT_KIND,
  LEDGER_KIND,
  { name: 'vault.lazaretto-sealed', suffix: '.lazaretto-sealed', lock: 'document-sealed' },
  { name: 'vault.lazaretto-pool', suffix: '.lazaretto-pool', lock: 'document-pool' },
  { name: 'settings.json', suffix: '.lazaretto-settings.json', lock: 'document-settings' },
  PROFILES_KIND,
];

/** What a lock is wanted for: a document, or the grants whose lock has a number. */
export interface Claim {
  kind: DocumentKind;
  /** The number of the grant lock. None: the document itself. */
  grant: number | undefined;
  /** Of the one among them that it is wanted for. */
  fingerprint?: string;
}

export function kindOf(name: string): DocumentKind {
  checkName(name);
  const kind = KINDS.find((kind) => kind.name === name);
  if (kind) return kind;
  const known = KINDS.map((kind) => kind.name).join(', ');
  throw new StorageError('unsupported', `file storage has no document ${quoted(name)}, only ${known}`);
}

export function claimOf(scope: Scope): Claim {
  if (scope.tag === 'document') return { kind: kindOf(scope.val), grant: undefined };
  const kind = kindOf(scope.val.document);
  if (kind !== VAULT_KIND) {
    throw new StorageError('unsupported', `${kind.name} holds no grants, only ${VAULT} does`);
  }
  return { kind, grant: grantLock(scope.val.fingerprint), fingerprint: scope.val.fingerprint };
}

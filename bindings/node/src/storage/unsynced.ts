// The ledger's newest text may lie beside it unsynced, and counts only if it is whole and about the
// ledger that is there: so a store that need not be durable costs no sync, and the ledger itself is
// never in danger.
//
// It is read **before** the document's own file. Whatever is stored meanwhile, the outcome was
// current at some moment in between; the other way round, a text could come back that two stores
// had replaced.

import { StorageError, versionOf, type Document } from './contract.js';
import type { Spot } from './folder.js';
import { redact } from '../redact.js';
import { MAX_BYTES, readText, type Text } from './text.js';

const MARK = 'lazaretto-unsynced 1';

/**
 * Returns what is to be written beside a document whose file is at `base`. None if it would be
 * too large to be read.
 */
export function spellUnsynced(base: string, text: string): string | undefined {
  const file = `${MARK} ${base} ${versionOf(text)}\n${text}`;
  return Buffer.byteLength(file) <= MAX_BYTES ? file : undefined;
}

/**
 * Reads a document of `owner` or root, and what may lie beside it unsynced. None if there
 * is no document.
 */
export function readWithUnsynced(spot: Spot, beside: Spot, owner: number): Text | undefined {
  let unsynced: ReturnType<typeof parseUnsynced>;
  try {
    const found = readText(beside, owner);
    unsynced = found && parseUnsynced(found.document.text);
  } catch (error) {
    // A power cut may have left anything.
    if (!(error instanceof StorageError && error.code === 'corrupt')) throw error;
  }
  const found = readText(spot, owner);
  if (!found) return undefined;
  // One stat cannot tell of two files.
  found.seen = undefined;
  if (unsynced && unsynced.base === found.base) {
    found.document = unsynced.document;
    found.isUnsynced = true;
  }
  return found;
}

/** None if it is not whole. */
export function parseUnsynced(file: string): { base: string; document: Document } | undefined {
  const end = file.indexOf('\n');
  const head = /^lazaretto-unsynced 1 (\S*) (\S*)$/.exec(file.slice(0, Math.max(end, 0)));
  if (end < 0 || !head) return undefined;
  const [base, version, text] = [head[1] ?? '', head[2] ?? '', file.slice(end + 1)];
  return versionOf(text) === version ? { base, document: redact({ version, text }, 'text') } : undefined;
}

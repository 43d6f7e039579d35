// Whose file a vault is decides whose lock is taken, and place and content decide whose file it is:
// a file's name alone proves nothing, for several tools call theirs the same.
//
// Claude Code makes the folder `.oauth_refresh.lock` in its folder, and then `<its folder, links
// followed>.lock` beside it, which is all that old versions make; both are good for 60 s without a
// sign of life. Qwen Code makes the file `oauth_creds.lock`, good for 35 s. Versions and sources:
// `docs/file-store.md` in the repository.

import { closeSync, constants, fstatSync, openSync, readFileSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { at, identityOf, pathOf, type Folder, type Spot } from './folder.js';
import type { Mark } from './foreign-marks.js';
import { spotsOf } from './places.js';
import { MAX_BYTES } from './text.js';
import type { SafePath } from './safe-path.js';

const CLAUDE_STALE_MS = 60_000;
const QWEN_STALE_MS = 35_000;

/** Returns what other tools make while they refresh a login in their own file. */
export function marksOf(vault: SafePath, wanted: boolean | undefined): Mark[] {
  const marks = new Map<string, Mark>();
  const add = (mark: Mark) => marks.set(pathOf(mark), mark);
  for (const spot of wanted === false ? [] : spotsOf(vault)) {
    const { dir, name } = spot;
    const isOf = (place: string, variables: string[], member: string) =>
      basename(dir.path) === place || variables.some((variable) => isNamedBy(variable, dir)) || hasMember(spot, member);
    if (name === '.credentials.json' && isOf('.claude', ['CLAUDE_SECURESTORAGE_CONFIG_DIR', 'CLAUDE_CONFIG_DIR'], 'claudeAiOauth')) {
      add({ dir, name: '.oauth_refresh.lock', isFolder: true, staleAfterMs: CLAUDE_STALE_MS, isOptional: false });
      const beside = besideOf(dir);
      if (beside) add({ ...beside, isFolder: true, staleAfterMs: CLAUDE_STALE_MS, isOptional: true });
    }
    if (name === 'oauth_creds.json' && isOf('.qwen', ['QWEN_HOME'], 'resource_url')) {
      add({ dir, name: 'oauth_creds.lock', isFolder: false, staleAfterMs: QWEN_STALE_MS, isOptional: false });
    }
  }
  return [...marks.values()].sort(inPathOrder);
}

/** Name by name, as the other hosts sort: `/a/b` comes before `/a-b`. */
function inPathOrder(one: Mark, other: Mark): number {
  const [ones, others] = [one, other].map((mark) => pathOf(mark).split('/')) as [string[], string[]];
  for (let at = 0; at < Math.min(ones.length, others.length); at += 1) {
    const order = Buffer.compare(Buffer.from(ones[at] as string), Buffer.from(others[at] as string));
    if (order !== 0) return order;
  }
  return ones.length - others.length;
}

/** Returns the lock of a folder itself. */
function besideOf(dir: Folder): Spot | undefined {
  try {
    return dir.path === '/' ? undefined : { dir: dir.parent(), name: `${basename(dir.path)}.lock` };
  } catch {
    return undefined;
  }
}

/** Returns whether a variable of the environment names this folder. */
function isNamedBy(variable: string, dir: Folder): boolean {
  const named = process.env[variable];
  if (!named) return false;
  try {
    return identityOf(statSync(named, { bigint: true })) === identityOf(dir.stat);
  } catch {
    return false;
  }
}

/**
 * Returns whether the file is an object with this member. What cannot be read is not sent from
 * either.
 */
function hasMember(spot: Spot, member: string): boolean {
  try {
    const fd = openSync(at(spot), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const stat = fstatSync(fd);
      if (!stat.isFile() || stat.size > MAX_BYTES) return false;
      const content: unknown = JSON.parse(readFileSync(fd, 'utf8'));
      return typeof content === 'object' && content !== null && Object.hasOwn(content, member);
    } finally {
      closeSync(fd);
    }
  } catch {
    return false;
  }
}

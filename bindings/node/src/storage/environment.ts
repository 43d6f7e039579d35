// An environment variable is read as a document only if it is called like a key or a token: whoever
// can write a vault must not be able to ask for just any variable.

import { StorageError, versionOf, type LoadOutcome } from './contract.js';

/** Loads a variable, its name in lower case, from `environment`. */
export function loadVariable(variable: string, environment: NodeJS.ProcessEnv): LoadOutcome {
  if (!/^[a-z0-9._-]+$/.test(variable)) throw new StorageError('invalid-name', 'this is not the name of a variable');
  const value = environment[variable.toUpperCase()];
  if (!value || !/(_key|_token|_pat)$/.test(variable)) return { tag: 'absent' };
  return { tag: 'loaded', val: { version: versionOf(value), text: value } };
}

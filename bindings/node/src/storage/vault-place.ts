// The document `vault.lazaretto-place` says where the vault lies, as a person named it, and by
// which command a person reaches it.

import { versionOf, type LoadOutcome } from './contract.js';
import { shellWord } from './shell.js';

/** The document's name. */
export const PLACE = 'vault.lazaretto-place';

/** How a person reaches a vault. */
export interface Reach {
  layout: string | undefined;
  /** The words by which the command `lazaretto` is about this vault. */
  command: string;
  loginHint: string | undefined;
}

/** Loads the document for the vault at `path`. */
export function loadPlace(path: string, { layout, command, loginHint }: Reach, known: string | undefined): LoadOutcome {
  const text = JSON.stringify({ path, layout, command, login_hint: loginHint });
  const version = versionOf(text);
  return known === version ? { tag: 'unchanged' } : { tag: 'loaded', val: { version, text } };
}

/**
 * Returns the words by which a person calls the command `lazaretto` so that it is about this vault.
 */
export function commandAbout(vault: string, layout: string | undefined, providers: string | undefined): string {
  const words = ['lazaretto', '--vault', vault];
  if (layout !== undefined) words.push('--layout', layout);
  if (providers !== undefined) words.push('--providers', providers);
  return words.map(shellWord).join(' ');
}

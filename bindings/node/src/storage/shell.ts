// Commands for a person to run, as a shell takes them.

/** Returns a text as one word of a shell's command. */
export function shellWord(text: string): string {
  return /^[a-zA-Z0-9_.:/@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

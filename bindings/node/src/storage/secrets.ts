// A client's secret is read from the one place that the user's own `providers.json` names. The
// component says only of which provider, so neither it nor a vault can have anything else read or
// run.
//
// | member | what is read |
// |---|---|
// | `client_secret_env` | that environment variable |
// | `client_secret_file` | the first line of that file; a relative path is beside `providers.json`, `~/` is the home directory |
// | `client_secret_command` | the first line that the program prints; no shell runs it, and its standard error is ours |

import { spawnSync } from 'node:child_process';
import { isUtf8 } from 'node:buffer';
import { closeSync, constants, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { StorageError } from './contract.js';

/** The members of which a profile has at most one. */
const MEMBERS = ['client_secret', 'client_secret_env', 'client_secret_file', 'client_secret_command'];
/** No profile lies over more others than this. */
const DEEPEST = 8;
/** A person may have to unlock what the secret is kept in. */
const DEADLINE_MS = 30_000;
/** For so long a program is not run again. */
const KEPT_MS = 600_000;
const LONGEST = 64 * 1024;

type Members = Record<string, unknown>;
type Place = { variable: string } | { file: string } | { command: string[] };

/** Reads the secrets of clients, and keeps what programs printed for a while. */
export class Secrets {
  readonly #printed = new Map<string, { sinceMs: number; text: string }>();

  /** Returns the secret of a provider's client. None if its profile names no place. */
  of(provider: string, profiles: string, path: string): string | undefined {
    const place = placeOf(provider, profiles);
    if (!place) return undefined;
    let text: string;
    if ('variable' in place) {
      text = process.env[place.variable] ?? '';
      if (!text) throw other(`the environment variable ${place.variable} is not set`);
    } else if ('file' in place) {
      text = ofFile(beside(path, place.file));
    } else {
      mustBeOurs(path);
      text = this.#printedBy(place.command);
    }
    return (text.split('\n', 1)[0] ?? '').trimEnd();
  }

  #printedBy(words: string[]): string {
    const key = JSON.stringify(words);
    const kept = this.#printed.get(key);
    if (kept && performance.now() - kept.sinceMs < KEPT_MS) return kept.text;
    const text = run(words);
    this.#printed.set(key, { sinceMs: performance.now(), text });
    return text;
  }
}

/**
 * Returns where a provider's profile says that the secret is: in the first of its layers that says
 * anything of it, and in none below one that names another client or another server.
 */
function placeOf(provider: string, text: string): Place | undefined {
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch {
    return undefined;
  }
  const profiles = membersOf(membersOf(file)?.['profiles']);
  let profile = membersOf(profiles?.[provider]);
  for (let depth = 0; profile && depth <= DEEPEST; depth += 1) {
    const has = (member: string) => Object.hasOwn(profile as Members, member);
    if (MEMBERS.some(has)) return namedIn(profile);
    if (has('token_endpoint') || has('client_id')) return undefined;
    const base = profile['extends'];
    profile = typeof base === 'string' && profiles && Object.hasOwn(profiles, base) ? membersOf(profiles[base]) : undefined;
  }
  return undefined;
}

function membersOf(value: unknown): Members | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Members) : undefined;
}

function namedIn(profile: Members): Place | undefined {
  const [member, ...more] = MEMBERS.filter((name) => Object.hasOwn(profile, name) && profile[name] !== null);
  if (!member || more.length > 0) return undefined;
  const value = profile[member];
  if (member === 'client_secret_env' && typeof value === 'string') return { variable: value };
  if (member === 'client_secret_file' && typeof value === 'string') return { file: value };
  const isCommand = Array.isArray(value) && value.length > 0 && value.every((word) => typeof word === 'string');
  return member === 'client_secret_command' && isCommand ? { command: value as string[] } : undefined;
}

function other(message: string): StorageError {
  return new StorageError('other', message);
}

function beside(profiles: string, named: string): string {
  if (!named.startsWith('~/')) return resolve(dirname(profiles), named);
  const home = process.env['HOME'];
  if (!home) throw other(`${named}: there is no home directory, for $HOME is not set`);
  return join(home, named.slice(2));
}

/** Returns what a system call failed with, in a word. */
function reason(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'the system gave no reason';
}

function ofFile(path: string): string {
  let fd: number | undefined;
  try {
    // A pipe that nobody writes to must not hold us up.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    if (!fstatSync(fd).isFile()) throw other(`cannot read ${path}: it is no file`);
    const bytes = Buffer.alloc(LONGEST + 1);
    let length = 0;
    for (let read = 1; read > 0 && length < bytes.length; length += read) {
      read = readSync(fd, bytes, length, bytes.length - length, null);
    }
    return textOf(bytes.subarray(0, length), `cannot read ${path}: it is no text, or too long for a secret`);
  } catch (error) {
    throw error instanceof StorageError ? error : other(`cannot read ${path}: ${reason(error)}`);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function textOf(bytes: Buffer, otherwise: string): string {
  if (bytes.length > LONGEST || !isUtf8(bytes)) throw other(otherwise);
  return bytes.toString('utf8');
}

/** Whoever can write `providers.json` can have a program run: that must be its reader, or root. */
function mustBeOurs(profiles: string): void {
  let stat;
  try {
    stat = statSync(profiles);
  } catch (error) {
    throw other(`cannot look at ${profiles}: ${reason(error)}`);
  }
  if (stat.uid !== 0 && stat.uid !== process.geteuid?.()) {
    throw other(`${profiles} belongs to user ${stat.uid}, so no program is run that it names`);
  }
  if ((stat.mode & 0o022) !== 0) {
    const mode = (stat.mode & 0o7777).toString(8).padStart(4, '0');
    throw other(`others may write to ${profiles} (mode ${mode}), so no program is run that it names: chmod go-w`);
  }
}

/** Returns what a program prints. Nothing of it is in an error. */
function run(words: string[]): string {
  const [program = '', ...parameters] = words;
  const ran = spawnSync(program, parameters, {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: DEADLINE_MS,
    killSignal: 'SIGKILL',
    maxBuffer: LONGEST + 1,
    shell: false,
  });
  const code = (ran.error as NodeJS.ErrnoException | undefined)?.code;
  if (code === 'ETIMEDOUT') throw other(`${program} did not end within ${DEADLINE_MS / 1000} s, and was stopped`);
  if (code === 'ENOBUFS') throw other(`what ${program} prints is no text, or too long for a secret`);
  if (ran.error) throw other(`cannot run ${program}: ${code ?? 'the system gave no reason'}`);
  if (ran.status !== 0) throw other(`${program} failed (${ran.signal ?? `exit status: ${ran.status}`})`);
  return textOf(ran.stdout, `what ${program} prints is no text, or too long for a secret`);
}

// A component becomes JavaScript and core modules, by jco; with three things put right in what jco
// writes.

import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const WORKSPACE = fileURLToPath(new URL('../../..', import.meta.url));

/** Returns the file that was asked for, or the newest that a build of the workspace has left. */
export function findComponent(name, asked) {
  if (asked) {
    const path = resolve(asked);
    if (existsSync(path)) return path;
    throw fail(`there is no component at ${path}`);
  }
  const found = [];
  const target = process.env.CARGO_TARGET_DIR ?? join(WORKSPACE, 'target');
  // target/<profile>, and target/<triple>/<profile>
  const profiles = list(target).flatMap((directory) => [directory, ...list(directory)]);
  for (const profile of profiles) {
    for (const crate of list(join(profile, 'build'))) {
      const path = join(crate, 'out', name);
      if (existsSync(path)) found.push({ path, at: statSync(path).mtimeMs });
    }
  }
  found.sort((one, other) => other.at - one.at);
  if (found.length > 0) return found[0].path;
  throw fail(
    `there is no ${name} yet: build it with \`cargo build -p lazaretto-host\` in ${WORKSPACE}, or name one: npm run build -- <path to ${name}>`,
  );
}

function list(directory) {
  try {
    return readdirSync(directory).map((name) => join(directory, name));
  } catch {
    return [];
  }
}

function fail(message) {
  console.error(`error: ${message}`);
  process.exit(2);
}

/**
 * The most linear memory that an instance may have, in pages of 64 KiB: 384 MiB, as in the Rust
 * host once a request was sent.
 */
const MEMORY_PAGES = 6144;
/**
 * The most elements that each table of an instance may have, and the most tables of a module. A
 * table of ours has some hundreds.
 */
const TABLE_ELEMENTS = 16_384;
const MAX_TABLES = 4;

/**
 * `transpileBytes` is jco's, of the package that asks: examples/browser uses this file too. Both
 * packages hold jco-node-fs back, for of its newer version not all platforms' parts were published,
 * and `npm ci` wants them all; nothing of it is used here.
 */
export async function transpileTo(transpileBytes, component, directory, name) {
  const { files } = await transpileBytes(readFileSync(component), {
    name,
    instantiation: 'sync',
    namespacedExports: false,
    noComponentErrorWrapping: true,
    base64Cutoff: 0,
  });
  for (const [file, bytes] of Object.entries(files)) {
    const path = join(directory, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, file.endsWith('.js') ? corrected(Buffer.from(bytes).toString()) : file.endsWith('.wasm') ? bounded(bytes) : bytes);
  }
}

function corrected(code) {
  // Where there is no WebAssembly.promising (Node 20), each of these throws a TypeError for whose
  // text V8 parses the whole function anew: 12 ms an instance. No import of ours is asynchronous,
  // so nothing needs it.
  code = replaced(
    code,
    /try \{\s*(\w+) = WebAssembly\.promising\((.+)\);\s*\} catch ?\(err\) \{\s*\1 = \2;\s*\}/g,
    (_, variable, value) => `${variable} = ${value};`,
    0,
  );
  // A decoder that is told nothing swallows a byte order mark: a document that begins with one
  // would be stored without it.
  return replaced(code, /new TextDecoder\(\)/g, () => "new TextDecoder('utf-8', { ignoreBOM: true })", 1);
}

function replaced(code, pattern, by, atLeast) {
  let times = 0;
  const result = code.replace(pattern, (...found) => {
    times += 1;
    return by(...found);
  });
  if (times < atLeast) throw fail(`jco writes other code than it did: ${pattern} is not in it`);
  return result;
}

const TABLES = 4;
const MEMORIES = 5;
const HAS_MAXIMUM = 1;

/**
 * Returns a core module whose memory and tables, if it has any, cannot grow beyond MEMORY_PAGES and
 * TABLE_ELEMENTS. It has to be in the module: no engine for JavaScript lets its host say so from
 * outside.
 */
export function bounded(bytes) {
  const module = Buffer.from(bytes);
  const parts = [module.subarray(0, 8)];
  for (let at = 8; at < module.length; ) {
    const id = module[at];
    const size = leb(module, at + 1);
    const end = size.next + size.value;
    const content = module.subarray(size.next, end);
    const limited =
      id === MEMORIES ? limits(content, 1, 0, MEMORY_PAGES, 'memories') : id === TABLES ? limits(content, MAX_TABLES, 1, TABLE_ELEMENTS, 'tables') : undefined;
    parts.push(limited ? Buffer.concat([Buffer.from([id]), unsigned(limited.length), limited]) : module.subarray(at, end));
    at = end;
  }
  return Buffer.concat(parts);
}

/**
 * Returns a section of at most `count` tables or memories, each with a maximum. Before the limits
 * of each lie `before` bytes: the type of a table.
 */
function limits(section, count, before, most, what) {
  const found = leb(section, 0);
  if (found.value > count) throw new Error(`a module has ${found.value} ${what}, and at most ${count} are allowed`);
  const parts = [unsigned(found.value)];
  let at = found.next;
  for (let n = 0; n < found.value; n += 1) {
    const type = section.subarray(at, at + before);
    // What refers to functions or to anything of the host's; in no other type do the limits come
    // next.
    const isPlain = type.every((byte) => byte === 0x70 || byte === 0x6f);
    const flags = section[at + before];
    if (!isPlain || flags > HAS_MAXIMUM) throw new Error(`a module has ${what} of a kind that cannot be bounded`);
    const least = leb(section, at + before + 1);
    const maximum = flags === HAS_MAXIMUM ? leb(section, least.next) : { value: most, next: least.next };
    if (least.value > most) throw new Error(`a module begins with ${least.value} in one of its ${what}, and at most ${most} are allowed`);
    parts.push(type, Buffer.from([HAS_MAXIMUM]), unsigned(least.value), unsigned(Math.min(maximum.value, most)));
    at = maximum.next;
  }
  if (at !== section.length) throw new Error(`a module has ${what} that cannot be read`);
  return Buffer.concat(parts);
}

function leb(bytes, at) {
  let value = 0;
  for (let shift = 0; ; shift += 7, at += 1) {
    value += (bytes[at] & 0x7f) * 2 ** shift;
    if (bytes[at] < 0x80) return { value, next: at + 1 };
  }
}

function unsigned(value) {
  const bytes = [];
  for (; value > 0x7f; value = Math.floor(value / 128)) bytes.push((value & 0x7f) | 0x80);
  return Buffer.from([...bytes, value]);
}

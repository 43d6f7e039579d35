// A component becomes JavaScript and core modules, by jco; with three things put right in what jco writes.

import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const WORKSPACE = fileURLToPath(new URL('../../..', import.meta.url));

/** The file that was asked for, or the newest that a build of the workspace has left. */
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
    `there is no ${name} yet: build it with \`cargo build -p lazaret-host\` in ${WORKSPACE}, or name one: npm run build -- <path to ${name}>`,
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

/** The most linear memory that an instance may have, in pages of 64 KiB: 384 MiB, as in the Rust host once a request was sent. */
const MEMORY_PAGES = 6144;

/**
 * `transpileBytes` is jco's, of the package that asks: examples/browser uses this file too. Both packages hold jco-node-fs back, for of its newer
 * version not all platforms' parts were published, and `npm ci` wants them all; nothing of it is used here.
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
  // Where there is no WebAssembly.promising (Node 20), each of these throws a TypeError for whose text V8 parses the whole function anew: 12 ms
  // an instance. No import of ours is asynchronous, so nothing needs it.
  code = replaced(
    code,
    /try \{\s*(\w+) = WebAssembly\.promising\((.+)\);\s*\} catch ?\(err\) \{\s*\1 = \2;\s*\}/g,
    (_, variable, value) => `${variable} = ${value};`,
    0,
  );
  // A decoder that is told nothing swallows a byte order mark: a document that begins with one would be stored without it.
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

/** The most that a table may hold. V8 has no limit of its own that would do. */
const TABLE_ELEMENTS = 16_384;

/** A core module whose memory, if it has one, cannot grow beyond MEMORY_PAGES, and whose tables cannot grow beyond TABLE_ELEMENTS. */
function bounded(bytes) {
  const module = Buffer.from(bytes);
  for (let at = 8; at < module.length; ) {
    const id = module[at];
    const size = leb(module, at + 1);
    const end = size.next + size.value;
    if (id === 4 && tablesOf(module, size.next).some(({ most }) => most === undefined || most > TABLE_ELEMENTS)) {
      throw fail(`a table of the component may grow beyond ${TABLE_ELEMENTS} elements`);
    }
    if (id === 5) {
      const count = leb(module, size.next);
      const flags = module[count.next];
      const least = leb(module, count.next + 1);
      if (count.value !== 1 || flags !== 0 || least.next !== end) return module; // bounded already
      const limits = Buffer.concat([Buffer.from([1, 1]), module.subarray(count.next + 1, end), unsigned(MEMORY_PAGES)]);
      return Buffer.concat([module.subarray(0, at), Buffer.from([5]), unsigned(limits.length), limits, module.subarray(end)]);
    }
    at = end;
  }
  return module;
}

/** The limits in a table section. A table whose type is not the plain one is taken for unbounded. */
function tablesOf(module, at) {
  const count = leb(module, at);
  const tables = [];
  for (let next = count.next, left = count.value; left > 0; left -= 1) {
    const flags = module[next + 1];
    if (module[next] !== 0x70 || flags > 1) return [{ most: undefined }];
    const least = leb(module, next + 2);
    const most = flags === 1 ? leb(module, least.next) : undefined;
    tables.push({ most: most?.value });
    next = most?.next ?? least.next;
  }
  return tables;
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

// The component as jco has transpiled it, and the shapes on both sides of it.

import { readFile } from 'node:fs/promises';
import type { ImportObject, Root } from '../generated/lazaretto.js';
import type { Answer, HeadersLike, Judgement } from './types.js';

/**
 * Core WebAssembly modules by file name. They are compiled once a process, and shared by all
 * threads.
 */
export type Modules = Record<string, WebAssembly.Module>;

/** Where the transpiled component lies: its JavaScript, with the core modules beside it. */
export const COMPONENT = new URL('../generated/lazaretto.js', import.meta.url);
const CORE_MODULES = ['lazaretto.core.wasm', 'lazaretto.core2.wasm', 'lazaretto.core3.wasm'];

let compiled: Promise<Modules> | undefined;

/** Compiles the core modules, if nobody has. */
export function modules(): Promise<Modules> {
  compiled ??= compile().catch((error: unknown) => {
    compiled = undefined;
    throw error;
  });
  return compiled;
}

async function compile(): Promise<Modules> {
  const load = async (name: string) =>
    [name, await WebAssembly.compile(await readFile(new URL(name, COMPONENT)))] as const;
  return Object.fromEntries(await Promise.all(CORE_MODULES.map(load)));
}

/** What a transpiled component exports. */
export interface Transpiled {
  instantiate(
    getCoreModule: (name: string) => WebAssembly.Module,
    imports: ImportObject,
    instantiateCore?: (module: WebAssembly.Module, imports: WebAssembly.Imports) => WebAssembly.Instance,
  ): Root;
}

/** What an instance has ready for a call with a small vault, in bytes. */
const SPARE = 256 << 10;
/** How large an instance's memory may have grown for it to be used again, in bytes. */
const LARGEST_RENEWED = 8 << 20;

/** One instance, and the end of it. */
export interface Instance {
  root: Root;
  /** Overwrites the instance's memory: it has held tokens, and nobody says when it is collected. */
  wipe(): void;
  /**
   * Puts the memory back as it was when the instance was new, so that it knows nothing of its last
   * call. False: it has grown too large. Only after a call that ended in order: the guest keeps
   * nothing elsewhere, but for a stack pointer that is back where it was.
   *
   * This is the same as a new instance, and saves a millisecond: jco's code is slow when it is new.
   */
  renew(): boolean;
}

export function instantiate(transpiled: Transpiled, modules: Modules, imports: Imports): Instance {
  const instantiated = new Set<WebAssembly.Module>();
  let memory: WebAssembly.Memory | undefined;
  let reallocate: ((pointer: number, size: number, alignment: number, newSize: number) => number) | undefined;
  const root = transpiled.instantiate(
    (name) => {
      const module = modules[name];
      if (!module) throw new Error(`the component has no module ${name}`);
      return module;
    },
    // The types name interfaces with their version, the generated code looks them up without
    // (bytecodealliance/jco#708).
    imports as unknown as ImportObject,
    (module, imports) => {
      // Each may have a memory of its own, so no module is there twice.
      if (instantiated.has(module)) throw new Error('the component wants a module twice');
      instantiated.add(module);
      const instance = new WebAssembly.Instance(module, imports);
      if (instance.exports.memory instanceof WebAssembly.Memory) {
        memory = instance.exports.memory;
        reallocate = instance.exports.cabi_realloc as typeof reallocate;
      }
      return instance;
    },
  );
  // What is asked for once and given back is there for every call, and need not be taken anew from
  // fresh pages by each.
  const give = reallocate?.(0, 0, 8, SPARE);
  if (give) reallocate?.(give, SPARE, 8, 8);
  const image = memory && new Uint8Array(memory.buffer).slice();
  const wipe = () => {
    if (memory) new Uint8Array(memory.buffer).fill(0);
  };
  const renew = () => {
    if (!memory || !image || memory.buffer.byteLength > LARGEST_RENEWED) return false;
    const bytes = new Uint8Array(memory.buffer);
    bytes.set(image);
    // The guest takes what it needs more from fresh pages again, so the rest only has to be clean.
    bytes.fill(0, image.length);
    return true;
  };
  return { root, wipe, renew };
}

type Versionless<T> = { [K in keyof T as K extends `${infer Name}@${string}` ? Name : K]: T[K] };
/** What the component imports, by interface. */
export type Imports = { [K in keyof Versionless<ImportObject>]: Partial<Versionless<ImportObject>[K]> };

/**
 * Returns a guest's error as jco throws it, the payload of a `result` as it is or in an exception.
 * None: it is no answer of the guest's.
 */
export function payloadOf(error: unknown): { code: string; action?: string; message: string } | undefined {
  const payload = error instanceof Error ? (error as { payload?: unknown }).payload : error;
  const { code, message } = (payload ?? {}) as { code?: unknown; message?: unknown };
  return typeof code === 'string' && typeof message === 'string' ? (payload as { code: string; message: string }) : undefined;
}

export function headerPairs(headers: HeadersLike | undefined): [string, string][] {
  if (!headers) return [];
  const pairs = Symbol.iterator in headers ? headers : Object.entries(headers);
  return Array.from(pairs as Iterable<readonly [string, string]>, ([name, value]) => [String(name), String(value)]);
}

type Classifier = Root['classifier'];

/** Judges an answer with an instance's classifier. */
export function judge(classifier: Classifier, answer: Answer, profiles: string | undefined, nowSeconds: number): Judgement {
  const judgement = classifier.classify(
    {
      provider: answer.provider,
      status: answer.status,
      headers: headerPairs(answer.headers),
      body: answer.body ?? '',
      bodyComplete: answer.bodyComplete ?? true,
      bodyLossy: answer.bodyLossy ?? false,
      transportError: answer.transportError,
    },
    profiles,
    BigInt(Math.floor(nowSeconds)),
  );
  return {
    verdict: judgement.verdict,
    status: judgement.status,
    code: judgement.code,
    subCode: judgement.subCode,
    rule: judgement.rule,
    retryAfterSeconds: number(judgement.retryAfterS),
    summary: judgement.summary,
    inDoubt: judgement.inDoubt,
    steps: judgement.steps,
  };
}

export function number(value: bigint | undefined): number | undefined {
  return value === undefined ? undefined : Number(value);
}

// The classifier on its own: a pure function, in the caller's thread, with no vault, no keeper and
// no worker.

import { COMPONENT, instantiate, judge, modules, payloadOf, type Imports, type Transpiled } from './component.js';
import { LazarettoError } from './errors.js';
import type { Answer, Judgement } from './types.js';

/** What {@link classify} may be told besides the answer. */
export interface ClassifyOptions {
  /** The text of the user's own `providers.json`. */
  profiles?: string | undefined;
  /** The time in seconds since 1970, against which a date in Retry-After is read. Default: now. */
  nowSeconds?: number | undefined;
}

let transpiled: Promise<Transpiled> | undefined;

/**
 * Returns what an authorization server's answer to a refresh means, and why. Nothing is read, sent
 * or stored.
 */
export async function classify(answer: Answer, options: ClassifyOptions = {}): Promise<Judgement> {
  transpiled ??= import(COMPONENT.href) as Promise<Transpiled>;
  const instance = instantiate(await transpiled, await modules(), nothing());
  try {
    return judge(instance.root.classifier, answer, options.profiles, options.nowSeconds ?? Date.now() / 1000);
  } catch (error) {
    const payload = payloadOf(error);
    if (payload) throw LazarettoError.from({ code: payload.code, action: 'configure', message: payload.message });
    throw error;
  } finally {
    instance.wipe();
  }
}

/** Instantiates the classifier, which calls none of the component's imports. */
function nothing(): Imports {
  const never = () => {
    throw new Error('the classifier reaches nothing');
  };
  return {
    'lazaretto:keeper/storage': { load: never, store: never, acquire: never, release: never, holderOf: never, describe: never },
    'lazaretto:keeper/http': { send: never },
    'lazaretto:keeper/events': { emit: never },
    'wasi:clocks/wall-clock': { now: never },
    'wasi:clocks/monotonic-clock': { now: never },
    'wasi:random/random': { getRandomU64: never },
  };
}

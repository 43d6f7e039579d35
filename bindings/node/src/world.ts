// The component's imports: what it asks of the world, and this host's answers. An exception of ours
// never unwinds through the guest: after a request was sent that could cost the tokens that are
// about to be stored.

import { randomBytes } from 'node:crypto';
import type { Imports } from './component.js';
import { redact } from './redact.js';
import type { GuestTime } from './guest-time.js';
import type { Http } from './http/contract.js';
import { StorageError, type Holder, type Scope, type Storage } from './storage/contract.js';
import type { LazarettoEvent } from './types.js';

/** The state of one worker between its guest and the world. */
export class World {
  readonly #storage: Storage;
  readonly #http: Http;
  readonly #time: GuestTime;
  readonly #tell: (event: LazarettoEvent) => void;
  /** Reads which origins to allow, before a request. */
  readonly #beforeSend: () => void;
  /** Leases that the guest holds, so that none outlives its call. */
  readonly #leases = new Set<string>();

  constructor(storage: Storage, http: Http, time: GuestTime, tell: (event: LazarettoEvent) => void, beforeSend: () => void) {
    this.#storage = storage;
    this.#http = http;
    this.#time = time;
    this.#tell = tell;
    this.#beforeSend = beforeSend;
  }

  /** A call is over, or trapped: what it still holds is given back. */
  endCall(): void {
    for (const lease of this.#leases) this.#storage.release(lease);
    this.#leases.clear();
  }

  imports(): Imports {
    const time = this.#time;
    return {
      'lazaretto:keeper/storage': {
        load: (name, known) => time.pause(() => orStorageError(() => this.#storage.load(name, known))),
        store: (name, text, expected, durable, lease) =>
          time.pause(() => {
            try {
              return this.#storage.store(name, text, expected, durable, lease);
            } catch (error) {
              if (error instanceof StorageError) throw { payload: { code: error.code, message: error.message } };
              // Nobody can say how far it came.
              return { tag: 'unknown' };
            }
          }),
        acquire: (scope, ttlMs, waitMs) => time.pause(() => orStorageError(() => this.#acquire(scope, ttlMs, waitMs))),
        release: (lease) => time.pause(() => this.#release(lease)),
        holderOf: (scope) =>
          time.pause(() =>
            orStorageError(() => {
              const holder = this.#storage.holderOf(scope);
              return holder && described(holder);
            }),
          ),
        describe: () => time.pause(() => this.#storage.describe()),
      },
      'lazaretto:keeper/http': {
        send: ({ method, url, headers, body, deadlineMs }) => {
          try {
            this.#beforeSend();
          } catch (error) {
            throw { payload: { kind: 'not-allowed', sent: 'no', message: (error as Error).message } };
          }
          const request = redact({ method, url, headers, body, deadlineMs: Number(deadlineMs) }, 'headers', 'body');
          const outcome = time.pause(() => {
            try {
              return this.#http.send(request);
            } catch {
              return { failure: { kind: 'other', sent: 'maybe' as const, message: 'the host could not send it' } };
            }
          });
          time.sent();
          if ('failure' in outcome) throw { payload: outcome.failure };
          return outcome.response;
        },
      },
      'lazaretto:keeper/events': {
        emit: (event) =>
          time.pause(() => {
            const attributes = Object.fromEntries(event.attributes.map(({ key, value }) => [key, value]));
            const { name, severity, provider, credential, message } = event;
            this.#tell({ name, severity, atMs: Number(event.atMs), provider, credential, message, attributes });
          }),
      },
      'wasi:clocks/wall-clock': {
        now: () => {
          const ms = Date.now();
          return { seconds: BigInt(Math.floor(ms / 1000)), nanoseconds: (ms % 1000) * 1_000_000 };
        },
      },
      'wasi:clocks/monotonic-clock': { now: () => process.hrtime.bigint() },
      'wasi:random/random': { getRandomU64: () => randomBytes(8).readBigUInt64LE() },
    };
  }

  #acquire(scope: Scope, ttlMs: bigint, waitMs: bigint) {
    const outcome = this.#storage.acquire(scope, Number(ttlMs), Number(waitMs));
    if (outcome.tag === 'busy') {
      return { tag: outcome.tag, val: described(outcome.val) };
    }
    this.#leases.add(outcome.val.lease);
    return { tag: outcome.tag, val: { lease: outcome.val.lease, grantedTtlMs: big(outcome.val.grantedTtlMs) } };
  }

  /** Only what this instance holds: an instance must not free another's. */
  #release(lease: string): void {
    if (!this.#leases.delete(lease)) return;
    try {
      this.#storage.release(lease);
    } catch {
      // A lock that cannot be let go ends with its file.
    }
  }
}

function described({ name, sinceMs }: Holder) {
  return { name, sinceMs: big(sinceMs) };
}

function orStorageError<T>(act: () => T): T {
  try {
    return act();
  } catch (error) {
    const known = error instanceof StorageError;
    throw {
      payload: {
        code: known ? error.code : 'other',
        message: known ? error.message : 'the storage failed in a way that it does not explain',
      },
    };
  }
}

function big(value: number | undefined): bigint | undefined {
  return value === undefined ? undefined : BigInt(value);
}

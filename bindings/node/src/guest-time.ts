// How long a worker's guest has computed, as opposed to the time it waits for its host: written by
// the worker, read by the main thread, which stops a guest that computes for too long.
//
// What the main thread stops is doomed first: from then on the worker starts no operation of the
// host. So a stop never falls into the middle of a store.

/** How long guest code may run in a call, in milliseconds. */
export const BUDGET_MS = 10_000;
/**
 * The same once a request has been sent: its answer may hold the only refresh token that works, so
 * there is room for what is left to do.
 */
export const BUDGET_AFTER_A_SEND_MS = 60_000;

const IDLE = 0;
const IN_GUEST = 1;
const IN_HOST = 2;
const DOOMED = 3;

const STATE = 0;
const HAS_SENT = 1;

/** Shared by two threads. */
export class GuestTime {
  readonly buffer: SharedArrayBuffer;
  readonly #flags: Int32Array;
  /**
   * Since when the guest has been running, and for how long before: nanoseconds on the clock of
   * `process.hrtime`.
   */
  readonly #times: BigInt64Array;

  constructor(buffer = new SharedArrayBuffer(24)) {
    this.buffer = buffer;
    this.#flags = new Int32Array(buffer, 0, 2);
    this.#times = new BigInt64Array(buffer, 8, 2);
  }

  /** A call begins. */
  begin(): void {
    Atomics.store(this.#flags, HAS_SENT, 0);
    this.#restart();
    Atomics.store(this.#flags, STATE, IN_GUEST);
  }

  /** A call is over. */
  end(): void {
    Atomics.compareExchange(this.#flags, STATE, IN_GUEST, IDLE);
  }

  /** Runs a host call off the guest's clock. */
  pause<T>(call: () => T): T {
    const enteredAt = process.hrtime.bigint();
    if (Atomics.compareExchange(this.#flags, STATE, IN_GUEST, IN_HOST) !== IN_GUEST) {
      // Doomed: the end comes from outside.
      for (;;) Atomics.wait(this.#flags, STATE, DOOMED);
    }
    const used = Atomics.load(this.#times, 1) + enteredAt - Atomics.load(this.#times, 0);
    try {
      return call();
    } finally {
      Atomics.store(this.#times, 1, used);
      Atomics.store(this.#times, 0, process.hrtime.bigint());
      Atomics.store(this.#flags, STATE, IN_GUEST);
    }
  }

  /** A request is on its way: the guest's time starts anew, with more of it. */
  sent(): void {
    Atomics.store(this.#flags, HAS_SENT, 1);
    this.#restart();
  }

  #restart(): void {
    Atomics.store(this.#times, 0, process.hrtime.bigint());
    Atomics.store(this.#times, 1, 0n);
  }

  /** For how long the guest has computed, if it is computing now; and what it may. */
  running(): { ms: number; budgetMs: number; isAfterASend: boolean } | undefined {
    if (Atomics.load(this.#flags, STATE) !== IN_GUEST) return undefined;
    const ns = Atomics.load(this.#times, 1) + process.hrtime.bigint() - Atomics.load(this.#times, 0);
    const isAfterASend = Atomics.load(this.#flags, HAS_SENT) === 1;
    return { ms: Number(ns) / 1e6, budgetMs: isAfterASend ? BUDGET_AFTER_A_SEND_MS : BUDGET_MS, isAfterASend };
  }

  /**
   * Returns whether the guest may be stopped now: it is computing, and will get no answer any more.
   */
  doom(): boolean {
    return Atomics.compareExchange(this.#flags, STATE, IN_GUEST, DOOMED) === IN_GUEST;
  }
}

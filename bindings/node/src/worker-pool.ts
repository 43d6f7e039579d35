// The workers. The component's imports are synchronous and Node's I/O is not, so a call blocks a
// thread: one of a bounded number, one call at a time, and never the program's own.
//
// - Calls for one credential wait for the same thing. At most a quarter of the workers take them,
//   so that a provider that answers slowly, and a hundred callers that want its token, leave room
//   for everybody else.
// - A worker that wants more memory than any document needs ends, and the program goes on.
// - A guest that computes without end is stopped here, by ending its thread. Node closes the files
//   of a thread that ends, and with them go its locks.
// - An idle worker does not keep the process alive, and ends after a while.

import { MessageChannel, SHARE_ENV, Worker, type MessagePort } from 'node:worker_threads';
import type { Call } from './calls.js';
import { modules } from './component.js';
import { internal, LazarettoError } from './errors.js';
import { GuestTime } from './guest-time.js';
import type { LazarettoEvent } from './types.js';
import type { FromWorker, ToWorker, WorkerData } from './worker.js';

/** How often the guests' time is looked at. */
const TICK_MS = 100;
/**
 * What one worker's JavaScript may hold, beside the memory of its instance: the largest document
 * many times over.
 */
const HEAP_MIB = 512;
/** How long a worker may have nothing to do. */
const IDLE_MS = 30_000;

export interface WorkerPoolOptions {
  /** At most so many calls at a time. */
  size: number;
  allowLoopbackHttp: boolean;
  data: Omit<WorkerData, 'time' | 'network'>;
  onEvent: (event: LazarettoEvent) => void;
}

interface Job {
  call: Call;
  /** Calls with one key wait for the same thing. */
  key: string;
  resolve(result: unknown): void;
  reject(error: unknown): void;
}

interface Thread {
  worker: Worker;
  time: GuestTime;
  /** It has its code. */
  ready: Promise<void>;
  job: Job | undefined;
  /** The network thread that it is joined with has ended. */
  isCutOff: boolean;
  idleSince: number;
  /**
   * For how long this thread was seen to compute: a process that was stopped and continued has not.
   */
  watchedMs: number;
}

export class WorkerPool {
  readonly #options: WorkerPoolOptions;
  readonly #threads = new Set<Thread>();
  readonly #queue: Job[] = [];
  readonly #perKey: number;
  #network: Worker | undefined;
  /** Ends of channels for a network thread that nobody has wanted yet. */
  #ports: MessagePort[] = [];
  #watch: NodeJS.Timeout | undefined;
  #watchedAt = 0;
  #atRest: (() => void)[] = [];

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
    this.#perKey = Math.max(1, Math.floor(options.size / 4));
  }

  /** Starts one worker, so that the first call finds it there. */
  warmUp(): void {
    if (this.#threads.size === 0) this.#enlist();
  }

  /**
   * Makes a call. `withdraw` takes it back, if it has not begun; true: it is as if it had never
   * been.
   */
  run(key: string, call: Call): { result: Promise<unknown>; withdraw: () => boolean } {
    let job!: Job;
    const result = new Promise<unknown>((resolve, reject) => {
      job = { call, key, resolve, reject };
    });
    this.#queue.push(job);
    this.#assign();
    const withdraw = () => {
      const at = this.#queue.indexOf(job);
      if (at >= 0) this.#queue.splice(at, 1);
      return at >= 0;
    };
    return { result, withdraw };
  }

  /** Waits for all calls, and ends all threads. */
  async close(): Promise<void> {
    if (this.#queue.length > 0 || this.#busy() > 0) {
      await new Promise<void>((resolve) => this.#atRest.push(resolve));
    }
    const threads = [...this.#threads].map(({ worker }) => worker);
    if (this.#network) threads.push(this.#network);
    this.#threads.clear();
    this.#network = undefined;
    for (const port of this.#ports.splice(0)) port.close();
    clearInterval(this.#watch);
    await Promise.all(threads.map((thread) => thread.terminate()));
  }

  #busy(): number {
    return [...this.#threads].filter(({ job }) => job).length;
  }

  /** Gives waiting calls to workers, in their order, as far as both allow. */
  #assign(): void {
    for (let at = 0; at < this.#queue.length; ) {
      const job = this.#queue[at] as Job;
      const withSameKey = [...this.#threads].filter((thread) => thread.job?.key === job.key).length;
      if (withSameKey >= this.#perKey) {
        at += 1;
        continue;
      }
      const idle = [...this.#threads].find((thread) => !thread.job);
      if (!idle && this.#threads.size >= this.#options.size) break;
      this.#queue.splice(at, 1);
      const thread = idle ?? this.#enlist();
      thread.job = job;
      thread.watchedMs = 0;
      thread.worker.ref();
      thread.ready
        .then(() => thread.worker.postMessage({ call: job.call } satisfies ToWorker))
        // What cannot be copied to another thread: a function among the values, for example.
        .catch(() => this.#hear(thread, { error: { code: 'bad-request', action: 'usage', message: 'the call holds something that is no plain value' } }));
    }
    this.#watchOver();
    if (this.#queue.length === 0 && this.#busy() === 0) for (const rest of this.#atRest.splice(0)) rest();
  }

  #enlist(): Thread {
    const time = new GuestTime();
    const { port1, port2 } = new MessageChannel();
    const worker = new Worker(new URL('./worker.js', import.meta.url), {
      name: 'lazaretto',
      workerData: { ...this.#options.data, time: time.buffer, network: port1 } satisfies WorkerData,
      transferList: [port1],
      // The files of a thread that is stopped are closed, and its locks with them.
      trackUnmanagedFds: true,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB },
      env: SHARE_ENV,
      argv: [],
      execArgv: [],
    });
    const ready = modules().then((modules) => worker.postMessage({ modules } satisfies ToWorker));
    const thread: Thread = { worker, time, ready, job: undefined, isCutOff: false, idleSince: Date.now(), watchedMs: 0 };
    this.#threads.add(thread);
    worker.unref();
    worker.on('message', (message: FromWorker) => this.#hear(thread, message));
    worker.on('error', (error) => this.#lose(thread, `its thread ended (${(error as NodeJS.ErrnoException).code ?? error.name})`));
    worker.on('exit', () => this.#lose(thread, 'its thread ended'));
    if (this.#network) this.#network.postMessage(port2, [port2]);
    else this.#ports.push(port2);
    thread.ready = ready.catch(() => this.#lose(thread, 'its code cannot be loaded; build it anew'));
    return thread;
  }

  #hear(thread: Thread, message: FromWorker): void {
    if ('wanted' in message) return this.#startNetwork();
    if ('event' in message) return this.#options.onEvent(message.event);
    const job = thread.job;
    thread.job = undefined;
    thread.idleSince = Date.now();
    thread.worker.unref();
    if (thread.isCutOff) this.#dismiss(thread);
    if ('result' in message) job?.resolve(message.result);
    else job?.reject(LazarettoError.from(message.error));
    this.#assign();
  }

  /** A worker is no more. */
  #lose(thread: Thread, why: string): void {
    if (!this.#threads.delete(thread)) return;
    void thread.worker.terminate();
    thread.job?.reject(internal(`the component was stopped: ${why}`));
    this.#assign();
  }

  #startNetwork(): void {
    if (this.#network) return;
    const { allowLoopbackHttp } = this.#options;
    this.#network = new Worker(new URL('./http/thread.js', import.meta.url), {
      name: 'lazaretto-http',
      workerData: { allowLoopbackHttp },
      env: SHARE_ENV,
      argv: [],
      execArgv: [],
    });
    // Who waits for an answer keeps the process alive.
    this.#network.unref();
    this.#network.on('error', () => {});
    this.#network.on('exit', () => {
      // Only want of memory ends it. What it was joined with goes too; the next workers are joined
      // with another.
      this.#network = undefined;
      for (const thread of [...this.#threads]) {
        thread.isCutOff = true;
        if (!thread.job) this.#dismiss(thread);
      }
    });
    for (const port of this.#ports.splice(0)) this.#network.postMessage(port, [port]);
  }

  #watchOver(): void {
    if (this.#threads.size === 0) {
      clearInterval(this.#watch);
      this.#watch = undefined;
    } else if (!this.#watch) {
      this.#watchedAt = performance.now();
      this.#watch = setInterval(() => this.#tick(), TICK_MS);
      this.#watch.unref();
    }
  }

  #tick(): void {
    const now = performance.now();
    const elapsedMs = Math.min(now - this.#watchedAt, 3 * TICK_MS);
    this.#watchedAt = now;
    for (const thread of [...this.#threads]) {
      const running = thread.job && thread.time.running();
      if (running) {
        thread.watchedMs += elapsedMs;
        const isOver = running.ms > running.budgetMs && thread.watchedMs > running.budgetMs;
        if (isOver && thread.time.doom()) this.#lose(thread, `it computed for more than ${running.budgetMs / 1000} s`);
      } else if (!thread.job && Date.now() - thread.idleSince > IDLE_MS) {
        this.#dismiss(thread);
      }
    }
    this.#watchOver();
  }

  /** Ends a worker that has nothing to do. */
  #dismiss(thread: Thread): void {
    this.#threads.delete(thread);
    void thread.worker.terminate();
  }
}

// The worker's end of an exchange: it hands the request to the network thread and blocks until the
// answer is there.

import { receiveMessageOnPort, type MessagePort } from 'node:worker_threads';
import { BEAT_MS } from '../storage/foreign-marks.js';
import type { Http, HttpOutcome, HttpRequest } from './contract.js';

export const WAITING = 0;
export const TAKEN = 1;
export const ANSWERED = 2;
export const GIVEN_UP = 3;
/** The answer is being posted: too late to give up. */
export const ANSWERING = 4;

/** One request on its way to the network thread. */
export interface ToNetwork {
  request: HttpRequest;
  /** What the component names, for the thread's list if it has none yet. */
  origins: string[];
  /** On the clock of `process.hrtime`, which all threads share. */
  untilNs: bigint;
  signal: SharedArrayBuffer;
}

/**
 * How long the thread may take beyond the deadline to say what came of it: two seconds in which
 * this process runs. They are waited for piece by piece: one that was stopped meanwhile (SIGSTOP, a
 * paused container) loses a piece, and not the answer that came.
 */
const GRACE_PIECES = 40;
const PIECE_MS = 50;

/**
 * Sends through the network thread. `wake` starts it, if it is not there; `beat` is called every
 * few seconds of waiting.
 */
export function networkHttp(port: MessagePort, wake: () => void, origins: () => string[], beat: () => void, beatMs = BEAT_MS): Http {
  return {
    send(request: HttpRequest): HttpOutcome {
      const named = origins();
      const signal = new SharedArrayBuffer(4);
      const state = new Int32Array(signal);
      const untilNs = process.hrtime.bigint() + BigInt(Math.ceil(request.deadlineMs)) * 1_000_000n;
      wake();
      port.postMessage({ request, origins: named, untilNs, signal } satisfies ToNetwork);
      let pieces = GRACE_PIECES;
      while (Atomics.load(state, 0) !== ANSWERED) {
        const leftMs = Number(untilNs - process.hrtime.bigint()) / 1e6;
        if (leftMs <= 0) pieces -= 1;
        if (pieces < 0) {
          const seen = Atomics.compareExchange(state, 0, WAITING, GIVEN_UP);
          if (seen === WAITING) return { failure: { kind: 'timeout', sent: 'no', message: 'the network thread did not start in time' } };
          if (Atomics.compareExchange(state, 0, TAKEN, GIVEN_UP) === TAKEN) {
            return { failure: { kind: 'other', sent: 'maybe', message: 'the network thread did not answer' } };
          }
        }
        const now = Atomics.load(state, 0);
        if (now === ANSWERED) continue;
        const waited = Atomics.wait(state, 0, now, leftMs > 0 ? Math.min(Math.max(1, leftMs), beatMs) : PIECE_MS);
        if (waited === 'timed-out') beat();
      }
      const answer = receiveMessageOnPort(port) as { message: HttpOutcome } | undefined;
      return answer?.message ?? { failure: { kind: 'other', sent: 'maybe', message: 'the network thread gave no answer' } };
    },
  };
}

// The thread that sends. Workers wait for it without an event loop of their own, so it must have
// one, and nothing else to do.
//
// A request comes over a port that joins one worker with this thread: it never passes through the
// program's own thread. The worker may give a request up that nobody has taken yet: then it is
// certain that nothing of it leaves.

import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { attempt } from './exchange.js';
import { notSent, type HttpOutcome } from './contract.js';
import { AllowList, Malformed } from './origin.js';
import { ANSWERED, ANSWERING, TAKEN, WAITING, type ToNetwork } from './client.js';

const { allowLoopbackHttp } = workerData as { allowLoopbackHttp: boolean };

/** The keeper's list: the first that a worker brings stays. */
let allowed: AllowList | undefined;

parentPort?.on('message', (port: MessagePort) => {
  port.on('message', (message: ToNetwork) => {
    void answer(message, port);
  });
});

async function answer({ request, origins, untilNs, signal }: ToNetwork, port: MessagePort): Promise<void> {
  const state = new Int32Array(signal);
  if (Atomics.compareExchange(state, 0, WAITING, TAKEN) !== WAITING) return;
  let outcome: HttpOutcome;
  try {
    allowed ??= new AllowList(origins, allowLoopbackHttp);
    const target = allowed.target(request.url);
    const leftMs = Number(untilNs - process.hrtime.bigint()) / 1e6;
    outcome = await attempt(request, target, performance.now() + leftMs);
  } catch (error) {
    outcome =
      error instanceof Malformed
        ? notSent(error.kind, error.message)
        : { failure: { kind: 'other', sent: 'maybe', message: 'the HTTP client failed' } };
  }
  if (Atomics.compareExchange(state, 0, TAKEN, ANSWERING) !== TAKEN) return;
  port.postMessage(outcome);
  Atomics.store(state, 0, ANSWERED);
  Atomics.notify(state, 0);
}

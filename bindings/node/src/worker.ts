// One worker: it makes one call at a time, and blocks while it does. Each call has an instance that is new, or as good as new; its memory is
// overwritten when the call ends, unless warm ones are asked for: so no secret outlives the call it was read for.

import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { perform, type Call } from './calls.js';
import { instantiate, payloadOf, type Instance, type Modules, type Transpiled } from './component.js';
import type { ErrorFields } from './errors.js';
import { GuestTime } from './guest-time.js';
import { networkHttp } from './http/client.js';
import type { Http } from './http/contract.js';
import type { Storage } from './storage/contract.js';
import type { FileStorageOptions } from './storage/file-storage.js';
import type { LazaretEvent } from './types.js';
import { World } from './world.js';

/** What a worker is made of. Nothing in here is secret. */
export interface WorkerData {
  time: SharedArrayBuffer;
  /** Joined with the network thread. */
  network: MessagePort;
  storage: FileStorageOptions;
  warmInstances: boolean;
  /** Modules to load: the transpiled component, and what opens the storage and the HTTP. */
  component: string;
  storageModule: string;
  httpModule: string | undefined;
}

export type ToWorker = { modules: Modules } | { call: Call };

export type FromWorker =
  /** Somebody must start the network thread. */
  | { wanted: 'network' }
  | { event: LazaretEvent }
  | { result: unknown }
  | { error: ErrorFields };

const data = workerData as WorkerData;
const port = parentPort as MessagePort;
const tell = (message: FromWorker) => port.postMessage(message);

const [transpiled, storageModule, httpModule] = await Promise.all([
  import(data.component) as Promise<Transpiled>,
  import(data.storageModule) as Promise<{ open(options: FileStorageOptions): Storage }>,
  data.httpModule === undefined ? undefined : (import(data.httpModule) as Promise<{ open(): Http }>),
]);

let modules: Modules | undefined;
let origins: string[] | undefined;
let warm: Instance | undefined;

const time = new GuestTime(data.time);
const storage = storageModule.open(data.storage);
const http =
  httpModule?.open() ?? networkHttp(data.network, () => tell({ wanted: 'network' }), () => origins ?? [], () => storage.beat?.());
const world = new World(storage, http, time, (event) => tell({ event }), nameOrigins);

port.on('message', (message: ToWorker) => {
  if ('modules' in message) modules = message.modules;
  else tell(answer(message.call));
});

function answer(call: Call): FromWorker {
  let instance: Instance | undefined;
  let isSound = false;
  time.begin();
  try {
    instance = warm ?? newInstance();
    warm = undefined;
    const result = perform(instance.root, call, profiles);
    isSound = true;
    return { result };
  } catch (error) {
    const payload = payloadOf(error) as (ErrorFields & { retryAfterS?: bigint }) | undefined;
    isSound = payload !== undefined;
    return { error: payload ? spelled(payload) : stopped(error) };
  } finally {
    time.pause(() => world.endCall());
    time.end();
    if (isSound && (data.warmInstances || instance?.renew())) warm = instance;
    else instance?.wipe();
  }
}

function newInstance(): Instance {
  if (!modules) throw new Error('the component is not there yet');
  return instantiate(transpiled, modules, world.imports());
}

function spelled({ code, action, message, provider, credential, retryAfterS }: ErrorFields & { retryAfterS?: bigint }): ErrorFields {
  const retryAfterSeconds = retryAfterS === undefined ? undefined : Number(retryAfterS);
  // The classifier's own errors have no action: only the profiles can be wrong.
  return { code, action: action ?? 'configure', message, provider, credential, retryAfterSeconds };
}

function stopped(error: unknown): ErrorFields {
  // What WebAssembly says of a trap names no data. Any other message might.
  const why = error instanceof WebAssembly.RuntimeError ? error.message : 'its JavaScript failed';
  return { code: 'internal', action: 'inspect', message: `the component was stopped: ${why}` };
}

/** Which origins may be sent to: asked of the component when the first request is made. What works is kept. */
function nameOrigins(): void {
  if (origins || httpModule) return;
  const instance = newInstance();
  try {
    origins = instance.root.keeper.origins();
  } catch (error) {
    throw new Error(payloadOf(error)?.message ?? 'the component names no origins');
  } finally {
    instance.wipe();
  }
}

function profiles(): string | undefined {
  return time.pause(() => {
    const loaded = storage.load('providers.json');
    return loaded.tag === 'loaded' ? loaded.val.text : undefined;
  });
}

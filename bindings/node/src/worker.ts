// One worker: it makes one call at a time, and blocks while it does. Each call has an instance that
// is new, or as good as new; its memory is overwritten when the call ends, unless warm ones are
// asked for: so in the component no secret outlives the call it was read for. JavaScript's own
// strings cannot be overwritten.

import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { maySend, perform, servedBy, type Call, type Results } from './calls.js';
import { instantiate, payloadOf, type Instance, type Modules, type Transpiled } from './component.js';
import type { ErrorFields } from './errors.js';
import { GuestTime } from './guest-time.js';
import { networkHttp } from './http/client.js';
import { originsOf } from './http/profile-origins.js';
import type { Http } from './http/contract.js';
import type { Storage } from './storage/contract.js';
import type { FileStorageOptions } from './storage/file-storage.js';
import type { LazarettoEvent } from './types.js';
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
  | { event: LazarettoEvent }
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
/** Whether it was looked who else may read the vault. */
let isLookedAt = false;

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
    if (maySend(call) || call.method === 'status') lookWhoMayRead();
    if (maySend(call)) instance = storeRescued(instance);
    const result = perform(instance.root, call, profiles);
    isSound = true;
    keepForLater(call, result);
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

/** Tells once of a vault that everybody may read. */
function lookWhoMayRead(): void {
  if (isLookedAt) return;
  isLookedAt = true;
  const found = time.pause(() => {
    try {
      return storage.exposed?.();
    } catch {
      // The call that follows meets what is wrong with the vault, and says so.
      return undefined;
    }
  });
  if (!found) return;
  const { message, run } = found;
  const event = { name: 'vault-exposed', severity: 'warning', atMs: Date.now(), provider: '', credential: undefined };
  tell({ event: { ...event, message: `${message}. run: ${run}`, attributes: { run } } });
}

/**
 * Stores what an earlier call could store nowhere: until then the vault's refresh token is one that
 * is spent. A failure leaves it for the next.
 */
function storeRescued(instance: Instance): Instance {
  for (const rescued of time.pause(() => storage.rescued?.() ?? [])) {
    try {
      instance.root.keeper.saveUnsaved(rescued.unsaved);
      time.pause(() => storage.forgetRescued?.(rescued));
    } catch (error) {
      if (payloadOf(error)) continue;
      // It trapped.
      instance.wipe();
      instance = newInstance();
    } finally {
      time.pause(() => world.endCall());
    }
  }
  return instance;
}

/**
 * What could not be stored is kept elsewhere at once: nobody else has it. What could be stored need
 * not be kept any more.
 */
function keepForLater(call: Call, result: Results[keyof Results]): void {
  if (call.method === 'saveUnsaved') {
    time.pause(() => {
      for (const rescued of storage.rescued?.() ?? []) if (rescued.unsaved === call.unsaved) storage.forgetRescued?.(rescued);
    });
  }
  const served = servedBy(call, result);
  const unsaved = served?.unsaved;
  if (!served || unsaved === undefined) return;
  served.isKept = time.pause(() => {
    try {
      storage.keepUnsaved?.(unsaved);
      return storage.keepUnsaved !== undefined;
    } catch {
      // It is handed to the caller.
      return false;
    }
  });
}

function newInstance(): Instance {
  if (!modules) throw new Error('the component is not there yet');
  return instantiate(transpiled, modules, world.imports());
}

function spelled({ code, action, message, run, provider, credential, retryAfterS }: ErrorFields & { retryAfterS?: bigint }): ErrorFields {
  const retryAfterSeconds = retryAfterS === undefined ? undefined : Number(retryAfterS);
  // The classifier's own errors have no action: only the profiles can be wrong.
  return { code, action: action ?? 'configure', message, run, provider, credential, retryAfterSeconds };
}

function stopped(error: unknown): ErrorFields {
  // What WebAssembly says of a trap names no data. Any other message might.
  const why = error instanceof WebAssembly.RuntimeError ? error.message : 'its JavaScript failed';
  return { code: 'internal', action: 'inspect', message: `the component was stopped: ${why}` };
}

/**
 * Which origins may be sent to: what the profiles name when the first request is made. The
 * component is not asked. What works is kept.
 */
function nameOrigins(): void {
  if (!httpModule) origins ??= originsOf(profiles());
}

function profiles(): string | undefined {
  return time.pause(() => {
    const loaded = storage.load('providers.json');
    return loaded.tag === 'loaded' ? loaded.val.text : undefined;
  });
}

// Keeps the credentials of one vault.

import { fileURLToPath } from 'node:url';
import { resolve } from 'node:path';
import type { Call, Results, Served } from './calls.js';
import { badRequest, LazarettoError } from './errors.js';
import { COMPONENT, headerPairs } from './component.js';
import { redactAlsoInJson } from './redact.js';
import { WorkerPool } from './worker-pool.js';
import type {
  AccessToken,
  Advice,
  Answer,
  ApiCall,
  CallOptions,
  CredentialOptions,
  CredentialStatus,
  Judgement,
  LazarettoEvent,
  StatusReport,
  TokenOptions,
} from './types.js';

/** How a {@link Keeper} is opened. */
export interface KeeperOptions {
  /** The vault file, for example `auth.json`. It need not exist. */
  vault: string | URL;
  /**
   * Which program's layout the vault is in, for example `codex`, where its name, its folder and
   * what is in it do not tell for certain.
   */
  layout?: string | undefined;
  /** A file with your own provider profiles. */
  providers?: string | URL | undefined;
  /** Allows plain http to loopback, for profiles that name it. For tests. */
  allowLoopbackHttp?: boolean | undefined;
  /** Is told what lazaretto decides, as it decides it. Free of secrets. */
  onEvent?: ((event: LazarettoEvent) => void) | undefined;
  /** At most so many calls at a time, each on a thread of its own; further ones wait. Default 8. */
  workers?: number | undefined;
  /**
   * Whether variables of the environment that are called like a key or a token (`..._KEY`,
   * `_TOKEN`, `_PAT`) may be read, for entries of the vault that only name one. Default false.
   */
  environment?: boolean | undefined;
  /**
   * Keeps a worker's instance of the component for its next call. Faster on a hot path, and what it
   * has read of the vault stays in memory. Default false.
   */
  warmInstances?: boolean | undefined;
  /**
   * Whether the reference program's lock (`auth.lock` beside `auth.json`) is taken. Default: by the
   * vault's name.
   */
  foreignLock?: boolean | undefined;
  /**
   * Lets logins be refreshed on a network file system, where locks may not exclude other machines.
   */
  allowNetworkFilesystem?: boolean | undefined;
  /** Other files that may hold the same logins: what they hold is refreshed only there. */
  also?: (string | URL)[] | undefined;
  /**
   * Where logins that several profiles share lie. Default: `$HERMES_SHARED_AUTH_DIR`, or `shared`
   * in the reference's root.
   */
  sharedLogins?: string | URL | undefined;
  /**
   * By which words a person calls the command `lazaretto` so that it is about this vault: what an
   * error's `run` and a status' `todo` begin with. Default: `lazaretto --vault PATH`, with the
   * layout and the profiles where they are named.
   */
  command?: string | undefined;
  /**
   * What a person runs, or does, to log in to your program, in place of that command. `{provider}`
   * in it stands for the provider.
   */
  loginHint?: string | undefined;
  /**
   * For embedders and tests: JavaScript modules, by URL, that each worker loads in place of ours.
   * `storage` exports `open(options)`, which gives a `Storage`; `http` exports `open()`, which
   * gives an object with `send(request)`; `component` is a component that jco has transpiled.
   */
  modules?: { storage?: string | URL; http?: string | URL; component?: string | URL } | undefined;
}

/** How long to wait before each try to store what could not be stored, in milliseconds. */
const SAVE_PAUSES_MS = [100, 250, 500, 1_000, 2_000];
/**
 * The same where nobody waits for the answer any more: there is no hurry, and nobody else has the
 * tokens.
 */
const RESCUE_PAUSES_MS = [1_000, 5_000, 10_000, 30_000, 60_000];

/**
 * Keeps the credentials of one vault alive, and stops dead ones from being used again. Any number
 * of keepers, in any number of processes and languages, may share one vault.
 *
 * From the moment a refresh token is sent nothing cancels a call. A program that ends should `await
 * keeper.close()` first.
 */
export class Keeper {
  readonly #pool: WorkerPool;
  #isClosed = false;
  #rescues = new Set<Promise<void>>();

  private constructor(pool: WorkerPool) {
    this.#pool = pool;
  }

  /** Opens a vault. Nothing is read or written before the first call. */
  static async open(options: KeeperOptions): Promise<Keeper> {
    if (process.platform === 'win32') {
      const message = 'lazaretto for Node needs flock(2), which Windows does not have: use Linux, macOS or WSL';
      throw LazarettoError.from({ code: 'unsupported', action: 'configure', message });
    }
    const size = options.workers ?? 8;
    if (!Number.isInteger(size) || size < 1 || size > 256) throw badRequest('workers is a whole number from 1 to 256');
    const shared = options.sharedLogins ?? process.env.HERMES_SHARED_AUTH_DIR;
    const href = (module: string | URL | undefined) => (module === undefined ? undefined : String(module));
    const pool = new WorkerPool({
      size,
      allowLoopbackHttp: options.allowLoopbackHttp ?? false,
      onEvent: guarded(options.onEvent),
      data: {
        storage: {
          vault: pathOf('vault', options.vault),
          layout: options.layout,
          providers: optionalPath('providers', options.providers),
          foreignLock: options.foreignLock,
          allowNetworkFilesystem: options.allowNetworkFilesystem,
          also: options.also?.map((path) => pathOf('also', path)),
          sharedLogins: shared ? pathOf('sharedLogins', shared) : undefined,
          environment: options.environment,
          command: options.command,
          loginHint: options.loginHint,
        },
        warmInstances: options.warmInstances ?? false,
        component: href(options.modules?.component) ?? COMPONENT.href,
        storageModule: href(options.modules?.storage) ?? new URL('./storage/open-storage.js', import.meta.url).href,
        httpModule: href(options.modules?.http),
      },
    });
    pool.warmUp();
    return new Keeper(pool);
  }

  /** Returns an access token that is valid as asked, refreshed if need be. */
  async token(provider: string, options: TokenOptions = {}): Promise<AccessToken> {
    return this.#saved(await this.#call({ method: 'token', provider: named(provider), options: tokenOptions(options) }, options));
  }

  /**
   * Returns another access token than `refusedAccessToken`, or than the one the vault holds when
   * the call begins. If another process has replaced that token meanwhile, its token is the answer
   * and nothing is sent.
   */
  async refresh(provider: string, options: TokenOptions = {}): Promise<AccessToken> {
    return this.#saved(await this.#call({ method: 'refresh', provider: named(provider), options: tokenOptions(options) }, options));
  }

  /** Returns every credential of the vault, or of one provider. Reads only. */
  status(provider?: string | null, options: CallOptions = {}): Promise<StatusReport> {
    const call = { method: 'status' as const, provider: provider == null ? undefined : named(provider), document: options.document };
    return this.#call(call, options);
  }

  /** Reports what an API answered to a call made with one of the tokens, and gives advice. */
  async report(provider: string, call: ApiCall): Promise<Advice> {
    const { signal: _, headers, ...rest } = call;
    const plain = {
      ...rest,
      ...credentialOptions(rest),
      accessToken: text('accessToken', call.accessToken),
      session: optionalText('session', rest.session),
      status: statusOf(rest.status),
      body: optionalText('body', rest.body),
      headers: headerPairs(headers),
    };
    const advice = await this.#call({ method: 'report', provider: named(provider), call: plain }, call);
    return advice.token ? { ...advice, token: await this.#saved(advice.token) } : advice;
  }

  /**
   * Ends a use that `token` counted as in use, where the settings limit that
   * (`max_in_use`).
   */
  async endUse(provider: string, options: CredentialOptions = {}): Promise<void> {
    await this.#call({ method: 'endUse', provider: named(provider), options: credentialOptions(options) }, options);
  }

  /**
   * Ends a cooldown, a hold, a park or a rest, so that the next call may try once. Tombstones stay.
   */
  reset(provider: string, options: CredentialOptions = {}): Promise<CredentialStatus> {
    return this.#call({ method: 'reset', provider: named(provider), options: credentialOptions(options) }, options);
  }

  /** Puts a quarantined credential back as it was, and lifts its tombstone. */
  unquarantine(provider: string, options: CredentialOptions = {}): Promise<CredentialStatus> {
    return this.#call({ method: 'unquarantine', provider: named(provider), options: credentialOptions(options) }, options);
  }

  /** Stores what {@link AccessToken.unsaved} held. */
  async saveUnsaved(unsaved: string, options: CallOptions = {}): Promise<void> {
    await this.#call({ method: 'saveUnsaved', unsaved: text('unsaved', unsaved) }, options);
  }

  /**
   * Returns what an answer to a refresh means, with the profiles of this keeper. See also the
   * function `classify`, which needs none.
   */
  async classify(answer: Answer, options: CallOptions & { nowSeconds?: number | undefined } = {}): Promise<Judgement> {
    const plain = {
      ...answer,
      provider: named(answer.provider),
      status: statusOf(answer.status),
      body: optionalText('body', answer.body),
      headers: headerPairs(answer.headers),
    };
    return this.#call({ method: 'classify', answer: plain, nowSeconds: options.nowSeconds ?? Date.now() / 1000 }, options);
  }

  /**
   * Returns the origins (`scheme://host:port`) that the profiles name: those that are sent to, and
   * no others.
   */
  origins(options: CallOptions = {}): Promise<string[]> {
    return this.#call({ method: 'origins' }, options);
  }

  /** Waits for all calls that are under way, and ends the workers. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.#rescues);
    await this.#pool.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #call<C extends Call>(call: C, options: CallOptions): Promise<Results[C['method']]> {
    if (this.#isClosed) throw badRequest('the keeper is closed: open another');
    try {
      return (await this.#run(call, options.signal)) as Results[C['method']];
    } catch (error) {
      // It was made where a worker's message came in: this is where the caller is found again.
      if (error instanceof LazarettoError) Error.captureStackTrace(error);
      throw error;
    }
  }

  #run(call: Call, signal: AbortSignal | undefined): Promise<unknown> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const { result, withdraw } = this.#pool.run(keyOf(call), call);
    if (!signal) return result;
    return new Promise((resolve, reject) => {
      const abort = () => {
        // It runs on. If its answer could not be stored, nobody but us has it now.
        if (!withdraw()) result.then((answer) => this.#rescue(answer), () => {});
        reject(signal.reason);
      };
      signal.addEventListener('abort', abort, { once: true });
      result.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
    });
  }

  /**
   * Stores a successor that could be stored nowhere at
   * first: it is tried again for a while, and else kept for the next call or handed to the caller.
   */
  async #saved({ isKept, ...token }: Served): Promise<AccessToken> {
    if (token.unsaved === undefined) return shownWithoutSecrets(token);
    if (await this.#save(token.unsaved, SAVE_PAUSES_MS)) {
      const warning = 'the vault could not be written at first; the new tokens are in it now';
      return shownWithoutSecrets({ ...token, unsaved: undefined, warning });
    }
    const what = `the new tokens of ${token.provider} (${token.credential}) could not be stored`;
    if (isKept) {
      const warning = `${what} in the vault. They are kept in a file that only this user can read, and the next call stores them: make the vault writable`;
      return shownWithoutSecrets({ ...token, unsaved: undefined, warning });
    }
    const warning =
      `${what}, and the refresh token in the vault is spent: ` +
      'make the vault writable and hand `unsaved` to keeper.saveUnsaved, or log in again';
    return shownWithoutSecrets({ ...token, warning });
  }

  #rescue(answer: unknown): void {
    // A token, or the advice that brings one.
    const { unsaved, token, isKept } = (answer ?? {}) as { unsaved?: unknown; token?: unknown; isKept?: unknown };
    if (typeof unsaved !== 'string') {
      if (typeof token === 'object') this.#rescue(token);
      return;
    }
    // What is kept need not be waited for: the next call stores it.
    const pausesMs = isKept === true ? SAVE_PAUSES_MS : [...SAVE_PAUSES_MS, ...RESCUE_PAUSES_MS];
    const rescue: Promise<void> = this.#save(unsaved, pausesMs).then(() => {
      this.#rescues.delete(rescue);
    });
    this.#rescues.add(rescue);
  }

  async #save(unsaved: string, pausesMs: number[]): Promise<boolean> {
    for (const pauseMs of pausesMs) {
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      try {
        // Also of a keeper that is being closed: it waits for this.
        await this.#pool.run('save-unsaved', { method: 'saveUnsaved', unsaved }).result;
        return true;
      } catch {}
    }
    return false;
  }
}

function shownWithoutSecrets(token: AccessToken): AccessToken {
  return redactAlsoInJson(token, 'token', 'unsaved');
}

/** Calls that wait for the same thing have the same key. */
function keyOf(call: Call): string {
  switch (call.method) {
    case 'token':
    case 'refresh':
    case 'unquarantine':
    case 'reset':
    case 'endUse':
      return `${call.provider}\0${call.options.credential ?? ''}`;
    case 'report':
      return `${call.provider}\0${call.call.credential ?? ''}`;
    default:
      return call.method;
  }
}

function guarded(onEvent: KeeperOptions['onEvent']): (event: LazarettoEvent) => void {
  let isExposureTold = false;
  return (event) => {
    // Each worker looks for itself.
    if (event.name === 'vault-exposed') {
      if (isExposureTold) return;
      isExposureTold = true;
    }
    try {
      onEvent?.(event);
    } catch (error) {
      // A listener that throws costs its event, and not the call.
      process.emitWarning(`a listener of lazaretto's events threw ${error instanceof Error ? error.name : 'something'}`);
    }
  };
}

function text(name: string, value: unknown): string {
  if (typeof value === 'string') return value;
  throw badRequest(`${name} must be a string, and it is ${value === null ? 'null' : `of type ${typeof value}`}`);
}

function named(provider: unknown): string {
  return text('provider', provider);
}

function optionalText(name: string, value: string | null | undefined): string | undefined {
  return value == null ? undefined : text(name, value);
}

function statusOf(status: number | null | undefined): number | undefined {
  if (status == null) return undefined;
  if (Number.isInteger(status) && status >= 0 && status <= 0xffff) return status;
  throw badRequest('status must be the number of an HTTP status');
}

function credentialOptions({ credential, document }: CredentialOptions): CredentialOptions {
  return { credential: optionalText('credential', credential), document: optionalText('document', document) };
}

function tokenOptions(options: TokenOptions): TokenOptions {
  const { minValidSeconds = 0 } = options;
  if (!Number.isFinite(minValidSeconds) || minValidSeconds < 0 || minValidSeconds > Number.MAX_SAFE_INTEGER) {
    throw badRequest('minValidSeconds is a number of seconds, 0 or more');
  }
  return {
    ...credentialOptions(options),
    minValidSeconds: Math.ceil(minValidSeconds),
    refusedAccessToken: optionalText('refusedAccessToken', options.refusedAccessToken),
    session: optionalText('session', options.session),
  };
}

/** Later changes of the current directory must not move a vault. */
function pathOf(name: string, path: string | URL): string {
  if (path instanceof URL) return fileURLToPath(path);
  if (text(name, path) === '' || path.includes('\0')) throw badRequest(`${name} must be the path of a file`);
  return resolve(path);
}

function optionalPath(name: string, path: string | URL | null | undefined): string | undefined {
  return path == null ? undefined : pathOf(name, path);
}

// What goes in and what comes out. Names carry their unit: `...Ms` is milliseconds, since 1970
// where it is a time; `...Seconds` is seconds.

/** What every call may say besides its own. */
export interface CallOptions {
  /**
   * Stops waiting. A call that has not begun is dropped. One that has runs to its end all the same,
   * for its answer may hold the only refresh token that still works; nobody is told of it.
   */
  signal?: AbortSignal | undefined;
  /** The vault's document name. There is one, `vault`, and any other is refused. */
  document?: string | undefined;
}

/** Which credential of a provider. */
export interface CredentialOptions extends CallOptions {
  /**
   * A pool entry's id or label, or `login` for the provider's own login. Default: the first that
   * the call applies to.
   */
  credential?: string | undefined;
}

/** Which access token is wanted. */
export interface TokenOptions extends CredentialOptions {
  /** The token must be good for at least so many seconds more. Default 0. */
  minValidSeconds?: number | undefined;
  /** An access token that an API refused. The answer is another one. */
  refusedAccessToken?: string | undefined;
  /**
   * Where the settings let a session keep its credential: any name of the session. Only a hash of
   * it is stored.
   */
  session?: string | undefined;
}

/**
 * An access token to use. Printed, inspected or made JSON it shows `[redacted]` for what is secret;
 * only who names `token` gets it. A copy (`{ ...token }`) is a plain object and shows all.
 */
export interface AccessToken {
  /** Secret. */
  token: string;
  /** `Bearer`, or what the server or the vault says. */
  tokenType: string;
  provider: string;
  /** The entry it belongs to: its id, or `login`. */
  credential: string;
  /** Undefined: unknown; it is good until an API refuses it. */
  expiresAtMs: number | undefined;
  /** Why this one: `named`, `only`, `priority`, `round-robin`, `random`, `least-used`, `sticky`. */
  picked: string;
  /** How it was come by: `stored`, `refreshed`, `adopted`, `sealed`, `api-key`. */
  origin: string;
  /** Something a person should know although the token is good. */
  warning: string | undefined;
  /** The one command that ends what the warning tells of, as a shell takes it. */
  run: string | undefined;
  /**
   * The rotated tokens could be stored nowhere, although it was tried for some seconds, and no file
   * could be made that keeps them for the next call. Secret and opaque: hand it to
   * `keeper.saveUnsaved` as soon as the storage works again, or the login is lost.
   */
  unsaved: string | undefined;
}

/** The last thing that went wrong with a credential. */
export interface LastError {
  code: string;
  message: string;
  reason: string;
  atMs: number | undefined;
}

/** One credential, as a person wants to see it. */
export interface CredentialStatus {
  provider: string;
  credential: string;
  /** Another program's text: escape it before it goes to a terminal. */
  label: string;
  source: string;
  /** `oauth` or `api-key`. */
  kind: string;
  /**
   * `valid`, `expiring`, `expired`, `unknown-expiry`, `key`, `cooling-down`, `refused`, `held`,
   * `parked`, `in-doubt`, `quarantined`, ...
   */
  state: string;
  /** Whether it can be used now: `yes`, `expiring`, `expired`, `unknown`, `no`. */
  usable: string;
  /**
   * Whether it will be refreshed: `ok`, `refreshing`, `in-doubt`, `paused`, `needs-login`,
   * `needs-configuration`, `quarantined`, `dead`, `none`.
   */
  renewal: string;
  /** Who is refreshing it. */
  refreshingBy: string | undefined;
  refreshingSinceMs: number | undefined;
  /** Whose it is, by what its tokens claim. Another program's text. */
  account: string | undefined;
  expiresAtMs: number | undefined;
  retryAtMs: number | undefined;
  sealedUntilMs: number | undefined;
  lastError: LastError | undefined;
  /** Why it is so, for a person. */
  note: string | undefined;
  /** The one command that helps, if any does. */
  todo: string | undefined;
}

export interface StatusReport {
  credentials: CredentialStatus[];
  /** What could not be read as it should be. */
  warnings: string[];
}

/** A call to an API, and what it answered. */
export interface ApiCall extends CredentialOptions {
  session?: string | undefined;
  /** The access token or key that the call was made with. */
  accessToken: string;
  /** Undefined: no answer came. */
  status?: number | undefined;
  /** Of the answer: a `Headers`, an object, or pairs. */
  headers?: HeadersLike | undefined;
  /** As far as it came; its first 64 KiB are enough. */
  body?: string | undefined;
}

/** What to do with the call that was reported. */
export interface Advice {
  /** `go-on` (it went through), `use` (call again with `token`), `wait`, `give-up`. */
  advice: string;
  token: AccessToken | undefined;
  retryAfterSeconds: number | undefined;
  message: string;
  /** With `give-up`: the one command that helps, as a shell takes it. */
  run: string | undefined;
}

export type HeadersLike = Iterable<readonly [string, string]> | Record<string, string>;

/** One HTTP exchange with a token endpoint. */
export interface Answer {
  /** A profile's id or alias. A provider without a profile is judged by the generic one. */
  provider: string;
  /** Undefined: no answer came. */
  status?: number | undefined;
  headers?: HeadersLike | undefined;
  body?: string | undefined;
  /** Default true. */
  bodyComplete?: boolean | undefined;
  /** Default false. */
  bodyLossy?: boolean | undefined;
  /** `dns`, `connect`, `tls`, `timeout`, `reset`, ... if no answer came. */
  transportError?: string | undefined;
}

export type Verdict = 'refreshed' | 'terminal' | 'interaction' | 'config' | 'transient' | 'unknown';

/** The verdict and its evidence. No field holds a secret. */
export interface Judgement {
  verdict: Verdict;
  status: number | undefined;
  code: string | undefined;
  subCode: string | undefined;
  /** The name of the rule that decided. */
  rule: string;
  retryAfterSeconds: number | undefined;
  summary: string;
  /** The server may have rotated the token although this answer does not say so. */
  inDoubt: boolean;
  steps: { name: string; finding: string }[];
}

/** What lazaretto decided, as it decides it. Free of secrets: it may be logged anywhere. */
export interface LazarettoEvent {
  /** `refreshed`, `adopted`, `quarantined`, `cooling`, `held`, ... */
  name: string;
  /** `info`, `warning` or `error`. */
  severity: string;
  atMs: number;
  provider: string;
  credential: string | undefined;
  message: string;
  attributes: Record<string, string>;
}

// Errors of a keeper. One class for each action, so that a caller need not compare strings.

/**
 * What helps after an error: a login by a person, a later retry, another configuration, a look at
 * what is broken around the vault, another call.
 */
export type Action = 'login' | 'retry' | 'configure' | 'inspect' | 'usage';

/** The fields of an error, as plain data. */
export interface ErrorFields {
  code: string;
  action: Action;
  message: string;
  run?: string | undefined;
  provider?: string | undefined;
  credential?: string | undefined;
  retryAfterSeconds?: number | undefined;
}

/**
 * Any error of lazaretto. Its message says what happened to which credential, and why. It never
 * holds a secret.
 */
export class LazarettoError extends Error {
  /** An open set, in kebab case: `quarantined`, `cooling-down`, `unknown-provider`, ... */
  readonly code: string;
  /** What helps. */
  readonly action: Action;
  /**
   * The one command that helps, as a shell takes it. Undefined: time alone helps, or the message
   * says what must change.
   */
  readonly run: string | undefined;
  readonly provider: string | undefined;
  readonly credential: string | undefined;
  /** In how many seconds a retry can succeed, where that is known. */
  readonly retryAfterSeconds: number | undefined;

  constructor(fields: ErrorFields) {
    super(fields.message);
    this.name = new.target.name;
    this.code = fields.code;
    this.action = fields.action;
    this.run = fields.run;
    this.provider = fields.provider;
    this.credential = fields.credential;
    this.retryAfterSeconds = fields.retryAfterSeconds;
  }

  /**
   * Returns the error of the class that its action names. An action of a newer component is a plain
   * `LazarettoError`, for a person to look at.
   */
  static from(fields: ErrorFields): LazarettoError {
    const Class = Object.hasOwn(CLASSES, fields.action) ? CLASSES[fields.action] : undefined;
    return Class ? new Class(fields) : new LazarettoError({ ...fields, action: 'inspect' });
  }
}

/**
 * A person must log in again. Codes: `login-required`, `quarantined`, `no-credential`,
 * `access-refused`, `unusable`.
 */
export class LoginNeeded extends LazarettoError {}
/**
 * The call may succeed later, by itself: see `retryAfterSeconds`. Codes: `cooling-down`, `busy`,
 * `in-doubt`, `refresh-failed`.
 */
export class RetryLater extends LazarettoError {}
/**
 * A profile, a setting or the client must change. Codes: `unknown-provider`, `bad-profile`,
 * `bad-settings`, `held`, `parked`, `shared-vault`, `owned-elsewhere`, `host-forbids`,
 * `storage-not-private`.
 */
export class ConfigurationNeeded extends LazarettoError {}
/**
 * Something around the vault is broken. Codes: `storage`, `corrupt-vault`, `corrupt-ledger`,
 * `newer-ledger`, `unsaved`, `internal`.
 */
export class InspectionNeeded extends LazarettoError {}
/**
 * The call was wrong. Codes: `unknown-credential`, `unknown-layout`, `bad-request`,
 * `nothing-to-do`.
 */
export class UsageError extends LazarettoError {}

const CLASSES: Record<Action, new (fields: ErrorFields) => LazarettoError> = {
  login: LoginNeeded,
  retry: RetryLater,
  configure: ConfigurationNeeded,
  inspect: InspectionNeeded,
  usage: UsageError,
};

/** Returns the error for a fault of this host or of the component. */
export function internal(message: string): LazarettoError {
  return LazarettoError.from({ code: 'internal', action: 'inspect', message });
}

/** Returns the error for a call that was wrong. */
export function badRequest(message: string): LazarettoError {
  return LazarettoError.from({ code: 'bad-request', action: 'usage', message });
}

// Why a call did not do what was asked. One class per thing that helps, so that a caller need not compare strings.

/** What helps: a login by a person, a retry later, another configuration, a look at the vault, another call. */
export type Action = 'login' | 'retry' | 'configure' | 'inspect' | 'usage';

/** What an error says, as plain data. */
export interface ErrorFields {
  code: string;
  action: string;
  message: string;
  run?: string | undefined;
  provider?: string | undefined;
  credential?: string | undefined;
  retryAfterSeconds?: number | undefined;
}

/** Any error of lazaretto. The message says what happened to which credential, and why; never a secret. */
export class LazarettoError extends Error {
  /** An open set, in kebab case: `quarantined`, `cooling-down`, `unknown-provider`, ... */
  readonly code: string;
  /** What helps. */
  readonly action: string;
  /** The one command that helps, as a shell takes it. Undefined: time alone helps, or the message says what must change. */
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

  /** The error of the class that its action names. */
  static from(fields: ErrorFields): LazarettoError {
    const Class = CLASSES[fields.action as Action] ?? LazarettoError;
    return new Class(fields);
  }
}

/** A person must log in again: `login-required`, `quarantined`, `no-credential`, `access-refused`, `unusable`. */
export class LoginRequired extends LazarettoError {}
/** Later, by itself: `cooling-down`, `busy`, `in-doubt`, `refresh-failed`. See `retryAfterSeconds`. */
export class RetryLater extends LazarettoError {}
/** A profile, a setting or the client must change: `unknown-provider`, `bad-profile`, `bad-settings`, `held`, `parked`, `shared-vault`, `owned-elsewhere`, `host-forbids`. */
export class ConfigurationNeeded extends LazarettoError {}
/** Something around the vault is broken: `storage`, `corrupt-vault`, `corrupt-ledger`, `newer-ledger`, `unsaved`, `internal`. */
export class InspectionNeeded extends LazarettoError {}
/** The call was wrong: `unknown-credential`, `unknown-layout`, `bad-request`, `nothing-to-do`. */
export class WrongUsage extends LazarettoError {}

const CLASSES: Record<Action, new (fields: ErrorFields) => LazarettoError> = {
  login: LoginRequired,
  retry: RetryLater,
  configure: ConfigurationNeeded,
  inspect: InspectionNeeded,
  usage: WrongUsage,
};

export function internal(message: string): LazarettoError {
  return LazarettoError.from({ code: 'internal', action: 'inspect', message });
}

export function badRequest(message: string): LazarettoError {
  return LazarettoError.from({ code: 'bad-request', action: 'usage', message });
}

// The calls of the component, in JavaScript's shapes: what a worker is asked for, and what it
// answers.

import type { Root } from '../generated/lazaretto.js';
import { headerPairs, judge, number } from './component.js';
import type {
  AccessToken,
  Advice,
  Answer,
  ApiCall,
  CredentialOptions,
  CredentialStatus,
  Judgement,
  StatusReport,
  TokenOptions,
} from './types.js';

/** A call as it goes to a worker, less what only the main thread heeds. */
export type Call =
  | { method: 'token' | 'refresh'; provider: string; options: TokenOptions }
  | { method: 'status'; provider: string | undefined; document: string | undefined }
  | { method: 'unquarantine' | 'reset' | 'endUse'; provider: string; options: CredentialOptions }
  | { method: 'report'; provider: string; call: ApiCall }
  | { method: 'saveUnsaved'; unsaved: string }
  | { method: 'classify'; answer: Answer; nowSeconds: number }
  | { method: 'origins' };

/**
 * A token whose successor could not be stored, and whether that is kept elsewhere for the next
 * call.
 */
export type Served = AccessToken & { isKept?: boolean };

export interface Results {
  token: Served;
  refresh: Served;
  status: StatusReport;
  unquarantine: CredentialStatus;
  reset: CredentialStatus;
  endUse: undefined;
  report: Advice;
  saveUnsaved: undefined;
  classify: Judgement;
  origins: string[];
}

const VAULT = 'vault';

/**
 * Returns whether a call may send a refresh token: before it, what an earlier one could not store
 * must be stored.
 */
export function maySend({ method }: Call): boolean {
  return method === 'token' || method === 'refresh' || method === 'report';
}

/** Returns the token among what a call has brought. */
export function servedBy(call: Call, result: Results[keyof Results]): Served | undefined {
  if (call.method === 'report') return (result as Advice).token;
  return call.method === 'token' || call.method === 'refresh' ? (result as Served) : undefined;
}

/**
 * Makes a call in an instance. `profiles` reads the user's own, for the classifier, which reads
 * nothing itself.
 */
export function perform(root: Root, call: Call, profiles: () => string | undefined): Results[keyof Results] {
  switch (call.method) {
    case 'token':
    case 'refresh': {
      const { options } = call;
      const request = {
        ...selector(call.provider, options),
        minValidS: BigInt(options.minValidSeconds ?? 0),
        refusedAccessToken: options.refusedAccessToken,
        session: options.session,
      };
      return accessToken(call.method === 'token' ? root.keeper.token(request) : root.keeper.refresh(request));
    }
    case 'status': {
      const report = root.keeper.status(call.document ?? VAULT, call.provider);
      return { credentials: report.credentials.map(credentialStatus), warnings: report.warnings };
    }
    case 'unquarantine':
      return credentialStatus(root.keeper.unquarantine(selector(call.provider, call.options)));
    case 'reset':
      return credentialStatus(root.keeper.reset(selector(call.provider, call.options)));
    case 'endUse':
      return void root.pool.endUse(selector(call.provider, call.options)) as undefined;
    case 'report': {
      const { accessToken: token, status, headers, body, session, ...options } = call.call;
      const advice = root.pool.report({
        ...selector(call.provider, options),
        session,
        accessToken: token,
        status,
        headers: headerPairs(headers),
        body: body ?? '',
      });
      return {
        advice: advice.advice,
        token: advice.token && accessToken(advice.token),
        retryAfterSeconds: number(advice.retryAfterS),
        message: advice.message,
        run: advice.run,
      };
    }
    case 'saveUnsaved':
      return void root.keeper.saveUnsaved(call.unsaved) as undefined;
    case 'classify':
      return judge(root.classifier, call.answer, profiles(), call.nowSeconds);
    case 'origins':
      return root.keeper.origins();
  }
}

function selector(provider: string, options: CredentialOptions) {
  return { vault: options.document ?? VAULT, provider, credential: options.credential };
}

function accessToken(token: ReturnType<Root['keeper']['token']>): AccessToken {
  return {
    token: token.token,
    tokenType: token.tokenType,
    provider: token.provider,
    credential: token.credential,
    expiresAtMs: number(token.expiresAtMs),
    picked: token.picked,
    origin: token.origin,
    warning: token.warning,
    run: token.run,
    unsaved: token.unsaved,
  };
}

function credentialStatus(status: ReturnType<Root['keeper']['reset']>): CredentialStatus {
  const last = status.lastError;
  return {
    provider: status.provider,
    credential: status.credential,
    label: status.label,
    source: status.source,
    kind: status.kind,
    state: status.state,
    usable: status.usable,
    renewal: status.renewal,
    refreshingBy: status.refreshingBy,
    refreshingSinceMs: number(status.refreshingSinceMs),
    account: status.account,
    expiresAtMs: number(status.expiresAtMs),
    retryAtMs: number(status.retryAtMs),
    sealedUntilMs: number(status.sealedUntilMs),
    lastError: last && { code: last.code, message: last.message, reason: last.reason, atMs: number(last.atMs) },
    note: status.note,
    todo: status.todo,
  };
}

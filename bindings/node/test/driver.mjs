// The conformance driver of this binding: calls on standard input, results on standard output, one
// JSON object a line. All checking is in the harness.

import { createInterface } from 'node:readline';
import { Keeper, LazarettoError } from 'lazaretto';

/** A member that is null is as good as none. */
const given = (value) => value ?? undefined;

const CALLS = {
  token: (keeper, call) => keeper.token(call.provider, tokenOptions(call)).then(accessToken),
  refresh: (keeper, call) => keeper.refresh(call.provider, tokenOptions(call)).then(accessToken),
  status: async (keeper, call) => {
    const { credentials } = await keeper.status(given(call.provider), { document: given(call.vault) });
    return credentials.map(credentialStatus);
  },
  report: async (keeper, call) => {
    const advice = await keeper.report(call.provider, {
      ...options(call),
      session: given(call.session),
      accessToken: call.access_token,
      status: given(call.status),
      headers: call.headers ?? [],
      body: call.body ?? '',
    });
    const { advice: what, token, retryAfterSeconds, message, run } = advice;
    return { advice: what, token: token ? accessToken(token) : null, retry_after_s: retryAfterSeconds ?? null, message, run: run ?? null };
  },
  reset: (keeper, call) => keeper.reset(call.provider, options(call)).then(credentialStatus),
  unquarantine: (keeper, call) => keeper.unquarantine(call.provider, options(call)).then(credentialStatus),
  end_use: (keeper, call) => keeper.endUse(call.provider, options(call)).then(() => null),
  save_unsaved: (keeper, call) => keeper.saveUnsaved(call.unsaved).then(() => null),
  origins: (keeper) => keeper.origins(),
  classify: async (keeper, { answer, now_s }) => {
    const judgement = await keeper.classify(
      {
        provider: answer.provider,
        status: given(answer.status),
        headers: answer.headers ?? [],
        body: answer.body ?? '',
        bodyComplete: given(answer.body_complete),
        bodyLossy: given(answer.body_lossy),
        transportError: given(answer.transport_error),
      },
      { nowSeconds: given(now_s) },
    );
    return {
      verdict: judgement.verdict,
      status: judgement.status ?? null,
      code: judgement.code ?? null,
      sub_code: judgement.subCode ?? null,
      rule: judgement.rule,
      retry_after_s: judgement.retryAfterSeconds ?? null,
      summary: judgement.summary,
      in_doubt: judgement.inDoubt,
      steps: judgement.steps,
    };
  },
};

function options(call) {
  return { credential: given(call.credential), document: given(call.vault) };
}

function tokenOptions(call) {
  return {
    ...options(call),
    minValidSeconds: given(call.min_valid_s),
    refusedAccessToken: given(call.refused_access_token),
    session: given(call.session),
  };
}

function accessToken(token) {
  return {
    token: token.token,
    token_type: token.tokenType,
    provider: token.provider,
    credential: token.credential,
    expires_at_ms: token.expiresAtMs ?? null,
    picked: token.picked,
    origin: token.origin,
    warning: token.warning ?? null,
    run: token.run ?? null,
    unsaved: token.unsaved ?? null,
  };
}

function credentialStatus(status) {
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
    refreshing_by: status.refreshingBy ?? null,
    refreshing_since_ms: status.refreshingSinceMs ?? null,
    account: status.account ?? null,
    expires_at_ms: status.expiresAtMs ?? null,
    retry_at_ms: status.retryAtMs ?? null,
    sealed_until_ms: status.sealedUntilMs ?? null,
    last_error: last ? { code: last.code, message: last.message, reason: last.reason, at_ms: last.atMs ?? null } : null,
    note: status.note ?? null,
    todo: status.todo ?? null,
  };
}

function failure(error) {
  if (!(error instanceof LazarettoError)) {
    return { code: 'driver', action: 'inspect', message: String(error?.stack ?? error), provider: null, credential: null, retry_after_s: null };
  }
  return {
    code: error.code,
    action: error.action,
    message: error.message,
    run: error.run ?? null,
    provider: error.provider ?? null,
    credential: error.credential ?? null,
    retry_after_s: error.retryAfterSeconds ?? null,
  };
}

let opened;
for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim() === '') continue;
  const message = JSON.parse(line);
  if (opened === undefined) {
    opened = Keeper.open({
      vault: message.vault,
      providers: given(message.providers),
      allowLoopbackHttp: given(message.allow_loopback_http),
      environment: given(message.environment),
      also: given(message.also),
    });
    opened.catch(() => {});
    continue;
  }
  const answer = await opened
    .then((keeper) => {
      const call = CALLS[message.call];
      if (!call) throw new Error(`the driver has no call ${message.call}`);
      return call(keeper, message);
    })
    .then((ok) => ({ ok: ok ?? null }), (error) => ({ error: failure(error) }));
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await opened?.then((keeper) => keeper.close(), () => {});

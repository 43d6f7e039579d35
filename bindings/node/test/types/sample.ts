// What a TypeScript program that uses the package looks like: it must compile, and the lines marked so must not.

import { classify, Keeper, LazarettoError, LoginNeeded, RetryLater, type AccessToken, type Judgement } from 'lazaretto';
import { FileStorage, type LoadOutcome } from 'lazaretto/storage';

export async function sample(): Promise<string | undefined> {
  await using keeper = await Keeper.open({ vault: 'auth.json', onEvent: (event) => console.log(event.name, event.attributes.rule) });
  try {
    const token: AccessToken = await keeper.token('xai-oauth', { minValidSeconds: 60, signal: AbortSignal.timeout(5000) });
    const response = await fetch('https://api.x.ai/v1/models', { headers: { authorization: `${token.tokenType} ${token.token}` } });
    const { status, headers } = response;
    const advice = await keeper.report('xai-oauth', { accessToken: token.token, status, headers, body: await response.text() });
    return advice.token?.token ?? token.token;
  } catch (error) {
    if (error instanceof LoginNeeded) return error.provider;
    if (error instanceof RetryLater) return String(error.retryAfterSeconds ?? 60);
    if (error instanceof LazarettoError) return error.code;
    throw error;
  }
}

export async function verdict(): Promise<Judgement['verdict']> {
  // @ts-expect-error: an answer says whose it is
  await classify({ status: 400 });
  return (await classify({ provider: 'acme', status: 400, headers: { 'content-type': 'application/json' }, body: '{}' })).verdict;
}

export const loaded: LoadOutcome = new FileStorage({ vault: 'auth.json' }).load('vault');

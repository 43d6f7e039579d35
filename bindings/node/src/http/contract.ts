// One HTTP exchange with an authorization server: what serves the component's `http` import.
// `wit/http.wit` is the contract.

/** The most bytes of a response body, or of its headers in all, that are handed on. */
export const CAP_BYTES = 64 * 1024;

export interface HttpRequest {
  method: string;
  url: string;
  headers: { name: string; value: string }[];
  body: string;
  /** From name resolution to the last byte of the body. */
  deadlineMs: number;
}

export interface HttpResponse {
  status: number;
  headers: { name: string; value: string }[];
  body: string;
  bodyComplete: boolean;
  bodyLossy: boolean;
}

/** `maybe` also in doubt. `no`: not one byte of the request left this host, and none will. */
export type Sent = 'no' | 'maybe';

/** No status line came. The message holds no header value, no body and no query. */
export interface HttpFailure {
  kind: string;
  sent: Sent;
  message: string;
}

export type HttpOutcome = { response: HttpResponse } | { failure: HttpFailure };

/** One attempt at one exchange, that blocks the thread it is made on. */
export interface Http {
  send(request: HttpRequest): HttpOutcome;
}

export function notSent(kind: string, message: string): HttpOutcome {
  return { failure: { kind, sent: 'no', message } };
}

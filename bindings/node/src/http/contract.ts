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
  /** Default `any`. */
  reach?: Reach | undefined;
}

/**
 * Which addresses a request may go to. `public`: the host refuses a name that resolves to any other
 * address, and connects to the address that it checked.
 */
export type Reach = 'any' | 'public';

export interface HttpResponse {
  status: number;
  headers: { name: string; value: string }[];
  body: string;
  bodyComplete: boolean;
  bodyLossy: boolean;
}

/** `maybe` also in doubt. `no`: not one byte of the request left this host, and none will. */
export type Sent = 'no' | 'maybe';

/** What failed. */
export type FailureKind = 'dns' | 'connect' | 'tls' | 'timeout' | 'reset' | 'protocol' | 'not-allowed' | 'unsupported' | 'other';

/** No status line came. The message holds no header value, no body and no query. */
export interface HttpFailure {
  kind: FailureKind;
  sent: Sent;
  message: string;
}

export type HttpOutcome = { response: HttpResponse } | { failure: HttpFailure };

/** One attempt at one exchange, that blocks the thread it is made on. */
export interface Http {
  send(request: HttpRequest): HttpOutcome;
}

/** Returns the failure of a request of which nothing has left. */
export function notSent(kind: FailureKind, message: string): HttpOutcome {
  return { failure: { kind, sent: 'no', message } };
}

// A failure is named by what went wrong and by how far the request had got. No message quotes what
// could quote the request.

import type { FailureKind } from './contract.js';

/** How far a request got. */
export type Phase = 'resolving' | 'connecting' | 'negotiating' | 'sent';

const DOING: Record<Phase, string> = {
  resolving: 'looking up the name',
  connecting: 'connecting',
  negotiating: 'negotiating with the proxy or about TLS',
  sent: 'waiting for the answer',
};

/** Why an exchange ended without an answer. */
export class Failed extends Error {
  readonly kind: FailureKind;
  constructor(kind: FailureKind, message: string) {
    super(message);
    this.kind = kind;
  }
}

/**
 * Names a failure by what went wrong and how far the request had got. Never quotes what could quote
 * the request.
 */
export function explain(error: unknown, phase: Phase, deadlineMs: number, tls: boolean): { kind: FailureKind; message: string } {
  if (error instanceof Failed) {
    if (error.kind === 'timeout') return { kind: 'timeout', message: `${deadlineMs} ms passed while ${DOING[phase]}` };
    return { kind: error.kind, message: error.message };
  }
  const code = (error as NodeJS.ErrnoException | undefined)?.code ?? '';
  const isSystem = /^E[A-Z0-9]+$/.test(code);
  if (phase === 'resolving') return { kind: 'dns', message: `the name cannot be looked up (${code})` };
  if (phase === 'connecting') return { kind: 'connect', message: `the connection was not made (${code || 'no reason was given'})` };
  if (['ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ENOTCONN'].includes(code)) {
    const message =
      phase === 'sent'
        ? 'the connection ended before an answer came'
        : 'the connection ended before anything was sent, while TLS was agreed on';
    return { kind: 'reset', message };
  }
  if (code.startsWith('HPE_')) return { kind: 'protocol', message: 'the answer is not HTTP/1.1 as it should be' };
  if (tls && (phase === 'negotiating' || code.startsWith('ERR_SSL_') || code.startsWith('ERR_TLS_'))) {
    const advice = /ISSUER|SELF_SIGNED|UNABLE_TO_VERIFY/.test(code)
      ? '. If your network has a certificate authority of its own, name its PEM bundle in SSL_CERT_FILE'
      : '';
    return { kind: 'tls', message: `TLS was not agreed on (${code || 'no reason was given'})${advice}` };
  }
  return { kind: 'other', message: isSystem ? `the connection failed (${code})` : 'the HTTP client failed' };
}

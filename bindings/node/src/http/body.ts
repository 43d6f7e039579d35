// A body is read in the codings that servers use although none was asked for, and never beyond the
// cap.
//
// Gzip is known by its first bytes, for proxies strip `content-encoding`; deflate by its name, be
// it zlib or raw; brotli by its name, as Node has it. Any other coding, a broken one, or a name
// with no coding under it leaves the body as it came, marked as lossy, and `content-encoding` in
// place.

import { createBrotliDecompress, createGunzip, createInflate, createInflateRaw, constants } from 'node:zlib';
import { CAP_BYTES } from './contract.js';

/** How many codings may lie over one another. */
const MOST_CODINGS = 3;

/** A body as far as it came. */
export interface Body {
  /** At most {@link CAP_BYTES}. */
  text: string;
  /** Nothing of it is missing. */
  isComplete: boolean;
  /** Bytes that were not UTF-8 were replaced, or a coding could not be taken off. */
  isLossy: boolean;
  /** A coding could not be taken off, or not to its end. */
  isCoded: boolean;
}

/** Where a coded body stops: at its end; before it; behind the cap; or it is none. */
type End = 'reached' | 'missing' | 'beyond' | 'broken';

/**
 * Reads at most {@link CAP_BYTES} bytes, which are all there is if `isWhole`. `named` is what
 * `content-encoding` says, in order.
 */
export async function readBody(bytes: Buffer, isWhole: boolean, named: string[]): Promise<Body> {
  const { plain, end } = await uncoded(bytes, named);
  if (end === 'broken') return { ...decode(plain, isWhole), isLossy: true, isCoded: true };
  // The connection brought all there was, and the coding's own end is missing.
  const isCoded = isWhole && end === 'missing';
  const body = decode(plain, isWhole && end === 'reached');
  return { ...body, isLossy: body.isLossy || isCoded, isCoded };
}

/** Returns what is left when all codings are taken off that can be, and where it stops. */
async function uncoded(bytes: Buffer, named: string[]): Promise<{ plain: Buffer; end: End }> {
  const left = [...named];
  let plain = bytes;
  let end: End = 'reached';
  for (let layer = 0; layer < MOST_CODINGS; layer += 1) {
    const name = left.at(-1);
    const isGzip = plain[0] === 0x1f && plain[1] === 0x8b;
    if (!isGzip && (isText(plain) || (name !== 'deflate' && name !== 'br'))) break;
    const inner: { plain: Buffer; end: End } = isGzip
      ? await unpack(createGunzip, plain)
      : name === 'br'
        ? await unpack(createBrotliDecompress, plain)
        : await inflate(plain);
    if (inner.end === 'broken') return { plain, end: 'broken' };
    if (!isGzip || name === 'gzip' || name === 'x-gzip' || name === 'deflate') left.pop();
    // What lies within a body that was cut is cut as well.
    if (end === 'reached') end = inner.end;
    plain = inner.plain;
  }
  return { plain, end: left.length === 0 || plain.length === 0 ? end : 'broken' };
}

/** No coding makes this of anything: each brings bytes that are no UTF-8 within the first few. */
function isText(bytes: Buffer): boolean {
  try {
    return !/[\x00-\x08\x0b\x0e-\x1f\x7f]/.test(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return false;
  }
}

/** As RFC 9110 has it (zlib), or as some servers understand it (raw). */
async function inflate(bytes: Buffer): Promise<{ plain: Buffer; end: End }> {
  const ofZlib = await unpack(createInflate, bytes);
  return ofZlib.end === 'broken' ? unpack(createInflateRaw, bytes) : ofZlib;
}

type Decoder = typeof createGunzip | typeof createInflate | typeof createInflateRaw | typeof createBrotliDecompress;

async function unpack(decoder: Decoder, bytes: Buffer): Promise<{ plain: Buffer; end: End }> {
  const strict = await run(decoder, bytes, false);
  // Only a decoder that does not ask for the end gives what came before it.
  return strict.end === 'missing' ? { ...(await run(decoder, bytes, true)), end: 'missing' } : strict;
}

function run(decoder: Decoder, bytes: Buffer, mayEndEarly: boolean): Promise<{ plain: Buffer; end: End }> {
  return new Promise((resolve) => {
    const early = decoder === createBrotliDecompress ? constants.BROTLI_OPERATION_FLUSH : constants.Z_SYNC_FLUSH;
    const stream = decoder(mayEndEarly ? { finishFlush: early } : {});
    const chunks: Buffer[] = [];
    let length = 0;
    const done = (end: End) => resolve({ plain: Buffer.concat(chunks).subarray(0, CAP_BYTES), end });
    stream.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length <= CAP_BYTES) return;
      done('beyond');
      stream.destroy();
    });
    stream.on('end', () => done('reached'));
    stream.on('error', (error: NodeJS.ErrnoException) => done(error.code === 'Z_BUF_ERROR' ? 'missing' : 'broken'));
    stream.end(bytes);
  });
}

/** Returns the text of at most {@link CAP_BYTES} bytes without any coding. */
function decode(bytes: Buffer, isWhole: boolean): Body {
  try {
    // With `stream`, a character that the cut went through is left out: that is not the server's
    // mistake.
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes, { stream: !isWhole });
    return { text, isComplete: isWhole, isLossy: false, isCoded: false };
  } catch {
    const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
    // A replaced byte becomes three.
    const spelled = Buffer.from(text);
    if (spelled.length <= CAP_BYTES) return { text, isComplete: isWhole, isLossy: true, isCoded: false };
    const cut = new TextDecoder('utf-8', { ignoreBOM: true }).decode(spelled.subarray(0, CAP_BYTES), { stream: true });
    return { text: cut, isComplete: false, isLossy: true, isCoded: false };
  }
}

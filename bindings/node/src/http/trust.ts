// Which certificate authorities are trusted.

import { readFileSync } from 'node:fs';
import { Failed } from './failures.js';

let trusted: { path: string; pem: string } | undefined;

/**
 * Returns the certificate authorities to trust *instead of* those that Node has built in, if the
 * environment names a bundle.
 */
export function authorities(): string | undefined {
  const path = process.env.SSL_CERT_FILE;
  if (!path) return undefined;
  try {
    if (trusted?.path !== path) trusted = { path, pem: readFileSync(path, 'utf8') };
    return trusted.pem;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unreadable';
    throw new Failed(
      'tls',
      `SSL_CERT_FILE names ${path}, which cannot be used: ${code}. Correct it, or unset it to trust the certificate authorities of Node`,
    );
  }
}
